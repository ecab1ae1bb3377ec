package proxy

import (
	"sync"
	"time"
)

// mostUntold is how many events may be untold before accepting rests.
var mostUntold = 4096

const (
	// nap is how long the goroutine leaves it at having told all there was, for
	// each event of these, up to longestNap: to wake it for each event would cost
	// as much as a session does, and every millisecond a tenth of that.
	nap        = time.Millisecond
	longestNap = 10 * time.Millisecond
	// roomKept is for how many events a queue keeps its memory, which is more
	// than come within two naps: on a busy machine the goroutine has to wait for a CPU.
	roomKept = 1024
)

// teller passes events on, in order, on a goroutine of its own. Whoever hears
// them may have to wait for somebody, as a log does for a journal that is
// slow or stuck; clients and their bytes must not wait with it.
type teller struct {
	hear func(Event)
	room func()        // called after there were too many, and none is left
	work chan struct{} // has one when there is something to tell
	done chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex
	queue untold
	full  bool // somebody was told so; room is to be called
}

// untold is events that are not told yet, the first one first. Those that every
// client has stand in rooms of their own, which are used again: as garbage they
// were a third of what a session leaves.
type untold struct {
	order  []Event
	admits []AdmitEvent
	ends   []EndEvent
}

// used is the queue empty, to be used again.
func (u untold) used() untold {
	if cap(u.order) > roomKept {
		return untold{}
	}
	clear(u.order)
	clear(u.admits)
	clear(u.ends)
	return untold{u.order[:0], u.admits[:0], u.ends[:0]}
}

func newTeller(hear func(Event), room func()) *teller {
	return &teller{hear: hear, room: room, work: make(chan struct{}, 1), done: make(chan struct{})}
}

// tell has e told soon; nil ends the goroutine.
func (t *teller) tell(e Event) {
	t.mu.Lock()
	t.add(e)
}

// tellAdmit is tell for what every client has.
func (t *teller) tellAdmit(e AdmitEvent) {
	t.mu.Lock()
	q := &t.queue
	q.admits = append(q.admits, e)
	t.add(&q.admits[len(q.admits)-1])
}

// tellEnd is tell for what every client has.
func (t *teller) tellEnd(e EndEvent) {
	t.mu.Lock()
	q := &t.queue
	q.ends = append(q.ends, e)
	t.add(&q.ends[len(q.ends)-1])
}

// add puts an event at the end of the queue, and gives t.mu back.
func (t *teller) add(e Event) {
	t.queue.order = append(t.queue.order, e)
	n := len(t.queue.order)
	t.mu.Unlock()
	if n > 1 {
		return // it was told of the first
	}
	select {
	case t.work <- struct{}{}:
	default: // it will look
	}
}

// isFull tells whether too much is untold; then room will be called.
func (t *teller) isFull() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue.order) >= mostUntold {
		t.full = true
	}
	return t.full
}

// run is the goroutine, which Serve starts.
func (t *teller) run() {
	defer close(t.done)
	var spare untold // empty, to be the next queue
	for range t.work {
		t.mu.Lock()
		all, full := t.queue, t.full
		t.queue, t.full = spare, false
		t.mu.Unlock()
		for _, e := range all.order {
			if e == nil {
				return
			}
			t.hear(e)
		}
		if full {
			t.room()
		}
		time.Sleep(min(time.Duration(len(all.order))*nap, longestNap))
		spare = all.used()
	}
}

// close returns when all has been told.
func (t *teller) close() {
	t.tell(nil)
	<-t.done
}
