//go:build e2e

package e2e

import (
	"fmt"
	"syscall"
	"testing"
)

// asRoot lets tiproxy manage units.
var asRoot = map[string]string{"/etc/systemd/system/tiproxy.service.d/root.conf": "[Service]\nUser=root\n"}

// manage enables a tiproxy that may manage units.
func manage(t *testing.T, conf string) *unit {
	t.Helper()
	files := map[string]string{dropIn: conf}
	for path, text := range asRoot {
		files[path] = text
	}
	return enable(t, "tiproxy", files)
}

// Debian's mariadb.service, as it is: not enabled, and so not running until a client comes.
func TestUnitOfMariaDBRunsOnDemand(t *testing.T) {
	prepareMariaDB(t)
	unmask(t, "mariadb.service")
	u := manage(t, `[Backend]
Unit=mariadb.service
Address=127.0.0.1:3306
IdleStopSec=2
[Gate]
MaxConnections=0
[Service]
IdleExitSec=4
`)
	for round := range 2 {
		mustAnswer(t, "on demand")
		killed := u.status().Backend.PID
		if group := cgroupOf(t, killed); group != "/system.slice/mariadb.service" {
			t.Errorf("round %d: the backend %s lives in %s, wanted the unit's own cgroup", round, commandOf(killed), group)
		}

		if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the killed process is gone", func() bool { return commandOf(killed) == "" })
		mustAnswer(t, "after a crash")
		if next := u.status().Backend.PID; next == killed || commandOf(next) != "mariadbd" {
			t.Errorf("round %d: the backend is process %d (%s), wanted another mariadbd than %d", round, next, commandOf(next), killed)
		}
		if !mentions(u.journal(), "backend", "signal: killed") {
			t.Errorf("round %d: the journal does not say how the backend ended", round)
		}

		eventually(t, "the idle unit is stopped", func() bool { return stateOf(t, "mariadb.service") == "inactive" })
		if left := pidsOf("mariadbd"); len(left) > 0 {
			t.Errorf("round %d: processes %v are left", round, left)
		}
		u.waitForExit()
	}
}

// The unit runs before anybody comes: it is used as it is, and stopped with tiproxy.
func TestUnitThatRunsAlreadyIsTaken(t *testing.T) {
	prepareMariaDB(t)
	unmask(t, "mariadb.service")
	output(t, "systemctl", "start", "mariadb.service")
	before := pidsOf("mariadbd")
	u := manage(t, "[Backend]\nUnit=mariadb.service\nAddress=127.0.0.1:3306\nIdleStopSec=infinity\n")
	mustAnswer(t, "by a unit that runs already")
	if pid := u.status().Backend.PID; len(before) != 1 || pid != before[0] {
		t.Errorf("the backend is process %d, wanted %v", pid, before)
	}
	output(t, "systemctl", "stop", "tiproxy.service")
	eventually(t, "the unit is stopped with tiproxy", func() bool { return stateOf(t, "mariadb.service") == "inactive" })
}

func TestUnitThatCannotBeStartedIsExplained(t *testing.T) {
	const started = "[Backend]\nAddress=127.0.0.1:3306\nStartTimeoutSec=2\nUnit="
	for name, tt := range map[string]struct {
		files map[string]string
		conf  string
		want  []string
	}{
		"missing":     {asRoot, started + "nosuch.service\n", []string{"nosuch.service", "there is no such unit", "correct Unit="}},
		"masked":      {asRoot, started + "mariadb.service\n", []string{"mariadb.service", "systemctl unmask mariadb.service"}},
		"not allowed": {nil, started + "slow.service\n", []string{"slow.service", "may not manage units", "User=root"}},
		"slow":        {asRoot, started + "slow.service\n", []string{"did not start within 2s", "StartTimeoutSec="}},
		"failing":     {asRoot, started + "failing.service\n", []string{"failing.service did not start: exit status 7", "journalctl -u failing.service"}},
		"no daemon":   {asRoot, started + "short.service\n", []string{"short.service", "has no process", "a service that stays"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{
				dropIn:                                tt.conf,
				"/run/systemd/system/slow.service":    "[Service]\nType=notify\nExecStart=sleep infinity\n",
				"/run/systemd/system/failing.service": "[Service]\nType=oneshot\nExecStart=sh -c 'exit 7'\n",
				"/run/systemd/system/short.service":   "[Service]\nType=oneshot\nExecStart=true\nRemainAfterExit=yes\n",
			}
			for path, text := range tt.files {
				files[path] = text
			}
			u := enable(t, "tiproxy", files)
			waitForClose(t, dial(t, "tcp", "127.0.0.1:4000"))
			eventually(t, fmt.Sprintf("a line of the journal has all of %q", tt.want), func() bool {
				return mentions(u.journal(), append(tt.want, "cannot start the backend")...)
			})
			eventually(t, "the slow unit is not left starting", func() bool { return stateOf(t, "slow.service") == "inactive" })
			u.mustListen()
		})
	}
}

// mustAnswer asks the database behind tiproxy a question.
func mustAnswer(t *testing.T, when string) {
	t.Helper()
	query := []string{"--host=127.0.0.1", "--port=4000", "--user=visitor", "--skip-column-names", "--execute=select 6*7"}
	if answer := output(t, "mariadb", query...); answer != "42" {
		t.Fatalf("%s: the database answers %q, wanted 42", when, answer)
	}
}

// unmask makes a unit of the machine usable for one test; it stays disabled.
func unmask(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() {
		output(t, "systemctl", "stop", name)
		output(t, "systemctl", "mask", "--quiet", name)
	})
	output(t, "systemctl", "unmask", "--quiet", name)
	output(t, "systemctl", "disable", "--quiet", name)
}

// stateOf is ActiveState of a unit.
func stateOf(t *testing.T, name string) string {
	t.Helper()
	return output(t, "systemctl", "show", "--value", "--property=ActiveState", name)
}
