package proxy

import (
	"context"
	"time"

	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/gate"
)

// Rules say whom to serve, how long, and what becomes of the others. They can
// be changed while clients are served, by Configure. Durations of
// math.MaxInt64 are "never".
type Rules struct {
	// Gate are the limits, the line and its clocks. The Proxy writes Before,
	// Late and Room itself.
	Gate gate.Options
	Rate gate.Rate // of new connections; those beyond wait in the kernel's backlog

	Access    access.Rules   // who may come in
	Trusted   access.Sources // a TCP client from there begins with a PROXY header, and from elsewhere none may come; empty: no client does
	TrustUnix bool           // and so does a client of a UNIX socket

	WakeOnData   bool          // a client stands in line from its first byte on; a silent one wakes nobody
	WakeTimeout  time.Duration // silent so long, it is sent away
	AbortOnClose bool          // a client that half-closes before it is connected has left
	KeepAlive    time.Duration // quiet so long, a TCP client is asked whether it is still there; never: as the listener's socket says

	WhenFull     Farewell // to whom the line has no room for
	QueueMessage []byte   // is sent to who begins to wait; nil: nothing

	SendProxy    int           // version of the PROXY header that the backend gets before each client's bytes; 0: none
	StartTimeout time.Duration // inside, until the backend took the connection
	SessionIdle  time.Duration // joined, without a byte either way
	OnLate       Farewell      // to a session that was inside for Gate.SessionTimeout, or quiet for SessionIdle
	RestartLate  bool          // and the backend is recycled

	IdleExit time.Duration // without a connection, until Serve returns
	Drain    time.Duration // after Serve was told to stop, for those inside
}

// Farewell is how a client is seen off that cannot stay.
type Farewell struct {
	Kind FarewellKind
	Text []byte // FarewellMessage
}

// FarewellKind is the way of it.
type FarewellKind uint8

// The kinds. Those for whom there is no room are not even accepted with
// FarewellBacklog: they stay in the kernel's backlog until there is.
const (
	FarewellClose   FarewellKind = iota // a FIN
	FarewellReset                       // a reset
	FarewellMessage                     // a text, and a FIN
	FarewellBacklog
)

// bySource tells whether the gate has to know where its turns come from.
func (r *Rules) bySource() bool {
	return r.Gate.PerSource > 0 || r.Gate.QueuePerSource > 0 || r.Gate.Fair
}

// announced tells whether a client of such a socket begins with a PROXY header.
func (r *Rules) announced(tcp bool) bool {
	if tcp {
		return len(r.Trusted) > 0
	}
	return r.TrustUnix
}

// Configure changes the rules. They hold for everything that begins from now
// on: who waits or is inside goes on by those under which it began.
func (p *Proxy) Configure(r Rules) {
	p.fill(&r)
	p.rules.Store(&r)
	p.keepAlive(r.KeepAlive)
	p.gate.Configure(r.Gate)
	p.front.resume(anyRest)
}

// fill puts what is the Proxy's own into the rules of the gate.
func (p *Proxy) fill(r *Rules) {
	r.Gate.Late = p.late
	r.Gate.Room = func() { p.front.resume(restFull) }
	r.Gate.Before = nil
	if before := p.cfg.Before; before != nil {
		r.Gate.Before = func(ctx context.Context, t *gate.Turn) error {
			return before(ctx, t.Waiter().(*client).facts())
		}
	}
}
