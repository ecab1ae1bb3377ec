package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// guest is a client whom a Program serves.
type guest struct {
	*net.UnixConn
	t      *testing.T
	reader *bufio.Reader
	pid    chan int // that begun was called with; closed when Serve has returned
	err    error    // of Serve
	leave  context.CancelCauseFunc
}

// turnedAway is what a client hears whom no program has served, and how its
// socket is then.
const turnedAway = "turned away: "

// asItIs changes nothing of an environment.
func asItIs(env []string) []string { return env }

// mustEndFirst demands that the program, which tells its pid, ends the connection
// and goes on.
func (g *guest) mustEndFirst() {
	g.t.Helper()
	pid := number(g.hears(""))
	if _, err := g.reader.ReadByte(); err != io.EOF {
		g.t.Errorf("the client reads %v", err)
	}
	if ended(pid) {
		g.t.Error("the program has ended")
	}
	g.leave(errors.New("enough"))
	_ = g.end()
}

// visit has a program serve a client. As a proxy does, it closes the socket
// when the program has it.
func visit(t *testing.T, p *Program) *guest {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(ends[0]), "client")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	ctx, leave := context.WithCancelCause(context.Background())
	g := &guest{UnixConn: conn.(*net.UnixConn), t: t, reader: bufio.NewReader(conn), pid: make(chan int, 1), leave: leave}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(g.pid)
		begun := false
		g.err = p.Serve(ctx, ends[1], asItIs, func(pid int) {
			begun = true
			unix.Close(ends[1])
			g.pid <- pid
		})
		if !begun {
			_, readErr := unix.Read(ends[1], make([]byte, 1)) // hangs if the socket still blocks
			unix.Write(ends[1], fmt.Append(nil, turnedAway, readErr))
			unix.Close(ends[1])
		}
	}()
	t.Cleanup(func() {
		leave(nil)
		conn.Close()
		<-done
	})
	return g
}

// hears reads the line that says something, and answers the rest of it.
func (g *guest) hears(word string) string {
	g.t.Helper()
	line, err := g.reader.ReadString('\n')
	rest, is := strings.CutPrefix(line, word)
	if err != nil || !is {
		g.t.Fatalf("heard %q, %v; want %s", line, err, word)
	}
	return strings.TrimSpace(rest)
}

// end reads to the end of the connection, and answers Serve's error.
func (g *guest) end() error {
	g.t.Helper()
	if rest, err := io.ReadAll(g.reader); err != nil || len(rest) > 0 {
		g.t.Errorf("%q and %v at the end", rest, err)
	}
	soon(g.t, "Serve returns", func() {
		for range g.pid {
		}
	})
	return g.err
}

// turnedAway is end for one whom no program has served.
func (g *guest) turnedAway() error {
	g.t.Helper()
	if got, err := io.ReadAll(g.reader); err != nil || string(got) != turnedAway+unix.EAGAIN.Error() {
		g.t.Errorf("heard %q, %v", got, err)
	}
	return g.end()
}

// programOf is a Program whose output nobody reads, unless change says so.
func programOf(t *testing.T, change func(*ProgramConfig), command ...string) *Program {
	t.Helper()
	cfg := ProgramConfig{Command: command, StopTimeout: forever, Output: func(int, string) {}}
	if change != nil {
		change(&cfg)
	}
	p := NewProgram(cfg)
	t.Cleanup(p.Close)
	return p
}

func TestProgramHasItsClientAsStdinAndStdout(t *testing.T) {
	told := make(chan string, 10)
	p := programOf(t, func(c *ProgramConfig) {
		c.Output = func(pid int, line string) { told <- fmt.Sprint(pid, " ", line) }
	}, "sh", "-c", "echo aside >&2; read line; echo heard $line; cat")
	g := visit(t, p)
	pid := <-g.pid
	fmt.Fprint(g, "hello\nmore\n")
	if got := g.hears("heard"); got != "hello" {
		t.Errorf("it heard %q", got)
	}
	g.hears("more")
	g.CloseWrite()
	if err := g.end(); err != nil {
		t.Error(err)
	}
	if got := <-told; got != fmt.Sprint(pid, " aside") {
		t.Errorf("its stderr is told as %q", got)
	}
	if st := p.Status(); st.State != Stdio || st.Starts != 1 {
		t.Errorf("%+v", st)
	}
}

// The client sees the end when the program closes all three, though this goes on.
func TestProgramHasItsClientAsStderr(t *testing.T) {
	g := visit(t, programOf(t, func(c *ProgramConfig) {
		c.SocketStderr = true
		c.Output = func(_ int, line string) { t.Errorf("told %q", line) }
	}, "sh", "-c", "echo aside >&2; echo $$; exec sleep infinity <&- >&- 2>&-"))
	g.hears("aside")
	g.mustEndFirst()
}

func TestProgramSurroundings(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("NOTIFY_SOCKET", "ours")
	p := programOf(t, func(c *ProgramConfig) {
		c.Path, c.Dir = "/bin/sh", dir
		c.Surroundings.Environment = []string{"COLOUR=red"}
	}, "in.fingerd", "-c", `echo "$0|$COLOUR|$NOTIFY_SOCKET"; pwd; echo open: $(ls /proc/self/fd)`)
	g := visit(t, p)
	for _, want := range []string{"in.fingerd|red|", dir, "open: 0 1 2 3"} { // 3 is the folder that ls reads
		g.hears(want)
	}
	if err := g.end(); err != nil {
		t.Error(err)
	}
}

// A program may count on a socket that blocks, since inetd gives it that.
func TestProgramGetsASocketThatBlocks(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[1])
	defer unix.Close(ends[0])
	err = programOf(t, nil, "true").Serve(t.Context(), ends[1], asItIs, func(int) {
		if flags, err := unix.FcntlInt(uintptr(ends[1]), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestProgramIsToldOfItsClient(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	env := func(env []string) []string { return setAll(env, []string{"COLOUR=of the client"}) }
	p := programOf(t, func(c *ProgramConfig) { c.Surroundings.Environment = []string{"COLOUR=red"} }, "sh", "-c", `echo "$COLOUR"`)
	if err := p.Serve(t.Context(), ends[1], env, func(int) { unix.Close(ends[1]) }); err != nil {
		t.Error(err)
	}
	got := make([]byte, 100)
	if n, err := unix.Read(ends[0], got); err != nil || string(got[:n]) != "of the client\n" {
		t.Errorf("%q, %v", got[:n], err)
	}
}

// The client sees the end when the program closes the socket, though this goes on.
func TestProgramMayEndTheConnectionFirst(t *testing.T) {
	g := visit(t, programOf(t, nil, "sh", "-c", "echo $$; exec sleep infinity <&- >&-"))
	g.mustEndFirst()
}

func TestProgramLeavesNothingBehind(t *testing.T) {
	g := visit(t, programOf(t, nil, play("fork=deaf pid=child stay", "daemon=deaf pid=daemon stay", "pid=main", "await", "exit=3")...))
	pids := map[string]int{}
	for range 3 {
		name, pid, _ := strings.Cut(g.hears(""), " ")
		pids[name] = number(pid)
	}
	signalTo(t, pids["main"], unix.SIGUSR1)
	if err := g.end(); err == nil || !strings.HasSuffix(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
	areGone(t, pids["main"], pids["child"], pids["daemon"])
}

func TestProgramIsAskedToEnd(t *testing.T) {
	g := visit(t, programOf(t, nil, play("catch", "pid=main", "await", "say=bye")...))
	pid := number(g.hears("main"))
	late := errors.New("too late")
	g.leave(late)
	g.hears("bye")
	if err := g.end(); !errors.Is(err, late) {
		t.Errorf("%v", err)
	}
	areGone(t, pid)
}

func TestDeafProgramIsKilled(t *testing.T) {
	for name, tt := range map[string]struct {
		patience time.Duration
		hurry    bool
	}{
		"when patience is over": {patience: 10 * time.Millisecond},
		"at once, in a hurry":   {patience: forever, hurry: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := programOf(t, func(c *ProgramConfig) { c.StopTimeout = tt.patience }, play("deaf", "fork=deaf pid= stay", "pid=", "stay")...)
			g := visit(t, p)
			pids := []int{number(g.hears("")), number(g.hears(""))}
			g.leave(nil)
			if tt.hurry {
				p.Hurry()
			}
			if err := g.end(); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			areGone(t, pids...)
		})
	}
}

func TestProgramThatCannotBeExecuted(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	p := programOf(t, nil, missing)
	if err := visit(t, p).turnedAway(); err == nil || err.Error() != "cannot execute "+missing+": no such file or directory" {
		t.Errorf("%v", err)
	}
	if starts := p.Status().Starts; starts != 0 {
		t.Errorf("%d starts", starts)
	}
	// For those who come at once it is not even tried; later it is.
	if err := os.WriteFile(missing, []byte("#!/bin/sh\necho here\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.until = time.Now().Add(time.Hour)
	p.mu.Unlock()
	if err := visit(t, p).turnedAway(); err == nil || !strings.HasPrefix(err.Error(), "cannot execute") {
		t.Errorf("%v", err)
	}
	p.mu.Lock()
	p.until = time.Now()
	p.mu.Unlock()
	g := visit(t, p)
	g.hears("here")
	if err := g.end(); err != nil {
		t.Error(err)
	}
}

// A broken command is tried less and less often, however many clients come.
func TestBrokenProgramIsTriedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, broken := &Program{}, errors.New("broken")
		tries := 0
		for range 60 * 100 { // a minute, a client each 10 ms
			if p.resting() == nil {
				tries++
				p.settle(broken)
				p.settle(broken) // another client's, at the same moment
			} else if err := p.resting(); err != broken {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if tries < 8 || tries > 12 { // 100 ms doubling, a fifth either way
			t.Errorf("tried %d times in a minute", tries)
		}
		p.settle(nil)
		if err := p.resting(); err != nil {
			t.Errorf("once it works there is still %v", err)
		}
	})
}

func TestProgramIsNotStartedForOneWhoHasLeft(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	p := programOf(t, nil, "/usr/bin/touch", mark)
	err := p.Serve(expired, int(os.Stderr.Fd()), asItIs, func(int) { t.Error("begun") })
	if !errors.Is(err, context.Canceled) || p.resting() != nil {
		t.Errorf("%v, then %v", err, p.resting())
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it was started")
	}
}

func TestProgramsLeaveNothing(t *testing.T) {
	p := programOf(t, nil, play("daemon=stay", "exit=0")...)
	if err := visit(t, p).end(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	fds, goroutines, children := openFiles(t), runtime.NumGoroutine(), ours.number()
	for range 5 {
		if err := visit(t, p).end(); err != nil {
			t.Fatal(err)
		}
	}
	if n := ours.number(); n != children {
		t.Errorf("%d children are known, %d before", n, children)
	}
	eventually(t, "no fd and no goroutine is left", func() bool {
		return openFiles(t) <= fds+5 && runtime.NumGoroutine() <= goroutines // the clients' own ends are open until the test ends
	})
	if starts := p.Status().Starts; starts != 6 {
		t.Errorf("%d starts", starts)
	}
}

func TestPathOfABackendIsNotItsName(t *testing.T) {
	st := open(t, Config{Command: []string{"named", "-c", `echo "called $0"`}, Path: "/bin/sh", Address: somewhere()})
	st.begin()
	if got := st.hears("called"); got != "named" {
		t.Errorf("its argv[0] is %q", got)
	}
}
