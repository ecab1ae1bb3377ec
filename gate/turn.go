package gate

import (
	"context"
	"errors"
)

// state of a turn.
type state uint8

const (
	waiting state = iota // stands in line
	inside               // has a slot
	left                 // left the line without one
	done                 // gave its slot back
)

// Turn is one caller's place in line, and then its slot.
type Turn struct {
	gate       *Gate         // set by Enter
	prev, next *Turn         // neighbours while waiting; owned by line
	moved      chan struct{} // closed when the turn leaves the line; nil: it never stood there
	state      state         // under gate.mu
}

// Waits tells whether Wait would block now. The answer may be stale at once,
// except that a turn that does not wait never will again.
func (t *Turn) Waits() bool {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	return t.state == waiting
}

// Wait blocks until it is the turn's turn. If ctx ends first, the turn leaves
// the line and Wait answers the cause of that; if the gate is closed, ErrClosed.
// After an error the turn has no slot.
func (t *Turn) Wait(ctx context.Context) error {
	if t.moved == nil {
		return nil
	}
	select {
	case <-t.moved:
	case <-ctx.Done():
		t.leave(ctx)
		return context.Cause(ctx)
	}
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.state == left {
		return ErrClosed
	}
	return nil
}

// leave takes the turn out of the line. It may have been let in since ctx
// ended: nobody is there to use that slot, so it goes to the next in line.
func (t *Turn) leave(ctx context.Context) {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	switch t.state {
	case waiting:
		g.line.remove(t)
	case inside:
		g.inside--
		g.admit()
	default:
		return // Close was faster and has counted it
	}
	t.state = left
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		g.counts.TimedOut++
	} else {
		g.counts.Abandoned++
	}
}

// Done gives the slot to the first in line, or leaves the line if there was no
// slot yet. A second call does nothing.
func (t *Turn) Done() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	switch t.state {
	case waiting:
		g.line.remove(t)
		g.counts.Abandoned++
		t.move(left)
	case inside:
		t.state = done
		g.counts.Served++
		g.inside--
		g.admit()
	}
}

// move ends the turn's wait; gate.mu is held.
func (t *Turn) move(to state) {
	t.state = to
	close(t.moved)
}

// line is a list of waiting turns in which each of them can leave at once.
// A slice would have to be searched when a client in the middle hangs up.
type line struct {
	first, last *Turn // nil: empty
	n           int
}

func (l *line) push(t *Turn) {
	t.prev = l.last
	if l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
	l.n++
}

func (l *line) remove(t *Turn) {
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	l.n--
}
