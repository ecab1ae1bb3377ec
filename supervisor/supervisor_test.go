package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOneStartForAll(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at})
	var all []*acquiring
	for range 50 {
		all = append(all, st.begin())
	}
	for _, a := range all {
		lease, err := a.await(t)
		if err != nil || lease.Generation() != 1 || len(lease.Addresses()) != 1 || lease.Addresses()[0] != at.Addr() {
			t.Fatalf("lease %+v, error %v", lease, err)
		}
	}
	if n := len(events[LaunchEvent](st)); n != 1 {
		t.Errorf("%d launches, want 1", n)
	}
}

func TestIdleStopAndRestart(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at, IdleStop: time.Nanosecond})
	first, second := st.acquire(), st.acquire()
	first.Release()
	first.Release() // does nothing
	status := st.Status()
	if status.State != Ready || status.PID == 0 || status.Starts != 1 || st.Memory() == 0 || status.LastExit != "" || time.Since(status.Since) > patience {
		t.Errorf("with a lease out: %+v", status)
	}
	second.Release()
	exit := await(st, func(ExitEvent) bool { return true })
	if !exit.Wanted || exit.Retry != 0 || exit.Uptime <= 0 || exit.Status != "signal: terminated" || exit.PID != status.PID {
		t.Errorf("%+v", exit)
	}
	if s := st.Status(); s.State != Stopped || s.PID != 0 || st.Memory() != 0 || s.LastExit != exit.Status {
		t.Errorf("after the stop: %+v", s)
	}
	lease := st.acquire()
	if s := st.Status(); lease.Generation() != 2 || s.State != Ready || s.Starts != 2 {
		t.Errorf("generation %d, %+v", lease.Generation(), s)
	}
	want := "Launch Ready Stop Exit Launch Ready"
	if got := st.order(); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestNothingIsStartedForOneWhoHasLeft(t *testing.T) {
	st := open(t, Config{Command: play("stay"), Address: somewhere(), Ready: ReadyNone})
	if _, err := st.Acquire(expired); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if s := st.Status(); s.State != Stopped {
		t.Errorf("%s, want stopped", s.State)
	}
}

func TestExternal(t *testing.T) {
	st := open(t, Config{Address: name("127.0.0.1:3000")})
	lease := st.acquire()
	lease.Connected()
	lease.Release()
	if s := st.Status(); lease.Addresses()[0].String() != "127.0.0.1:3000" || s.State != External {
		t.Errorf("%v, %s", lease.Addresses(), s.State)
	}
}

func TestConfigThatContradictsItself(t *testing.T) {
	for _, cfg := range []Config{
		{Command: play("stay")},
		{Auto: true},
		{Address: name("4000"), Ready: "perhaps"},
	} {
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "cannot supervise: ") {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
}

func TestClientsOfACrashedBackendAreServedByTheNext(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at})
	for range 3 {
		st.acquire()
	}
	killed := time.Now()
	signalTo(t, st.Status().PID, unix.SIGKILL)
	exit := await(st, func(ExitEvent) bool { return true })
	if took := time.Since(killed); took > time.Second {
		t.Errorf("the end was noticed after %v", took)
	}
	if exit.Wanted || exit.Status != "signal: killed" || exit.Retry == 0 || exit.Served {
		t.Errorf("%+v", exit)
	}
	if lease := st.acquire(); lease.Generation() != 2 {
		t.Errorf("a lease on generation %d, want 2", lease.Generation())
	}
}

func TestCrashWhileStartingKeepsThoseWhoWait(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("pid=awaits", "await", "listen="+at.String(), "stay"), Address: at})
	first, second := st.begin(), st.begin()
	signalTo(t, number(st.hears("awaits")), unix.SIGKILL)
	fail := await(st, func(FailEvent) bool { return true })
	if text := fail.Err.Error(); text != "it ended before it was ready: signal: killed" || fail.Retry == 0 {
		t.Errorf("%q, retry %v", text, fail.Retry)
	}
	next := await(st, func(e OutputEvent) bool { return e.Generation == 2 })
	signalTo(t, next.PID, unix.SIGUSR1)
	for _, a := range []*acquiring{first, second} {
		if lease, err := a.await(t); err != nil || lease.Generation() != 2 {
			t.Errorf("lease %+v, error %v", lease, err)
		}
	}
}

func TestBackendOfOneClientIsNotAFailure(t *testing.T) {
	st := open(t, Config{Command: play("pid=awaits", "await", "exit=0"), Address: somewhere(), Ready: ReadyNone})
	st.acquire().Connected()
	signalTo(t, number(st.hears("awaits")), unix.SIGUSR1)
	exit := await(st, func(ExitEvent) bool { return true })
	if !exit.Served || exit.Retry != 0 {
		t.Errorf("%+v", exit)
	}
}
