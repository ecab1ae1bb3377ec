package proxy

import (
	"sync"
	"time"
)

// mostUntold is how many events may be untold before accepting rests.
var mostUntold = 4096

// nap is how long the goroutine leaves it at having told all there was: to wake
// it for each event would cost as much as a session does.
const nap = time.Millisecond

// teller passes events on, in order, on a goroutine of its own. Whoever hears
// them may have to wait for somebody, as a log does for a journal that is
// slow or stuck; clients and their bytes must not wait with it.
type teller struct {
	hear func(Event)
	room func()        // called after there were too many, and none is left
	work chan struct{} // has one when there is something to tell
	done chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex
	queue []Event // not told yet, the first one first
	full  bool    // somebody was told so; room is to be called
}

func newTeller(hear func(Event), room func()) *teller {
	return &teller{hear: hear, room: room, work: make(chan struct{}, 1), done: make(chan struct{})}
}

// tell has e told soon; nil ends the goroutine.
func (t *teller) tell(e Event) {
	t.mu.Lock()
	t.queue = append(t.queue, e)
	n := len(t.queue)
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
	if len(t.queue) >= mostUntold {
		t.full = true
	}
	return t.full
}

// run is the goroutine, which Serve starts.
func (t *teller) run() {
	defer close(t.done)
	var spare []Event // empty, to be the next queue
	for range t.work {
		t.mu.Lock()
		all, full := t.queue, t.full
		t.queue, t.full = spare, false
		t.mu.Unlock()
		for _, e := range all {
			if e == nil {
				return
			}
			t.hear(e)
		}
		if full {
			t.room()
		}
		clear(all)
		spare = all[:0]
		time.Sleep(nap)
	}
}

// close returns when all has been told.
func (t *teller) close() {
	t.tell(nil)
	<-t.done
}
