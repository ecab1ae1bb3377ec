package supervisor

import "time"

// Event is something that happened to the backend: one of the types below.
type Event interface{ supervisorEvent() }

// LaunchEvent: a child was started.
type LaunchEvent struct {
	Generation uint64
	PID        int
	Command    []string // argv; of a unit, its name alone
}

// ReadyEvent: it is ready.
type ReadyEvent struct {
	Generation uint64
	PID        int
	After      time.Duration // since the start was decided
}

// FailEvent: a start failed; the next one will be tried no earlier than Retry
// from now, and only if somebody waits.
type FailEvent struct {
	Generation uint64
	Err        error
	Retry      time.Duration
}

// StrangerEvent: the address of a running child is held by another process,
// which is not taken for the backend. Reported once for each start.
type StrangerEvent struct {
	Generation uint64
	Err        error
}

// StopEvent: the child is told to end.
type StopEvent struct {
	Generation uint64
	PID        int
	Reason     string
}

// KillEvent: it did not end in After and is killed, with its tree.
type KillEvent struct {
	Generation uint64
	PID        int
	After      time.Duration // StopTimeout; 0 if Shutdown had no time
}

// ExitEvent: it has ended, and nothing of its tree is left.
type ExitEvent struct {
	Generation uint64
	PID        int
	Status     string        // as os.ProcessState writes it: "exit status 1", "signal: killed"
	Wanted     bool          // it was told to end
	Served     bool          // it took at least one connection
	Uptime     time.Duration // since it was ready; 0: it never was
	Retry      time.Duration // the pause before the next start; 0: none is needed
}

// OutputEvent: a line that the child wrote to its stdout or stderr, without
// its end (LF or CR LF). A longer line than 16 kB comes in pieces.
type OutputEvent struct {
	Generation uint64
	PID        int
	Line       string
}

// CutEvent: the leases of a child that is to be recycled did not come back in
// time. It is stopped now; its sessions should be cut.
type CutEvent struct {
	Generation uint64
	After      time.Duration // RecycleGrace
}

// FreezeEvent: the processes of an idle child were stopped where they are, or
// go on.
type FreezeEvent struct {
	Generation uint64
	PID        int
	Frozen     bool
}

// TextEvent: the child said how it does (STATUS= of sd_notify).
type TextEvent struct {
	Generation uint64
	Text       string
}

// NotifyEvent: a message on the notify socket was not accepted, the tree could
// not be frozen or thawed, or systemd did not stop or kill the unit.
type NotifyEvent struct {
	Generation uint64
	Err        error
}

func (LaunchEvent) supervisorEvent()   {}
func (ReadyEvent) supervisorEvent()    {}
func (FailEvent) supervisorEvent()     {}
func (StrangerEvent) supervisorEvent() {}
func (StopEvent) supervisorEvent()     {}
func (KillEvent) supervisorEvent()     {}
func (ExitEvent) supervisorEvent()     {}
func (OutputEvent) supervisorEvent()   {}
func (CutEvent) supervisorEvent()      {}
func (FreezeEvent) supervisorEvent()   {}
func (TextEvent) supervisorEvent()     {}
func (NotifyEvent) supervisorEvent()   {}
