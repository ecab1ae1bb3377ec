package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/supervisor"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	// With -race the supervisor's keepers would sleep for a second before they exit.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(m.Run())
}

// script is a command of the shell's.
func script(text string) []string { return []string{"/bin/sh", "-c", text} }

// real makes a Set whose commands are processes, and a place for what is told.
func real(commands map[Kind][]string, limit time.Duration) (*Set, <-chan Event) {
	told := make(chan Event, 100)
	return New(Config{Commands: commands, Limit: limit, Run: supervisor.Run, Events: func(e Event) { told <- e }}), told
}

func TestProcessIsToldTheFacts(t *testing.T) {
	t.Setenv("TIPROXY_BACKEND_PID", "inherited")
	t.Setenv("NOTIFY_SOCKET", "of systemd")
	s, told := real(map[Kind][]string{BeforeNext: script(
		`echo "$TIPROXY_HOOK: $REMOTE_ADDR $TCPREMOTEPORT, $TIPROXY_WAITING wait"; echo "[$TIPROXY_BACKEND_PID$NOTIFY_SOCKET]" >&2; exit 3`)}, 0)
	err := s.Before(t.Context(), Facts{Waiting: 4, Client: &Client{Session: 1, Proto: "TCP", Addr: "192.0.2.7", Port: 50000}})
	if err == nil || err.Error() != "the hook BeforeNext= failed: /bin/sh: exit status 3" {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"BeforeNext: 192.0.2.7 50000, 4 wait", "[]"} {
		if e := <-told; e != (OutputEvent{BeforeNext, want}) {
			t.Errorf("told %v, want %q", e, want)
		}
	}
}

func TestProcessThatCannotBeExecuted(t *testing.T) {
	s, told := real(map[Kind][]string{OnStop: {"/missing/command"}}, 0)
	s.Fire(OnStop, Facts{})
	s.Close(t.Context())
	e, _ := (<-told).(RunEvent)
	if want := "the hook OnStop= failed: cannot execute /missing/command: no such file or directory"; fmt.Sprint(e.Err) != want {
		t.Errorf("%v, want %s", e.Err, want)
	}
}

func TestProcessThatTakesTooLong(t *testing.T) {
	s, _ := real(map[Kind][]string{BeforeNext: {"sleep", "1000"}}, 50*time.Millisecond)
	err := s.Before(t.Context(), Facts{})
	if want := "BeforeNext=sleep took longer than HookTimeoutSec=50ms and was killed"; fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// A command that hangs, ignores SIGTERM and has a deaf daemon in a session of
// its own, is gone with all of it when nobody waits for it any more.
func TestProcessThatHangs(t *testing.T) {
	s, told := real(map[Kind][]string{BeforeNext: script(`trap '' TERM; echo $$; (setsid sleep 1000 & echo $!); sleep 1000`)}, 0)
	ctx, leave := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Before(ctx, Facts{}) }()
	var pids []string
	for range 2 {
		line, _ := (<-told).(OutputEvent)
		pids = append(pids, line.Line)
	}
	left := errors.New("the client left")
	leave(left)
	if err := <-ended; !errors.Is(err, left) {
		t.Errorf("%v", err)
	}
	for _, pid := range pids {
		isGone(t, pid)
	}
}

func isGone(t *testing.T, pid string) {
	t.Helper()
	if n, err := strconv.Atoi(pid); err != nil || unix.Kill(n, 0) != unix.ESRCH {
		t.Errorf("process %s is left", pid)
	}
}

// The backend's last OnStop has its time when tiproxy ends.
func TestProcessesRunInOrderUntilClose(t *testing.T) {
	var want, got []string
	s, told := real(map[Kind][]string{OnStart: script("sleep 0.05; echo $TIPROXY_REASON"), OnStop: script("echo $TIPROXY_REASON")}, time.Minute)
	for n := range 4 {
		kind := []Kind{OnStart, OnStop}[n%2]
		s.Fire(kind, because(strconv.Itoa(n)))
		want = append(want, fmt.Sprint(OutputEvent{kind, strconv.Itoa(n)}), fmt.Sprint(kind, " ended: ", nil))
	}
	s.Close(t.Context())
	for len(told) > 0 {
		switch e := (<-told).(type) {
		case OutputEvent:
			got = append(got, fmt.Sprint(e))
		case RunEvent:
			got = append(got, fmt.Sprint(e.Kind, " ended: ", e.Err))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestProcessIsKilledByClose(t *testing.T) {
	s, told := real(map[Kind][]string{OnStop: script("echo $$; sleep 1000")}, 0)
	s.Fire(OnStop, Facts{})
	line, _ := (<-told).(OutputEvent)
	s.Close(expired)
	if e, _ := (<-told).(RunEvent); !errors.Is(e.Err, ErrClosed) {
		t.Errorf("%v", e.Err)
	}
	isGone(t, line.Line)
}
