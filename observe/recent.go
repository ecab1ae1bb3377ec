package observe

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/tiproxy/tiproxy/proxy"
)

const (
	recentMost = 50  // as many events as a large screen has lines
	recentText = 400 // bytes of one; what is longer is cut
)

// Entry is an event as `tiproxy top` shows it.
type Entry struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"` // error, warning or info
	Event string    `json:"event"` // a Kind's
	Text  string    `json:"text"`  // a sentence
}

// recent is a ring of the last events.
type recent struct {
	mu     sync.Mutex
	events [recentMost]event
	n      int // events so far; the last one is at (n-1) % recentMost
}

// event is one of them, which becomes text for whoever asks.
type event struct {
	entry *logrus.Entry  // nil: it is the end of a served client, of whom there is no line
	end   proxy.EndEvent // if it is that
	at    time.Time      // when that was
}

// add takes an event, in place of the oldest one.
func (r *recent) add(e *logrus.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.next() = event{entry: e}
}

// addEnd takes the end of a served client, where LogLevel= wants no line about it.
// There may be thousands a second, and hardly one of them is ever looked at: only
// for who looks it becomes an entry.
func (r *recent) addEnd(at time.Time, e proxy.EndEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.next() = event{end: e, at: at}
}

// next is the place of the next event; r.mu is held.
func (r *recent) next() *event {
	r.n++
	return &r.events[(r.n-1)%recentMost]
}

// all answers the events, the oldest first. quiet makes an entry of an end.
func (r *recent) all(quiet func(time.Time, *proxy.EndEvent) *logrus.Entry) []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Entry, 0, recentMost)
	for i := max(0, r.n-recentMost); i < r.n; i++ {
		its := &r.events[i%recentMost]
		e := its.entry
		if e == nil {
			e = quiet(its.at, &its.end)
		}
		all = append(all, Entry{e.Time, e.Level.String(), kindOf(e).Event, cut(message(e), recentText)})
	}
	return all
}
