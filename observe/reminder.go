package observe

import (
	"sync"
	"time"
)

// reminder is how often the log repeats what the clients run into: often
// enough to be found, too seldom to fill a disk.
const reminder = time.Minute

// reminders bound how often events of a sort are told.
//
//	due ── told as often as it may ──▶ silent, counting ── a minute after the first ──▶ due
//
// No timer runs: those that were left out are counted, and the next one that is
// told says how many they were.
type reminders struct {
	mu   sync.Mutex
	said map[string]*said // by the sort of event; written by due
}

// said is what was told of a sort of events.
type said struct {
	since  time.Time // of the present minute
	times  int       // told in it
	others uint64    // not told since the last that was
}

// due tells whether one more event may be told, which is so most times a
// minute, and how many were left out before it.
func (r *reminders) due(sort string, most int) (others uint64, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	s := r.said[sort]
	if s == nil {
		s = &said{}
		r.said[sort] = s
	}
	if now.Sub(s.since) >= reminder {
		s.since, s.times = now, 0
	}
	if s.times >= most {
		s.others++
		return 0, false
	}
	s.times++
	others, s.others = s.others, 0
	return others, true
}
