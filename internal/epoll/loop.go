package epoll

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Handler is told what happens to files that a Loop watches for it.
type Handler interface {
	// Ready runs on the loop, and must not block: all others wait. tag tells
	// which file it is, events are epoll's.
	Ready(tag uint8, events uint32)
}

// Seat is a Handler's place in a Loop. It carries its generation, so that an
// event of a Handler that has left touches nobody else's. The zero Seat is none.
type Seat uint64

// Loop is a goroutine that waits for events and runs their handlers, one after
// the other. All its methods may be called from any goroutine.
type Loop struct {
	poll    *Poller
	aside   func()        // see NewLoop
	told    atomic.Uint64 // events so far; written by the goroutine
	stopped chan struct{} // closed when the goroutine has ended
	spare   []func()      // empty, to be the next orders; owned by the goroutine

	mu     sync.Mutex // guards what follows
	table  []place    // handlers by slot
	free   []uint32   // slots without a handler
	orders []func()   // to be run on the loop
	asleep bool       // the goroutine waits, or is about to: who has an order must wake it
	ending bool       // Stop was called: no order is taken any more
}

// place is one slot of the table.
type place struct {
	h   Handler // nil: free
	gen uint32  // counts the handlers that were here, from 1
}

// batch is how many events one epoll_wait may answer.
const batch = 128

// NewLoop starts a Loop. While it is busy it calls aside every 8 ms or somewhat
// later, if it has little to do less often, and not at all while nothing happens;
// nil: there is nothing to call. It fails when fds are exhausted.
func NewLoop(aside func()) (*Loop, error) {
	poll, err := New(batch)
	if err != nil {
		return nil, err
	}
	l := &Loop{poll: poll, aside: aside, stopped: make(chan struct{})}
	go l.run()
	return l, nil
}

// File is one that a Loop is to watch.
type File struct {
	FD    int
	Again bool // it was watched for a handler that has retired, and still is
}

// Enroll gives h a seat, writes it to s, and watches files for it, two at most,
// whose tags are their places. h is told nothing before all that is done. If it
// cannot be, h has no seat, and none of the files is watched.
func (l *Loop) Enroll(h Handler, s *Seat, interest uint32, files ...File) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		l.free = append(l.free, uint32(len(l.table)))
		l.table = append(l.table, place{gen: 1})
	}
	slot := l.free[len(l.free)-1]
	p := &l.table[slot]
	*s = Seat(p.gen)<<32 | Seat(slot)<<1
	for tag, f := range files {
		watch := l.Watch
		if f.Again {
			watch = l.Rewatch
		}
		if err := watch(*s, uint8(tag), f.FD, interest); err != nil {
			for i, other := range files {
				if i < tag || other.Again {
					l.Unwatch(other.FD)
				}
			}
			*s = 0
			p.gen++ // what has happened already is nobody's
			return err
		}
	}
	p.h = h
	l.free = l.free[:len(l.free)-1]
	return nil
}

// Retire takes a seat back: its handler is told nothing any more. The files are
// the caller's to unwatch, to close, or to have watched again: until then they are
// watched for nobody.
func (l *Loop) Retire(s Seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := uint32(s) >> 1
	p := &l.table[slot]
	p.h = nil
	p.gen++
	l.free = append(l.free, slot)
}

// Watch has events of one more file told to the handler in a seat, with a tag of
// 0 or 1. What is so already is told at once.
func (l *Loop) Watch(s Seat, tag uint8, fd int, interest uint32) error {
	return l.poll.Add(fd, uint64(s)|uint64(tag), interest)
}

// Rewatch changes what is told of a file that is watched. What is so already is
// told once more.
func (l *Loop) Rewatch(s Seat, tag uint8, fd int, interest uint32) error {
	return l.poll.Modify(fd, uint64(s)|uint64(tag), interest)
}

// Unwatch ends that. Closing the last copy of fd does, too.
func (l *Loop) Unwatch(fd int) { _ = l.poll.Delete(fd) }

// handler finds whom an event is for; nil if it has left meanwhile.
func (l *Loop) handler(id uint64) Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.table[uint32(id)>>1]
	if p.gen != uint32(id>>32) {
		return nil
	}
	return p.h
}

// Each calls f for all handlers; it is itself called on the loop.
func (l *Loop) Each(f func(Handler)) {
	l.mu.Lock()
	all := make([]Handler, 0, len(l.table)-len(l.free))
	for _, p := range l.table {
		if p.h != nil {
			all = append(all, p.h)
		}
	}
	l.mu.Unlock()
	for _, h := range all {
		f(h)
	}
}

// Do has f run on the loop soon, after what was ordered before; false: not at
// all, since the loop was stopped. While the loop is awake that costs no system
// call.
func (l *Loop) Do(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return false
	}
	l.orders = append(l.orders, f)
	l.rouse()
	return true
}

// rouse wakes the goroutine if it waits; l.mu is held.
func (l *Loop) rouse() {
	if l.asleep {
		l.asleep = false
		l.poll.Wake()
	}
}

// Stop ends the loop once the orders given so far are run.
func (l *Loop) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	l.rouse()
}

// Told is how many events the loop has told so far.
func (l *Loop) Told() uint64 { return l.told.Load() }

// Stopped is closed when the loop has ended.
func (l *Loop) Stopped() <-chan struct{} { return l.stopped }

func (l *Loop) run() {
	defer close(l.stopped)
	defer l.poll.Close()
	var events []Event
	var rest breath
	for l.obey() {
		if rest.take(len(events)) && l.aside != nil {
			l.aside()
		}
		events = l.next(events)
		l.told.Add(uint64(len(events)))
		for _, ev := range events {
			if h := l.handler(ev.ID); h != nil {
				h.Ready(uint8(ev.ID&1), ev.Events)
			}
		}
	}
}

// next waits for the next events; the last ones give their room.
func (l *Loop) next(last []Event) []Event {
	events := last[:0]
	if len(last) > 1 { // a busy time: probably there are others by now
		if events = l.poll.Look(events); len(events) > 0 {
			return events
		}
	}
	events, _, err := l.poll.Wait(events, l.patience())
	if err != nil {
		panic(fmt.Errorf("the loop's own fd is broken: %w", err))
	}
	l.mu.Lock()
	l.asleep = false
	l.mu.Unlock()
	return events
}

// breath is the goroutine's giving way to others, though there may be none. One
// that has not done so for 10 ms is looked after by the runtime's monitor: it
// takes the processor from it at the next wait, and then looks again every 20 µs
// for a while. On a busy loop that was a wake-up for every tenth request.
//
// Until its next breath a busy loop keeps its thread. Else it would go from one
// to the other, and each time two of them change places on a CPU, in the middle
// of the clients. Where one thing happens after the other, as with one client,
// that does no harm, and to keep the thread is a tenth slower.
type breath struct {
	waits  int // since the last one; a look at the clock costs as much as a small message
	told   int // events that those waits have told
	last   time.Time
	locked bool // the goroutine keeps its thread
}

// breathAfter is less than those 10 ms (forcePreemptNS in Go's runtime/proc.go).
const breathAfter = 8 * time.Millisecond

// take is called before each wait, with how many events the last one has told. It
// tells whether this was the time for a breath.
func (b *breath) take(told int) bool {
	b.told += told
	if b.waits++; b.waits%16 != 0 {
		return false
	}
	now := time.Now()
	if now.Sub(b.last) < breathAfter {
		return false
	}
	runtime.Gosched()
	busy := 2*b.told > 3*b.waits // there was more than one event for most waits
	switch {
	case busy && !b.locked:
		runtime.LockOSThread()
	case b.locked && !busy:
		runtime.UnlockOSThread()
	}
	*b = breath{last: now, locked: busy}
	return true
}

// patience is how long to wait for events: not at all if there is something
// to do.
func (l *Loop) patience() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.orders) > 0 || l.ending {
		return 0
	}
	l.asleep = true
	return -1
}

// obey runs the orders given so far, and tells whether the loop goes on. Those
// that they give in turn come after the next events.
func (l *Loop) obey() bool {
	l.mu.Lock()
	orders, ending := l.orders, l.ending
	l.orders = l.spare
	l.mu.Unlock()
	for _, f := range orders {
		f()
	}
	clear(orders)
	l.spare = orders[:0]
	return !ending
}
