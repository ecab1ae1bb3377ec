//go:build e2e

package e2e

import (
	"regexp"
	"slices"
	"syscall"
	"testing"
)

// telling is a hook that tells what it was told, and where it lives.
const telling = `env | sed -n '/^\(TIPROXY_\(SESSION\|GENERATION\|REASON\)\|REMOTE_ADDR\|LISTEN_\|NOTIFY_\)/p' | sort | tr '\n' ' '
sed -n s/^0:://p /proc/self/cgroup
`

// told waits for what a hook told, once for each time that it ran.
func (u *unit) told(hook string, times int) (lines []string) {
	u.t.Helper()
	eventually(u.t, hook+"= has run", func() bool {
		lines = nil
		for _, e := range u.entries() {
			if e["TIPROXY_EVENT"] == "hook-output" && e["TIPROXY_HOOK"] == hook {
				lines = append(lines, e["MESSAGE"].(string))
			}
		}
		return len(lines) >= times
	})
	return lines
}

// Each hook knows what it is about, nothing of systemd's sockets, and lives beside the backend.
func TestHooksAreToldWhatHappens(t *testing.T) {
	const run = "=/bin/sh /etc/tiproxy-e2e/telling\n"
	u := enable(t, "tiproxy", map[string]string{
		"/etc/tiproxy-e2e/telling": telling,
		dropIn:                     who + "IdleStopSec=0\n[Hooks]\nBeforeNext" + run + "OnStart" + run + "OnReady" + run + "OnStop" + run + "OnCrash" + run,
	})
	conn := dial(t, "tcp", "127.0.0.1:4000")
	_, backend := tiproxyAndBackend(t, conn)
	if err := syscall.Kill(backend, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitForClose(t, conn)
	u.told("OnCrash", 1)
	conn = dial(t, "tcp", "127.0.0.1:4000")
	tiproxyAndBackend(t, conn)
	conn.Close()
	u.told("OnStop", 1)

	const place = `/system\.slice/tiproxy\.service/command-\d+$`
	for hook, want := range map[string][]string{
		"BeforeNext": {`REMOTE_ADDR=127\.0\.0\.1 TIPROXY_SESSION=1 `, `REMOTE_ADDR=127\.0\.0\.1 TIPROXY_GENERATION=1 TIPROXY_SESSION=2 `},
		"OnStart":    {`TIPROXY_GENERATION=1 TIPROXY_REASON=a client came `, `TIPROXY_GENERATION=2 TIPROXY_REASON=a client came `},
		"OnReady":    {`TIPROXY_GENERATION=1 TIPROXY_REASON=ready after \S+ `, `TIPROXY_GENERATION=2 TIPROXY_REASON=ready after \S+ `},
		"OnCrash":    {`TIPROXY_GENERATION=1 TIPROXY_REASON=signal: killed `},
		"OnStop":     {`TIPROXY_GENERATION=2 TIPROXY_REASON=signal: terminated `},
	} {
		lines := u.told(hook, len(want))
		same := slices.EqualFunc(lines, want, func(line, want string) bool {
			return regexp.MustCompile("^hook " + hook + "=: " + want + place).MatchString(line)
		})
		if !same {
			t.Errorf("%s= told\n%q, wanted\n%q and %s", hook, lines, want, place)
		}
	}
}

// A hook that hangs costs its client HookTimeoutSec= and no more, and nothing of it is left.
func TestHangingHookIsKilledWithItsTree(t *testing.T) {
	u := enable(t, "tiproxy", map[string]string{
		"/etc/tiproxy-e2e/hanging": "trap '' TERM\nsleep 1003 &\nsetsid sleep 1004 &\nwait\n",
		dropIn:                     who + "[Hooks]\nBeforeNext=/bin/sh /etc/tiproxy-e2e/hanging\nHookTimeoutSec=300ms\n",
	})
	tiproxy, backend := tiproxyAndBackend(t, dial(t, "tcp", "127.0.0.1:4000"))
	left := processesOf(t, u.property("service", "ControlGroup"))
	slices.Sort(left)
	want := []int{tiproxy, backend}
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("the service holds processes %v, wanted tiproxy and its backend alone: %v", left, want)
	}
	entry := u.entry("TIPROXY_EVENT", "hook-end")
	if entry["TIPROXY_HOOK"] != "BeforeNext" || entry["PRIORITY"] != "4" ||
		entry["MESSAGE"] != "BeforeNext=/bin/sh took longer than HookTimeoutSec=300ms and was killed" {
		t.Errorf("the journal says of it: %v", entry)
	}
}
