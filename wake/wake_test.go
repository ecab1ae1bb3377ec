package wake

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests: only a hang meets it.
const patience = 20 * time.Second

// backend counts what becomes of its leases.
type backend struct {
	acquired, released chan uint64 // the generation
	gen                atomic.Uint64
	out                atomic.Int64 // leases that are out
	run                func(gen uint64)
}

func (b *backend) Acquire(ctx context.Context) (Lease, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	gen := b.gen.Add(1)
	b.out.Add(1)
	b.acquired <- gen
	if b.run != nil {
		b.run(gen)
	}
	return &lease{b: b, gen: gen}, nil
}

type lease struct {
	b         *backend
	gen       uint64
	connected bool
}

func (l *lease) Generation() uint64 { return l.gen }
func (l *lease) Connected()         { l.connected = true }
func (l *lease) Release() {
	if !l.connected {
		panic("it has had nothing to do")
	}
	l.b.out.Add(-1)
	l.b.released <- l.gen
}

// stage is a Waker that serves.
type stage struct {
	t       *testing.T
	w       *Waker
	b       *backend
	addr    string
	stop    context.CancelFunc
	ended   chan bool // idle, once Serve has returned
	trouble chan error
}

// serve runs a Waker at one socket; change sees it before.
func serve(t *testing.T, network string, change func(*stage, *Config)) *stage {
	t.Helper()
	s := open(t, network)
	if change != nil {
		change(s, &s.w.cfg)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	var serving sync.WaitGroup
	serving.Go(func() {
		idle, err := s.w.Serve(ctx)
		if err != nil {
			t.Error(err)
		}
		s.ended <- idle
	})
	t.Cleanup(func() { stop(); serving.Wait() })
	return s
}

// open makes a Waker at one socket, that does not serve yet.
func open(t *testing.T, network string) *stage {
	t.Helper()
	s := &stage{t: t, b: &backend{acquired: make(chan uint64, 100), released: make(chan uint64, 100)},
		ended: make(chan bool, 1), trouble: make(chan error, 10)}
	kind, at := unix.SOCK_STREAM, sockaddr.TCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, at.Sockaddr())
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, 10)
	}
	if err != nil {
		t.Fatal(err)
	}
	sa, _ := unix.Getsockname(fd)
	at = sockaddr.From(sa)
	s.addr = at.String()
	cfg := Config{
		Listeners: []Listener{{FD: fd, Addr: at, Datagram: network == "udp"}},
		Backend:   s.b, Idle: never, IdleExit: never, Trouble: func(err error) { s.trouble <- err },
	}
	if network == "udp" {
		cfg.Idle = time.Second
	}
	if s.w, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return s
}

func (s *stage) knock(network string) net.Conn {
	s.t.Helper()
	c, err := net.Dial(network, s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if _, err := c.Write([]byte("x")); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// accept takes a connection off, as the backend does.
func (s *stage) accept() int {
	s.t.Helper()
	fd, _, err := unix.Accept4(s.w.cfg.Listeners[0].FD, unix.SOCK_CLOEXEC)
	if err != nil {
		s.t.Fatal(err)
	}
	return fd
}

func await[T comparable](t *testing.T, ch chan T, want T) {
	t.Helper()
	select {
	case got := <-ch:
		if got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no %v came", want)
	}
}

func TestClientWakesTheBackendThatAcceptsIt(t *testing.T) {
	s := serve(t, "tcp", func(s *stage, _ *Config) { s.w.idle = time.Millisecond })
	if n := s.b.gen.Load(); n != 0 {
		t.Fatalf("it was woken %d times for nobody", n)
	}
	if s.w.Awake() {
		t.Error("it is awake for nobody")
	}
	c := s.knock("tcp")
	await(t, s.b.acquired, 1)
	theirs := s.accept()
	c.Close()
	unix.Close(theirs)
	await(t, s.b.released, 1)
	s.knock("tcp")
	await(t, s.b.acquired, 2)
	s.stop()
	await(t, s.ended, false)
}

// It is looked again and again, until nobody is connected.
func TestBackendIsKeptWhileSomebodyIsConnected(t *testing.T) {
	looks := 0 // of Serve's goroutine, and read when it is over
	s := serve(t, "tcp", func(s *stage, _ *Config) {
		s.w.idle = time.Millisecond
		s.w.look = func(sockaddr.Addr, bool) (int, error) {
			if looks++; looks < 20 {
				return 1, nil
			}
			return 0, nil
		}
	})
	s.knock("tcp")
	await(t, s.b.acquired, 1)
	unix.Close(s.accept())
	await(t, s.b.released, 1)
	s.stop()
	await(t, s.ended, false)
	if looks != 20 {
		t.Errorf("%d looks", looks)
	}
}

// The kernel does not tell of a UNIX socket who is not accepted yet.
func TestWhoIsNotAcceptedYetKeepsTheBackend(t *testing.T) {
	s := open(t, "tcp")
	defer s.w.poll.Close()
	s.w.look = func(sockaddr.Addr, bool) (int, error) { return 0, nil }
	s.knock("tcp")
	if !s.w.busy() {
		t.Error("it is idle with a client in the backlog")
	}
	unix.Close(s.accept())
	if s.w.busy() {
		t.Error("it is busy, and nobody is there")
	}
}

func TestBackendThatHasEndedIsWokenAgain(t *testing.T) {
	s := serve(t, "tcp", nil)
	s.knock("tcp")
	await(t, s.b.acquired, 1)
	unix.Close(s.accept())
	s.w.BackendGone(1)
	await(t, s.b.released, 1)
	s.knock("tcp")
	await(t, s.b.acquired, 2)
}

// A backend that ends without having taken anything must not make us spin.
func TestBackendThatTakesNothingIsNotStartedAgainAtOnce(t *testing.T) {
	restart = 50 * time.Millisecond
	t.Cleanup(func() { restart = time.Second })
	begun := time.Now()
	s := serve(t, "tcp", func(s *stage, _ *Config) { s.b.run = func(gen uint64) { s.w.BackendGone(gen) } })
	s.knock("tcp")
	for gen := range uint64(4) {
		await(t, s.b.acquired, gen+1)
		await(t, s.b.released, gen+1)
	}
	if !s.w.Awake() {
		t.Error("it is not awake for a client who waits all the time")
	}
	if took := time.Since(begun); took < 3*restart {
		t.Errorf("four starts took %v", took)
	}
}

// Nobody can see whether a datagram is still worked on.
func TestDatagramKeepsTheBackendUntilItEnds(t *testing.T) {
	s := serve(t, "udp", func(s *stage, _ *Config) {
		s.w.look = func(sockaddr.Addr, bool) (int, error) { t.Error("looked"); return 0, nil }
	})
	s.knock("udp")
	await(t, s.b.acquired, 1)
	if s.w.idle != never {
		t.Errorf("it is looked every %v", s.w.idle)
	}
	if _, _, err := unix.Recvfrom(s.w.cfg.Listeners[0].FD, make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}
	s.w.BackendGone(1)
	await(t, s.b.released, 1)
	s.knock("udp")
	await(t, s.b.acquired, 2)
}

func TestConnectionsThatCannotBeSeenKeepTheBackend(t *testing.T) {
	broken := errors.New("no netlink")
	s := open(t, "tcp")
	defer s.w.poll.Close()
	s.w.idle = time.Millisecond
	s.w.look = func(sockaddr.Addr, bool) (int, error) { return 0, broken }
	if !s.w.busy() || s.w.idle != never {
		t.Errorf("it is looked again in %v", s.w.idle)
	}
	if err := <-s.trouble; !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestServeEndsWhenNobodyComes(t *testing.T) {
	s := serve(t, "tcp", func(_ *stage, c *Config) { c.IdleExit = 10 * time.Millisecond })
	await(t, s.ended, true)
}

// An awake backend is no idleness, however quiet.
func TestServeDoesNotEndUnderABackend(t *testing.T) {
	s := serve(t, "tcp", func(s *stage, c *Config) {
		c.IdleExit = time.Millisecond
		s.knock("tcp") // before Serve, which would not wait for it
	})
	await(t, s.b.acquired, 1)
	if !s.w.Awake() {
		t.Error("it is not awake for a client")
	}
	s.w.poll.Wake()
	unix.Close(s.accept())
	s.w.BackendGone(1)
	await(t, s.b.released, 1)
	await(t, s.ended, true)
	if s.w.Awake() {
		t.Error("it is awake for nobody")
	}
}

func TestWakerLeavesNothing(t *testing.T) {
	files := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before, goroutines := files(), runtime.NumGoroutine()
	t.Run("round", func(t *testing.T) {
		s := serve(t, "tcp", nil)
		s.stop()
		await(t, s.ended, false)
	})
	if after := files(); after > before {
		t.Errorf("%d files are open, %d before", after, before)
	}
	for late := time.After(patience); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		select {
		case <-late:
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		default:
		}
	}
}
