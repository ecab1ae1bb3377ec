package proxy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
)

// Clients of several sources come, speak, half-close, close, reset and are
// kicked, all at once, while limits change and the gate is paused: each of them
// ends exactly once, and nothing is left.
func TestEverythingAtOnce(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := newBackend(t, echo)
			r := run(t, b, 3, 8, func(c *Config) {
				c.Listeners = []Listener{listen(t), listen(t)}
				c.Rules.Gate.QueueTimeout, c.Rules.Gate.SessionTimeout = 5*time.Millisecond, 10*time.Millisecond
				c.Rules.WakeOnData, c.Rules.WakeTimeout = seed%2 == 0, 3*time.Millisecond
				c.Rules.SessionIdle = 5 * time.Millisecond
			})
			const visitors, visits = 8, 30
			var all sync.WaitGroup
			for i := range uint64(visitors) {
				rng := rand.New(rand.NewPCG(seed, i))
				all.Go(func() {
					for range visits {
						from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%3))}
						c, err := net.DialTCP("tcp4", from, net.TCPAddrFromAddrPort(r.cfg.Listeners[rng.IntN(2)].Addr.IP))
						if err == nil { // else it is reset already
							visit(c, rng)
						}
					}
				})
			}
			gone := make(chan struct{})
			go func() { all.Wait(); close(gone) }()
			meddle(r, rand.New(rand.NewPCG(seed, 99)), gone)
			ended := map[uint64]bool{}
			for len(ended) < visitors*visits {
				e := await[EndEvent](r)
				if ended[e.Client.Number] {
					t.Errorf("client %d ended twice", e.Client.Number)
				}
				ended[e.Client.Number] = true
			}
		})
	}
}

// visit is what a client does, with more or less manners.
func visit(c *net.TCPConn, rng *rand.Rand) {
	defer c.Close()
	if rng.IntN(3) > 0 {
		c.Write([]byte("x"))
	}
	switch rng.IntN(4) {
	case 0:
		c.SetLinger(0)
	case 1:
		c.CloseWrite()
		fallthrough
	case 2:
		c.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(20)) * time.Millisecond))
		for _, err := c.Read(make([]byte, 10)); err == nil; _, err = c.Read(make([]byte, 10)) {
		}
	}
}

// meddle changes the rules and kicks until gone.
func meddle(r *running, rng *rand.Rand, gone chan struct{}) {
	for {
		select {
		case <-gone:
			r.proxy.Gate().Resume()
			return
		case <-time.After(100 * time.Microsecond):
		}
		rules := r.cfg.Rules
		switch rng.IntN(6) {
		case 0:
			r.proxy.Gate().Pause()
		case 1:
			r.proxy.Gate().Resume()
		case 2:
			r.proxy.Gate().SetLimit(rng.IntN(5))
		case 3:
			rules.Gate.Limit, rules.Gate.Fair, rules.Gate.PerSource = 1+rng.IntN(4), rng.IntN(2) == 0, rng.IntN(3)
			rules.WhenFull.Kind = FarewellKind(rng.IntN(4))
			rules.Rate = gate.Rate{N: rng.IntN(3), Per: time.Millisecond}
			r.proxy.Configure(rules)
		case 4:
			for _, s := range r.proxy.Line() {
				r.proxy.Kick(s.Client.Number)
			}
		case 5:
			for _, s := range r.proxy.Sessions() {
				if rng.IntN(3) == 0 {
					r.proxy.Kick(s.Client.Number)
				}
			}
		}
	}
}
