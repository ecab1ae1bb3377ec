package proxy

import (
	"testing"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/relay"
)

// withLoops gives a Proxy a relay of n loops, however many CPUs there are.
func withLoops(t *testing.T, n int) func(*Config) {
	t.Helper()
	bytes, err := relay.New(relay.Options{Loops: n, Spread: true})
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
		if c.number > 1 && c.door.at != 1 {
			t.Errorf("client %d is at loop %d", c.number, c.door.at)
		}
	}
}
