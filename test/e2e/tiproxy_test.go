//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unit is a service of tiproxy and its socket, set up for one test.
type unit struct {
	t       *testing.T
	name    string // "tiproxy", or "tiproxy@shop"
	started string // a cursor: what the journal holds after it belongs to this test
}

// enable installs a configuration and drop-ins of the units, and lets systemd listen. All of it is
// taken back when the test ends, and what the journal has is shown if the test failed.
//
// files maps a path to its text; a path that stands for a drop-in has a folder of its own.
func enable(t *testing.T, name string, files map[string]string) *unit {
	t.Helper()
	u := &unit{t: t, name: name}
	cursor := output(t, "journalctl", "--lines=0", "--show-cursor")
	u.started = strings.TrimPrefix(cursor[strings.Index(cursor, "-- cursor:"):], "-- cursor: ")
	t.Cleanup(func() { u.disable(files) })
	for path, text := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	output(t, "systemctl", "daemon-reload")
	output(t, "systemctl", "enable", "--now", "--quiet", name+".socket")
	return u
}

// configure enables tiproxy.service itself, with one drop-in of its configuration.
func configure(t *testing.T, conf string) *unit {
	t.Helper()
	return enable(t, "tiproxy", map[string]string{dropIn: conf})
}

// dropIn is where tests configure tiproxy.service: the file that the package ships stays as it is.
const dropIn = "/etc/tiproxy/tiproxy.conf.d/e2e.conf"

func (u *unit) disable(files map[string]string) {
	output(u.t, "systemctl", "disable", "--now", "--quiet", u.name+".socket")
	output(u.t, "systemctl", "stop", u.name+".service")
	if u.t.Failed() {
		u.t.Logf("the journal of %s:\n%s", u.name, u.journal())
	}
	for path := range files {
		os.Remove(path)
	}
	exec.Command("systemctl", "reset-failed", u.name+".socket", u.name+".service").Run()
	output(u.t, "systemctl", "daemon-reload")
}

// journal is what systemd, tiproxy and the backend wrote for this service since enable.
func (u *unit) journal() string {
	u.t.Helper()
	output(u.t, "journalctl", "--sync")
	return output(u.t, "journalctl", "--quiet", "--output=cat", "--no-pager",
		"--after-cursor="+u.started, "--unit="+u.name+".service", "--unit="+u.name+".socket")
}

// property is one of `systemctl show`, of the service or the socket.
func (u *unit) property(kind, property string) string {
	u.t.Helper()
	return output(u.t, "systemctl", "show", "--value", "--property="+property, u.name+"."+kind)
}

// waitForExit waits until tiproxy has gone of its own accord; systemd must still be listening then.
func (u *unit) waitForExit() {
	u.t.Helper()
	eventually(u.t, u.name+".service is inactive", func() bool {
		return u.property("service", "ActiveState") == "inactive"
	})
	u.mustListen()
}

// mustListen demands that systemd still holds the socket.
func (u *unit) mustListen() {
	u.t.Helper()
	if state := u.property("socket", "ActiveState"); state != "active" {
		u.t.Fatalf("%s.socket is %s, wanted active", u.name, state)
	}
}

// status asks the running tiproxy for its status.
func (u *unit) status() status {
	u.t.Helper()
	return askStatus(u.t, "--control", "/run/"+u.name+"/control.sock")
}

// status is what these tests read of `tiproxy status --json`.
type status struct {
	PID  int `json:"pid"`
	Gate struct {
		Active int `json:"active"`
		Queued int `json:"queued"`
	} `json:"gate"`
	Backend struct {
		State  string `json:"state"`
		PID    int    `json:"pid"`
		Starts int    `json:"starts"`
	} `json:"backend"`
}

func askStatus(t *testing.T, flags ...string) status {
	t.Helper()
	var s status
	text := output(t, "tiproxy", append([]string{"status", "--json"}, flags...)...)
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return s
}

// byHand is a tiproxy that an administrator started in a terminal.
type byHand struct {
	t   *testing.T
	cmd *exec.Cmd
	log *transcript // its stdout and stderr
}

// start runs tiproxy with these arguments and returns when it listens at the address. When the test
// ends it is asked to stop, and must then exit with 0.
func start(t *testing.T, address string, args ...string) *byHand {
	t.Helper()
	p := &byHand{t: t, cmd: exec.Command("tiproxy", args...), log: new(transcript)}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	// A grandchild may hold the pipe of its log open.
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	_, port, _ := strings.Cut(address, ":")
	eventually(t, "tiproxy listens at "+address, func() bool {
		return strings.Contains(output(t, "ss", "-Hltnp", "sport = :"+port), fmt.Sprintf("pid=%d,", p.cmd.Process.Pid))
	})
	return p
}

func (p *byHand) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	defer time.AfterFunc(patience, func() { p.cmd.Process.Kill() }).Stop()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("tiproxy ended with: %v", err)
	}
	if p.t.Failed() {
		p.t.Logf("tiproxy wrote:\n%s", p.log)
	}
}
