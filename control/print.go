package control

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// status is what Print reads of the JSON, by the fields' names in any case; what
// is missing is zero.
type status struct {
	Version   string
	PID       int
	Listeners []listener
	Gate      gate
	Backend   backend
}

type listener struct{ Name, Address string }

type gate struct {
	Limit, Active, Queued      uint64
	Served, Refused, Abandoned uint64
	TimedOut                   uint64 `json:"timed_out"`
}

type backend struct {
	State       string
	PID         int // 0: none runs
	Starts      uint64
	MemoryBytes uint64 `json:"memory_bytes"` // 0: not known
	LastExit    string `json:"last_exit"`    // empty: it never ended
}

// Print writes a status, as [Status] answers it, for people: a few lines, label
// and text. It fails if raw is not such a status, or w does.
func Print(w io.Writer, raw []byte) error {
	var s status
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("cannot understand the status: %w; is that tiproxy of another version?", err)
	}
	var out strings.Builder
	line := func(label, text string) { fmt.Fprintf(&out, "%-9s %s\n", label, text) }
	line("tiproxy", fmt.Sprintf("%s, pid %d", s.Version, s.PID))
	for _, l := range s.Listeners {
		line("listener", l.String())
	}
	line("sessions", s.Gate.now())
	line("so far", s.Gate.soFar())
	line("backend", s.Backend.now())
	line("", s.Backend.soFar())
	_, err := io.WriteString(w, out.String())
	return err
}

func (l listener) String() string {
	if l.Name == "" {
		return l.Address
	}
	return fmt.Sprintf("%s (%s)", l.Address, l.Name)
}

func (g gate) now() string {
	if g.Limit == 0 {
		return fmt.Sprintf("%d, no limit", g.Active)
	}
	return fmt.Sprintf("%d of at most %d, %d waiting", g.Active, g.Limit, g.Queued)
}

func (g gate) soFar() string {
	return fmt.Sprintf("%d served, %d refused, %d abandoned, %d timed out", g.Served, g.Refused, g.Abandoned, g.TimedOut)
}

func (b backend) now() string {
	text := b.State
	if b.PID != 0 {
		text += fmt.Sprintf(", pid %d", b.PID)
	}
	if b.MemoryBytes != 0 {
		text += ", " + size(b.MemoryBytes)
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

// size writes a number of bytes with the largest unit that leaves at least one.
func size(bytes uint64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/(1<<10), 0
	for ; value >= 1<<10; value /= 1 << 10 {
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}
