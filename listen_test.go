package main_test

import (
	"strings"
	"testing"
)

// The backend accepts its clients itself; it is woken by the first, and is
// stopped when nobody is connected.
func TestListenWakesABackendThatAccepts(t *testing.T) {
	for name, flags := range map[string]string{"by idleness": "--idle 0", "by itself": "--idle never"} {
		t.Run(name, func(t *testing.T) {
			cat := []string{"--", "fakecat", "-l"}
			if name == "by idleness" {
				cat = append(cat, "-k")
			}
			args := append([]string{"--listen", "127.0.0.1:0", "--mode", "listen"}, strings.Fields(flags)...)
			p := launch(t, prepare(shortDir(t), "tiproxy", append(args, cat...)))
			addr := p.await(t, `listening at (\S+)$`)[1]
			p.awaitStatus(t, "it sleeps", func(s status) bool {
				return s.State == "idle" && s.Backend.State == "stopped" && s.Backend.Starts == 0
			})
			c := mustConnect(t, addr)
			first := c.mustTalk(t, "hello")
			if again := c.mustTalk(t, "again"); again != first {
				t.Errorf("%d and %d serve one client", first, again)
			}
			p.awaitStatus(t, "somebody is there", func(s status) bool { return s.State == "serving" })
			c.Close()
			p.await(t, "the backend has ended")
			if next := mustConnect(t, addr).mustTalk(t, "hello"); next == first {
				t.Errorf("%d serves again", next)
			}
		})
	}
}

func TestListenHasNoGate(t *testing.T) {
	p := launch(t, prepare(shortDir(t), "tiproxy", []string{"--listen", "127.0.0.1:0", "--mode", "listen", "--", "fakecat", "-l"}))
	p.await(t, `listening at (\S+)$`)
	for _, command := range []string{"drain", "resume", "set MaxConnections=3"} {
		out, err := prepare(p.cmd.Dir, "tiproxy", strings.Fields(command)).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "the backend accepts its clients itself") {
			t.Errorf("%s: %v, %s", command, err, out)
		}
	}
	p.signal(t, 15)
	p.mustEnd(t)
}

func TestListenStdinIsForOneSocket(t *testing.T) {
	out, err := prepare(shortDir(t), "tiproxy", []string{"--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--mode", "listen:stdin",
		"--", "fakecat"}).CombinedOutput()
	if err == nil || err.Error() != "exit status 78" || !strings.Contains(string(out), "cannot give the backend 2 sockets as its stdin") {
		t.Errorf("%v: %s", err, out)
	}
}
