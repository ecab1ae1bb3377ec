package gate

import (
	"context"
	"fmt"
	"time"
)

// Waiter is who waits for a turn.
type Waiter interface {
	// Moved is called once when the wait has ended: with nil if the turn is
	// inside now, else with the reason why it left the line. No lock is held.
	// It must not block: whoever gave a slot back waits for it.
	Moved(error)
}

// state of a turn.
type state uint8

const (
	done    state = iota // gave its slot back, or was never used
	waiting              // stands in line
	called               // has a slot, and Before runs for it
	inside               // has a slot
	left                 // left the line without one
)

// Turn is one caller's place in line, and then its slot. It is part of the
// caller, which need not look after it: everything is under Gate.mu.
type Turn struct {
	from       *source     // set by Enter
	who        Waiter      // set by Enter
	prev, next *Turn       // neighbours while waiting; owned by line
	clock      *time.Timer // of QueueTimeout, then of SessionTimeout; nil: none runs
	number     uint64      // counts the arrivals; set by Enter
	state      state
	queued     bool // had a place in line; set by Enter
}

// Waiter is who entered with the turn.
func (t *Turn) Waiter() Waiter { return t.who }

// Queued tells whether Enter gave the turn a place in line, wherever it is by now.
// One that is not inside because Options.Before runs may have found room at once.
func (t *Turn) Queued() bool { return t.queued }

// Done gives the slot to the next in line, or leaves the line if there was no
// slot yet. A second call, and one on a turn that never entered, does nothing.
func (t *Turn) Done() {
	if t.Leave() || t.from == nil {
		return
	}
	g := t.from.gate
	g.mu.Lock()
	defer g.unlock()
	if t.state == inside {
		t.state = done
		t.stopClock()
		g.counts.Served++
		g.free(t.from)
	}
}

// Leave leaves the line, and tells whether the turn stood there: then its
// Waiter will be told nothing.
func (t *Turn) Leave() bool {
	if t.from == nil {
		return false
	}
	g := t.from.gate
	g.mu.Lock()
	defer g.unlock()
	switch t.state {
	case waiting:
		g.dequeue(t)
	case called: // Before goes on, and frees the slot when it ends
	default:
		return false
	}
	t.state = left
	g.counts.Abandoned++
	return true
}

// expire is QueueTimeout, of the turn that had that number: t may be another's
// by now.
func (g *Gate) expire(t *Turn, number uint64) {
	g.mu.Lock()
	defer g.unlock()
	if t.state == waiting && t.number == number {
		g.counts.TimedOut++
		g.sendAway(t, ErrTimeout)
	}
}

// sendAway ends a wait; g.mu is held.
func (g *Gate) sendAway(t *Turn, why error) {
	g.dequeue(t)
	t.state = left
	g.tell(t, why)
}

// tell has a waiter hear what became of it, once the lock is given back.
func (g *Gate) tell(t *Turn, err error) {
	who := t.who // by then t may be another's
	g.told = append(g.told, func() { who.Moved(err) })
}

// dequeue takes a waiting turn out of the line; g.mu is held.
func (g *Gate) dequeue(t *Turn) {
	g.unlink(t)
	g.settle(t.from)
}

// unlink is dequeue for those who settle the source themselves.
func (g *Gate) unlink(t *Turn) {
	t.stopClock()
	t.from.line.remove(t)
	g.queued--
}

// call gives a turn that is in no line its slot; g.mu is held. One that comes
// straight from Enter is not told, its caller sees it inside.
func (g *Gate) call(t *Turn) {
	waited, from := t.state == waiting, t.from
	g.inside++
	from.inside++
	g.settle(from)
	if g.opts.Before != nil {
		t.state = called
		o, number := g.opts, t.number
		g.told = append(g.told, func() { go g.before(t, number, from, o) })
		return
	}
	g.letIn(t)
	if waited {
		g.tell(t, nil)
	}
}

// letIn puts a turn inside; g.mu is held.
func (g *Gate) letIn(t *Turn) {
	t.state = inside
	if limit := g.opts.SessionTimeout; limit > 0 && g.opts.Late != nil {
		number, tell := t.number, g.opts.Late
		t.clock = time.AfterFunc(limit, func() { g.late(t, number, tell) })
	}
}

// late is SessionTimeout, of the turn that had that number.
func (g *Gate) late(t *Turn, number uint64, tell func(*Turn)) {
	g.mu.Lock()
	defer g.unlock()
	if t.state == inside && t.number == number {
		g.counts.Late++
		g.told = append(g.told, func() { tell(t) })
	}
}

// free takes a slot of a source back and hands it on; g.mu is held.
func (g *Gate) free(from *source) {
	g.inside--
	from.inside--
	g.settle(from)
	g.admit()
}

func (t *Turn) stopClock() {
	if t.clock != nil {
		t.clock.Stop()
		t.clock = nil
	}
}

// lastWord is how long a Before whose time is over may take to come back: it
// has something to kill.
const lastWord = time.Second

// before runs Before for the turn that was called with that number, and lets it
// in or sends it away. It may have left meanwhile, and t be another's.
func (g *Gate) before(t *Turn, number uint64, from *source, o Options) {
	ctx, cancel := context.WithCancel(context.Background())
	if o.BeforeTimeout > 0 {
		ctx, cancel = context.WithTimeout(context.Background(), o.BeforeTimeout)
	}
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- o.Before(ctx, t) }()
	var err error
	select {
	case err = <-result:
	case <-ctx.Done():
		select {
		case err = <-result:
		case <-time.After(lastWord):
			err = fmt.Errorf("what has to be done before did not end: %w", ctx.Err())
		}
	}
	g.mu.Lock()
	defer g.unlock()
	switch {
	case t.state != called || t.number != number:
		g.free(from)
	case err != nil && !o.BeforeMayFail:
		t.state = left
		g.counts.Failed++
		g.free(from)
		g.tell(t, err)
	default:
		g.letIn(t)
		g.tell(t, nil)
	}
}
