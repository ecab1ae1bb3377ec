package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// Event is something that happened to a client or to the listeners: one of the
// types below, AdmitEvent and EndEvent by pointers.
type Event interface{ proxyEvent() }

// Client says whom an event is about.
type Client struct {
	Number   uint64 // of the connection, from 1
	Listener string // its name; "" when it has none
	Addr     sockaddr.Addr
	UID      int // of a client of a UNIX socket; -1: not known
}

// String is the client's address; of a UNIX socket that has none, its user.
func (c Client) String() string {
	if c.Addr.Family == unix.AF_UNIX && c.Addr.Path == "" && c.UID >= 0 {
		return "unix user " + strconv.Itoa(c.UID)
	}
	return c.Addr.String()
}

// Source is where the client comes from, for the rules about sources: its IPv4
// address, its IPv6 /64, which is what one customer gets (RFC 6177), its user,
// or its virtual machine.
func (c Client) Source() string {
	ip := c.Addr.IP.Addr().Unmap()
	switch {
	case ip.Is4():
		return ip.String()
	case ip.Is6():
		return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
	case c.Addr.Family == unix.AF_VSOCK:
		return "vsock " + strconv.FormatUint(uint64(c.Addr.CID), 10)
	}
	return "user " + strconv.Itoa(c.UID)
}

// WaitEvent: a client found the slots taken and stands in line.
type WaitEvent struct{ Client Client }

// AdmitEvent: a client has its slot.
type AdmitEvent struct {
	Client Client
	Waited time.Duration // since it was accepted
}

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
	Generation  uint64        // of the backend that it was joined to; 0: none, or it is not known
	PID         int           // of the program that served it alone, whose bytes nobody counted; 0: none did
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
func (*AdmitEvent) proxyEvent()  {}
func (*EndEvent) proxyEvent()    {}
func (StarvedEvent) proxyEvent() {}
func (DrainEvent) proxyEvent()   {}

// Outcome is how far a client came.
type Outcome string

// The outcomes.
const (
	Served   Outcome = "served"   // it reached the backend
	Denied   Outcome = "denied"   // it may not come in
	Refused  Outcome = "refused"  // the line was full
	Left     Outcome = "left"     // it left before its turn, or was sent away
	Unserved Outcome = "unserved" // it was let in, but the backend could not be reached
)

var (
	// errPatience ends the wait for a backend.
	errPatience = errors.New("patience is over")
	// errUnaccepted: the backend was on its way to its end.
	errUnaccepted = errors.New("the backend closed its listener before it accepted the connection")
	// errBefore: Config.Before failed.
	errBefore = errors.New("BeforeNext= failed")
)

// badHeader: what a trusted proxy sent is no PROXY header.
type badHeader struct{ err error }

func (b *badHeader) Error() string {
	return "what came first is no PROXY header (AcceptProxy=): " + b.err.Error()
}

// outcome is that of a client which never reached the relay.
func (c *client) outcome(why error) Outcome {
	switch {
	case errors.As(why, new(*access.Refusal)), errors.As(why, new(*badHeader)):
		return Denied
	case errors.Is(why, gate.ErrFull), errors.Is(why, gate.ErrSourceFull):
		return Refused
	case c.entered == 0 && !errors.Is(why, errBefore),
		errors.Is(why, ErrHungUp), errors.Is(why, ErrReset), errors.Is(why, ErrVanished), errors.Is(why, ErrKicked):
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

// TooLong tells whether the session ran into one of its time limits.
func (e *EndEvent) TooLong() bool {
	return errors.Is(e.Err, ErrSessionTimeout) || errors.Is(e.Err, ErrSessionIdle)
}

// Hint names the setting that would have helped a client; "" if there is none.
func (e *EndEvent) Hint() string {
	switch {
	case errors.Is(e.Err, gate.ErrFull):
		return "QueueLength= (--queue) bounds the line, MaxConnections= (--connections) those inside"
	case errors.Is(e.Err, gate.ErrSourceFull):
		return "QueuePerSource= (--queue-per-source) bounds the line of each source, MaxPerSource= (--connections-per-source) those inside"
	}
	return ""
}
