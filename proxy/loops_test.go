package proxy

import (
	"sync/atomic"
	"testing"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/relay"
)

// twoLoops gives a Proxy a relay of two loops, however many CPUs there are.
func twoLoops(t *testing.T) func(*Config) {
	t.Helper()
	bytes, err := relay.New(relay.Options{Loops: 2, Spread: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bytes.Close)
	return func(c *Config) { c.Relay = bytes }
}

// hold keeps a loop busy until release is called.
func hold(l *epoll.Loop) (release func()) {
	held, end := make(chan struct{}), make(chan struct{})
	l.Do(func() { close(held); <-end })
	<-held
	return func() { close(end) }
}

// Those who come when the first loop is busy are served by the next.
func TestClientsOfABusyLoop(t *testing.T) {
	r := run(t, newBackend(t, echo), 0, 10, twoLoops(t))
	exchange(t, r.dial(0), "x")
	release := hold(r.proxy.loops[0])
	for range 5 {
		exchange(t, r.dial(0), "x")
	}
	release()
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	for c := r.proxy.clients; c != nil; c = c.next {
		if c.number > 1 && c.door.at != 1 {
			t.Errorf("client %d is at loop %d", c.number, c.door.at)
		}
	}
}

// The listeners are heard on the loops that take sessions, soon after their number
// has changed.
func TestListenersFollowTheCrew(t *testing.T) {
	var active atomic.Int32
	active.Store(1)
	set(t, &activeLoops, func(*relay.Relay) int { return int(active.Load()) })
	r := run(t, newBackend(t, echo), 0, 20, twoLoops(t))
	at := func(who uint64) (loop int) {
		r.proxy.mu.Lock()
		defer r.proxy.mu.Unlock()
		for c := r.proxy.clients; c != nil; c = c.next {
			if c.number == who {
				return c.door.at
			}
		}
		t.Fatalf("client %d has gone", who)
		return 0
	}
	come := func() { exchange(t, r.dial(0), "x") }
	come()
	held := hold(r.proxy.loops[0])
	c := r.dial(0) // only the first loop hears, and it is busy
	looked := make(chan struct{})
	r.proxy.loops[1].Do(func() { close(looked) })
	<-looked // the second has told all that it heard of
	held()
	exchange(t, c, "x")
	active.Store(2)
	come() // the third, which has the front see that
	held = hold(r.proxy.loops[0])
	come()
	held()
	active.Store(1)
	come()
	for who, want := range []int{0, 0, 0, 1} {
		if got := at(uint64(who + 1)); got != want {
			t.Errorf("client %d is at loop %d, want %d", who+1, got, want)
		}
	}
	r.proxy.front.mu.Lock()
	defer r.proxy.front.mu.Unlock()
	if n := r.proxy.front.loops; n != 1 {
		t.Errorf("heard on %d loops after all", n)
	}
}
