package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// running is a Run under way; what it writes is heard like a backend's. It is
// killed when the test ends.
type running struct {
	*stage
	err  error
	done chan struct{}
	kill context.CancelCauseFunc
}

func run(t *testing.T, command ...string) *running {
	t.Helper()
	ctx, kill := context.WithCancelCause(context.Background())
	r := &running{stage: &stage{t: t, more: make(chan struct{})}, done: make(chan struct{}), kill: kill}
	go func() {
		defer close(r.done)
		r.err = Run(ctx, command, nil, func(line string) { r.tell(OutputEvent{Line: line}) })
	}()
	t.Cleanup(func() {
		kill(nil)
		<-r.done
	})
	return r
}

// await answers Run's error.
func (r *running) await() error {
	r.t.Helper()
	soon(r.t, "Run returns", func() { <-r.done })
	return r.err
}

// areGone demands that processes have ended and were waited for.
func areGone(t *testing.T, pids ...int) {
	t.Helper()
	for i, pid := range pids {
		if unix.Kill(pid, 0) != unix.ESRCH {
			t.Errorf("process %d of %v is left", i, pids)
		}
	}
}

// lines runs a command that succeeds, and answers what it wrote.
func lines(t *testing.T, env []string, command ...string) (all []string) {
	t.Helper()
	if err := Run(t.Context(), command, env, func(line string) { all = append(all, line) }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRunTellsOutput(t *testing.T) {
	full := strings.Repeat("x", lineMax)
	got := lines(t, nil, play("say=one", "flood=16385", "run=say=two", "say=", "write=6f6e650d0a656e64")...)
	if want := []string{"one", full, "x", "two", "", "one", "end"}; !slices.Equal(got, want) {
		t.Errorf("%.100q, want %.100q", got, want)
	}
}

func TestRunSurroundings(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("NOTIFY_SOCKET", "ours")
	t.Setenv("COLOUR", "blue")
	script := `echo "$COLOUR|$NOTIFY_SOCKET|$LISTEN_FDS"; pwd; id -u; cat; echo open: $(ls /proc/self/fd)`
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{nil, "blue||"},
		{[]string{"COLOUR=red", "LISTEN_FDS=1", "PATH=" + os.Getenv("PATH")}, "red||"},
	} {
		want := []string{tt.want, dir, fmt.Sprint(os.Getuid()), "open: 0 1 2 3"} // 3 is the folder that ls reads
		if got := lines(t, tt.env, "sh", "-c", script); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestRunThatFails(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ command, want string }{
		{"exit 3", "/bin/sh: exit status 3"},
		{"kill -9 $$", "/bin/sh: exit status 137"},
		{dir + "/missing", "cannot execute " + dir + "/missing: no such file or directory"},
		{"tiproxy-no-such-command", "cannot execute tiproxy-no-such-command: there is no such command in PATH"},
		{"./missing", "cannot execute ./missing in "},
	} {
		argv := []string{tt.command}
		if strings.Contains(tt.command, " ") {
			argv = []string{"/bin/sh", "-c", tt.command}
		}
		if err := run(t, argv...).await(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.command, err, tt.want)
		}
	}
}

// A command that is killed takes all with it: a deaf child, and a daemon that
// made a session of its own and lost its parent.
func TestRunIsKilledWithItsTree(t *testing.T) {
	r := run(t, play("deaf", "fork=deaf pid=child stay", "daemon=deaf pid=daemon stay", "pid=command", "stay")...)
	pids := []int{number(r.hears("command")), number(r.hears("child")), number(r.hears("daemon"))}
	late := errors.New("too late")
	r.kill(late)
	err := r.await()
	if !errors.Is(err, late) || !strings.HasPrefix(err.Error(), "/proc/self/exe did not end in time") {
		t.Errorf("%v", err)
	}
	areGone(t, pids...)
}

// A command does not go on without its keeper.
func TestRunWhoseKeeperIsKilled(t *testing.T) {
	r := run(t, play("pid=command", "stay")...)
	pid := number(r.hears("command"))
	all := processes()
	command := all[slices.IndexFunc(all, func(p process) bool { return p.pid == pid })]
	if command.parent == os.Getpid() {
		t.Fatal("it has no keeper")
	}
	signalTo(t, command.parent, unix.SIGKILL)
	if err := r.await(); err == nil || err.Error() != "/proc/self/exe: signal: killed" {
		t.Errorf("%v", err)
	}
	eventually(t, "the command has ended", func() bool { return ended(pid) })
}

func TestRunLeavesNothingInTheBackground(t *testing.T) {
	r := run(t, play("fork=deaf pid=child stay", "daemon=deaf pid=daemon stay", "pid=command", "await", "exit=0")...)
	pids := []int{number(r.hears("command")), number(r.hears("child")), number(r.hears("daemon"))}
	signalTo(t, pids[0], unix.SIGUSR1)
	if err := r.await(); err != nil {
		t.Error(err)
	}
	areGone(t, pids...)
}

func TestRunStartsNothingForOneWhoHasLeft(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	if err := Run(expired, []string{"/usr/bin/touch", mark}, nil, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it was started")
	}
}

// Both have a daemon that nobody is the parent of any more.
func TestRunAndTheBackendDoNotMeet(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("daemon=pid=daemon stay", "listen="+at.String(), "stay"), Address: at, IdleStop: time.Nanosecond})
	lease := st.acquire()
	theirs := number(st.hears("daemon"))
	short := run(t, play("daemon=pid=daemon stay", "pid=command", "await")...)
	short.hears("daemon")
	signalTo(t, number(short.hears("command")), unix.SIGUSR1)
	if err := short.await(); err != nil {
		t.Error(err)
	}
	if ended(theirs) {
		t.Error("the backend's daemon was killed with the command")
	}
	long := run(t, play("daemon=pid=daemon stay", "pid=command", "stay")...)
	pids := []int{number(long.hears("command")), number(long.hears("daemon"))}
	lease.Release()
	if exit := await(st, always[ExitEvent]); !exit.Wanted {
		t.Errorf("%+v", exit)
	}
	for _, pid := range pids {
		if ended(pid) {
			t.Errorf("process %d of the command was killed with the backend", pid)
		}
	}
	long.kill(nil)
	_ = long.await()
	areGone(t, pids...)
}

// Nobody can kill the command once we are killed.
func TestRunDiesWithUs(t *testing.T) {
	parent := outside(t, play("errand=/proc/self/exe act daemon=deaf,pid=daemon,stay stay")...)
	_, text, _ := strings.Cut(parent.line(t), " ")
	pid := number(text)
	parent.end()
	soon(t, "the command's daemon has ended", func() { awaitEnd(pid) })
	eventually(t, "its keeper has reaped it", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
}

func TestRunsLeaveNothing(t *testing.T) {
	command := play("daemon=stay", "exit=0")
	lines(t, nil, command...)
	fds, goroutines, children := openFiles(t), runtime.NumGoroutine(), ours.number()
	for range 10 {
		lines(t, nil, command...)
	}
	if n := ours.number(); n != children {
		t.Errorf("%d children are known, %d before", n, children)
	}
	eventually(t, "no fd and no goroutine is left", func() bool {
		return openFiles(t) <= fds && runtime.NumGoroutine() <= goroutines
	})
}
