package proxy

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
)

// No stretch of a second's tenth has more than five, whatever listener they
// come by; nobody fails, and it heals.
func TestRate(t *testing.T) {
	const n, per = 5, 100 * time.Millisecond
	r := run(t, newBackend(t, echo), gate.NoLimit, 0, func(c *Config) {
		c.Listeners = []Listener{listen(t), listen(t)}
		c.Rules.Rate = gate.Rate{N: n, Per: per}
	})
	var clients []*net.TCPConn
	for i := range 4 * n {
		clients = append(clients, r.dial(i%2))
	}
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() { exchange(t, c, "served") })
	}
	all.Wait()
	came := r.arrivals()
	if len(came) != 4*n {
		t.Fatalf("%d came", len(came))
	}
	for i := n; i < len(came); i++ {
		if within := came[i] - came[i-n]; within < per {
			t.Errorf("%d came within %v", n+1, within)
		}
	}
	<-time.After(per) // a quiet stretch: as many may come at once again
	for range n {
		exchange(t, r.dial(0), "at once")
	}
	if rest := rest(r.proxy.front.resting.Load()); rest == restSlowed {
		t.Error("it has not healed")
	}
}

// arrivals are the times at which those who are here came, on Proxy.clock.
func (r *running) arrivals() (at []time.Duration) {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	for c := r.proxy.clients; c != nil; c = c.next {
		at = append([]time.Duration{c.arrived}, at...)
	}
	return at
}

// Those who wait for the rate's sake come at once when it is lifted.
func TestConfigureWhileSlowed(t *testing.T) {
	r := run(t, newBackend(t, echo), gate.NoLimit, 0, func(c *Config) { c.Rules.Rate = gate.Rate{N: 1, Per: time.Hour} })
	exchange(t, r.dial(0), "the only one of this hour")
	c := r.dial(0)
	until(t, "a rest", func() bool { return rest(r.proxy.front.resting.Load()) == restSlowed })
	rules := r.cfg.Rules
	rules.Rate = gate.Rate{N: 2, Per: time.Hour}
	r.proxy.Configure(rules)
	exchange(t, c, "another")
	exchange(t, r.dial(0), "and another") // of the new rate
	last := r.dial(0)
	until(t, "a rest", func() bool { return rest(r.proxy.front.resting.Load()) == restSlowed })
	rules.Rate = gate.Rate{}
	r.proxy.Configure(rules)
	exchange(t, last, "the last")
}

// Stopping does not wait for the rate, and who is in the backlog stays there.
func TestStopWhileSlowed(t *testing.T) {
	r := run(t, newBackend(t, echo), gate.NoLimit, 0, func(c *Config) { c.Rules.Rate = gate.Rate{N: 1, Per: time.Hour} })
	in := r.dial(0)
	exchange(t, in, "in")
	r.dial(0)
	until(t, "a rest", func() bool { return rest(r.proxy.front.resting.Load()) == restSlowed })
	r.stop()
	in.Close()
	<-r.ended
	if n := r.proxy.accepted; n != 1 {
		t.Errorf("%d were accepted", n)
	}
}
