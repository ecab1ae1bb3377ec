//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// With a control socket of systemd's a look wakes tiproxy, and no backend; and it does so again after
// tiproxy has gone.
func TestStatusWakesTiproxyButNoBackend(t *testing.T) {
	for _, c := range []struct{ unit, control, conf, instance string }{
		{"tiproxy", "tiproxy-control.socket", dropIn, ""},
		{"tiproxy@shop", "tiproxy-control@shop.socket", "/etc/tiproxy/shop.conf", "shop"},
	} {
		u := enable(t, c.unit, map[string]string{c.conf: who + "[Service]\nIdleExitSec=1\n"})
		open(t, c.control)
		for round := range 2 {
			s := askStatus(t, strings.Fields(c.instance)...)
			if s.Backend.State != "stopped" || s.Backend.Starts != 0 {
				t.Errorf("%s, round %d: after a look the backend is %+v", c.unit, round, s.Backend)
			}
			u.waitForExit()
			file, err := os.Stat("/run/" + c.unit + "/control.sock")
			if err != nil || file.Mode() != os.ModeSocket|0o600 {
				t.Fatalf("%s, round %d: its control socket is %v, %v", c.unit, round, file, err)
			}
		}
	}
}

// open has systemd listen at one more socket until the test ends.
func open(t *testing.T, socket string) {
	t.Helper()
	output(t, "systemctl", "start", socket)
	t.Cleanup(func() { output(t, "systemctl", "stop", socket) })
}

// The group of ControlGroup= may ask and steer, and nobody else.
func TestControlGroupMayAsk(t *testing.T) {
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.service.d/group.conf": "[Service]\nSupplementaryGroups=games\n",
		dropIn: who + "[Service]\nControlGroup=games\n",
	})
	hear(t, dial(t, "tcp", "127.0.0.1:4000"))
	waiting := dial(t, "tcp", "127.0.0.1:4000")
	eventually(t, "a client waits", func() bool { return u.status().Gate.Queued == 1 })
	as := func(group string, words ...string) *exec.Cmd {
		return exec.Command("setpriv", append([]string{"--reuid=nobody", "--regid=" + group, "--clear-groups", "tiproxy"}, words...)...)
	}
	if out, err := as("nogroup", "status").CombinedOutput(); err == nil || !mentions(string(out), "only root", "ControlGroup=") {
		t.Errorf("one of another group: %v, %s", err, out)
	}
	if out, err := as("games", "set", "MaxConnections=2").CombinedOutput(); err != nil {
		t.Errorf("one of the group: %v, %s", err, out)
	}
	hear(t, waiting)
}

// Prometheus has a socket of its own, through which nobody steers.
func TestMetricsOverASocketOfTheirOwn(t *testing.T) {
	const metrics = "/run/systemd/system/tiproxy-metrics.socket"
	u := enable(t, "tiproxy", map[string]string{
		metrics: "[Socket]\nListenStream=127.0.0.1:9750\nFileDescriptorName=metrics\nService=tiproxy.service\n",
		dropIn:  who,
	})
	open(t, "tiproxy-metrics.socket")
	client := http.Client{Timeout: patience}
	for path, want := range map[string]string{
		"/metrics":   `(?m)^tiproxy_backend_starts_total 0$`,
		"/v1/status": `there is nothing of that name here; ask for one of /metrics`,
	} {
		response, err := client.Get("http://127.0.0.1:9750" + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !regexp.MustCompile(want).Match(text) {
			t.Errorf("%s answers %s, %v, wanted %s", path, text, err, want)
		}
	}
	hear(t, dial(t, "tcp", "127.0.0.1:4000"))
	if starts := u.status().Backend.Starts; starts != 1 {
		t.Errorf("a client made %d starts, wanted 1", starts)
	}
}

// systemctl status has a sentence that a person understands.
func TestServiceTellsSystemdHowItDoes(t *testing.T) {
	u := configure(t, who)
	hear(t, dial(t, "tcp", "127.0.0.1:4000"))
	dial(t, "tcp", "127.0.0.1:4000")
	want := regexp.MustCompile(`^ready · 1 inside, 1 waiting \(.*\) · backend \d+ .*1 served$`)
	eventually(t, "the sentence is "+want.String(), func() bool { return want.MatchString(u.property("service", "StatusText")) })
}

// A tiproxy that stands still is replaced by systemd; one that does not is left alone.
func TestWatchdogOfSystemd(t *testing.T) {
	const limit = 2 * time.Second
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.service.d/watchdog.conf": "[Service]\nWatchdogSec=2\n",
		dropIn: who,
	})
	frozen, _ := tiproxyAndBackend(t, dial(t, "tcp", "127.0.0.1:4000"))
	began := time.Now()
	eventually(t, "a healthy one has outlived WatchdogSec=", func() bool { return time.Since(began) > limit+limit/4 })
	if pid := askStatus(t).PID; pid != frozen {
		t.Fatalf("tiproxy is process %d after %v, wanted %d still", pid, time.Since(began), frozen)
	}
	output(t, "kill", "-STOP", u.property("service", "MainPID"))
	eventually(t, "systemd has started another one", func() bool { return u.property("service", "NRestarts") == "1" })
	if next, _ := tiproxyAndBackend(t, dial(t, "tcp", "127.0.0.1:4000")); next == frozen {
		t.Errorf("process %d serves still", next)
	}
	if !mentions(u.journal(), "Watchdog timeout") {
		t.Error("the journal does not tell why")
	}
}
