//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// steered enables a tiproxy whose backend is ours.
func steered(t *testing.T, name, conf string, idle string) *unit {
	t.Helper()
	return enable(t, name, map[string]string{
		conf: "[Backend]\nExec=" + self + " backend who 127.0.0.1:3001\nAddress=127.0.0.1:3001\n[Service]\nIdleExitSec=" + idle + "\n",
	})
}

// mustFail runs tiproxy, which must exit with 1 and say this on stderr.
func mustFail(t *testing.T, want string, args ...string) {
	t.Helper()
	cmd := exec.Command("tiproxy", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("%v: %v, %s; wanted status 1 and %q", cmd, err, &stderr, want)
	}
}

// leave puts a socket there that one who was killed has left behind.
func leave(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	output(t, "chmod", "600", path)
	output(t, "chown", "tiproxy:", path, filepath.Dir(path))
}

// A sleeping tiproxy says since when, to anybody; a look does not wake it.
func TestSleepingTiproxySaysSinceWhen(t *testing.T) {
	for _, c := range []struct{ unit, conf, dial, address, instance string }{
		{"tiproxy", dropIn, "tcp", "127.0.0.1:4000", ""},
		{"tiproxy@shop", "/etc/tiproxy/shop.conf", "unix", "/run/tiproxy@shop.sock", "shop"},
	} {
		before := time.Now()
		u := steered(t, c.unit, c.conf, "1")
		leave(t, "/run/"+c.unit+"/control.sock")
		status := func(flags ...string) string {
			t.Helper()
			return output(t, "tiproxy", append(strings.Fields("status "+c.instance), flags...)...)
		}
		since := func() time.Time {
			t.Helper()
			var s struct {
				State string
				Since time.Time
			}
			if err := json.Unmarshal([]byte(status("--json")), &s); err != nil || s.State != "asleep" {
				t.Fatalf("%s: %v, %+v; wanted one that is asleep", c.unit, err, s)
			}
			return s.Since
		}
		first := since()
		if first.Before(before.Add(-time.Second)) || first.After(time.Now()) {
			t.Errorf("%s sleeps since %v, wanted a time after %v", c.unit, first, before)
		}
		want := regexp.MustCompile(`^asleep since (....-..-.. )?\d\d:\d\d:\d\d \([0-9.]+ m?s\): the next client wakes it$`)
		if got := status(); !want.MatchString(got) {
			t.Errorf("%s: %q, wanted %v", c.unit, got, want)
		}
		anybody := append(strings.Fields("--reuid=nobody --clear-groups tiproxy status"), strings.Fields(c.instance)...)
		if got := output(t, "setpriv", anybody...); !want.MatchString(got) {
			t.Errorf("%s, asked by nobody: %q, wanted %v", c.unit, got, want)
		}
		mustFail(t, c.unit+" is asleep since ", strings.Fields("queue "+c.instance)...)
		if state := u.property("service", "ActiveState"); state != "inactive" {
			t.Errorf("after these looks %s.service is %s", c.unit, state)
		}

		conn := dial(t, c.dial, c.address)
		hear(t, conn)
		if got := status(); !strings.HasPrefix(got, "tiproxy ") {
			t.Errorf("%s, awake: %q", c.unit, got)
		}
		conn.Close()
		u.waitForExit()
		if second := since(); !second.After(first) {
			t.Errorf("%s sleeps since %v, wanted a time after %v", c.unit, second, first)
		}
	}
}

func TestTiproxyThatCannotBeWokenIsExplained(t *testing.T) {
	mustFail(t, "tiproxy.socket does not listen; run: systemctl enable --now tiproxy.socket", "status")
	mustFail(t, "tiproxy@nowhere.socket does not listen", "drain", "nowhere")

	u := enable(t, "tiproxy", map[string]string{dropIn: "[Backend]\nNonsense=1\n"})
	dial(t, "tcp", "127.0.0.1:4000")
	eventually(t, "tiproxy.service fails", func() bool { return u.property("service", "SubState") == "auto-restart" })
	mustFail(t, "tiproxy.service fails, and systemd tries again: see journalctl -u tiproxy.service", "status")
}
