package proxy

import (
	"net"
	"testing"

	"github.com/tiproxy/tiproxy/gate"
)

// However many one source sends, another one's client has its own slot.
func TestMaxPerSource(t *testing.T) {
	r := run(t, newBackend(t, echo), 2, 100, func(c *Config) { c.Rules.Gate.PerSource = 1 })
	flood := r.flood(t, 30)
	exchange(t, flood[0], "one of them")
	exchange(t, r.dialFrom("127.0.0.2", 0), "another source")
	if s := r.proxy.Gate().Stats(); s.Active != 2 || s.Queued != 29 {
		t.Errorf("%+v", s)
	}
}

// flood has clients of 127.0.0.1 come, and waits until all are accepted.
func (r *running) flood(t testing.TB, n int) (clients []*net.TCPConn) {
	t.Helper()
	for range n {
		clients = append(clients, r.dialFrom("127.0.0.1", 0))
	}
	until(t, "the flood", func() bool { return len(r.proxy.Sessions()) == n })
	return clients
}

// With Fair another source comes within its turn: after one of the flood.
func TestFair(t *testing.T) {
	for fair, want := range map[bool]int{true: 1, false: 29} {
		r := run(t, newBackend(t, echo), 1, 100, func(c *Config) { c.Rules.Gate.Fair = fair })
		flood := r.flood(t, 30)
		await[AdmitEvent](r)
		exchange(t, flood[0], "in")
		other := r.dialFrom("127.0.0.2", 0)
		until(t, "the other", func() bool { return r.proxy.Gate().Stats().Queued == 30 })
		flood[0].Close()
		before := 0
		for await[AdmitEvent](r).Client.Number != 31 {
			before++
			flood[before].Close()
		}
		exchange(t, other, "its turn")
		if before != want {
			t.Errorf("fair %v: %d of the flood came before it, want %d", fair, before, want)
		}
	}
}

func TestQueuePerSource(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 100, func(c *Config) { c.Rules.Gate.QueuePerSource = 2 })
	door := r.dialFrom("127.0.0.1", 0)
	exchange(t, door, "in")
	for range 2 {
		r.dialFrom("127.0.0.1", 0)
		await[WaitEvent](r)
	}
	mustEOF(t, r.dialFrom("127.0.0.1", 0))
	if e := r.endOf(4); e.Outcome != Refused || e.Err != gate.ErrSourceFull || e.Hint() == "" {
		t.Errorf("%+v", e)
	}
	r.dialFrom("127.0.0.2", 0)
	if e := await[WaitEvent](r); e.Client.Number != 5 {
		t.Errorf("%+v", e)
	}
}
