package main_test

import (
	"io"
	"strings"
	"testing"
)

// runStdio starts a tiproxy that runs a shell script for each client.
func runStdio(t *testing.T, flags, script string) (p *process, addr string) {
	t.Helper()
	args := append([]string{"--listen", "127.0.0.1:0", "--mode", "stdio"}, strings.Fields(flags)...)
	p = launch(t, prepare(shortDir(t), "tiproxy", append(args, "--", "/bin/sh", "-c", script)))
	return p, p.await(t, `listening at (\S+)$`)[1]
}

func TestStdioRunsAProgramForEachClient(t *testing.T) {
	p, addr := runStdio(t, "--connections 2", `echo "$$ $REMOTE_ADDR"; echo "here is $$" >&2; read line; echo "$$ $line"`)
	first, second := mustConnect(t, addr), mustConnect(t, addr)
	one, err := first.hear("127.0.0.1")
	must(t, err)
	other, err := second.hear("127.0.0.1")
	must(t, err)
	if one == other {
		t.Errorf("process %d serves both", one)
	}
	p.awaitStatus(t, "two are inside", func(s status) bool {
		return s.Gate.Active == 2 && s.Backend.State == "stdio" && s.Backend.Starts == 2 && s.Backend.PID == 0
	})
	if pid := first.mustTalk(t, "hello"); pid != one {
		t.Errorf("process %d answers, %d greeted", pid, one)
	}
	first.mustBeEnded(t)
	second.mustTalk(t, "bye")
	second.mustBeEnded(t)
	p.await(t, `backend: here is \d+ .*pid=\d+`)
	p.await(t, `served.* pid=\d+`)
}

// As by inetd, what goes wrong is for the client, and not for the log.
func TestStdioWithStderr(t *testing.T) {
	p, addr := runStdio(t, "--mode stdio:stderr", `echo "$$ aside" >&2; read line; echo "$$ $line"`)
	c := mustConnect(t, addr)
	_, err := c.hear("aside")
	must(t, err)
	c.mustTalk(t, "bye")
	c.mustBeEnded(t)
	p.await(t, `served.* pid=\d+`)
	if log := strings.Join(p.seen, "\n"); strings.Contains(log, "aside") {
		t.Errorf("the log has\n%s", log)
	}
}

func TestStdioEndsWithItsTimeLimit(t *testing.T) {
	p, addr := runStdio(t, "--timeout 100ms", "exec /bin/sleep infinity")
	mustConnect(t, addr).mustBeEnded(t)
	p.await(t, "served, and ended: the session took longer than SessionTimeoutSec=")
}

// A command that does not exist is told once, and its clients are closed in order.
func TestStdioWithoutItsCommand(t *testing.T) {
	p := launch(t, prepare(shortDir(t), "tiproxy", []string{"--listen", "127.0.0.1:0", "--mode", "stdio", "--", "/no/such/command"}))
	addr := p.await(t, `listening at (\S+)$`)[1]
	for range 5 {
		c := mustConnect(t, addr)
		if text, err := io.ReadAll(c); len(text) > 0 || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
	p.await(t, "not served: its program was not started: cannot execute /no/such/command: no such file")
	p.awaitStatus(t, "all have been there", func(s status) bool { return s.Gate.Active == 0 && s.Backend.Starts == 0 })
	p.signal(t, 15)
	p.mustEnd(t)
	if told := strings.Count(strings.Join(p.seen, "\n"), "cannot execute"); told != 1 {
		t.Errorf("it was told %d times", told)
	}
}

// What cannot hold in a mode cannot be set while tiproxy runs, either.
func TestStdioRefusesToBeSet(t *testing.T) {
	p, _ := runStdio(t, "", "cat")
	for setting, want := range map[string]string{
		"OnTimeout=reset":  "cannot use [Gate] OnTimeout= with Mode=stdio",
		"MaxConnections=3": "",
	} {
		out, err := prepare(p.cmd.Dir, "tiproxy", []string{"set", setting}).CombinedOutput()
		if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
			t.Errorf("set %s: %v, %s", setting, err, out)
		}
	}
}
