//go:build e2e

package e2e

import (
	"strconv"
	"strings"
	"testing"
)

// Every command that looks at a service or acts on it, for the service itself and for an instance by its
// name, as an administrator types it.
func TestEachCommandAgainstAService(t *testing.T) {
	for _, c := range []struct{ unit, conf, name, network, address string }{
		{"tiproxy", dropIn, "", "tcp", "127.0.0.1:4000"},
		{"tiproxy@shop", "/etc/tiproxy/shop.conf", "shop", "unix", "/run/tiproxy@shop.sock"},
	} {
		t.Run(c.unit, func(t *testing.T) {
			eachCommand(t, enable(t, c.unit, map[string]string{c.conf: who}), c.name, c.network, c.address)
		})
	}
}

func eachCommand(t *testing.T, u *unit, name, network, address string) {
	tiproxy := func(command string, words ...string) string {
		t.Helper()
		return output(t, "tiproxy", append(append([]string{command}, strings.Fields(name)...), words...)...)
	}
	inside := dial(t, network, address)
	hear(t, inside)
	waiting := dial(t, network, address)
	eventually(t, "a client waits", func() bool { return u.status().Gate.Queued == 1 })
	// The number of the only one that a list has, beneath its heads; the line tells positions first.
	only := func(list string, column int) string {
		t.Helper()
		rows := strings.Split(strings.TrimSpace(tiproxy(list)), "\n")
		if len(rows) != 2 {
			t.Fatalf("%s lists %q, wanted one", list, rows)
		}
		return strings.Fields(rows[1])[column]
	}
	first, second := only("sessions", 0), only("queue", 1)
	if before, err := strconv.Atoi(first); err != nil || strconv.Itoa(before+1) != second {
		t.Errorf("the sessions have the numbers %q and %q", first, second)
	}
	if text := tiproxy("status"); !mentions(text, "sessions", "1 of at most 1", "1 waiting") || !mentions(text, "backend", "ready") {
		t.Errorf("the status is\n%s", text)
	}

	tiproxy("set", "MaxConnections=2")
	hear(t, waiting)
	tiproxy("drain")
	held := dial(t, network, address)
	eventually(t, "nobody is let in", func() bool { return u.status().Gate.Queued == 1 })
	tiproxy("kick", first)
	if _, err := readLine(inside); err == nil {
		t.Error("who was kicked still hears something")
	}
	eventually(t, "the slot is free, and nobody gets it", func() bool {
		gate := u.status().Gate
		return gate.Active == 1 && gate.Queued == 1
	})
	tiproxy("resume")
	hear(t, held)

	old := u.status().Backend.PID
	tiproxy("restart", "--now")
	waitForClose(t, waiting)
	waitForClose(t, held)
	hear(t, dial(t, network, address))
	if s := u.status(); s.Backend.PID == old || s.Backend.Starts != 2 {
		t.Errorf("after the restart: %+v, process %d before", s.Backend, old)
	}
}
