package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
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
func listen(t testing.TB) Listener {
	t.Helper()
	return listenAt(t, sockaddr.TCP(netip.MustParseAddrPort("127.0.0.1:0")))
}

func listenUnix(t testing.TB) Listener {
	t.Helper()
	return listenAt(t, sockaddr.Unix(t.TempDir()+"/s"))
}

func listenAt(t testing.TB, at sockaddr.Addr) Listener {
	t.Helper()
	fd, err := unix.Socket(at.Family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, at.Sockaddr()), unix.Listen(fd, 128)); err != nil {
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
	tries               atomic.Int64 // calls of TryAcquire
}

// newBackend serves each connection with serve, then closes it.
func newBackend(t testing.TB, serve func(net.Conn)) *backend {
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

// TryAcquire answers every other time, so that clients take either way.
func (b *backend) TryAcquire() Lease {
	if b.open != nil || b.tries.Add(1)%2 == 0 {
		return nil
	}
	b.acquired.Add(1)
	b.leases.Add(1)
	return &lease{b: b}
}

// out is how many leases have not come back.
func (b *backend) out() int64 { return b.leases.Load() }

type lease struct{ b *backend }

func (l *lease) Addresses() []sockaddr.Addr {
	return []sockaddr.Addr{sockaddr.TCP(netip.MustParseAddrPort(l.b.Addr().String()))}
}
func (l *lease) Generation() uint64 { return l.b.gen }
func (l *lease) Proven() bool       { return true }
func (l *lease) Connected()         {}
func (l *lease) Suspect()           { l.b.suspected.Add(1) }
func (l *lease) Recycle(string)     { l.b.recycled.Add(1) }
func (l *lease) Release()           { l.b.leases.Add(-1) }

func echo(c net.Conn) { io.Copy(c, c) }

// running is a Proxy that serves.
type running struct {
	t         testing.TB
	cfg       Config
	proxy     *Proxy
	events    chan any
	stop, now context.CancelFunc
	ended     chan bool           // idle, once Serve has returned
	ends      map[uint64]EndEvent // taken while another client's was awaited
}

func run(t testing.TB, b Backend, limit, line int, change func(*Config)) *running {
	t.Helper()
	t.Cleanup(nothingLeft(t))
	bytes, err := relay.New(relay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bytes.Close)
	r := &running{t: t, events: make(chan any, 10000), ended: make(chan bool, 1), ends: map[uint64]EndEvent{}}
	r.cfg = Config{
		Relay: bytes, Backend: b,
		Rules: Rules{
			Gate:         gate.Options{Limit: limit, Queue: line},
			StartTimeout: never, SessionIdle: never, KeepAlive: never, IdleExit: never, Drain: patience,
		},
		Events: func(e Event) { r.events <- kept(e) },
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

// kept is an event that may be looked at when Events has returned.
func kept(e Event) any {
	switch e := e.(type) {
	case *AdmitEvent:
		return *e
	case *EndEvent:
		return *e
	}
	return e
}

// set changes a variable until after the end of a Proxy that is run after that.
func set[T any](t testing.TB, variable *T, value T) {
	was := *variable
	*variable = value
	t.Cleanup(func() { *variable = was })
}

func (r *running) serve() {
	r.t.Helper()
	p := New(r.cfg)
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
	r.t.Cleanup(func() { stopNow(); nowNow(); <-ended; r.mustBeEmpty(p) })
}

// dial connects a client to listener i.
func (r *running) dial(i int) *net.TCPConn {
	r.t.Helper()
	return r.connect(&net.Dialer{}, i).(*net.TCPConn)
}

// dialFrom does it from an address of its own.
func (r *running) dialFrom(source string, i int) *net.TCPConn {
	r.t.Helper()
	return r.connect(&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}, i).(*net.TCPConn)
}

// conn is what both *net.TCPConn and *net.UnixConn are.
type conn interface {
	net.Conn
	CloseWrite() error
}

func (r *running) connect(d *net.Dialer, i int) conn {
	r.t.Helper()
	network, addr := "tcp", r.cfg.Listeners[i].Addr
	if !addr.IsIP() {
		network = "unix"
	}
	c, err := d.Dial(network, addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { c.Close() })
	return c.(conn)
}

// await takes events up to the next one of type E.
func await[E any](r *running) E {
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

// endOf takes events up to the end of the client with that number, and keeps
// the ends of others.
func (r *running) endOf(number uint64) EndEvent {
	r.t.Helper()
	for {
		if e, ended := r.ends[number]; ended {
			delete(r.ends, number)
			return e
		}
		e := await[EndEvent](r)
		r.ends[e.Client.Number] = e
	}
}

func exchange(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

func mustEOF(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v; want EOF", n, err)
	}
}
