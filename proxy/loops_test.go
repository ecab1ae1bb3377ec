package proxy

import (
	"testing"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/relay"
)

// withLoops gives a Proxy a relay of n loops, however many CPUs there are.
func withLoops(t *testing.T, n int) func(*Config) {
	t.Helper()
	bytes, err := relay.New(relay.Options{Loops: n})
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
	r := run(t, newBackend(t, echo), 0, 10, withLoops(t, 2))
	exchange(t, r.dial(0), "x")
	release := hold(r.proxy.loops[0])
	for range 5 {
		exchange(t, r.dial(0), "x")
	}
	release()
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	for c := r.proxy.clients; c != nil; c = c.next {
		if c.number > 1 && c.at != 1 {
			t.Errorf("client %d is at loop %d", c.number, c.at)
		}
	}
}

// Who has waited is let in by the first loop, and is its client from then on.
func TestWhoHasWaitedIsTheFirstLoops(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, withLoops(t, 2))
	inside := r.dial(0)
	exchange(t, inside, "x")
	release := hold(r.proxy.loops[0])
	waits := r.dial(0)
	await[WaitEvent](r)
	release()
	inside.Close()
	exchange(t, waits, "x")
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	c := r.proxy.clients
	for c.number != 2 {
		c = c.next
	}
	if c.door.at != 1 || c.at != 0 {
		t.Errorf("it was accepted by loop %d and is at loop %d; want 1 and 0", c.door.at, c.at)
	}
	if n := r.proxy.front.watches; n != 0 {
		t.Errorf("%d clients are still watched before they are served", n)
	}
}
