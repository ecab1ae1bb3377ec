package main_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/control"
	"golang.org/x/sys/unix"
)

// steered is a tiproxy that does nothing but remember what it was told.
type steered struct {
	sessions []control.Session
	waiting  []control.Waiting
	looked   chan struct{} // takes one for each look at the status that somebody waits for

	mu     sync.Mutex // protects what follows
	status any
	done   []string
	err    error
}

func (s *steered) Queue() []control.Waiting     { return s.waiting }
func (s *steered) Sessions() []control.Session  { return s.sessions }
func (s *steered) Events() []control.Event      { return nil }
func (s *steered) Restart(now bool) error       { return s.do("restart %t", now) }
func (s *steered) Drain() error                 { return s.do("drain") }
func (s *steered) Resume() error                { return s.do("resume") }
func (s *steered) Set(name, value string) error { return s.do("set %s to %s", name, value) }
func (s *steered) Kick(session uint64) error    { return s.do("kick %d", session) }
func (s *steered) Metrics(io.Writer) error      { return nil }

func (s *steered) Status() any {
	select {
	case s.looked <- struct{}{}:
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// become changes the status.
func (s *steered) become(status any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *steered) do(format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, fmt.Sprintf(format, args...))
	return s.err
}

// told answers what it did since the last call.
func (s *steered) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.done, ", ")
	s.done = nil
	return all
}

// serve has it answer at the control socket of a unit, such as "tiproxy@shop",
// in dir.
func (s *steered) serve(t *testing.T, dir, unit string) *control.Server {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, unit), 0o700))
	socket, err := control.Bind(filepath.Join(dir, unit, "control.sock"), "")
	must(t, err)
	server := control.NewServer(socket, s)
	go server.Serve()
	t.Cleanup(func() { server.Close() })
	return server
}

// steer runs a command in dir and answers its stdout, its stderr and its exit
// status.
func steer(t *testing.T, dir string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	out, err := prepare(dir, "tiproxy", args).Output()
	if failure := (*exec.ExitError)(nil); errors.As(err, &failure) {
		return string(out), string(failure.Stderr), failure.ExitCode()
	}
	must(t, err)
	return string(out), "", 0
}

func TestSteering(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	var main, shop steered
	main.serve(t, dir, "tiproxy")
	shop.serve(t, dir, "tiproxy@shop")
	for _, c := range []struct{ args, main, shop, says string }{
		{"restart", "restart false", "", "the backend will be replaced once those inside are done\n"},
		{"restart --now", "restart true", "", "the backend is being replaced\n"},
		{"restart shop --now", "", "restart true", "the backend is being replaced\n"},
		{"drain", "drain", "", "nobody is let in until it is resumed\n"},
		{"drain shop", "", "drain", "nobody is let in until it is resumed\n"},
		{"resume shop", "", "resume", "clients are let in again\n"},
		{"set MaxConnections=3", "set MaxConnections to 3", "", "MaxConnections=3 until tiproxy exits"},
		{"set shop AllowFrom=", "", "set AllowFrom to ", "AllowFrom= until tiproxy exits"},
		{"set Exec=a=b", "set Exec to a=b", "", "Exec=a=b until"},
		{"kick 7", "kick 7", "", "session 7 is ended\n"},
		{"kick shop 7", "", "kick 7", "session 7 is ended\n"},
		{"kick --control " + dir + "/tiproxy@shop/control.sock 8", "", "kick 8", "session 8 is ended\n"},
	} {
		stdout, stderr, status := steer(t, dir, strings.Fields(c.args)...)
		if status != 0 || !strings.HasPrefix(stdout, c.says) {
			t.Errorf("%s: status %d, %q, %q", c.args, status, stdout, stderr)
		}
		if got, want := main.told(), c.main; got != want {
			t.Errorf("%s: the main one did %q, want %q", c.args, got, want)
		}
		if got, want := shop.told(), c.shop; got != want {
			t.Errorf("%s: the instance did %q, want %q", c.args, got, want)
		}
	}
}

func TestSteeringIsRefused(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	s := &steered{err: fmt.Errorf("there is no session 7: %w", control.ErrNotFound)}
	s.serve(t, dir, "tiproxy")
	stdout, stderr, status := steer(t, dir, "kick", "7")
	if want := "tiproxy: cannot kick session 7: there is no session 7\n"; status != 1 || stderr != want || stdout != "" {
		t.Errorf("status %d, %q, %q, want %q", status, stdout, stderr, want)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	const clients = 5000
	shop := &steered{sessions: make([]control.Session, clients)}
	for i := range shop.sessions {
		shop.sessions[i] = control.Session{Session: uint64(i), Client: "192.0.2.1:4242", State: "relaying"}
	}
	shop.serve(t, dir, "tiproxy@shop")
	new(steered).serve(t, dir, "tiproxy")
	for _, c := range []struct {
		args, begins string
		lines        int
	}{
		{"queue", "nobody waits\n", 1},
		{"queue --json", `{"waiting":[]}` + "\n", 1},
		{"sessions", "nobody is inside\n", 1},
		{"sessions shop", "SESSION  CLIENT          LISTENER", 1 + clients},
		{"sessions shop --json", `{"sessions":[{"session":0,"client":"192.0.2.1:4242"`, 1},
	} {
		stdout, stderr, status := steer(t, dir, strings.Fields(c.args)...)
		if status != 0 || !strings.HasPrefix(stdout, c.begins) || strings.Count(stdout, "\n") != c.lines {
			t.Errorf("%s: status %d, %.200q, %q", c.args, status, stdout, stderr)
		}
	}
}

// doing is a status with so many inside, and with a clock in it.
func doing(active int) any {
	return map[string]any{
		"version": "1", "pid": 7, "since": clock{},
		"gate": map[string]int{"limit": 1, "active": active, "oldest_wait_usec": 1},
	}
}

// clock is the time at which somebody looks at it.
type clock struct{}

func (clock) MarshalJSON() ([]byte, error) { return time.Now().MarshalJSON() }

// On a pipe each status stands there once, however often it was looked at; what
// goes wrong later does not end it, and Ctrl-C does, in good order.
func TestWatchOnAPipe(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	s := &steered{status: doing(0), looked: make(chan struct{})}
	server := s.serve(t, dir, "tiproxy")
	p := launch(t, prepare(dir, "tiproxy", []string{"status", "--watch", "--json"}))
	line := func(want string) {
		t.Helper()
		got, err := p.stdout.ReadString('\n')
		if err != nil || !strings.Contains(got, want) {
			t.Fatalf("%q, %v; want %s", got, err, want)
		}
	}
	line(`"active":0`)
	<-s.looked
	<-s.looked
	s.become(doing(1))
	line(`"active":1`)
	must(t, server.Close())
	line("no tiproxy answers")
	s.become(doing(2))
	s.serve(t, dir, "tiproxy")
	line(`"active":2`)
	p.signal(t, syscall.SIGINT)
	p.mustEnd(t)
}

func TestWatchWithoutTiproxy(t *testing.T) {
	t.Parallel()
	_, stderr, status := steer(t, shortDir(t), "status", "--watch", "--control", "/nowhere")
	if status != 1 || !strings.Contains(stderr, "no tiproxy answers at /nowhere") {
		t.Errorf("status %d, %q", status, stderr)
	}
}

// Ctrl-C ends it in the midst of a look, too.
func TestWatchEndsWhileItLooks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "silent.sock")
	silent, err := net.Listen("unix", path)
	must(t, err)
	defer silent.Close()
	p := launch(t, prepare("", "tiproxy", []string{"status", "--watch", "--control", path}))
	conn, err := silent.Accept()
	must(t, err)
	defer conn.Close()
	p.signal(t, syscall.SIGINT)
	p.mustEnd(t)
}

// On a terminal the new status takes the place of the old, whose long line took
// two rows.
func TestWatchOnATerminal(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	s := &steered{status: doing(0)}
	s.serve(t, dir, "tiproxy")
	screen, tty := terminal(t, 40)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	must(t, err)
	cmd := prepare(dir, "tiproxy", []string{"status", "--watch"})
	cmd.Stdout = tty
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	var seen strings.Builder
	until := func(want string) {
		t.Helper()
		for piece := make([]byte, 1000); !strings.Contains(seen.String(), want); {
			n, err := screen.Read(piece)
			must(t, err)
			seen.Write(piece[:n])
		}
	}
	until("sessions  0 of at most 1, 0 waiting (the")
	until("starts\r\n")
	s.become(doing(1))
	until("\x1b[7A\x1b[Jtiproxy ")
	until("sessions  1 of at most 1")
	must(t, cmd.Process.Signal(syscall.SIGINT))
	must(t, cmd.Wait())
	if after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("the terminal was %+v, and is %+v, %v", before, after, err)
	}
}

// terminal makes one with so many columns: the screen that a person sees, and the
// end that a program has (pty(7)).
func terminal(t *testing.T, columns uint16) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { screen.Close() })
	must(t, screen.SetDeadline(time.Now().Add(patience)))
	raw, err := screen.SyscallConn()
	must(t, err)
	var number int
	var inside error
	err = raw.Control(func(fd uintptr) {
		number, inside = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		inside = errors.Join(inside, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0),
			unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
	})
	must(t, errors.Join(err, inside))
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}
