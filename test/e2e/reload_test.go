//go:build e2e

package e2e

import (
	"net"
	"os"
	"testing"
)

// A higher limit lets the line in at once; a wrong file keeps what holds, and the journal has its place.
func TestReloadLetsTheLineInAndKeepsTheOldForAWrongFile(t *testing.T) {
	u := configure(t, who+"[Gate]\nMaxConnections=1\n")
	var clients [4]net.Conn
	for i := range clients {
		clients[i] = dial(t, "tcp", "127.0.0.1:4000")
	}
	tiproxy, _ := tiproxyAndBackend(t, clients[0])
	eventually(t, "three clients wait", func() bool { return u.status().Gate.Queued == 3 })

	u.reload(who + "[Gate]\nMaxConnections=2\n")
	if served, _ := tiproxyAndBackend(t, clients[1]); served != tiproxy {
		t.Errorf("process %d serves after the reload, wanted %d", served, tiproxy)
	}
	if reload := u.entry("TIPROXY_EVENT", "reload")["MESSAGE"]; reload != "the configuration was read again: [Gate] MaxConnections= changed" {
		t.Errorf("the journal says of the reload: %v", reload)
	}

	u.reload(who + "[Gate]\nMaxConnections=3\nRate=0/0\n")
	eventually(t, "the journal names the fault and its place", func() bool {
		return mentions(u.journal(), "cannot reload", dropIn+":6:", "Rate=", "the one before stays")
	})
	if gate := u.status().Gate; gate.Active != 2 || gate.Queued != 2 {
		t.Errorf("after a wrong file %d are inside and %d wait, wanted 2 and 2", gate.Active, gate.Queued)
	}
}

// systemd kills the command that reloads when a stop comes upon it, and calls that a failure unless told otherwise.
func TestStopUponAReloadIsNoFailure(t *testing.T) {
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.service.d/slow.conf": "[Service]\nExecReload=\nExecReload=/bin/sleep infinity\n",
		dropIn: who,
	})
	conn := dial(t, "tcp", "127.0.0.1:4000")
	hear(t, conn)
	conn.Close()
	output(t, "systemctl", "reload", "--no-block", "tiproxy.service")
	eventually(t, "it is being reloaded", func() bool { return u.property("service", "SubState") == "reload" })
	output(t, "systemctl", "stop", "tiproxy.service")
	if state := u.property("service", "ActiveState"); state != "inactive" {
		t.Errorf("after a stop that came upon a reload tiproxy.service is %s", state)
	}
}

// reload writes another configuration and has systemd tell tiproxy.
func (u *unit) reload(conf string) {
	u.t.Helper()
	if err := os.WriteFile(dropIn, []byte(conf), 0o644); err != nil {
		u.t.Fatal(err)
	}
	output(u.t, "systemctl", "reload", u.name+".service")
}
