package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"golang.org/x/sys/unix"
)

func TestDrain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		drain time.Duration
		end   func(*running, *net.TCPConn)
		err   bool
	}{
		{"the session ends by itself", patience, func(_ *running, c *net.TCPConn) { c.CloseWrite() }, false},
		{"the limit ends it", 20 * time.Millisecond, func(*running, *net.TCPConn) {}, true},
		{"the second signal ends it", patience, func(r *running, _ *net.TCPConn) { r.now() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.Rules.Drain = tt.drain })
			in := r.dial(0)
			exchange(t, in, "in")
			waiting := r.dial(0)
			await[WaitEvent](r)
			r.stop()
			mustEOF(t, waiting)
			if e := await[EndEvent](r); e.Outcome != Left || !errors.Is(e.Err, ErrStopping) {
				t.Errorf("%+v", e)
			}
			if tt.drain == patience {
				exchange(t, in, "still served")
			}
			tt.end(r, in)
			e := await[EndEvent](r)
			if e.Outcome != Served || (e.Err != nil) != tt.err {
				t.Errorf("%+v", e)
			}
			if idle := <-r.ended; idle {
				t.Error("Serve returned for idleness")
			}
		})
	}
}

func TestDrainEndsThoseWhoseBackendStarts(t *testing.T) {
	b := newBackend(t, echo)
	b.open = make(chan struct{})
	r := run(t, b, 1, 10, func(c *Config) { c.Rules.Drain = 10 * time.Millisecond })
	c, _ := r.dial(0), r.dial(0)
	await[WaitEvent](r)
	r.stop()
	mustEOF(t, c)
	if idle := <-r.ended; idle {
		t.Error("Serve returned for idleness")
	}
}

// After the idle exit nobody is accepted; who connects then waits in the
// kernel's backlog for the next run.
func TestIdleExitLosesNobody(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 1, 10, func(c *Config) { c.Rules.IdleExit = 10 * time.Millisecond })
	if idle := <-r.ended; !idle {
		t.Fatal("Serve did not return for idleness")
	}
	c := r.dial(0)
	fmt.Fprint(c, "anybody?")
	r.serve()
	got := make([]byte, 8)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "anybody?" {
		t.Errorf("got %q, %v", got, err)
	}
	c.Close()
	if idle := <-r.ended; !idle {
		t.Error("Serve did not return for idleness again")
	}
}

// A quiet connection is a connection: the idle clock runs from its end.
func TestQuietConnectionIsNotIdle(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.Rules.IdleExit = 50 * time.Millisecond })
	c := r.dial(0)
	exchange(t, c, "in")
	select {
	case <-r.ended:
		t.Fatal("exited under a client")
	case <-time.After(200 * time.Millisecond):
	}
	exchange(t, c, "still in")
	end := time.Now()
	c.Close()
	if idle := <-r.ended; !idle || time.Since(end) < 50*time.Millisecond {
		t.Errorf("Serve returned %v after the last client, idle: %v", time.Since(end), idle)
	}
}

// Out of fds: accepting rests, does not spin, and goes on when one is freed.
func TestOutOfFDs(t *testing.T) {
	set(t, &starvedRest, time.Hour) // only a freed fd ends the rest
	r := run(t, newBackend(t, echo), gate.NoLimit, 10, nil)
	in := r.dial(0)
	exchange(t, in, "in")
	starve(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err) // starve leaves one
	}
	if err := errors.Join(unix.Connect(fd, r.cfg.Listeners[0].Addr.Sockaddr()), unix.SetNonblock(fd, true)); err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(uintptr(fd), "client") // a net.Conn would want another fd
	defer out.Close()
	out.SetDeadline(time.Now().Add(patience))
	if e := await[StarvedEvent](r); e.Err != unix.EMFILE {
		t.Errorf("%+v", e)
	}
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	select {
	case e := <-r.events:
		t.Errorf("while accepting rests: %#v", e)
	case <-time.After(300 * time.Millisecond):
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	if used := time.Duration(after.Utime.Nano() - before.Utime.Nano()); used > 100*time.Millisecond {
		t.Errorf("used %v of CPU while out of fds", used)
	}
	in.Close() // frees two at the proxy, and one here
	if _, err := io.WriteString(out, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(out, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

// starve lowers the limit of fds and takes those beneath it, so that one more can
// be opened.
func starve(t *testing.T) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	highest := 0
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		n, _ := strconv.Atoi(fd.Name())
		highest = max(highest, n)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(highest) + 2, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	var taken []int
	t.Cleanup(func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	})
	for fd := 0; err == nil; {
		if fd, err = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			taken = append(taken, fd)
		}
	}
	last := len(taken) - 1
	unix.Close(taken[last])
	taken = taken[:last]
}

func TestNoGoroutineWhileRelaying(t *testing.T) {
	const n = 100
	b := newBackend(t, echo)
	r := run(t, b, gate.NoLimit, 0, nil)
	before := runtime.NumGoroutine()
	for range n {
		exchange(t, r.dial(0), "in")
	}
	// The backend of this test has one for each, the proxy none.
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before+n+10; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before and %d of the backend", runtime.NumGoroutine(), before, n)
		}
	}
}
