package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/sockaddr"
)

// Event is something that happened to a client or to the listeners: one of the
// types below.
type Event interface{ proxyEvent() }

// Client says whom an event is about.
type Client struct {
	Number   uint64 // of the connection, from 1
	Listener string // its name; "" when it has none
	Addr     sockaddr.Addr
}

// WaitEvent: a client found the slots taken and stands in line.
type WaitEvent struct{ Client Client }

// EndEvent: a client is gone. Each accepted one gets exactly one of these.
type EndEvent struct {
	Client      Client
	Outcome     Outcome
	Err         error         // why; nil: both sides closed in order
	FailedSide  string        // "client" or "backend", where Err was seen; "": neither
	Waited      time.Duration // in line
	Inside      time.Duration // with a slot, the start of the backend included
	FromClient  uint64        // bytes that the backend got
	FromBackend uint64        // bytes that the client got
}

// StarvedEvent: accepting rests for lack of fds or memory.
type StarvedEvent struct {
	Listener string
	Err      error
}

// DrainEvent: stopping was asked for; the clients have so long to end.
type DrainEvent struct {
	Clients int
	Limit   time.Duration
}

func (WaitEvent) proxyEvent()    {}
func (EndEvent) proxyEvent()     {}
func (StarvedEvent) proxyEvent() {}
func (DrainEvent) proxyEvent()   {}

// Outcome is how far a client came.
type Outcome string

// The outcomes.
const (
	Served   Outcome = "served"   // it reached the backend
	Refused  Outcome = "refused"  // the line was full
	Left     Outcome = "left"     // it left the line, or was sent away from it
	Unserved Outcome = "unserved" // it was let in, but the backend could not be reached
)

// errPatience ends the wait for a backend.
var errPatience = errors.New("patience is over")

// outcomeOf tells a client that left from one that could not be served.
func outcomeOf(err error) Outcome {
	if errors.Is(err, ErrHungUp) || errors.Is(err, ErrReset) {
		return Left
	}
	return Unserved
}

// unreached says why the backend was not reached: the cause of the context's
// end, and what the last connect met.
func unreached(ctx context.Context, err, refusal error, limit time.Duration) error {
	if !errors.Is(context.Cause(ctx), errPatience) {
		return err
	}
	if refusal != nil {
		return fmt.Errorf("the backend took no connection within %v (StartTimeoutSec=, --start): %w", limit, refusal)
	}
	return fmt.Errorf("the backend was not ready within %v (StartTimeoutSec=, --start)", limit)
}

// Hint names the setting that would have helped a client; "" if there is none.
func (e EndEvent) Hint() string {
	if errors.Is(e.Err, gate.ErrFull) {
		return "QueueLength= (--queue) bounds the line, MaxConnections= (--connections) those inside"
	}
	return ""
}
