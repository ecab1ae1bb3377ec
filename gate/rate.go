package gate

import "time"

// Rate bounds arrivals: no more than N in any stretch of time of length Per.
// The zero value bounds nothing.
type Rate struct {
	N   int
	Per time.Duration
}

// Meter holds arrivals to a Rate. It slows them down and refuses none; a quiet
// stretch heals it by itself. Time is given to it, as what passed since any
// fixed moment. It is not safe for several goroutines.
type Meter struct {
	rate Rate
	last []time.Duration // the last N arrivals, a ring; shorter while there were fewer
	next int             // where the next one goes once the ring is whole: its oldest
}

// NewMeter makes a Meter that has seen nobody yet.
func NewMeter(r Rate) *Meter { return &Meter{rate: r} }

// Wait tells how long the next arrival has to wait; 0: it may come now.
func (m *Meter) Wait(now time.Duration) time.Duration {
	if m.rate.N <= 0 || len(m.last) < m.rate.N {
		return 0
	}
	return max(m.last[m.next]+m.rate.Per-now, 0)
}

// Count takes an arrival down.
func (m *Meter) Count(now time.Duration) {
	switch {
	case m.rate.N <= 0:
	case len(m.last) < m.rate.N:
		m.last = append(m.last, now)
	default:
		m.last[m.next] = now
		m.next = (m.next + 1) % m.rate.N
	}
}
