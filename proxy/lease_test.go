package proxy

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
)

// idling is a backend that is always ready, and counts how often it had no lease
// out any more: with IdleStop=0 it would be stopped then.
type idling struct {
	*backend
	idle atomic.Int64
}

type idlingLease struct {
	*lease
	b *idling
}

func (b *idling) Acquire(context.Context) (Lease, error) { return b.TryAcquire(), nil }

func (b *idling) TryAcquire() Lease {
	b.leases.Add(1)
	return &idlingLease{&lease{b: b.backend}, b}
}

func (l *idlingLease) Release() {
	if l.b.leases.Add(-1) == 0 {
		l.b.idle.Add(1)
	}
}

// While clients stand in line the backend is never without a lease: the slot goes
// on first.
func TestLeaseComesBackAfterTheSlotWentOn(t *testing.T) {
	b := &idling{backend: newBackend(t, echo)}
	r := run(t, b, 1, 20, withLoops(t, 2))
	clients := []*net.TCPConn{r.dial(0)}
	exchange(t, clients[0], "x")
	for n := range 20 {
		release := func() {}
		if n%2 == 0 {
			release = hold(r.proxy.loops[0]) // so that the next loop takes it in
		}
		clients = append(clients, r.dial(0))
		await[WaitEvent](r)
		release()
	}
	for n, c := range clients {
		exchange(t, c, "x")
		c.Close()
		r.endOf(uint64(n + 1))
	}
	until(t, "all leases are back", func() bool { return b.out() == 0 })
	if n := b.idle.Load(); n != 1 {
		t.Errorf("it had no lease out %d times", n)
	}
}
