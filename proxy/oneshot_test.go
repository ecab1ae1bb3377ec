package proxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/tiproxy/tiproxy/internal/sockdiag"
	"github.com/tiproxy/tiproxy/sockaddr"
)

// oneShot is a backend whose processes serve one client each, and keep their
// listener for a while longer.
type oneShot struct {
	t      *testing.T
	linger func() // before the listener is closed

	mu    sync.Mutex
	gen   uint64
	at    net.Listener // of the present generation
	taken int          // connections to it
}

func (o *oneShot) start() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		o.t.Error(err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gen++
	o.at, o.taken = l, 0
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
		o.linger()
		l.Close()
		o.start()
	}()
}

func (o *oneShot) Acquire(context.Context) (Lease, error) { return o.TryAcquire(), nil }

func (o *oneShot) TryAcquire() Lease {
	o.mu.Lock()
	defer o.mu.Unlock()
	return &oneShotLease{o, o.gen, sockaddr.TCP(netip.MustParseAddrPort(o.at.Addr().String()))}
}

type oneShotLease struct {
	o    *oneShot
	gen  uint64
	addr sockaddr.Addr
}

func (l *oneShotLease) Proven() bool {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	return l.gen == l.o.gen && l.o.taken == 0
}

func (l *oneShotLease) Connected() {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	if l.gen == l.o.gen {
		l.o.taken++
	}
}

func (l *oneShotLease) Addresses() []sockaddr.Addr { return []sockaddr.Addr{l.addr} }
func (l *oneShotLease) Generation() uint64         { return l.gen }
func (*oneShotLease) Suspect()                     {}
func (*oneShotLease) Recycle(string)               {}
func (*oneShotLease) Release()                     {}

// A client that reaches the listener of a backend which has done its work, and
// only not closed it yet, is served by the next one, and loses nothing.
func TestBackendForOneClientOnly(t *testing.T) {
	connected := make(chan struct{})
	b := &oneShot{t: t, linger: func() { <-connected }}
	b.start()
	r := run(t, b, 1, 10, nil)
	for range 5 {
		first, second := r.dial(0), r.dial(0)
		exchange(t, first, "one")
		first.Close()
		second.Write([]byte("two"))
		until(t, "a connection in the old listener's backlog", func() bool {
			n, err := sockdiag.Connections(b.TryAcquire().Addresses()[0], false)
			return n == 1 && err == nil
		})
		connected <- struct{}{}
		got := make([]byte, 3)
		if _, err := io.ReadFull(second, got); err != nil || string(got) != "two" {
			t.Fatalf("read %q, %v", got, err)
		}
		second.Close()
		connected <- struct{}{}
		for range 2 {
			if e := await[EndEvent](r); e.Outcome != Served || e.Err != nil {
				t.Errorf("%+v", e)
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at.Close()
}
