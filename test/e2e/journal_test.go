//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
)

// entries are what the journal has of tiproxy since enable, in its JSON: a field is text, or a list of
// numbers if it holds control characters.
func (u *unit) entries() (all []map[string]any) {
	u.t.Helper()
	output(u.t, "journalctl", "--sync")
	text := output(u.t, "journalctl", "--identifier=tiproxy", "--output=json", "--all", "--after-cursor="+u.started)
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		var entry map[string]any
		switch err := decoder.Decode(&entry); err {
		case nil:
			all = append(all, entry)
		case io.EOF:
			return all
		default:
			u.t.Fatalf("%v in %s", err, text)
		}
	}
}

// entry waits for one that has this value in a field; there may be no other.
func (u *unit) entry(field, value string) map[string]any {
	u.t.Helper()
	var all []map[string]any
	eventually(u.t, "the journal has "+field+"="+value, func() bool {
		all = slices.DeleteFunc(u.entries(), func(e map[string]any) bool { return e[field] != value })
		return len(all) > 0
	})
	if len(all) != 1 {
		u.t.Fatalf("%d entries of the journal have %s=%s, wanted 1", len(all), field, value)
	}
	return all[0]
}

// What an administrator asks the journal for is in fields, under names and IDs that stay.
func TestJournalHasTheFieldsOfASession(t *testing.T) {
	u := configure(t, `[Backend]
Exec=/bin/sh -c "echo '<4>the disk is nearly full'; exec `+self+` backend echo 127.0.0.1:3000"
Address=127.0.0.1:3000
IdleStopSec=0
[Service]
IdleExitSec=1
`)
	conn := dial(t, "tcp", "127.0.0.1:4000")
	say(t, conn, "hello")
	hear(t, conn)
	address := conn.LocalAddr().String()
	conn.Close()
	u.waitForExit()

	for field, want := range map[string]string{
		"_SYSTEMD_UNIT":     "tiproxy.service",
		"_TRANSPORT":        "journal",
		"PRIORITY":          "6",
		"MESSAGE_ID":        "83ffbc4a8e624c169a5b204f61ce869d",
		"TIPROXY_CLIENT":    address,
		"TIPROXY_SESSION":   "1",
		"TIPROXY_OUTCOME":   "served",
		"TIPROXY_BYTES_IN":  "6",
		"TIPROXY_BYTES_OUT": "6",
	} {
		if got := u.entry("TIPROXY_EVENT", "session-end")[field]; got != want {
			t.Errorf("the session's entry has %s=%v, wanted %s", field, got, want)
		}
	}
	session := u.entry("TIPROXY_EVENT", "session-end")
	if text, _ := session["MESSAGE"].(string); !strings.HasPrefix(text, "served client="+address+" session=1 ") {
		t.Errorf("a person reads of it: %v", session["MESSAGE"])
	}
	for _, field := range []string{"TIPROXY_WAIT_USEC", "TIPROXY_SERVED_USEC"} {
		if text, _ := session[field].(string); text == "" || strings.Trim(text, "0123456789") != "" {
			t.Errorf("%s=%v, wanted a number of microseconds", field, session[field])
		}
	}
	pid := u.entry("TIPROXY_EVENT", "backend-ready")["TIPROXY_BACKEND_PID"]
	warning := u.entry("TIPROXY_EVENT", "backend-output")
	if warning["MESSAGE"] != "backend: the disk is nearly full" || warning["PRIORITY"] != "4" || warning["TIPROXY_BACKEND_PID"] != pid {
		t.Errorf("the backend's warning is %v", warning)
	}
	exit := u.entry("TIPROXY_EVENT", "backend-exit")
	if exit["TIPROXY_GENERATION"] != "1" || exit["TIPROXY_BACKEND_PID"] != pid || exit["_SYSTEMD_UNIT"] != "tiproxy.service" {
		t.Errorf("the backend's end is %v", exit)
	}
}
