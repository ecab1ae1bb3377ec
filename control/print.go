package control

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// asleep is the state of a tiproxy that systemd starts for the next client.
const asleep = "asleep"

// status is what Print reads of the JSON, by the fields' names in any case; what
// is missing is zero.
type status struct {
	Version   string
	PID       int
	Time      time.Time // when it was so; zero: not known
	State     string    // of the whole; empty: nothing special
	Since     time.Time // of that; zero: not known
	Listeners []listener
	Gate      gate
	Backend   backend
}

type listener struct{ Name, Address string }

type gate struct {
	Limit, Active, Queued      uint64
	Served, Refused, Abandoned uint64
	TimedOut                   uint64 `json:"timed_out"`
	Denied                     uint64
	OldestWaitUsec             int64 `json:"oldest_wait_usec"` // 0: nobody waits, or not known
}

type backend struct {
	State       string
	PID         int // 0: none runs
	Starts      uint64
	UpUsec      int64  `json:"up_usec"` // 0: not ready, or not known
	Served      uint64 // by this one; 0: nobody, or not known
	MemoryBytes uint64 `json:"memory_bytes"` // 0: not known
	LastExit    string `json:"last_exit"`    // empty: it never ended
	Text        string // its STATUS=; empty: it said none
}

// Asleep is the status of a tiproxy that does not run, and is started by systemd
// for the next client; since is when it fell asleep, zero if nobody knows.
func Asleep(since time.Time) json.RawMessage {
	text, _ := json.Marshal(struct {
		State string    `json:"state"`
		Since time.Time `json:"since,omitzero"`
	}{asleep, since}) // systemd's years have four digits: this can always be written
	return append(text, '\n')
}

// Print writes a status, as [Client.Status] and [Asleep] answer it, for people: a
// few lines, label and text. It tells how long things have lasted, until now or
// the time that the status itself bears; with a zero now it leaves that out, for
// who wants to see what changes. It fails if raw is not such a status, or w does.
func Print(w io.Writer, raw []byte, now time.Time) error {
	var s status
	if err := json.Unmarshal(raw, &s); err != nil {
		return misunderstood("status", err)
	}
	var out strings.Builder
	if s.State == asleep {
		fmt.Fprintf(&out, "asleep%s: the next client wakes it\n", since(s.Since, now))
	} else {
		s.write(&out, now)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (s status) write(out *strings.Builder, now time.Time) {
	line := func(label, text string) { fmt.Fprintf(out, "%-9s %s\n", label, printable(text)) }
	line("tiproxy", s.now(now))
	for _, l := range s.Listeners {
		line("listener", l.String())
	}
	line("sessions", s.Gate.now(!now.IsZero()))
	line("so far", s.Gate.soFar())
	line("backend", s.Backend.now(!now.IsZero()))
	line("", s.Backend.soFar())
	if s.Backend.Text != "" {
		line("", "says: "+s.Backend.Text)
	}
}

func (s status) now(now time.Time) string {
	text := fmt.Sprintf("%s, pid %d", s.Version, s.PID)
	if s.State != "" {
		text += ", " + s.State
		if !now.IsZero() && !s.Since.IsZero() {
			text += " for " + span(s.seen(now).Sub(s.Since))
		}
	}
	return text
}

// seen is when it was so, on the clock of Since: ours was read at another moment,
// and may be another clock.
func (s status) seen(now time.Time) time.Time {
	if s.Time.IsZero() {
		return now
	}
	return s.Time
}

func (l listener) String() string {
	if l.Name == "" {
		return l.Address
	}
	return fmt.Sprintf("%s (%s)", l.Address, l.Name)
}

func (g gate) now(lasting bool) string {
	text := fmt.Sprintf("%d of at most %d", g.Active, g.Limit)
	if g.Limit == 0 {
		text = fmt.Sprintf("%d, no limit", g.Active)
	}
	if g.Limit != 0 || g.Queued != 0 { // without a limit they wait for the backend
		text += fmt.Sprintf(", %d waiting", g.Queued)
	}
	if lasting && g.OldestWaitUsec != 0 {
		text += fmt.Sprintf(" (the first for %s)", span(micros(g.OldestWaitUsec)))
	}
	return text
}

func (g gate) soFar() string {
	return fmt.Sprintf("%d served, %d refused, %d denied, %d abandoned, %d timed out", g.Served, g.Refused, g.Denied, g.Abandoned, g.TimedOut)
}

func (b backend) now(lasting bool) string {
	text := b.State
	if b.PID != 0 {
		text += fmt.Sprintf(", pid %d", b.PID)
	}
	if b.MemoryBytes != 0 {
		text += ", " + size(b.MemoryBytes)
	}
	if lasting && b.UpUsec != 0 {
		text += ", up " + span(micros(b.UpUsec))
	}
	if b.Served != 0 {
		text += fmt.Sprintf(", %d served", b.Served)
	}
	return text
}

func (b backend) soFar() string {
	text := fmt.Sprintf("%d starts", b.Starts)
	if b.Starts == 1 {
		text = "1 start"
	}
	if b.LastExit != "" {
		text += ", last exit: " + b.LastExit
	}
	return text
}

func misunderstood(what string, err error) error {
	return fmt.Errorf("cannot understand the %s: %w; is that tiproxy of another version?", what, err)
}
