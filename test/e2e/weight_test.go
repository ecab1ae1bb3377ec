//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// What an administrator's machine gives for a tiproxy that has nothing to do, in bytes. Most of it is the
// program itself, which others that run it share. Looks at it take some more, of which a part stays.
const (
	mostResident = 15 << 20
	mostLookedAt = 16 << 20
	mostProgram  = 20 << 20
)

func TestIdleTiproxyIsLight(t *testing.T) {
	u := configure(t, who+"IdleStopSec=0\n[Service]\nMetricsListen=127.0.0.1:4002\n")
	for range 10 {
		conn := dial(t, "tcp", "127.0.0.1:4000")
		hear(t, conn)
		conn.Close()
	}
	pid, err := strconv.Atoi(u.property("service", "MainPID"))
	if err != nil {
		t.Fatal(err)
	}
	mustWeigh(t, "after ten clients", pid, mostResident)
	for range 10 {
		output(t, "tiproxy", "sessions")
		output(t, "tiproxy", "queue")
		if page := fetch(t, "http://127.0.0.1:4002/metrics"); !strings.Contains(page, "tiproxy_connections_active") {
			t.Fatalf("the metrics are %q", page)
		}
	}
	mustWeigh(t, "after ten looks", pid, mostLookedAt)
	program, err := os.Stat("/usr/bin/tiproxy")
	if err != nil {
		t.Fatal(err)
	}
	if n := program.Size(); n > mostProgram {
		t.Errorf("the program has %d kB, wanted %d at most", n>>10, mostProgram>>10)
	} else {
		t.Logf("program: %d kB", n>>10)
	}
}

func mustWeigh(t *testing.T, when string, pid int, most int64) {
	t.Helper()
	n := resident(t, pid)
	t.Logf("%s: %d kB resident", when, n>>10)
	if n > most {
		t.Errorf("%s an idle tiproxy has %d kB resident, wanted %d at most", when, n>>10, most>>10)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// resident is how many bytes of a process's memory are in RAM.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(line, "VmRSS:"); is {
			n, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("process %d has no VmRSS", pid)
	return 0
}
