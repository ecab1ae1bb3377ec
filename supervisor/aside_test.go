package supervisor

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func always[T Event](T) bool { return true }

func mustLease(t *testing.T, a *acquiring) *Lease {
	t.Helper()
	lease, err := a.await(t)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// hearsTwice waits until the backend has written two lines that begin so.
func (st *stage) hearsTwice(prefix string) {
	st.t.Helper()
	eventually(st.t, "two lines begin with "+prefix, func() bool {
		seen := 0
		for _, e := range events[OutputEvent](st) {
			if strings.HasPrefix(e.Line, prefix) {
				seen++
			}
		}
		return seen >= 2
	})
}

func TestReadyExec(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "ready")
	st := open(t, Config{
		Command: play("pid=runs", "stay"), Address: somewhere(),
		Ready: ReadyExec, ReadyCommand: []string{"/bin/sh", "-c", `echo "asked about $MAINPID"; test -e "$0"`, flag},
	})
	asking := st.begin()
	pid := number(st.hears("runs"))
	if got := number(st.hears("asked about")); got != pid {
		t.Errorf("MAINPID=%d, the child is %d", got, pid)
	}
	st.hearsTwice("asked about")
	if s := st.Status(); s.State != Starting {
		t.Errorf("%s while the command fails", s.State)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(st, always[ReadyEvent])
	mustLease(t, asking).Release()
}

func TestReadyExecThatHangs(t *testing.T) {
	st := open(t, Config{
		Command: play("stay"), Address: somewhere(), StartTimeout: 300 * time.Millisecond,
		Ready: ReadyExec, ReadyCommand: []string{"/bin/sh", "-c", "sleep 1000 & sleep 1000"},
	})
	st.begin()
	if e := await(st, always[FailEvent]); !strings.Contains(e.Err.Error(), "it was not ready within 300ms") {
		t.Errorf("%v", e.Err)
	}
}

func TestReadyLog(t *testing.T) {
	st := open(t, Config{
		Command: play("pid=warming up", "await", "say=ready for connections", "stay"), Address: somewhere(),
		Ready: ReadyLog, ReadyLog: regexp.MustCompile("^ready for"),
	})
	asking := st.begin()
	pid := number(st.hears("warming up"))
	if s := st.Status(); s.State != Starting {
		t.Errorf("%s before the line", s.State)
	}
	signalTo(t, pid, unix.SIGUSR1)
	mustLease(t, asking).Release()
}

func TestReadyFD(t *testing.T) {
	for _, fd := range []string{"3", "4", "200"} {
		t.Run(fd, func(t *testing.T) {
			st := open(t, Config{
				Command: []string{"/bin/bash", "-c", "trap 'echo >&" + fd + "' USR1; printf early >&" + fd + "; echo pid $$; while :; do sleep 0.01; done"},
				Address: somewhere(), Ready: ReadyFD, ReadyFD: number(fd),
			})
			asking := st.begin()
			pid := number(st.hears("pid"))
			if s := st.Status(); s.State != Starting {
				t.Errorf("%s before the newline", s.State)
			}
			signalTo(t, pid, unix.SIGUSR1)
			mustLease(t, asking).Release()
		})
	}
}

func TestReadyDelay(t *testing.T) {
	const delay = 100 * time.Millisecond
	st := open(t, Config{Command: play("stay"), Address: somewhere(), Ready: ReadyNone, ReadyDelay: delay})
	st.acquire().Release()
	if e := await(st, always[ReadyEvent]); e.After < delay {
		t.Errorf("ready after %v", e.After)
	}
}

func TestStopSignal(t *testing.T) {
	st := open(t, Config{
		Command: []string{"/bin/sh", "-c", "trap 'echo interrupted; exit 0' INT; echo set; while :; do sleep 0.01; done"},
		Address: somewhere(), Ready: ReadyLog, ReadyLog: regexp.MustCompile("set"), StopSignal: unix.SIGINT, IdleStop: time.Millisecond,
	})
	st.acquire().Release()
	st.hears("interrupted")
	if e := await(st, always[ExitEvent]); !e.Wanted || e.Status != "exit status 0" {
		t.Errorf("%+v", e)
	}
}

func TestStopCommand(t *testing.T) {
	st := open(t, Config{
		Command: []string{"/bin/sh", "-c", "trap '' TERM; trap 'echo told; exit 0' USR1; echo set; while :; do sleep 0.01; done"},
		Address: somewhere(), Ready: ReadyLog, ReadyLog: regexp.MustCompile("set"), IdleStop: time.Millisecond,
		StopCommand: []string{"/bin/sh", "-c", "echo stopping $MAINPID; kill -USR1 $MAINPID"},
	})
	lease := st.acquire()
	pid := st.Status().PID
	lease.Release()
	if got := number(st.hears("stopping")); got != pid {
		t.Errorf("MAINPID=%d, want %d", got, pid)
	}
	st.hears("told")
	await(st, always[ExitEvent])
}

func TestStopCommandThatHangsOrFails(t *testing.T) {
	for command, want := range map[string]string{"sleep 1000": "", "exit 3": "exit status 3"} {
		t.Run(command, func(t *testing.T) {
			st := open(t, Config{
				Command: play("stay"), Address: somewhere(), Ready: ReadyNone, IdleStop: time.Millisecond,
				StopTimeout: 200 * time.Millisecond, StopCommand: []string{"/bin/sh", "-c", command},
			})
			st.acquire().Release()
			if want != "" {
				if e := await(st, always[NotifyEvent]); !strings.Contains(e.Err.Error(), want) {
					t.Errorf("%v", e.Err)
				}
			}
			if e := await(st, always[ExitEvent]); !e.Wanted {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestAlive(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "ill")
	st := open(t, Config{
		Command: play("stay"), Address: somewhere(), Ready: ReadyNone,
		AliveInterval: 20 * time.Millisecond, AliveCommand: []string{"/bin/sh", "-c", `echo asked; test ! -e "$0"`, flag},
	})
	st.acquire()
	st.hearsTwice("asked")
	if got := st.Status().State; got != Ready {
		t.Errorf("%s while it answers", got)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := await(st, always[ExitEvent]); e.Wanted {
		t.Errorf("%+v", e)
	}
	if e := await(st, always[FailEvent]); !strings.Contains(e.Err.Error(), "did not answer twice in a row") {
		t.Errorf("%v", e.Err)
	}
}
