package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/relay"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests: only a hang meets it.
const patience = 20 * time.Second

// listen makes a listening, non-blocking fd, as activation does.
func listen(t *testing.T) Listener {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 128)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return Listener{FD: fd, Addr: sockaddr.From(sa)}
}

// backend is a real server; Acquire can be held up by the test.
type backend struct {
	net.Listener
	open     chan struct{} // closed: Acquire answers; nil: it does at once
	acquired atomic.Int64
	leases   atomic.Int64 // out now
	inside   atomic.Int64 // connections open now
	most     atomic.Int64 // of them, ever
	gen      uint64       // told by its leases

	suspected, recycled atomic.Int64 // so often
}

// newBackend serves each connection with serve, then closes it.
func newBackend(t *testing.T, serve func(net.Conn)) *backend {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{Listener: l}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				n := b.inside.Add(1)
				for m := b.most.Load(); n > m && !b.most.CompareAndSwap(m, n); m = b.most.Load() {
				}
				defer b.inside.Add(-1)
				serve(c)
			})
		}
	})
	return b
}

func (b *backend) Acquire(ctx context.Context) (Lease, error) {
	if b.open != nil {
		select {
		case <-b.open:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	b.acquired.Add(1)
	b.leases.Add(1)
	return &lease{b: b}, nil
}

type lease struct{ b *backend }

func (l *lease) Addresses() []sockaddr.Addr {
	return []sockaddr.Addr{sockaddr.TCP(netip.MustParseAddrPort(l.b.Addr().String()))}
}
func (l *lease) Generation() uint64 { return l.b.gen }
func (l *lease) Connected()         {}
func (l *lease) Suspect()           { l.b.suspected.Add(1) }
func (l *lease) Recycle(string)     { l.b.recycled.Add(1) }
func (l *lease) Release()           { l.b.leases.Add(-1) }

func echo(c net.Conn) { io.Copy(c, c) }

// running is a Proxy that serves.
type running struct {
	t         *testing.T
	cfg       Config
	proxy     *Proxy
	events    chan Event
	stop, now context.CancelFunc
	ended     chan bool // idle, once Serve has returned
}

func run(t *testing.T, b Backend, limit, line int, change func(*Config)) *running {
	t.Helper()
	bytes, err := relay.New(relay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bytes.Close)
	r := &running{t: t, events: make(chan Event, 10000), ended: make(chan bool, 1)}
	r.cfg = Config{
		Gate: gate.New(limit, line), Relay: bytes, Backend: b,
		QueueTimeout: never, StartTimeout: never, SessionTimeout: never, IdleExit: never, Drain: patience,
		Events: func(e Event) { r.events <- e },
	}
	if change != nil {
		change(&r.cfg)
	}
	if r.cfg.Listeners == nil {
		r.cfg.Listeners = []Listener{listen(t)}
	}
	r.serve()
	return r
}

func (r *running) serve() {
	r.t.Helper()
	p, err := New(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	stop, stopNow := context.WithCancel(context.Background())
	now, nowNow := context.WithCancel(context.Background())
	r.proxy, r.stop, r.now = p, stopNow, nowNow
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		idle, err := p.Serve(stop, now)
		if err != nil {
			r.t.Error(err)
		}
		r.ended <- idle
	}()
	r.t.Cleanup(func() { stopNow(); nowNow(); <-ended })
}

// dial connects a client to listener i.
func (r *running) dial(i int) *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp4", r.cfg.Listeners[i].Addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// await takes events up to the next one of type E.
func await[E Event](r *running) E {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-r.events:
			if e, is := e.(E); is {
				return e
			}
		case <-timeout:
			var want E
			r.t.Fatalf("no %T came", want)
		}
	}
}

func exchange(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

func mustEOF(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v; want EOF", n, err)
	}
}

func TestOneConnection(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 1, 0, nil)
	c := r.dial(0)
	exchange(t, c, "hello")
	c.CloseWrite()
	mustEOF(t, c)
	e := await[EndEvent](r)
	if e.Outcome != Served || e.Err != nil || e.FromClient != 5 || e.FromBackend != 5 || e.Client.Number != 1 || !e.Client.Addr.IsIP() {
		t.Errorf("%+v", e)
	}
	if n := b.leases.Load(); n != 0 {
		t.Errorf("%d leases are still out", n)
	}
}

// Fifty clients over two listeners reach the backend in the order in which
// they came, one at a time.
func TestOrderOverTwoListeners(t *testing.T) {
	var mu sync.Mutex
	var order []string
	b := newBackend(t, func(c net.Conn) {
		name, _ := io.ReadAll(c)
		mu.Lock()
		order = append(order, string(name))
		mu.Unlock()
		fmt.Fprint(c, "bye")
	})
	r := run(t, b, 1, 100, func(c *Config) { c.Listeners = []Listener{listen(t), listen(t)} })
	door := r.dial(0)
	fmt.Fprint(door, "door")
	var clients []*net.TCPConn
	var want []string
	for i := range 50 {
		c := r.dial(i % 2)
		await[WaitEvent](r) // so the next one comes later
		name := fmt.Sprintf("client %d", i)
		fmt.Fprint(c, name)
		c.CloseWrite()
		clients, want = append(clients, c), append(want, name)
	}
	door.CloseWrite()
	for _, c := range clients {
		if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if got, want := strings.Join(order, ","), "door,"+strings.Join(want, ","); got != want {
		t.Errorf("order: %s", got)
	}
	if b.most.Load() != 1 {
		t.Errorf("%d were at the backend at once", b.most.Load())
	}
}

func TestThoseWhoLeaveTheLine(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(*net.TCPConn)
		err   error
	}{
		{"close", func(c *net.TCPConn) { c.Close() }, ErrHungUp},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, ErrReset},
		{"reset after a request", func(c *net.TCPConn) { fmt.Fprint(c, "x"); c.SetLinger(0); c.Close() }, ErrReset},
		{"half-close without a request", func(c *net.TCPConn) { c.CloseWrite() }, ErrHungUp},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t, echo)
			r := run(t, b, 1, 10, nil)
			door := r.dial(0)
			exchange(t, door, "in")
			gone := r.dial(0)
			await[WaitEvent](r)
			tt.leave(gone)
			if e := await[EndEvent](r); e.Outcome != Left || !errors.Is(e.Err, tt.err) || e.Client.Number != 2 {
				t.Errorf("%+v", e)
			}
			if s := r.cfg.Gate.Stats(); s.Queued != 0 || s.Abandoned != 1 {
				t.Errorf("%+v", s)
			}
			if n := b.acquired.Load(); n != 1 {
				t.Errorf("the backend was asked for %d times", n)
			}
		})
	}
}

// echo request | nc -N: the client has said all and waits for the answer.
func TestHalfClosedRequestKeepsItsPlace(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, nil)
	door := r.dial(0)
	exchange(t, door, "in")
	c := r.dial(0)
	await[WaitEvent](r)
	fmt.Fprint(c, "request")
	c.CloseWrite()
	other := r.dial(0) // once it waits, the front has seen the half-close
	await[WaitEvent](r)
	other.Close()
	await[EndEvent](r)
	door.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "request" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHangUpWhileTheBackendStarts(t *testing.T) {
	b := newBackend(t, echo)
	b.open = make(chan struct{})
	r := run(t, b, 1, 10, nil)
	gone, next := r.dial(0), r.dial(0)
	await[WaitEvent](r)
	gone.Close()
	if e := await[EndEvent](r); e.Outcome != Left || e.Err != ErrHungUp {
		t.Errorf("%+v", e)
	}
	close(b.open)
	exchange(t, next, "its turn")
	if n := b.acquired.Load(); n != 1 {
		t.Errorf("%d leases were given", n)
	}
}

// A client that only connects wakes nobody, takes no slot, and is sent away.
func TestWakeOnData(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 1, 1, func(c *Config) { c.WakeOnData, c.WakeTimeout = true, never })
	silent, leaving := r.dial(0), r.dial(0)
	leaving.Close()
	if e := await[EndEvent](r); e.Outcome != Left || e.Err != ErrHungUp {
		t.Errorf("%+v", e)
	}
	if n := b.acquired.Load(); n != 0 {
		t.Errorf("the backend was asked for %d times by those who said nothing", n)
	}
	if s := r.cfg.Gate.Stats(); s.Active != 0 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
	exchange(t, r.dial(0), "speaks first") // and holds the slot
	fmt.Fprint(silent, "speaks at last")
	await[WaitEvent](r)
	late := r.dial(0)
	fmt.Fprint(late, "one too many")
	mustEOF(t, late)
	if e := await[EndEvent](r); e.Outcome != Refused || e.Err != gate.ErrFull {
		t.Errorf("%+v", e)
	}
	r.stop()
	mustEOF(t, silent)
	if e := await[EndEvent](r); e.Outcome != Left || !errors.Is(e.Err, gate.ErrClosed) {
		t.Errorf("%+v", e)
	}
}

// Only the first byte asks for a place.
func TestWakeOnDataOnce(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.WakeOnData, c.WakeTimeout = true, never })
	exchange(t, r.dial(0), "holds the slot")
	talker := r.dial(0)
	fmt.Fprint(talker, "first")
	await[WaitEvent](r)
	fmt.Fprint(talker, "second")
	fmt.Fprint(r.dial(0), "another")
	await[WaitEvent](r) // by now the front has seen the second piece
	if s := r.cfg.Gate.Stats(); s.Queued != 2 {
		t.Errorf("%d in line, want 2", s.Queued)
	}
}

func TestWakeTimeout(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.WakeOnData, c.WakeTimeout = true, 20*time.Millisecond })
	mustEOF(t, r.dial(0))
	if e := await[EndEvent](r); e.Outcome != Left || e.Err != ErrSilent {
		t.Errorf("%+v", e)
	}
	c := r.dial(0) // a request and its half-close at once are data
	fmt.Fprint(c, "request")
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "request" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFullLineRefuses(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 1, nil)
	door := r.dial(0)
	exchange(t, door, "in")
	r.dial(0)
	await[WaitEvent](r)
	c := r.dial(0)
	mustEOF(t, c)
	e := await[EndEvent](r)
	if e.Outcome != Refused || e.Err != gate.ErrFull || e.Hint() == "" {
		t.Errorf("%+v", e)
	}
}

func TestQueueTimeout(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.QueueTimeout = 20 * time.Millisecond })
	door := r.dial(0)
	exchange(t, door, "in")
	c := r.dial(0)
	fmt.Fprint(c, "what nobody has read must not turn the end into a reset")
	mustEOF(t, c)
	e := await[EndEvent](r)
	if e.Outcome != Left || e.Err != ErrQueueTimeout || e.Waited < 20*time.Millisecond {
		t.Errorf("%+v", e)
	}
	if s := r.cfg.Gate.Stats(); s.TimedOut != 1 {
		t.Errorf("%+v", s)
	}
	exchange(t, door, "not touched")
}

func TestSessionTimeout(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.SessionTimeout = 50 * time.Millisecond })
	c, next := r.dial(0), r.dial(0)
	exchange(t, c, "in")
	mustEOF(t, c)
	if e := await[EndEvent](r); e.Outcome != Served || e.Err != ErrSessionTimeout || e.FailedSide != "" {
		t.Errorf("%+v", e)
	}
	exchange(t, next, "its turn")
}

func TestSessionTimeoutRecyclesTheBackend(t *testing.T) {
	for _, restart := range []bool{false, true} {
		b := newBackend(t, echo)
		r := run(t, b, 1, 10, func(c *Config) { c.SessionTimeout, c.RestartLate = 20*time.Millisecond, restart })
		mustEOF(t, r.dial(0))
		await[EndEvent](r)
		if got := b.recycled.Load(); (got == 1) != restart {
			t.Errorf("with RestartLate=%v the backend was recycled %d times", restart, got)
		}
	}
}

// The supervisor must hear of a reset before the next client is let in.
func TestResetByTheBackendIsSuspicious(t *testing.T) {
	b := newBackend(t, func(c net.Conn) {
		c.Read(make([]byte, 1))
		c.(*net.TCPConn).SetLinger(0)
	})
	r := run(t, b, 1, 10, nil)
	c := r.dial(0)
	fmt.Fprint(c, "x")
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v", err)
	}
	if e := await[EndEvent](r); e.FailedSide != "backend" || b.suspected.Load() != 1 {
		t.Errorf("%+v, suspected %d times", e, b.suspected.Load())
	}
}

func TestCut(t *testing.T) {
	b := newBackend(t, echo)
	b.gen = 3
	r := run(t, b, 2, 10, nil)
	c := r.dial(0)
	exchange(t, c, "in")
	r.proxy.Cut(2)
	exchange(t, c, "still in")
	r.proxy.Cut(3)
	mustEOF(t, c)
	if e := await[EndEvent](r); e.Err != relay.ErrCut {
		t.Errorf("%+v", e)
	}
}

func TestSessionTimeoutWhileTheBackendStarts(t *testing.T) {
	b := newBackend(t, echo)
	b.open = make(chan struct{})
	r := run(t, b, 1, 10, func(c *Config) { c.SessionTimeout = 20 * time.Millisecond })
	mustEOF(t, r.dial(0))
	if e := await[EndEvent](r); e.Outcome != Unserved || !errors.Is(e.Err, ErrSessionTimeout) {
		t.Errorf("%+v", e)
	}
}

// A backend between two generations refuses for a moment; the client waits.
func TestRefusedConnectIsTriedAgain(t *testing.T) {
	real := newBackend(t, echo)
	r := run(t, &moving{backend: real}, 1, 10, nil)
	exchange(t, r.dial(0), "third time lucky")
	if n := real.acquired.Load(); n != 3 {
		t.Errorf("the backend was asked for %d times, want 3", n)
	}
}

// moving answers two leases on a dead port before the real one.
type moving struct{ *backend }

func (m *moving) Acquire(ctx context.Context) (Lease, error) {
	l, err := m.backend.Acquire(ctx)
	if m.acquired.Load() < 3 {
		return &deadLease{l}, err
	}
	return l, err
}

type deadLease struct{ Lease }

// Addresses has a port that nobody may listen at.
func (deadLease) Addresses() []sockaddr.Addr {
	return []sockaddr.Addr{sockaddr.TCP(netip.MustParseAddrPort("127.0.0.1:1"))}
}

func TestStartTimeout(t *testing.T) {
	b := newBackend(t, echo)
	t.Run("never ready", func(t *testing.T) {
		b.open = make(chan struct{})
		r := run(t, b, 1, 10, func(c *Config) { c.StartTimeout = 20 * time.Millisecond })
		mustEOF(t, r.dial(0))
		if e := await[EndEvent](r); e.Outcome != Unserved || !strings.Contains(e.Err.Error(), "not ready within 20ms") {
			t.Errorf("%+v", e)
		}
		b.open = nil
	})
	t.Run("never takes a connection", func(t *testing.T) {
		b.acquired.Store(-1 << 40)
		r := run(t, &moving{backend: b}, 1, 10, func(c *Config) { c.StartTimeout = 20 * time.Millisecond })
		mustEOF(t, r.dial(0))
		if e := await[EndEvent](r); e.Outcome != Unserved || !errors.Is(e.Err, syscall.ECONNREFUSED) {
			t.Errorf("%+v", e)
		}
		if n := b.leases.Load(); n != 0 {
			t.Errorf("%d leases are still out", n)
		}
	})
}

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
			r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.Drain = tt.drain })
			in := r.dial(0)
			exchange(t, in, "in")
			waiting := r.dial(0)
			await[WaitEvent](r)
			r.stop()
			mustEOF(t, waiting)
			if e := await[EndEvent](r); e.Outcome != Left || !errors.Is(e.Err, gate.ErrClosed) {
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
	r := run(t, b, 1, 10, func(c *Config) { c.Drain = 10 * time.Millisecond })
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
	r := run(t, b, 1, 10, func(c *Config) { c.IdleExit = 10 * time.Millisecond })
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
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.IdleExit = 50 * time.Millisecond })
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
	defer func(d time.Duration) { starvedRest = d }(starvedRest)
	starvedRest = time.Hour // only a freed fd ends the rest
	r := run(t, newBackend(t, echo), NoLimit, 10, nil)
	in := r.dial(0)
	exchange(t, in, "in")
	starve(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err) // starve leaves one
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, r.cfg.Listeners[0].Addr.Sockaddr()); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)})
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
	if _, err := unix.Write(fd, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if n, err := unix.Read(fd, got); err != nil || string(got[:n]) != "hello" {
		t.Errorf("got %q, %v", got[:n], err)
	}
}

// A client that has read the end of a killed backend and stays all the same
// must not keep its slot.
func TestSlotOfADeadBackendIsFreed(t *testing.T) {
	for _, when := range []string{"while it is joined", "before it is joined"} {
		t.Run(when, func(t *testing.T) {
			b := newBackend(t, func(c net.Conn) { fmt.Fprint(c, "bye") })
			b.gen = 7
			r := run(t, b, 1, 10, nil)
			if when == "before it is joined" {
				r.proxy.BackendGone(7)
			}
			stays := r.dial(0)
			if got, err := io.ReadAll(stays); err != nil || string(got) != "bye" {
				t.Fatalf("got %q, %v", got, err)
			}
			if when == "while it is joined" {
				r.proxy.BackendGone(6) // an earlier one is nothing to it
				if s := r.cfg.Gate.Stats(); s.Active != 1 {
					t.Fatalf("%+v", s)
				}
				r.proxy.BackendGone(7)
			}
			if e := await[EndEvent](r); e.Outcome != Served || e.Err != relay.ErrGone || e.FailedSide != "backend" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// NoLimit is gate's word.
const NoLimit = gate.NoLimit

// starve lowers the limit of fds, so that one more can be opened.
func starve(t *testing.T) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	probe, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(probe.Fd()) // the lowest free number; those below are taken
	probe.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: next + 1, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	})
}

func TestNoGoroutineWhileRelaying(t *testing.T) {
	const n = 100
	b := newBackend(t, echo)
	r := run(t, b, NoLimit, 0, nil)
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
