package supervisor

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// goesToTheBackground keeps a backend whose first process names another one
// the main process and ends. That one takes these steps, in a session of its
// own; when it waits it says "awaits" and its pid.
func goesToTheBackground(t *testing.T, cfg Config, steps ...string) *stage {
	t.Helper()
	cfg.Command = play("named="+strings.Join(append(steps, "pid=awaits", "await", "exit=7"), " "), "exit=0")
	cfg.Ready = ReadyNotify
	if cfg.Address.IsZero() {
		cfg.Address = somewhere()
	}
	return open(t, cfg)
}

// firstIsGone waits until the process has ended that we started.
func (st *stage) firstIsGone() {
	st.t.Helper()
	first := await(st, func(LaunchEvent) bool { return true }).PID
	eventually(st.t, "the first process has ended", func() bool { return unix.Kill(first, 0) == unix.ESRCH })
}

func TestDaemonLivesOnAndItsEndIsNoticed(t *testing.T) {
	st := goesToTheBackground(t, Config{})
	st.acquire()
	pid := number(st.hears("awaits"))
	st.firstIsGone()
	if s := st.Status(); s.State != Ready || s.PID != pid {
		t.Errorf("%+v, want process %d", s, pid)
	}
	if st.acquire().Generation() != 1 || st.Memory() == 0 {
		t.Error("it is not taken for alive")
	}
	signalTo(t, pid, unix.SIGUSR1)
	exit := await(st, func(ExitEvent) bool { return true })
	if exit.Wanted || exit.Status != "exit status 7" || exit.Retry == 0 {
		t.Errorf("%+v", exit)
	}
}

func TestDaemonThatIsKilled(t *testing.T) {
	st := goesToTheBackground(t, Config{})
	st.acquire()
	st.firstIsGone()
	signalTo(t, number(st.hears("awaits")), unix.SIGKILL)
	if exit := await(st, func(ExitEvent) bool { return true }); exit.Status != "signal: killed" {
		t.Errorf("%+v", exit)
	}
}

func TestDaemonIsStopped(t *testing.T) {
	st := goesToTheBackground(t, Config{IdleStop: time.Nanosecond, StopTimeout: 50 * time.Millisecond}, "fork=deaf,say=deaf,stay")
	lease := st.acquire()
	pid := number(st.hears("awaits"))
	st.hears("deaf")
	st.firstIsGone()
	lease.Release()
	exit := await(st, func(ExitEvent) bool { return true })
	if !exit.Wanted || exit.Status != "signal: terminated" {
		t.Errorf("%+v", exit)
	}
	if n := len(events[KillEvent](st)); n != 1 { // of its deaf child
		t.Errorf("%d kills, want 1", n)
	}
	if unix.Kill(pid, 0) != unix.ESRCH {
		t.Errorf("process %d is left", pid)
	}
}

// The first process is gone, and that says nothing of the daemon.
func TestSuspicionOfAHealthyDaemonIsForgotten(t *testing.T) {
	st := goesToTheBackground(t, Config{})
	lease := st.acquire()
	st.firstIsGone()
	lease.Suspect()
	if next := st.acquire(); next.Generation() != 1 {
		t.Errorf("a lease on generation %d", next.Generation())
	}
}

func TestDaemonIsHeard(t *testing.T) {
	st := goesToTheBackground(t, Config{NotifyMain: true}, "pid=lives", "await", "notify=STATUS=serves")
	st.acquire()
	st.firstIsGone()
	signalTo(t, number(st.hears("lives")), unix.SIGUSR1)
	await(st, func(e TextEvent) bool { return e.Text == "serves" })
}

// Some daemons name each of their processes on the way.
func TestMainProcessIsNamedTwice(t *testing.T) {
	st := open(t, Config{Command: play("named=pid=middle await named=pid=awaits,await,exit=7 exit=3", "exit=0"), Address: somewhere(), Ready: ReadyNotify})
	st.acquire()
	middle := number(st.hears("middle"))
	st.firstIsGone()
	signalTo(t, middle, unix.SIGUSR1)
	pid := number(st.hears("awaits"))
	eventually(t, "the second one is reaped", func() bool { return unix.Kill(middle, 0) == unix.ESRCH })
	eventually(t, "the third one is known", func() bool { s := st.Status(); return s.State == Ready && s.PID == pid })
	signalTo(t, pid, unix.SIGUSR1)
	if exit := await(st, func(ExitEvent) bool { return true }); exit.Status != "exit status 7" {
		t.Errorf("%+v", exit)
	}
}

func TestStrangerIsNotTheMainProcess(t *testing.T) {
	stranger := outside(t, play("say=here", "stay")...)
	stranger.line(t)
	for _, pid := range []string{strconv.Itoa(stranger.Pid), "1", "0", "-1", "4194305", "", "x"} {
		st := open(t, Config{Command: play("notify=MAINPID="+pid+"\nREADY=1", "stay"), Address: somewhere(), Ready: ReadyNotify})
		st.acquire()
		if told := await(st, func(NotifyEvent) bool { return true }); !strings.Contains(told.Err.Error(), `MAINPID="`+pid+`" on the notify socket is ignored`) {
			t.Errorf("MAINPID=%s: %v", pid, told.Err)
		}
		if s, e := st.Status(), events[LaunchEvent](st)[0]; s.PID != e.PID {
			t.Errorf("MAINPID=%s: %+v", pid, s)
		}
	}
}
