// Package gate lets callers through in the order in which they arrived, at
// most N at a time.
//
// It is a semaphore with a line in front of it that can be seen, bounded and
// left. It knows nothing of what it guards. A caller takes its place with
// [Gate.Enter], which never blocks, so that the order of calls to Enter is the
// order of the line; it waits with [Turn.Wait] and gives its slot back with
// [Turn.Done]. [Gate.Acquire] is the first two in one.
//
//	        ┌──────── room ─────────┐
//	Enter ──┤                       ▼
//	        ├── limit reached ──▶ waiting ──▶ inside ──▶ done
//	        │                       │   hand-over  Done
//	        └── line is full        └── Wait's context ended, or Close
//	            ErrFull                 left
//
// Invariants, all under one lock:
//
//   - No more turns are inside than the limit, except those who were in before
//     the limit was lowered.
//   - Nobody is let in while somebody waits who came before: whoever frees a
//     slot hands it to the first in line, and Enter passes only an empty line.
//   - Nobody waits while there is room.
//   - A turn that left takes no slot; if it was let in while it left, the slot
//     goes to the next in line.
package gate

import (
	"context"
	"errors"
	"sync"
)

// Errors of Enter, Acquire and Wait. Wait also answers the cause of its
// context's end.
var (
	// ErrFull: as many wait as may.
	ErrFull = errors.New("the line is full")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("the gate is closed")
)

// NoLimit as a limit lets everybody in at once.
const NoLimit = 0

// Gate is a semaphore with a line. All its methods may be called from any
// goroutine.
type Gate struct {
	mu     sync.Mutex
	limit  int   // most turns inside; NoLimit: any number; New and SetLimit write it
	length int   // most turns in line; New writes it
	inside int   // turns with a slot
	line   line  // turns that wait, first come first
	closed bool  // Close was called
	counts Stats // the running totals of Stats; the other fields stay zero
}

// Stats is a look at a Gate. The first three are of this moment, the others
// count since New.
type Stats struct {
	Limit  int // 0: no limit
	Active int // inside
	Queued int // in line

	Served    uint64 // were inside and are done
	Refused   uint64 // found the line full or the gate closed
	Abandoned uint64 // left the line by themselves, or were sent away by Close
	TimedOut  uint64 // left the line when their context's deadline had passed
}

// New makes a Gate with room for limit turns (NoLimit: any number) and a line
// of at most length (0: nobody waits). Negative numbers count as 0.
func New(limit, length int) *Gate {
	return &Gate{limit: max(limit, 0), length: max(length, 0)}
}

// Enter takes a slot if one is free and nobody waits, else the last place in
// line. It never blocks. The caller must call Done on the turn in the end,
// whether or not it was let in.
//
// It fails with ErrFull or ErrClosed.
func (g *Gate) Enter() (*Turn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := &Turn{gate: g}
	switch {
	case g.closed:
		g.counts.Refused++
		return nil, ErrClosed
	case g.room():
		g.inside++
		t.state = inside
	case g.line.n >= g.length:
		g.counts.Refused++
		return nil, ErrFull
	default:
		t.state = waiting
		t.moved = make(chan struct{})
		g.line.push(t)
	}
	return t, nil
}

// Acquire enters and waits. On success the caller must call Done in the end.
//
// It fails with ErrFull, ErrClosed, or the cause of ctx's end.
func (g *Gate) Acquire(ctx context.Context) (*Turn, error) {
	t, err := g.Enter()
	if err != nil {
		return nil, err
	}
	if err := t.Wait(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// SetLimit changes how many may be inside. A higher limit lets those in who
// wait; a lower one puts nobody out.
func (g *Gate) SetLimit(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = max(limit, 0)
	g.admit()
}

// Close sends away all who wait, and refuses who comes: both get ErrClosed.
// Those inside stay until they are done.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for t := g.line.first; t != nil; t = g.line.first {
		g.counts.Abandoned++
		g.line.remove(t)
		t.move(left)
	}
}

// Stats tells the state and the totals of this moment.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.counts
	s.Limit, s.Active, s.Queued = g.limit, g.inside, g.line.n
	return s
}

// room tells whether one more may be inside; g.mu is held.
func (g *Gate) room() bool { return g.limit == NoLimit || g.inside < g.limit }

// admit hands free slots to the first in line; g.mu is held. It is called by
// whoever made room, so that no newcomer can take the slot in between.
func (g *Gate) admit() {
	for t := g.line.first; t != nil && g.room(); t = g.line.first {
		g.line.remove(t)
		g.inside++
		t.move(inside)
	}
}
