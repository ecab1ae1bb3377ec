package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/relay"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

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

func TestSessionTimeout(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.Rules.Gate.SessionTimeout = 50 * time.Millisecond })
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
		r := run(t, b, 1, 10, func(c *Config) { c.Rules.Gate.SessionTimeout, c.Rules.RestartLate = 20*time.Millisecond, restart })
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

// The relay may be at work before the proxy knows its session.
func TestCutBeforeItIsJoined(t *testing.T) {
	b := newBackend(t, echo)
	b.gen = 3
	r := run(t, b, 2, 10, nil)
	r.proxy.Cut(3)
	mustEOF(t, r.dial(0))
	if e := await[EndEvent](r); e.Err != relay.ErrCut {
		t.Errorf("%+v", e)
	}
}

func TestSessionTimeoutWhileTheBackendStarts(t *testing.T) {
	b := newBackend(t, echo)
	b.open = make(chan struct{})
	r := run(t, b, 1, 10, func(c *Config) { c.Rules.Gate.SessionTimeout = 20 * time.Millisecond })
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

func (m *moving) TryAcquire() Lease {
	l, _ := m.Acquire(context.Background())
	return l
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
		r := run(t, b, 1, 10, func(c *Config) { c.Rules.StartTimeout = 20 * time.Millisecond })
		mustEOF(t, r.dial(0))
		if e := await[EndEvent](r); e.Outcome != Unserved || !strings.Contains(e.Err.Error(), "not ready within 20ms") {
			t.Errorf("%+v", e)
		}
		b.open = nil
	})
	t.Run("never takes a connection", func(t *testing.T) {
		b.acquired.Store(-1 << 40)
		r := run(t, &moving{backend: b}, 1, 10, func(c *Config) { c.Rules.StartTimeout = 20 * time.Millisecond })
		mustEOF(t, r.dial(0))
		if e := await[EndEvent](r); e.Outcome != Unserved || !errors.Is(e.Err, syscall.ECONNREFUSED) {
			t.Errorf("%+v", e)
		}
		if n := b.leases.Load(); n != 0 {
			t.Errorf("%d leases are still out", n)
		}
	})
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
				if s := r.proxy.Gate().Stats(); s.Active != 1 {
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

// Who is to leave while the relay takes its session in does not stay.
func TestDismissedWhileItIsJoined(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 2, 10, nil)
	p := r.proxy
	var ours [2]int // the client's and the backend's
	for i := range ours {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours[i] = fds[0]
		defer unix.Close(fds[1])
	}
	p.loops[0].Do(func() {
		c := &client{fd: int32(ours[0]), door: &p.doors[0], uid: -1}
		p.mu.Lock()
		p.enter(c)
		p.move(c, Entering)
		c.way().cause, c.fate = ErrKicked, kicked
		p.mu.Unlock()
		b.leases.Add(1)
		if err := p.relay(c, &lease{b: b}, ours[1]); err != nil {
			t.Error(err)
		}
	})
	if e := await[EndEvent](r); e.Outcome != Served || e.Err != ErrKicked {
		t.Errorf("%+v", e)
	}
}

// A client is not watched any more once it is being joined, though the clock of
// that has run out just before.
func TestNobodyIsWatchedWhileItIsJoined(t *testing.T) {
	b := newBackend(t, echo)
	b.open = make(chan struct{})
	r := run(t, b, 0, 10, nil)
	client := r.dial(0)
	await[AdmitEvent](r)
	p := r.proxy
	watched := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		a := p.clients.approach // nil: it is on its way since this moment
		return a != nil && a.seat != 0
	}
	until(t, "it is watched", watched)
	p.mu.Lock() // what join does
	c := p.clients
	p.front.unwatch(c)
	c.approach.stopClock()
	p.mu.Unlock()
	p.watchOn(c)
	if watched() {
		t.Error("it is watched again")
	}
	close(b.open)
	exchange(t, client, "hello")
}
