//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// MariaDB's own unit is masked: tiproxy alone starts it. The drop-in is all that a database of another
// user wants.
func TestMariaDBStartsOnDemandAndLeavesNothing(t *testing.T) {
	prepareMariaDB(t)
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.service.d/mysql.conf": "[Service]\nUser=mysql\n",
		dropIn: `[Backend]
Exec=/usr/sbin/mariadbd --datadir=/var/lib/mysql --port=3306 --bind-address=127.0.0.1 --socket=/run/tiproxy/mysqld.sock
Address=127.0.0.1:3306
Ready=listen
IdleStopSec=2
[Gate]
MaxConnections=0
[Service]
IdleExitSec=3
`,
	})
	for round := range 2 {
		query := []string{"--host=127.0.0.1", "--port=4000", "--user=visitor", "--skip-column-names", "--execute=select 6*7"}
		if answer := output(t, "mariadb", query...); answer != "42" {
			t.Fatalf("round %d: the database answers %q, wanted 42", round, answer)
		}
		backend := u.status().Backend.PID
		if name := commandOf(backend); name != "mariadbd" {
			t.Errorf("round %d: the backend is %q, wanted mariadbd", round, name)
		}
		if own, group := cgroupOf(t, backend), cgroupOf(t, u.status().PID); own == group {
			t.Errorf("round %d: the backend shares %s with tiproxy, wanted a cgroup of its own", round, own)
		}
		eventually(t, "no mariadbd is left", func() bool { return len(pidsOf("mariadbd")) == 0 })
		u.waitForExit()
	}
}

// prepareMariaDB lets a user log in over TCP; Debian's only one, root, may not.
func prepareMariaDB(t *testing.T) {
	t.Helper()
	cmd := exec.Command("mariadbd", "--bootstrap", "--user=mysql")
	cmd.Stdin = strings.NewReader("flush privileges;\ncreate or replace user visitor@localhost;\n" +
		"create or replace user visitor@'127.0.0.1';\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// commandOf is the name of a process, empty when there is none.
func commandOf(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name))
}

// pidsOf lists the processes of that name.
func pidsOf(command string) []int {
	var pids []int
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		if pid, err := strconv.Atoi(filepath.Base(folder)); err == nil && commandOf(pid) == command {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cgroupOf is the place of a process in the cgroup2 hierarchy.
func cgroupOf(t *testing.T, pid int) string {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if path, ok := strings.CutPrefix(lines.Text(), "0::"); ok {
			return path
		}
	}
	t.Fatalf("process %d is in no cgroup2", pid)
	return ""
}

// Four instances share the 200 rounds, for each round is as long as IdleExitSec= at least. A client comes
// from 20 ms before that moment to 30 ms after it; some of them must meet the old process, some a new one.
func TestClientsAroundTheMomentOfIdleExitAreAllAnswered(t *testing.T) {
	const instances, rounds, idleExit = 4, 50, time.Second
	var all sync.WaitGroup
	for i := range instances {
		name, port := fmt.Sprintf("idle%d", i), 3000+i
		u := enable(t, "tiproxy@"+name, map[string]string{
			"/etc/tiproxy/" + name + ".conf": fmt.Sprintf("[Backend]\nExec=%s backend who 127.0.0.1:%d\nAddress=127.0.0.1:%[2]d\n"+
				"IdleStopSec=0\n[Service]\nIdleExitSec=%v\n", self, port, idleExit),
		})
		all.Go(func() {
			answeredBy := make(map[string]bool)
			for round := range rounds {
				tiproxy, err := visit("/run/tiproxy@" + name + ".sock")
				if err != nil {
					t.Errorf("%s: the client of round %d got no answer: %v", name, round, err)
					return
				}
				answeredBy[tiproxy] = true
				<-time.After(idleExit + time.Duration(round-20)*time.Millisecond)
			}
			if n := len(answeredBy); n == 1 || n == rounds {
				t.Errorf("%s: %d processes answered %d clients: none came around the moment of exit", name, n, rounds)
			}
			u.mustListen()
		})
	}
	all.Wait()
}

// visit is a client that hears who serves it and leaves.
func visit(socket string) (tiproxy string, err error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	line, err := readLine(conn)
	tiproxy, _, _ = strings.Cut(line, " ")
	return tiproxy, err
}

// An idle tiproxy sleeps, whether a client is connected, one more waits in line and the backend runs, or
// nobody is there. Go's runtime looks around once a minute by itself, so that in 25 seconds without any
// other work there must be ten of complete silence.
func TestIdleTiproxyMakesNoSystemCall(t *testing.T) {
	backend := []string{"--", self, "backend", "echo"}
	t.Run("with quiet clients", func(t *testing.T) {
		t.Parallel()
		args := []string{"--listen", "127.0.0.1:4010", "--dest", "127.0.0.1:3010", "--control", t.TempDir() + "/control.sock"}
		p := start(t, "127.0.0.1:4010", append(append(args, backend...), "127.0.0.1:3010")...)
		conn := dial(t, "tcp", "127.0.0.1:4010")
		say(t, conn, "hello")
		hear(t, conn)
		dial(t, "tcp", "127.0.0.1:4010")
		mustBeSilent(t, p)
	})
	t.Run("after the backend has stopped", func(t *testing.T) {
		t.Parallel()
		control := t.TempDir() + "/control.sock"
		args := []string{"--listen", "127.0.0.1:4011", "--dest", "127.0.0.1:3011", "--idle", "0", "--control", control}
		p := start(t, "127.0.0.1:4011", append(append(args, backend...), "127.0.0.1:3011")...)
		conn := dial(t, "tcp", "127.0.0.1:4011")
		say(t, conn, "hello")
		hear(t, conn)
		conn.Close()
		eventually(t, "the backend is stopped", func() bool {
			return askStatus(t, "--control", control).Backend.State == "stopped"
		})
		mustBeSilent(t, p)
	})
}

// mustBeSilent traces the system calls of all threads for 25 seconds and demands ten without one.
func mustBeSilent(t *testing.T, p *byHand) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("timeout", "--signal=INT", "25", "strace", "-f", "-ttt", "-o", trace, "-p", strconv.Itoa(p.cmd.Process.Pid))
	begin := time.Now()
	var exit *exec.ExitError
	if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 124 {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	silence, last := time.Duration(0), begin
	for line := range strings.Lines(string(text) + "0 " + stamp(time.Now())) {
		seconds, err := strconv.ParseFloat(strings.Fields(line)[1], 64)
		if err != nil {
			t.Fatalf("no time in %q: %v", line, err)
		}
		at := time.UnixMicro(int64(seconds * 1e6))
		silence, last = max(silence, at.Sub(last)), at
	}
	if silence < 10*time.Second {
		t.Errorf("the longest silence in %v was %v:\n%s", time.Since(begin), silence, text)
	}
}

// stamp writes a time as strace -ttt does.
func stamp(at time.Time) string {
	return fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000)
}
