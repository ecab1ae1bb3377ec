//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A thousand backends, one for each client: all of them are answered, and nothing is left of any.
func TestAThousandRecycledBackendsRefuseNobodyAndLeaveNothing(t *testing.T) {
	const rounds, clients = 1000, 8
	u := configure(t, who+"RecycleConnections=1\n")
	first := dial(t, "tcp", "127.0.0.1:4000")
	tiproxy, _ := tiproxyAndBackend(t, first)
	first.Close()
	settled := func(starts int) {
		t.Helper()
		eventually(t, "a fresh backend stands there", func() bool {
			s := u.status()
			return s.Backend.State == "ready" && s.Backend.Starts == starts && s.Gate.Active == 0
		})
	}
	settled(2)
	files := countFiles(t, tiproxy)

	began := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	backends := map[string]int{} // how many clients each answered; guarded by mu
	for range clients {
		all.Go(func() {
			for range rounds / clients {
				answer, err := askWho()
				if err != nil {
					t.Errorf("no answer: %v", err)
					return
				}
				mu.Lock()
				backends[answer]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d backends in %v", rounds, time.Since(began).Round(time.Millisecond))
	if len(backends) != rounds {
		t.Errorf("%d backends answered %d clients", len(backends), rounds)
	}
	settled(rounds + 2)
	if got, want := u.gateCounts(), (gateCounts{Served: rounds + 1}); got != want {
		t.Errorf("the gate counts %+v, wanted %+v", got, want)
	}
	if now := countFiles(t, tiproxy); now > files {
		t.Errorf("tiproxy has %d open files, %d before", now, files)
	}
	service := u.property("service", "ControlGroup")
	if living, groups := processesOf(t, service), cgroupsIn(t, service); len(living) != 2 || len(groups) != 2 {
		t.Errorf("processes %v in cgroups %v, wanted tiproxy and one backend, each in its own", living, groups)
	}
	children, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, stat := range children {
		text, _ := os.ReadFile(stat)
		if strings.Contains(string(text), fmt.Sprintf(") Z %d ", tiproxy)) {
			t.Errorf("a zombie of tiproxy is left: %s", text)
		}
	}
}

// askWho is a client that hears who serves it, and leaves.
func askWho() (answer string, err error) {
	conn, err := net.Dial("tcp", "127.0.0.1:4000")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	return readLine(conn)
}

func countFiles(t *testing.T, pid int) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestIdleBackendIsFrozenAndThawedByTheNextClient(t *testing.T) {
	const rounds = 5
	u := configure(t, who+"IdleAction=freeze\nIdleStopSec=300ms\nIdleFreezeSec=3\n")
	conn := dial(t, "tcp", "127.0.0.1:4000")
	_, backend := tiproxyAndBackend(t, conn)
	conn.Close()
	group := filepath.Join("/sys/fs/cgroup", cgroupOf(t, backend))
	want := func(file, value string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(group, file))
		if err != nil || !mentions(string(text)+"\n", value) {
			t.Errorf("%s reads %q (error %v), wanted %q", file, text, err, value)
		}
	}
	firstByte := func() time.Duration {
		t.Helper()
		began := time.Now()
		conn := dial(t, "tcp", "127.0.0.1:4000")
		defer conn.Close()
		if _, answers := tiproxyAndBackend(t, conn); answers != backend {
			t.Fatalf("process %d answers, wanted the same backend %d", answers, backend)
		}
		return time.Since(began)
	}
	warm, thawed := time.Hour, time.Hour // the best of all rounds
	for range rounds {
		eventually(t, "the backend is frozen", func() bool { return u.status().Backend.State == "frozen" })
		want("cgroup.freeze", "1")
		eventually(t, "the kernel has frozen all of it", func() bool {
			text, _ := os.ReadFile(filepath.Join(group, "cgroup.events"))
			return mentions(string(text), "frozen 1")
		})
		took := firstByte()
		want("cgroup.freeze", "0")
		again := firstByte()
		t.Logf("first byte after the thaw in %v, of a warm one in %v", took, again)
		thawed, warm = min(thawed, took), min(warm, again)
	}
	if thawed > warm+10*time.Millisecond {
		t.Errorf("the first byte came after %v, that of a warm one after %v", thawed, warm)
	}
	eventually(t, "frozen for long enough, it is stopped", func() bool { return u.status().Backend.State == "stopped" })
	if left := commandOf(backend); left != "" {
		t.Errorf("process %d (%s) is left", backend, left)
	}
}
