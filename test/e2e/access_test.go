//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"testing"
)

// Who may not come in starts nothing, and stands in the journal; who may does, by his user alone.
func TestUsersOfAUnixSocket(t *testing.T) {
	u := enable(t, "tiproxy@shop", map[string]string{
		"/etc/tiproxy/shop.conf": who + "[Access]\nAllowUsers=daemon\n",
	})
	waitForClose(t, dial(t, "unix", "/run/tiproxy@shop.sock"))
	if starts := u.status().Backend.Starts; starts != 0 {
		t.Errorf("a client that was denied made %d starts", starts)
	}
	entry := u.entry("TIPROXY_EVENT", "session-end")
	for field, want := range map[string]string{
		"TIPROXY_OUTCOME": "denied", "TIPROXY_INSTANCE": "shop", "PRIORITY": "4",
		"TIPROXY_REASON": "user 0 stands in neither AllowUsers= nor AllowGroups=",
	} {
		if entry[field] != want {
			t.Errorf("the journal has %s=%v of it, wanted %s", field, entry[field], want)
		}
	}

	cmd := exec.Command("setpriv", "--reuid=daemon", "--clear-groups", "nc.openbsd", "-d", "-U", "/run/tiproxy@shop.sock")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if line, err := readLine(out); err != nil {
		t.Errorf("the user daemon heard %q, %v", line, err)
	}
}

// The address in the header of a trusted proxy is the client's for the rules, for who looks, and for
// the backend, which here echoes all that it got.
func TestProxyHeaderSaysWhoTheClientIs(t *testing.T) {
	u := configure(t, `[Backend]
Exec=`+self+` backend echo 127.0.0.1:3000
Address=127.0.0.1:3000
SendProxy=v1
[Access]
AcceptProxy=127.0.0.1
DenyFrom=192.0.2.66
`)
	for _, from := range []string{"192.0.2.7", "192.0.2.66"} {
		conn := dial(t, "tcp", "127.0.0.1:4000")
		header := fmt.Sprintf("PROXY TCP4 %s 198.51.100.1 4242 443", from)
		say(t, conn, header+"\r\nhello")
		if from == "192.0.2.66" {
			waitForClose(t, conn)
			continue
		}
		if got := hear(t, conn); got != header+"\r" {
			t.Errorf("the backend got %q, wanted %q", got, header)
		}
		if got := hear(t, conn); got != "hello" {
			t.Errorf("behind the header the backend got %q", got)
		}
		if !mentions(output(t, "tiproxy", "sessions"), "192.0.2.7:4242", "relaying") {
			t.Error("tiproxy sessions does not name the client of the header")
		}
		conn.Close()
	}
	if entry := u.entry("TIPROXY_OUTCOME", "denied"); entry["TIPROXY_CLIENT"] != "192.0.2.66:4242" {
		t.Errorf("the journal says of the denied client: %v", entry)
	}

	stranger := dial(t, "tcp", "127.0.0.1:4000")
	say(t, stranger, "GET / HTTP/1.1")
	waitForClose(t, stranger)
	if status := output(t, "tiproxy", "status"); !mentions(status, "so far", " 2 denied") {
		t.Errorf("wanted two clients who were denied:\n%s", status)
	}
}
