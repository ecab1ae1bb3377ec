// Package gate lets callers through in the order in which they arrived, at
// most N at a time.
//
// It is a semaphore with a line in front of it that can be seen, bounded and
// left, and with its own clocks and hooks. It knows nothing of what it guards.
// A caller takes its place with [Gate.Enter], which never blocks, so that the
// order of calls to Enter is the order of the line; it is told when its turn
// has come, and gives its slot back with [Turn.Done]. [Gate.Acquire] does the
// first two in one, and blocks.
//
//	         ┌────────── room ───────────┐
//	Enter ───┤                           ▼
//	         ├── no room ──▶ waiting ──▶ called ──▶ inside ──▶ done
//	         │                │            │ Before  Done
//	         │                └── Leave, QueueTimeout, Close,
//	         └── line is full          or Before failed: left
//	             ErrFull, ErrSourceFull
//
// Without Options.Before nobody stays called: a turn is inside at once.
//
// Invariants, all under one lock:
//
//   - No more turns hold a slot (are called or inside) than the limit, and no
//     more of one source than PerSource, except those who had one before the
//     limit was lowered.
//   - Nobody is let in while somebody waits who is before him: whoever frees a
//     slot hands it on, and Enter passes only when nobody could be let in.
//   - Nobody waits while there is room, unless his source has all its slots,
//     or the gate is paused.
//   - A turn that left takes no slot; if it left while Before ran for it, the
//     slot goes on when Before has ended.
//   - Before keeps a slot no longer than BeforeTimeout and a moment.
//
// Who is before whom: without Fair, who came first. With Fair the sources that
// wait are served in turns, and within a source who came first.
package gate

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// Why a turn was refused, or left the line.
var (
	// ErrFull: as many wait as may.
	ErrFull = errors.New("the line is full")
	// ErrSourceFull: as many of this source wait as may.
	ErrSourceFull = errors.New("as many from this source wait as may")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("the gate is closed")
	// ErrTimeout: it waited for Options.QueueTimeout.
	ErrTimeout = errors.New("waited for too long")
)

// NoLimit as a limit lets everybody in at once.
const NoLimit = 0

// Options are the rules of a Gate. The zero value lets everybody in.
type Options struct {
	Limit int // most turns inside; NoLimit: any number
	Queue int // most turns in line; 0: nobody waits

	PerSource      int  // most turns inside of one source; 0: any number
	QueuePerSource int  // most turns in line of one source; 0: any number
	Fair           bool // sources take turns

	QueueTimeout   time.Duration // longest in line; 0: no limit
	SessionTimeout time.Duration // longest inside, see Late; 0: no limit

	// Before is called for each turn that has got its slot, before it is let
	// in; nil: nothing is. Its error sends the turn away, unless BeforeMayFail.
	// It runs on a goroutine of its own, and its context ends after
	// BeforeTimeout (0: no limit); if it goes on nevertheless, it is left
	// behind and counts as failed.
	Before        func(context.Context, *Turn) error
	BeforeTimeout time.Duration
	BeforeMayFail bool

	// Late is called for a turn that is inside for SessionTimeout. It keeps
	// its slot until Done: ending it is the caller's business. nil: the clock
	// does nothing.
	Late func(*Turn)

	// Room is called after the line was full and is not any more; nil: nobody
	// wants to know.
	Room func()
}

// Gate is a semaphore with a line. All its methods may be called from any
// goroutine, also from the functions in its Options.
type Gate struct {
	mu       sync.Mutex
	opts     Options            // New and Configure write it
	inside   int                // slots taken, by turns called or inside
	queued   int                // turns that wait
	arrivals uint64             // numbers the turns
	rounds   uint64             // numbers the places in the ring of sources, if they take turns
	everyone source             // of the turns that named no source
	sources  map[string]*source // the others, while one of theirs is here
	ready    ring               // the sources of which somebody could be let in
	closed   bool               // Close was called
	paused   bool               // Pause was called, and Resume not yet
	wasFull  bool               // the line was full when last looked at
	counts   Stats              // the running totals of Stats; the other fields stay zero
	told     []func()           // what to call once the lock is given back
}

// Stats is a look at a Gate. The first four are of this moment, the others
// count since New.
type Stats struct {
	Limit  int  // 0: no limit
	Active int  // hold a slot
	Queued int  // in line
	Paused bool // nobody is let in

	Served    uint64 // were inside and are done
	Refused   uint64 // found the line full or the gate closed
	Abandoned uint64 // left the line by themselves, or were sent away by Close
	TimedOut  uint64 // were sent away after QueueTimeout
	Failed    uint64 // were sent away because Before failed
	Late      uint64 // were inside for SessionTimeout
}

// New makes a Gate. Negative numbers in o count as 0.
func New(o Options) *Gate {
	g := &Gate{opts: o.sane(), sources: map[string]*source{}}
	g.everyone = source{gate: g, at: nowhere}
	return g
}

func (o Options) sane() Options {
	for _, n := range []*int{&o.Limit, &o.Queue, &o.PerSource, &o.QueuePerSource} {
		*n = max(*n, 0)
	}
	return o
}

// Enter gives w a turn, which must be zero or done, and not be used again while
// a function of Options may still have it in its hands: a slot if there is room,
// else the last place in line. It never blocks. The turn is inside if in is
// true; else w is told by Moved, once, what became of it. In either case the
// caller calls t.Done in the end.
//
// source names where w comes from, for the rules about sources; turns with ""
// have no such rules.
//
// It fails with ErrFull, ErrSourceFull or ErrClosed; then w is told nothing.
func (g *Gate) Enter(t *Turn, w Waiter, source string) (in bool, err error) {
	g.mu.Lock()
	defer g.unlock()
	from := g.source(source)
	if err := g.refuses(from); err != nil {
		g.counts.Refused++
		g.settle(from)
		return false, err
	}
	g.arrivals++
	*t = Turn{from: from, who: w, number: g.arrivals}
	if g.room() && from.mayEnter() {
		g.call(t)
		return t.state == inside, nil
	}
	t.state, t.queued = waiting, true
	from.line.push(t)
	g.queued++
	if limit := g.opts.QueueTimeout; limit > 0 {
		number := t.number
		t.clock = time.AfterFunc(limit, func() { g.expire(t, number) })
	}
	g.settle(from)
	return false, nil
}

// refuses tells why one more of a source cannot even wait; g.mu is held.
func (g *Gate) refuses(from *source) error {
	switch {
	case g.closed:
		return ErrClosed
	case g.room() && from.mayEnter():
		return nil
	case g.queued >= g.opts.Queue:
		return ErrFull
	case from != &g.everyone && g.opts.QueuePerSource > 0 && from.line.n >= g.opts.QueuePerSource:
		return ErrSourceFull
	}
	return nil
}

// Acquire enters and waits. On success the caller must call Done in the end.
//
// It fails with the errors of Enter, with ErrTimeout, the error of Before, or
// the cause of ctx's end.
func (g *Gate) Acquire(ctx context.Context, source string) (*Turn, error) {
	t, moved := new(Turn), make(notice, 1)
	in, err := g.Enter(t, moved, source)
	if err == nil && !in {
		select {
		case err = <-moved:
		case <-ctx.Done():
			if t.Leave() {
				return nil, context.Cause(ctx)
			}
			err = <-moved // it was faster
		}
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// notice is the Waiter of Acquire.
type notice chan error

func (n notice) Moved(err error) { n <- err }

// Configure changes the rules. Higher limits let those in who wait; lower ones
// put nobody out. Clocks that run and turns that are called go on by the old
// rules, and sources that take turns keep their order.
func (g *Gate) Configure(o Options) {
	g.mu.Lock()
	defer g.unlock()
	g.configure(o)
}

func (g *Gate) configure(o Options) {
	line := g.inOrder()
	for len(g.ready) > 0 {
		heap.Pop(&g.ready)
	}
	g.opts = o.sane()
	for _, t := range line {
		g.settle(t.from)
	}
	g.admit()
}

// SetLimit changes Options.Limit alone.
func (g *Gate) SetLimit(limit int) {
	g.mu.Lock()
	defer g.unlock()
	o := g.opts
	o.Limit = limit
	g.configure(o)
}

// Close sends away all who wait, and refuses who comes: both get ErrClosed.
// Those called or inside stay until they are done.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.unlock()
	g.closed = true
	for _, t := range g.inOrder() {
		g.counts.Abandoned++
		g.sendAway(t, ErrClosed)
	}
}

// Pause lets nobody in any more; who comes waits. Those called or inside are
// not concerned, and all clocks go on.
func (g *Gate) Pause() {
	g.mu.Lock()
	defer g.unlock()
	g.paused = true
}

// Resume ends a Pause.
func (g *Gate) Resume() {
	g.mu.Lock()
	defer g.unlock()
	g.paused = false
	g.admit()
}

// Places tells how many more would not be refused now, if they are of sources
// without rules of their own and nobody leaves.
func (g *Gate) Places() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.places()
}

func (g *Gate) places() int {
	if g.room() && g.opts.Limit == NoLimit {
		return math.MaxInt
	}
	places := max(g.opts.Queue-g.queued, 0)
	if g.room() {
		places += g.opts.Limit - g.inside
	}
	return places
}

// Line is who waits, the next to be let in first: in the order that will hold
// if nobody else comes. Those whose source has all its slots stand behind, and
// pass again to where they belong when it has one.
func (g *Gate) Line() []Waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Waiter, 0, g.queued)
	for _, t := range g.inOrder() {
		all = append(all, t.who)
	}
	return all
}

// Stats tells the state and the totals of this moment.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.counts
	s.Limit, s.Active, s.Queued, s.Paused = g.opts.Limit, g.inside, g.queued, g.paused
	return s
}

// room tells whether there is a slot; g.mu is held.
func (g *Gate) room() bool {
	return !g.paused && (g.opts.Limit == NoLimit || g.inside < g.opts.Limit)
}

// admit hands free slots on; g.mu is held. It is called by whoever made room,
// so that no newcomer can take the slot in between.
func (g *Gate) admit() {
	for len(g.ready) > 0 && g.room() {
		t := heap.Pop(&g.ready).(*source).line.first
		g.unlink(t)
		g.call(t)
	}
}

// unlock gives the lock back and then tells what was decided under it: whoever
// hears it may call the gate again.
func (g *Gate) unlock() {
	full := g.places() == 0
	if g.wasFull && !full && g.opts.Room != nil {
		g.told = append(g.told, g.opts.Room)
	}
	g.wasFull = full
	told := g.told
	g.told = nil
	g.mu.Unlock()
	for _, tell := range told {
		tell()
	}
}
