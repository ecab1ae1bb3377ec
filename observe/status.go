package observe

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/supervisor"
)

// State is what tiproxy as a whole is doing. One that is not running cannot
// say so: `tiproxy status` asks systemd then.
type State string

// The states.
const (
	Idle     State = "idle"     // nobody is inside or in line
	Serving  State = "serving"  // somebody is
	Paused   State = "paused"   // nobody is let in until `tiproxy resume`
	Draining State = "draining" // tiproxy stops: nobody new is let in any more
)

// Status is what `tiproxy status --json` answers. Fields are only ever added.
type Status struct {
	Version   string     `json:"version"`
	PID       int        `json:"pid"`
	Time      time.Time  `json:"time,omitzero"` // when it was so; durations end then
	State     State      `json:"state"`
	Since     time.Time  `json:"since,omitzero"` // when State began; missing: unknown
	Listeners []Listener `json:"listeners"`
	Gate      Gate       `json:"gate"`
	Backend   Backend    `json:"backend"`
}

// Listener is one listening socket.
type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Gate tells who is inside and in line now, and how many there were since
// tiproxy was started.
type Gate struct {
	Limit          int    `json:"limit"` // 0: no limit
	Active         int    `json:"active"`
	Queued         int    `json:"queued"`
	OldestWaitUsec int64  `json:"oldest_wait_usec"` // of the first in line, in µs; 0: nobody waits, or unknown
	Served         uint64 `json:"served"`
	Refused        uint64 `json:"refused"`
	Abandoned      uint64 `json:"abandoned"`
	TimedOut       uint64 `json:"timed_out"`
	Denied         uint64 `json:"denied"` // were not allowed to come in
	Failed         uint64 `json:"failed"` // were sent away because BeforeNext= failed
	Late           uint64 `json:"late"`   // were inside for SessionTimeoutSec=
}

// Backend tells how the backend does.
type Backend struct {
	State       string    `json:"state"`
	Since       time.Time `json:"since,omitzero"` // when State began; missing: unknown
	Generation  uint64    `json:"generation"`     // which start this is; 0: there was none, or unknown
	PID         int       `json:"pid"`            // 0: none runs
	UpUsec      int64     `json:"up_usec"`        // since it was ready, in µs; 0: it is not, or unknown
	Served      uint64    `json:"served"`         // connections of this generation; 0: none, or none runs
	Starts      uint64    `json:"starts"`
	MemoryBytes int64     `json:"memory_bytes"` // of its tree; 0: none runs, or unknown
	Text        string    `json:"text"`         // what it said of itself (STATUS= of sd_notify); "": nothing
	LastExit    string    `json:"last_exit"`    // "": none has ended yet
}

// GateStatus puts a gate's numbers into words of the status.
func GateStatus(s gate.Stats) Gate {
	return Gate{
		Limit: s.Limit, Active: s.Active, Queued: s.Queued,
		Served: s.Served, Refused: s.Refused, Abandoned: s.Abandoned, TimedOut: s.TimedOut, Failed: s.Failed, Late: s.Late,
	}
}

// BackendStatus does so with the supervisor's, without the memory, which takes
// a moment to find out.
func BackendStatus(s supervisor.Status, now time.Time) Backend {
	b := Backend{
		State: string(s.State), Since: s.Since, Generation: s.Generation, PID: s.PID, Starts: s.Starts,
		Text: clean(s.Text), LastExit: s.LastExit,
	}
	if s.PID != 0 { // what the last one served is no news
		b.Served = uint64(s.Leases)
	}
	if !s.Ready.IsZero() {
		b.UpUsec = max(now.Sub(s.Ready).Microseconds(), 1)
	}
	return b
}

const (
	// clock is how the line tells when something began. It is renewed only
	// when something happens, and may be read days later: a duration would be
	// wrong by then, and an hour without its day another one.
	clock = "Jan 2 15:04:05"
	// lineText bounds what the line quotes of a backend: systemd takes no
	// message of more than 4096 bytes (NOTIFY_BUFFER_MAX).
	lineText = 300
)

// Line is the status in one sentence, for `systemctl status`. What is not
// known is left out.
func (s Status) Line() string {
	parts := []string{s.word(), s.people()}
	if backend := s.backend(); backend != "" {
		parts = append(parts, backend)
	}
	if s.Backend.Text != "" {
		parts = append(parts, "“"+cut(clean(s.Backend.Text), lineText)+"”")
	}
	return strings.Join(parts, " · ")
}

// word says what a client would meet.
func (s Status) word() string {
	switch s.State {
	case Draining:
		return "stopping, nobody new is let in"
	case Paused:
		return "paused, nobody is let in until tiproxy resume"
	}
	switch supervisor.State(s.Backend.State) {
	case supervisor.Stopped:
		return "asleep"
	case supervisor.Draining:
		return "replacing the backend"
	case supervisor.Stopping:
		return "stopping the backend"
	case supervisor.Backoff:
		return "pausing after a failure"
	case supervisor.External, supervisor.Stdio:
		return "ready"
	}
	return s.Backend.State
}

func (s Status) people() string {
	if s.Gate.Active == 0 && s.Gate.Queued == 0 {
		return fmt.Sprintf("nobody inside, %d served", s.Gate.Served)
	}
	text := fmt.Sprintf("%d inside, %d waiting", s.Gate.Active, s.Gate.Queued)
	if since, known := s.ago(s.Gate.OldestWaitUsec); known {
		text += fmt.Sprintf(" (oldest since %s)", since)
	}
	return text
}

// backend is the part about the process, or about the last one; "": there is
// nothing to say.
func (s Status) backend() string {
	b := s.Backend
	if b.PID == 0 {
		if b.LastExit == "" {
			return ""
		}
		return "last backend: " + cut(clean(b.LastExit), lineText)
	}
	text := fmt.Sprintf("backend %d", b.PID)
	if since, known := s.ago(b.UpUsec); known {
		text += " up since " + since
	} else if !b.Since.IsZero() {
		text += fmt.Sprintf(" %s since %s", b.State, b.Since.Local().Format(clock))
	}
	if b.MemoryBytes != 0 {
		text += fmt.Sprintf(", %d MB", b.MemoryBytes/1e6)
	}
	if b.Served != 0 {
		text += fmt.Sprintf(", %d served", b.Served)
	}
	return text
}

// ago is when something began that has lasted so many µs.
func (s Status) ago(usec int64) (since string, known bool) {
	if usec == 0 || s.Time.IsZero() {
		return "", false
	}
	return s.Time.Add(-time.Duration(usec) * time.Microsecond).Local().Format(clock), true
}

// cut shortens a text to most bytes, at the end of a letter.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
