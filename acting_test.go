package main_test

import (
	"fmt"
	"regexp"
	"testing"
)

// mustAct has a command succeed that says this.
func (p *process) mustAct(t *testing.T, says string, args ...string) {
	t.Helper()
	stdout, stderr, status := steer(t, p.cmd.Dir, args...)
	if status != 0 || !regexp.MustCompile(says).MatchString(stdout) {
		t.Errorf("%s: status %d, %q, %q; want a match of %s", args, status, stdout, stderr, says)
	}
}

// mustRefuse has a command fail with these words, and nothing else.
func (p *process) mustRefuse(t *testing.T, words string, args ...string) {
	t.Helper()
	stdout, stderr, status := steer(t, p.cmd.Dir, args...)
	if want := "tiproxy: " + words + "\n"; status != 1 || stdout != "" || stderr != want {
		t.Errorf("%s: status %d, %q, %q; want %q", args, status, stdout, stderr, want)
	}
}

// queued waits until so many stand in line.
func (p *process) queued(t *testing.T, number int) {
	t.Helper()
	p.awaitStatus(t, fmt.Sprint(number, " in line"), func(s status) bool { return s.Gate.Queued == number })
}

// The line moves up when the limit rises, when a session is kicked, and not
// while it is drained.
func TestSteeringTheLine(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "", "-l", "-k")
	p.mustAct(t, `^nobody waits\n$`, "queue")
	p.mustAct(t, `^nobody is inside\n$`, "sessions")
	var all [4]*client
	for i := range all {
		all[i] = mustConnect(t, addr)
		p.awaitStatus(t, "it has come", func(s status) bool { return s.Gate.Active+s.Gate.Queued == i+1 })
	}
	who := func(i int) string { return regexp.QuoteMeta(all[i].LocalAddr().String()) }
	p.mustAct(t, `(?m)^ +1  `+who(0)+` .* (connecting|relaying) `, "sessions")
	p.mustAct(t, fmt.Sprintf(`(?m)^1 +2  %s .*\n2 +3  %s .*\n3 +4  %s .*\n\z`, who(1), who(2), who(3)), "queue")

	p.mustAct(t, `^MaxConnections=2 until tiproxy exits or reloads`, "set", "MaxConnections=2")
	all[1].mustTalk(t, "a second place")
	p.mustRefuse(t, `cannot set MaxConnections=: "many" is not a whole number from 0 on`, "set", "MaxConnections=many")
	p.mustRefuse(t, `cannot set AllowFrom=: "10.0.0.0/33" is no prefix; want a number of bits from 0 to 32 after the slash`, "set", "AllowFrom=10.0.0.0/33")
	p.mustRefuse(t, `cannot set IdleStopSec=: IdleStopSec= counts only from the next start: write it in [Backend] of tiproxy.conf, and restart tiproxy`, "set", "IdleStopSec=3")
	p.mustRefuse(t, `cannot set MaxConections=: no such setting as "MaxConections="; did you mean "MaxConnections="?`, "set", "MaxConections=3")

	p.mustAct(t, `^nobody is let in until it is resumed\n$`, "drain")
	p.mustAct(t, `^session 2 is ended\n$`, "kick", "2")
	all[1].mustBeEnded(t)
	p.await(t, `served, and ended: an administrator wants it \(kick\) .* session=2 `)
	p.mustAct(t, `(?m)^tiproxy .*, paused for (.|\n)*^sessions  1 of at most 2, 2 waiting`, "status")
	p.mustAct(t, `^clients are let in again\n$`, "resume")
	all[2].mustTalk(t, "my turn")

	p.mustAct(t, `^session 4 is ended\n$`, "kick", "4")
	all[3].mustBeEnded(t)
	p.mustRefuse(t, "cannot kick session 4: there is no session 4", "kick", "4")
}

// A restart waits for those inside, or cuts them; who comes meanwhile has the
// next backend.
func TestSteeringTheBackend(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "", "-l", "-k")
	p.mustRefuse(t, "cannot restart the backend: no backend runs: the next client starts one", "restart")
	inside := mustConnect(t, addr)
	first := inside.mustTalk(t, "hello")
	next := mustConnect(t, addr)
	p.queued(t, 1)
	p.mustAct(t, `^the backend will be replaced once those inside are done\n$`, "restart")
	if pid := inside.mustTalk(t, "still here"); pid != first {
		t.Errorf("process %d goes on serving for %d", pid, first)
	}
	inside.Close()
	second := next.mustTalk(t, "a new one")
	last := mustConnect(t, addr)
	p.queued(t, 1)
	p.mustAct(t, `^the backend is being replaced\n$`, "restart", "--now")
	next.mustBeEnded(t)
	third := last.mustTalk(t, "another new one")
	if first == second || second == third {
		t.Errorf("processes %d, %d and %d served, want three", first, second, third)
	}
}
