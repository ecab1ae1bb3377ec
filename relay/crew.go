package relay

import (
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/internal/epoll"
)

// crew is the loops of a relay that have the sessions which last: the first one
// alone for as long as it can. Loops that share what one could do wake each other's
// neighbours all the time, and take more CPU for the same. One more is worth it if
// there is a CPU for it that nobody else wants, or if so many want all of them that
// two threads get more than one. Which of that holds is not known beforehand, so it
// is tried, for a window:
//
//	           full                     much more gets done
//	steady ───────────▶ one more ────────────────────────────▶ steady
//	  │ ▲                  └── else: as before ──▶ steady
//	  │ └── else: as before ──┐
//	  └── several ──▶ one less ── as much gets done ──▶ steady
//
// The sessions follow at their next event. Those that are young stay where they began:
// to come and go is most of their work, and two loops do more of that than one. Bulk
// flows are not concerned: they are dealt out to all loops.
type crew struct {
	state atomic.Uint64 // a roster; written by set

	// What follows belongs to the first loop.
	most   uint32    // loops that there may be; 0: it stays as it is
	last   sample    // when the window began; zero: none has
	fulls  int       // windows in a row that the first loop was full
	rate   float64   // events per second in the last of those; 0: there was none
	before float64   // in the better one of the last two before the trial
	trial  int       // how many loops more are tried, -1 or 1; 0: none
	tried  int       // the last trial; 0: there was none
	helped bool      // that one did
	rest   time.Time // until then only what helped is tried again
}

// roster is who has sessions at a time.
type roster struct {
	era    uint32 // counts the changes, from 1
	active uint32 // how many loops, from the first
}

// sample is what was measured by a moment.
type sample struct {
	at   time.Time
	told uint64       // events told by all loops
	own  epoll.Strain // of the first one's thread
}

// settleAfter is how often something moves in a session before it counts as one
// that lasts: to take it to another loop costs as much as a request and its reply.
const settleAfter = 16

const (
	// window is how long is measured: many of the kernel's time slices.
	window = 200 * time.Millisecond
	// quietAfter is a window in which so little happened that nobody measured.
	quietAfter = 4 * window
	// full is the share of a window in which a loop that has too much to do has
	// something to do, at least.
	full = 0.7
	// soonFull and longFull are after how many full windows one loop more is
	// tried, where a CPU is idle and where it is not. The first is not compared with:
	// a rush has only begun then.
	soonFull, longFull = 2, 5
	// muchMore and asMuch are how many times as much has to get done with one
	// loop more, or less, to leave it at that. Windows differ by some per cent.
	muchMore, asMuch = 1.15, 0.97
	// pause is how long after a trial there is no other: one that does not help
	// may cost a part of the work of a window.
	pause = 5 * time.Second
)

// muster gives the loops their first roster. Where nobody can see that one is not
// enough, all have sessions.
func (r *Relay) muster() {
	c, n := &r.crew, uint32(len(r.loops))
	if _, err := epoll.ReadStrain(); err != nil {
		c.set(n)
		return
	}
	c.set(1)
	r.loops[0].Do(func() { c.most = n })
}

func (c *crew) now() roster {
	s := c.state.Load()
	return roster{era: uint32(s >> 32), active: uint32(s)}
}

// set begins an era.
func (c *crew) set(active uint32) {
	c.state.Store(uint64(c.now().era+1)<<32 | uint64(active))
}

// watchCrew is what the first loop does aside.
func (r *Relay) watchCrew() {
	c, was := &r.crew, r.InUse()
	now := time.Now()
	if c.most < 2 || now.Sub(c.last.at) < window {
		return
	}
	r.measure(now)
	if r.InUse() != was {
		r.tell()
	}
}

// measure ends a window.
func (r *Relay) measure(now time.Time) {
	own, err := epoll.ReadStrain()
	if err != nil { // fds are exhausted: the window goes on
		return
	}
	r.window.Add(1)
	s := sample{at: now, own: own}
	for _, l := range r.loops {
		s.told += l.Told()
	}
	r.crew.take(s)
}

// take decides by what was measured.
func (c *crew) take(s sample) {
	last := c.last
	c.last = s
	span := s.at.Sub(last.at)
	rate := float64(s.told-last.told) / span.Seconds()
	switch {
	case span > quietAfter:
		c.trial, c.tried, c.helped, c.fulls, c.rest = 0, 0, false, 0, time.Time{}
		if c.now().active > 1 {
			c.set(1)
		}
	case s.own.Thread != last.own.Thread: // a loop that changes threads is not that busy
		c.end(false)
	case c.trial > 0:
		c.end(rate > muchMore*c.before)
	case c.trial < 0:
		c.end(rate > asMuch*c.before)
	case float64(s.own.Busy-last.own.Busy) > full*float64(span):
		c.fulls++
		c.try(s.own.Idle-last.own.Idle > span, max(rate, c.rate))
		c.rate = rate
	default:
		c.fulls, c.rate = 0, 0
		c.try(false, rate)
	}
}

// try begins a trial if it is time for one. idle: so is a CPU; rate is what the
// trial is to be compared with.
func (c *crew) try(idle bool, rate float64) {
	trial := c.next(idle)
	if c.last.at.Before(c.rest) && !(c.helped && trial == c.tried) {
		return
	}
	if trial != 0 {
		c.trial, c.tried, c.before, c.fulls = trial, trial, rate, 0
		c.change(trial)
	}
}

// next is what could be tried; 0: nothing. Where it is both they take turns.
func (c *crew) next(idle bool) int {
	active, enough := c.now().active, longFull
	if idle || c.helped && c.tried > 0 {
		enough = soonFull
	}
	switch {
	case active < c.most && c.fulls >= enough && (active == 1 || c.tried < 0 || c.helped):
		return +1
	case active > 1:
		return -1
	}
	return 0
}

// end ends a trial, if there is one.
func (c *crew) end(helped bool) {
	if c.trial == 0 {
		return
	}
	if !helped {
		c.change(-c.trial)
	}
	c.helped, c.trial, c.rate, c.rest = helped, 0, 0, c.last.at.Add(pause)
}

func (c *crew) change(loops int) { c.set(uint32(int(c.now().active) + loops)) }

// follow takes a session that has nothing under way to the loop that it belongs to
// by a roster; one that has only begun stays, if its loop is among those. It may be in
// another's hands when this returns.
func (s *Session) follow(now roster) {
	if s.moves || s.queue || s.dir[A].holds() || s.dir[B].holds() {
		return // a bulk flow, or soon
	}
	l, began := s.loop.Load(), s.era == 0
	s.era = now.era
	if !began || l.at >= now.active {
		s.goTo(l.relay.loops[uint32(s.seat)>>1%now.active])
	}
}
