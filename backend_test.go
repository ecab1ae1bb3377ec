package main_test

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The shape of the on-demand proxy's command line: --exec a name, its arguments
// behind --.
func TestExecWithWorkdir(t *testing.T) {
	t.Parallel()
	dir, port := shortDir(t), freePort()
	p := launch(t, prepare(dir, "tiproxy", []string{
		"--bind", "127.0.0.1:0", "--dest", "127.0.0.1:" + port,
		"--exec", "fakecat", "--workdir", bin, "--", "-l", "-k", "-p", port, "-4", "-v",
	}))
	c := mustConnect(t, p.await(t, `listening at (\S+)$`)[1])
	c.mustTalk(t, "hello")
	where, err := filepath.EvalSymlinks(bin)
	must(t, err)
	p.await(t, `backend: fakecat: listening in `+where+`( |$)`)
}

// A backend that serves one client and ends: nobody but a client may use it up.
func TestOneClientBackend(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "", "-l")
	var pids []int
	for range 3 {
		c := mustConnect(t, addr)
		pids = append(pids, c.mustTalk(t, "hello"))
		c.Close()
		p.await(t, "the backend has ended by itself: exit status 0; the next client starts it again")
	}
	slices.Sort(pids)
	if len(slices.Compact(pids)) != 3 {
		t.Errorf("served by %v, want three processes", pids)
	}
}

func TestKilledBackendWithClientsInLine(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "", "-l", "-k")
	inside := mustConnect(t, addr)
	pid := inside.mustTalk(t, "hello")
	var line []*client
	for range 3 {
		c := mustConnect(t, addr)
		_, err := c.Write([]byte("waiting\n"))
		must(t, err)
		line = append(line, c)
	}
	p.awaitStatus(t, "three in line", func(s status) bool { return s.Gate.Queued == 3 })
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	inside.mustBeEnded(t) // and it does not close: its slot is not its own any more
	for _, c := range line {
		next, err := c.hear("waiting")
		must(t, err)
		if next == pid {
			t.Errorf("served by the dead process %d", pid)
		}
		c.Close()
	}
	p.await(t, "the backend has ended unasked: signal: killed")
}

// A command that cannot be executed: said with its path, each client is sent
// away when its patience ends, and tiproxy lives on.
func TestCommandThatDoesNotExist(t *testing.T) {
	t.Parallel()
	p := launch(t, prepare(shortDir(t), "tiproxy", []string{
		"--listen", "127.0.0.1:0", "--dest", "auto", "--start", "300ms", "--", "/nonexistent/backend",
	}))
	addr := p.await(t, `listening at (\S+)$`)[1]
	for range 2 {
		began := time.Now()
		mustConnect(t, addr).mustBeEnded(t)
		if waited := time.Since(began); waited < 300*time.Millisecond {
			t.Errorf("the client was sent away after %v, want the time of --start", waited)
		}
		p.await(t, `not served: the backend was not ready within 300ms \(StartTimeoutSec=, --start\)`)
	}
	const report = "cannot start the backend: cannot execute /nonexistent/backend: no such file or directory"
	if log := strings.Join(p.seen, "\n"); !strings.Contains(log, report) {
		t.Errorf("the log has no line %q:\n%s", report, log)
	}
	p.signal(t, syscall.SIGTERM)
	p.mustEnd(t)
}
