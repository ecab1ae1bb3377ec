package top

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// text is a string that came from elsewhere, without what a terminal would obey:
// it is taken out as the JSON is read.
type text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	*t = text(printable(s))
	return nil
}

// The states that are more to us than a word.
const (
	asleep = "asleep" // it does not run; the next client wakes it
	paused = "paused" // Drain has been called, and Resume not yet
)

// status is what is shown of one. Fields may come in any case; what is missing
// is zero.
type status struct {
	Version text
	PID     int
	State   text
	Since   time.Time // of State; zero: not known
	Gate    struct {
		Limit, Active, Queued              uint64 // Limit 0: none
		OldestWaitUsec                     int64  `json:"oldest_wait_usec"` // 0: nobody waits
		Served, Refused, Denied, Abandoned uint64
		TimedOut                           uint64 `json:"timed_out"`
	}
	Backend backend
}

type backend struct {
	State       text
	PID         int // 0: none runs
	Generation  uint64
	UpUsec      int64 `json:"up_usec"` // 0: not ready
	Served      uint64
	Starts      uint64
	MemoryBytes uint64 `json:"memory_bytes"` // 0: not known
	Text        text   // what it says of itself
	LastExit    text   `json:"last_exit"`
}

// waiting is a client in line.
type waiting struct {
	Position   int
	Session    uint64
	Client     text
	Listener   text
	WaitedUsec int64 `json:"waited_usec"`
}

// session is a client inside.
type session struct {
	Session    uint64
	Client     text
	Listener   text
	State      text
	SinceUsec  int64  `json:"since_usec"`
	WaitedUsec int64  `json:"waited_usec"`
	In, Out    uint64 // bytes so far
	Generation uint64 // 0: no backend yet
}

// event is something that happened.
type event struct {
	Time  time.Time
	Level text
	Event text
	Text  text
}

// look is all that tiproxy answered at one moment.
type look struct {
	at       time.Time // by our clock
	status   status
	waiting  []waiting // the next one first
	sessions []session
	events   []event // the latest at the end
}

// take has a look at t. One that sleeps is not asked for more: it could not
// answer.
func take(ctx context.Context, t Tiproxy) (l look, err error) {
	l.at = time.Now()
	if l.status, err = read[status](ctx, "status", t.Status); err != nil || l.status.State == asleep {
		return l, err
	}
	line, err := read[struct{ Waiting []waiting }](ctx, "queue", t.Queue)
	if err != nil {
		return l, err
	}
	inside, err := read[struct{ Sessions []session }](ctx, "sessions", t.Sessions)
	if err != nil {
		return l, err
	}
	lately, err := read[struct{ Events []event }](ctx, "events", t.Events)
	if err != nil {
		return l, err
	}
	l.waiting, l.sessions, l.events = line.Waiting, inside.Sessions, lately.Events
	return l, nil
}

func read[Answer any](ctx context.Context, what string, ask func(context.Context) (json.RawMessage, error)) (a Answer, err error) {
	raw, err := ask(ctx)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("cannot understand the %s: %w; is that tiproxy of another version?", what, err)
	}
	return a, nil
}
