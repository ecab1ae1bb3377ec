package supervisor

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shutsDown shuts down, and demands that nobody is served any more.
func (st *stage) shutsDown() {
	st.t.Helper()
	soon(st.t, "Shutdown returns", func() { st.Shutdown(st.t.Context()) })
	if s := st.Status(); s.State != Stopped || s.PID != 0 {
		st.t.Errorf("%+v", s)
	}
	starts := st.Status().Starts
	if _, err := st.Acquire(st.t.Context()); !errors.Is(err, ErrShutdown) {
		st.t.Errorf("Acquire after Shutdown: %v", err)
	}
	st.leavesNothing()
	if st.Status().Starts != starts {
		st.t.Error("started after Shutdown")
	}
}

func TestShutdownWhenStopped(t *testing.T) {
	st := open(t, Config{Command: play("stay"), Address: somewhere()})
	st.shutsDown()
	st.shutsDown()
}

func TestShutdownWhileStarting(t *testing.T) {
	st := open(t, Config{Command: play("say=here", "stay"), Address: somewhere()})
	a, b := st.begin(), st.begin()
	st.hears("here")
	st.shutsDown()
	for _, a := range []*acquiring{a, b} {
		if _, err := a.await(t); !errors.Is(err, ErrShutdown) {
			t.Errorf("Acquire: %v", err)
		}
	}
	if got := st.order(); got != "Launch Stop Exit" {
		t.Errorf("told %q", got)
	}
}

func TestShutdownWhileReady(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at})
	lease := st.acquire()
	st.shutsDown()
	lease.Release()
	if exit := events[ExitEvent](st)[0]; !exit.Wanted || exit.Retry != 0 {
		t.Errorf("%+v", exit)
	}
}

func TestShutdownInBackoff(t *testing.T) {
	st := open(t, Config{Command: []string{"/missing"}, Address: somewhere()})
	a := st.begin()
	await(st, func(FailEvent) bool { return true })
	st.shutsDown()
	if _, err := a.await(t); !errors.Is(err, ErrShutdown) {
		t.Errorf("Acquire: %v", err)
	}
}

func TestShutdownByMany(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at})
	st.acquire()
	var all sync.WaitGroup
	for range 5 {
		all.Go(st.shutsDown)
	}
	all.Wait()
	if n := len(events[StopEvent](st)); n != 1 {
		t.Errorf("told to stop %d times", n)
	}
}

func TestShutdownWithoutTimeKills(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("deaf", "fork=deaf pid=child stay", "listen="+at.String(), "stay"), Address: at, StopTimeout: time.Hour})
	st.acquire()
	pid := number(st.hears("child"))
	soon(t, "Shutdown returns", func() { st.Shutdown(expired) })
	if unix.Kill(pid, 0) != unix.ESRCH {
		t.Errorf("process %d is left", pid)
	}
	if exit := events[ExitEvent](st)[0]; exit.Status != "signal: killed" {
		t.Errorf("%+v", exit)
	}
}
