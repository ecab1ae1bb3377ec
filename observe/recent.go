package observe

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"
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
	mu      sync.Mutex
	entries [recentMost]func() *logrus.Entry // each answers an event, which becomes text for whoever asks
	n       int                              // events so far; the last one is at (n-1) % recentMost
}

// add takes an event, in place of the oldest one.
func (r *recent) add(e func() *logrus.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries[r.n%recentMost] = e
	r.n++
}

// all answers the events, the oldest first.
func (r *recent) all() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Entry, 0, recentMost)
	for i := max(0, r.n-recentMost); i < r.n; i++ {
		e := r.entries[i%recentMost]()
		all = append(all, Entry{e.Time, e.Level.String(), kindOf(e).Event, cut(message(e), recentText)})
	}
	return all
}
