package proxy

import (
	"io"
	"net"
	"testing"
)

// A log that is stuck holds up nobody who is inside, and no end of a session.
// Only when too much is untold accepting rests, until all is told.
func TestEventsThatNobodyTakes(t *testing.T) {
	set(t, &mostUntold, 5)
	stuck := make(chan struct{})
	r := run(t, newBackend(t, echo), 0, 10, func(c *Config) {
		events := c.Events
		c.Events = func(e Event) { <-stuck; events(e) }
	})
	first := r.dial(0)
	exchange(t, first, "in")
	var others []*net.TCPConn
	for range 10 {
		c := r.dial(0)
		c.Write([]byte("x"))
		c.CloseWrite()
		others = append(others, c)
	}
	until(t, "a rest", func() bool { return rest(r.proxy.front.resting.Load()) == restUntold })
	exchange(t, first, "still in")
	served := func() uint64 { return r.proxy.Gate().Stats().Served }
	until(t, "an end", func() bool { return served() > 0 })
	if n := served(); n == 10 {
		t.Error("nobody had to wait")
	}
	close(stuck)
	for _, c := range others {
		if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
			t.Errorf("read %q, %v", got, err)
		}
	}
	first.Close()
	for n := range 11 {
		if e := r.endOf(uint64(n + 1)); e.Outcome != Served {
			t.Errorf("client %d: %+v", n+1, e)
		}
	}
}

// Events are told in the order in which they happened to each client.
func TestEventsKeepTheirOrder(t *testing.T) {
	r := run(t, newBackend(t, echo), 0, 10, nil)
	for range 10 {
		c := r.dial(0)
		exchange(t, c, "x")
		c.Close()
	}
	entered := map[uint64]bool{}
	for ends := 0; ends < 10; {
		switch e := await[any](r).(type) {
		case AdmitEvent:
			entered[e.Client.Number] = true
		case EndEvent:
			ends++
			if !entered[e.Client.Number] {
				t.Errorf("client %d ended before it was let in", e.Client.Number)
			}
		}
	}
}
