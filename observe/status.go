package observe

import (
	"fmt"
	"strings"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/supervisor"
)

// Status is what `tiproxy status --json` answers. Fields are only ever added.
type Status struct {
	Version   string     `json:"version"`
	PID       int        `json:"pid"`
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
	Limit     int    `json:"limit"` // 0: no limit
	Active    int    `json:"active"`
	Queued    int    `json:"queued"`
	Served    uint64 `json:"served"`
	Refused   uint64 `json:"refused"`
	Abandoned uint64 `json:"abandoned"`
	TimedOut  uint64 `json:"timed_out"`
}

// Backend tells how the backend does.
type Backend struct {
	State       string `json:"state"`
	PID         int    `json:"pid"` // 0: none runs
	Starts      uint64 `json:"starts"`
	MemoryBytes int64  `json:"memory_bytes"` // of its tree; 0: none runs, or unknown
	LastExit    string `json:"last_exit"`    // "": none has ended yet
}

// GateStatus puts a gate's numbers into words of the status.
func GateStatus(s gate.Stats) Gate {
	return Gate{s.Limit, s.Active, s.Queued, s.Served, s.Refused, s.Abandoned, s.TimedOut}
}

// BackendStatus does so with the supervisor's, without the memory, which takes
// a moment to find out.
func BackendStatus(s supervisor.Status) Backend {
	return Backend{State: string(s.State), PID: s.PID, Starts: s.Starts, LastExit: s.LastExit}
}

// Line is the status in one sentence, for `systemctl status`.
func (s Status) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "backend %s", s.Backend.State)
	if s.Backend.PID != 0 {
		fmt.Fprintf(&b, " (pid %d)", s.Backend.PID)
	}
	fmt.Fprintf(&b, ", %d inside, %d waiting, %d served", s.Gate.Active, s.Gate.Queued, s.Gate.Served)
	return b.String()
}
