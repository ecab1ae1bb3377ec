package relay

import (
	"container/heap"
	"time"
)

// silence is the clock of a session that must not be silent for too long: one
// with Terms.Idle, or that is half-closed. Most sessions never have one. The
// loop owns it.
type silence struct {
	idle  Terms         // of an open session
	limit time.Duration // that holds now; 0: none yet
	moved uint64        // sum of Session.moved when last was set
	last  time.Time     // when a byte was seen to have moved, or limit began to hold
	due   time.Time     // when the vigil looks at it; zero: it does not
	place int           // in the vigil; meaningless while due is zero
}

// watchSilence sees to the clock after something began, moved or ended.
func (s *Session) watchSilence() {
	limit, _ := s.silenceLimit()
	if limit == 0 || s.ended {
		return
	}
	if s.quiet == nil {
		s.quiet = s.loop.Load().vigil.clock()
	}
	q := s.quiet
	moved := s.moved[A].Load() + s.moved[B].Load()
	if q.limit == limit && q.moved == moved {
		return
	}
	q.moved, q.last = moved, time.Now()
	if q.limit != limit {
		q.limit = limit
		s.loop.Load().vigil.expect(s)
	}
}

// silenceLimit is how long the session may be silent now, 0: for ever, and
// whose silence it is.
func (s *Session) silenceLimit() (time.Duration, Side) {
	limit, side := time.Duration(0), A
	switch a, b := &s.dir[A], &s.dir[B]; {
	case a.shut && !b.shut:
		limit, side = s.loop.Load().opts.HalfClosed, B
	case b.shut && !a.shut:
		limit = s.loop.Load().opts.Lingering
	}
	if q := s.quiet; q != nil && q.idle.Idle > 0 && (limit == 0 || q.idle.Idle < limit) {
		limit = q.idle.Idle
	}
	return limit, side
}

// checkSilence ends a session in which nothing moved for as long as it may be
// silent, else gives it the rest of that.
func (s *Session) checkSilence(now time.Time) {
	q := s.quiet
	if now.Sub(q.last) < q.limit { // something moved meanwhile
		s.loop.Load().vigil.expect(s)
		return
	}
	limit, side := s.silenceLimit()
	switch {
	case limit != q.idle.Idle:
		s.abort(ErrSilent, side)
	case q.idle.Reset:
		s.abort(ErrIdle, A)
	default:
		s.finish(ErrIdle, A)
	}
}

// vigil is the sessions of a loop that have a silence, the one to be looked at
// first in front, with one timer for all of them: nearly all sessions that
// half-close end well before their time, and to set a timer and stop it wakes
// threads of Go's. The loop owns it.
type vigil struct {
	loop  *loop
	heap  silences
	timer *time.Timer // nil: it was never needed
	fires time.Time   // when timer does; zero: it does not run
	spare []*silence  // of sessions that have ended, to be used again
}

// spares is how many clocks are kept for sessions to come: each session needs one
// for a moment, if its two sides do not end at once.
const spares = 64

// clock is one for a session that had none.
func (v *vigil) clock() *silence {
	last := len(v.spare) - 1
	if last < 0 {
		return &silence{}
	}
	q := v.spare[last]
	v.spare = v.spare[:last]
	*q = silence{}
	return q
}

// end is leave for a session that has ended: its clock is another's.
func (v *vigil) end(s *Session) {
	v.leave(s)
	if s.quiet != nil && len(v.spare) < spares {
		v.spare = append(v.spare, s.quiet)
	}
	s.quiet = nil
}

// expect has a session looked at when its time will be over if nothing moves.
func (v *vigil) expect(s *Session) {
	q := s.quiet
	in := !q.due.IsZero()
	if q.due = q.last.Add(q.limit); in {
		heap.Fix(&v.heap, q.place)
	} else {
		heap.Push(&v.heap, s)
	}
	v.wind()
}

// leave takes a session out that has ended, or goes to another loop.
func (v *vigil) leave(s *Session) {
	if q := s.quiet; q != nil && !q.due.IsZero() {
		heap.Remove(&v.heap, q.place)
		q.due, q.limit = time.Time{}, 0
	}
}

// wind has the timer fire for the first one. It may fire too early, for one that
// has left.
func (v *vigil) wind() {
	if len(v.heap) == 0 {
		return
	}
	first := v.heap[0].quiet.due
	if !v.fires.IsZero() && !first.Before(v.fires) {
		return
	}
	v.fires = first
	if wait := time.Until(first); v.timer == nil {
		v.timer = time.AfterFunc(wait, func() { v.loop.Do(v.look) })
	} else {
		v.timer.Reset(wait)
	}
}

// look follows the timer. Who is looked at ends, or is expected later.
func (v *vigil) look() {
	v.fires = time.Time{}
	for now := time.Now(); len(v.heap) > 0 && !v.heap[0].quiet.due.After(now); {
		v.heap[0].checkSilence(now)
	}
	v.wind()
}

// silences implements heap.Interface, by silence.due.
type silences []*Session

func (h silences) Len() int           { return len(h) }
func (h silences) Less(i, j int) bool { return h[i].quiet.due.Before(h[j].quiet.due) }
func (h silences) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].quiet.place, h[j].quiet.place = i, j
}

func (h *silences) Push(s any) {
	s.(*Session).quiet.place = len(*h)
	*h = append(*h, s.(*Session))
}

func (h *silences) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last], *h = nil, (*h)[:last]
	return s
}
