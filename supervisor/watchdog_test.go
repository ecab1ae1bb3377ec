package supervisor

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// silence is how long a backend of these tests may be silent; it says ping
// twenty times as often, so that a busy machine does not make it late.
const silence = time.Second

// watched keeps a backend with a watchdog that takes these steps once it is ready.
func watched(t *testing.T, steps ...string) *stage {
	t.Helper()
	return open(t, Config{Command: play(append([]string{"notify=READY=1"}, steps...)...),
		Address: somewhere(), Ready: ReadyNotify, Watchdog: silence})
}

// replaced waits until the first generation was stopped as a failed one, and
// answers why.
func (st *stage) replaced() string {
	st.t.Helper()
	reason := st.stopReason(1)
	exit := await(st, func(ExitEvent) bool { return true })
	if fail := await(st, func(FailEvent) bool { return true }); exit.Wanted || exit.Retry == 0 || fail.Err.Error() != reason {
		st.t.Errorf("%+v, %+v", exit, fail)
	}
	if lease := st.acquire(); lease.Generation() != 2 {
		st.t.Errorf("a lease on generation %d", lease.Generation())
	}
	return reason
}

func TestBackendLivesAsLongAsItPings(t *testing.T) {
	st := watched(t, "pid=pings", "ping=50ms", "stay")
	st.acquire()
	st.hears("ping 30") // after one and a half times of its limit
	if n := len(events[StopEvent](st)); n != 0 {
		t.Fatal("stopped, though it pinged")
	}
	signalTo(t, number(st.hears("pings")), unix.SIGUSR1)
	if reason := st.replaced(); reason != "its watchdog was silent for 1s (WatchdogSec=)" {
		t.Errorf("%q", reason)
	}
}

func TestBackendThatNeverPingsIsReplaced(t *testing.T) {
	st := watched(t, "stay")
	st.acquire()
	st.replaced()
	if exit := events[ExitEvent](st)[0]; exit.Uptime < silence {
		t.Errorf("%+v", exit)
	}
}

// The clock runs from READY=1 on, however early the first ping is.
func TestWatchdogWaitsForTheStart(t *testing.T) {
	st := open(t, Config{Command: play("ping=50ms", "slow=1200ms", "notify=READY=1", "ping=50ms"),
		Address: somewhere(), Ready: ReadyNotify, Watchdog: silence})
	a := st.begin()
	st.hears("ping 1")
	launched := await(st, func(LaunchEvent) bool { return true })
	signalTo(t, launched.PID, unix.SIGUSR1) // silent, and not ready
	if _, err := a.await(t); err != nil || a.lease.Generation() != 1 {
		t.Errorf("lease %+v, error %v", a.lease, err)
	}
}

func TestBackendReportsItsOwnFailure(t *testing.T) {
	st := watched(t, "notify=WATCHDOG=trigger", "stay")
	st.acquire()
	if reason := st.replaced(); !strings.Contains(reason, "WATCHDOG=trigger") {
		t.Errorf("%q", reason)
	}
}

func TestBackendSetsItsOwnWatchdog(t *testing.T) {
	st := open(t, Config{Command: play("notify=READY=1\nWATCHDOG_USEC=50000", "stay"), Address: somewhere(), Ready: ReadyNotify})
	st.acquire()
	if reason := st.replaced(); reason != "its watchdog was silent for 50ms (WatchdogSec=)" {
		t.Errorf("%q", reason)
	}
}

// A backend that takes its time to stop is not ill: it has StopTimeout.
func TestStoppingBackendNeedNotPing(t *testing.T) {
	st := open(t, Config{Command: play("catch", "notify=READY=1\nWATCHDOG_USEC=500000", "await", "slow=1s", "exit=0"), Address: somewhere(),
		Ready: ReadyNotify, IdleStop: time.Nanosecond})
	st.acquire().Release()
	exit := await(st, func(ExitEvent) bool { return true })
	if !exit.Wanted || exit.Status != "exit status 0" {
		t.Errorf("%+v", exit)
	}
	if got := st.order(); got != "Launch Ready Stop Exit" {
		t.Errorf("told %q", got)
	}
}

func TestWatchdogInTheEnvironment(t *testing.T) {
	st := open(t, Config{Command: []string{"/bin/sh", "-c", "echo $WATCHDOG_USEC for $WATCHDOG_PID of $$; exec sleep 1000"},
		Address: somewhere(), Ready: ReadyNone, Watchdog: 1500 * time.Millisecond})
	st.acquire()
	words := strings.Fields(st.hears("1500000 for "))
	if len(words) != 3 || words[0] != words[2] {
		t.Errorf("for process %v", words)
	}
}

func TestNoWatchdogInTheEnvironment(t *testing.T) {
	for _, none := range []time.Duration{0, forever} {
		st := open(t, Config{Command: []string{"/bin/sh", "-c", "env; exec sleep 1000"}, Address: somewhere(), Ready: ReadyNone, Watchdog: none})
		st.acquire()
		st.hears("NOTIFY_SOCKET=")
		st.Shutdown(expired)
		for _, e := range events[OutputEvent](st) {
			if strings.HasPrefix(e.Line, "WATCHDOG") {
				t.Error(e.Line)
			}
		}
	}
}

// READY=1 comes again after each reload.
func TestLivenessIsCheckedByOne(t *testing.T) {
	st := open(t, Config{Command: play("notify=READY=1", "notify=READY=1", "notify=READY=1", "barrier", "stay"),
		Address: somewhere(), Ready: ReadyNotify, AliveInterval: time.Hour})
	st.acquire()
	st.hears("past the barrier")
	st.acquire() // answered after what came before it
	eventually(t, "one goroutine checks", func() bool {
		stacks := make([]byte, 1<<20)
		return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("checkAlive(")) == 1
	})
}
