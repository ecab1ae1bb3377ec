package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unit is a socket unit, as far as tiproxy meets one: a listener that stays
// open whether tiproxy runs or not.
type unit struct {
	file *os.File
	addr string
}

func newUnit(t *testing.T) *unit {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	u := &unit{file: os.NewFile(uintptr(fd), "unit")}
	t.Cleanup(func() { u.file.Close() })
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 128))
	sa, err := unix.Getsockname(fd)
	must(t, err)
	bound := sa.(*unix.SockaddrInet4)
	u.addr = netip.AddrPortFrom(netip.AddrFrom4(bound.Addr), uint16(bound.Port)).String()
	return u
}

// command is the service of the unit.
func (u *unit) command(dir string, args ...string) *exec.Cmd {
	args = append([]string{filepath.Join(bin, "tiproxy")}, args...)
	cmd := prepare(dir, "socket-unit", args, "LISTEN_FDS=1", "LISTEN_FDNAMES=web")
	cmd.ExtraFiles = []*os.File{u.file}
	return cmd
}

// The day of a service: it is woken, stops its backend when nobody uses it,
// exits, and leaves whoever comes then to the next run.
func TestIdleStopAndIdleExit(t *testing.T) {
	t.Parallel()
	u, dir := newUnit(t), shortDir(t)
	file := filepath.Join(dir, "tiproxy.conf")
	must(t, os.WriteFile(file, []byte(`[Backend]
Exec=fakecat -l -k -p {port}
Address=auto
IdleStopSec=100ms
[Service]
IdleExitSec=1s
`), 0o600))
	for range 2 {
		c := mustConnect(t, u.addr) // nobody runs: it waits in the listener's backlog
		_, err := c.Write([]byte("wake up\n"))
		must(t, err)
		p := launch(t, u.command(dir, "-c", file))
		pid, err := c.hear("wake up")
		must(t, err)
		c.Close()
		p.await(t, `served .*listener=web`)
		p.await(t, "stopping the backend: nobody used it for 100ms")
		p.await(t, "nobody came for a while: exiting, the next client wakes tiproxy again")
		p.mustEnd(t)
		mustBeGone(t, pid)
	}
}

// Without a client it exits too, for somebody may have left before it could
// accept.
func TestIdleExitWithoutAnyClient(t *testing.T) {
	t.Parallel()
	p := launch(t, newUnit(t).command(shortDir(t), "-c", os.DevNull, "--dest", "127.0.0.1:1", "--exit-idle-time", "1s"))
	p.mustEnd(t)
}

// No backend is configured: the client is sent away, the log has the line to
// write, and the service has not failed.
func TestNoBackendConfigured(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	p := launch(t, u.command(shortDir(t), "-c", os.DevNull))
	mustConnect(t, u.addr).mustBeEnded(t)
	p.await(t, "no backend configured: write Exec= and Address= in .Backend. of /dev/null, or give --dest")
	p.mustEnd(t)
}

// A file descriptor that cannot be served is a wrong configuration.
func TestUnusableSocketOfTheUnit(t *testing.T) {
	t.Parallel()
	u, dir := newUnit(t), shortDir(t)
	cmd := u.command(dir, "--dest", "127.0.0.1:1")
	regular, err := os.Open(os.DevNull)
	must(t, err)
	defer regular.Close()
	cmd.ExtraFiles = []*os.File{regular}
	out, err := cmd.CombinedOutput()
	if failure := (*exec.ExitError)(nil); !errors.As(err, &failure) || failure.ExitCode() != 78 {
		t.Errorf("it ended with %v, want status 78", err)
	}
	if want := `tiproxy: cannot use fd 3 "web" that systemd passed: it is not a socket`; !strings.HasPrefix(string(out), want) {
		t.Errorf("got %s, want %s", out, want)
	}
}

// Clients who come around the moment at which tiproxy exits, at many sockets
// side by side, since an exit takes a second at least.
func TestClientsAroundTheIdleExit(t *testing.T) {
	t.Parallel()
	const units, rounds = 20, 10
	backend := echoAt(t, "127.0.0.1:0")
	var runs atomic.Int32
	errs := make(chan error, 2*units)
	var group sync.WaitGroup
	for range units {
		u, dir := newUnit(t), shortDir(t)
		quit, last, err := os.Pipe()
		must(t, err)
		group.Go(func() {
			defer last.Close()
			errs <- visit(u.addr, rounds)
		})
		group.Go(func() {
			defer quit.Close()
			errs <- u.serve(quit, &runs, dir, "-c", os.DevNull, "--dest", backend, "--exit-idle-time", "1s")
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d clients were served by %d runs", units*rounds, runs.Load())
}

// serve does as systemd does: it runs the service whenever a client is in the
// backlog, until quit is closed at its other end.
func (u *unit) serve(quit *os.File, runs *atomic.Int32, dir string, args ...string) error {
	poll := []unix.PollFd{{Fd: int32(u.file.Fd()), Events: unix.POLLIN}, {Fd: int32(quit.Fd())}}
	for {
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return err
		}
		if poll[0].Revents == 0 {
			if poll[1].Revents != 0 {
				return nil
			}
			continue
		}
		runs.Add(1)
		if out, err := u.command(dir, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("tiproxy ended with %w:\n%s", err, out)
		}
	}
}

// visit comes again and again, about the idle time after it has left: from a
// little before the exit to a little after it.
func visit(addr string, rounds int) error {
	for round := range rounds {
		c, err := connect(addr)
		if err == nil {
			_, err = c.talk("hello")
			c.Close()
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		time.Sleep(time.Second + rand.N(30*time.Millisecond) - 10*time.Millisecond)
	}
	return nil
}

// echoAt is a backend that tiproxy does not start. It answers as fakecat does.
func echoAt(t *testing.T, at string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", at)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, 0)
		}
	}()
	return l.Addr().String()
}
