// Package proxy leads each connection through its life: accepted, in line, let
// in, joined to the backend, ended.
//
//	accepted ──▶ denied: Rules.Access
//	  │
//	  ├─▶ announcing: its PROXY header is awaited (Trusted, TrustUnix) ──▶ denied
//	  ├─▶ silent: its first byte is awaited (WakeOnData)
//	  │          line is full          left, or waited too long
//	  ├────────────┬──────▶ refused        ┌──────▶ left
//	  │            └─▶ waiting ────────────┤
//	  │                   turn of the gate └─▶ entering: the backend is asked for
//	  │                                          │  │
//	  │                start failed for as long  │  └─▶ unserved
//	  │                as the client has patience│
//	  └─ (the line is empty) ────────────────────┴─▶ joined by the relay ──▶ served
//
// With a Server in place of the Backend:
//
//	entering ──▶ hosted ─┬─▶ served, when its program is gone
//	                     └─▶ unserved: that was not started
//
// The front accepts from all listeners and watches those who have not reached
// the backend yet. It has no thread of its own: it lives on the loops of the relay,
// one of which at a time may accept, so that the order of accepting is the order of
// the line, whatever listener a client came by. Whoever need not wait stays with the
// loop that accepted it; whoever has waited is let in by the first one, in order.
// A client has a goroutine only while somebody has to be waited for, who
// starts the backend or is slow to take the connection. With a Server it keeps it
// to its end: the program that serves it is heavier by far.
//
// Invariants:
//
//   - Every accepted client ends in exactly one event, and its fd is closed.
//     Who moves it to the stage ended, under Proxy.mu, sees to both.
//   - A client that hung up gives back its place before anything is started
//     for it; one that sent something and half-closed keeps it.
//   - Only the front stops accepting, so nobody is accepted after the decision
//     to exit: who comes then stays in the kernel's backlog, with systemd.
//   - Inherited listeners are closed, never shut down.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/relay"
	"github.com/tiproxy/tiproxy/sockaddr"
)

// Backend is whom the clients want to reach. Its methods but for Acquire, and
// those of its leases, are called on an event loop: they must not block.
type Backend interface {
	// Acquire blocks until the backend can be connected to, or ctx ends.
	Acquire(ctx context.Context) (Lease, error)
	// TryAcquire answers nil where Acquire might block.
	TryAcquire() Lease
}

// Lease is the right to connect to the backend; it is not stopped meanwhile.
type Lease interface {
	Generation() uint64         // of the backend's process; they grow; 0: it is not known
	Addresses() []sockaddr.Addr // the first to be tried first
	Proven() bool               // the backend takes whoever connects; else that has to be seen
	Connected()                 // the backend took a connection
	Suspect()                   // the backend reset it: it may be dying
	Recycle(reason string)      // the backend is to be replaced
	Release()
}

// Listener is a listening, non-blocking socket.
type Listener struct {
	FD   int
	Name string
	Addr sockaddr.Addr
}

// Config is what a Proxy is made of.
type Config struct {
	Listeners []Listener
	Relay     *relay.Relay
	Backend   Backend
	Server    Server // serves the clients instead of the Backend; nil: the Backend does
	Rules     Rules

	// Before is called for each client that has got its slot, before it is let
	// in; its error sends the client away, unless the gate's BeforeMayFail. nil:
	// nothing is called.
	Before func(context.Context, Client) error

	// Events is told what happens, in order, by a goroutine that is there for
	// it. While it blocks events heap up, and at last nobody is accepted any
	// more; all else goes on. An event is another's once Events has returned. nil:
	// nobody is told.
	Events func(Event)
}

// never is the duration that no timer is set for.
const never = time.Duration(1<<63 - 1)

// Proxy serves clients. Serve may be called once.
type Proxy struct {
	cfg    Config // Config.Rules are only those of the beginning
	gate   *gate.Gate
	front  *front
	teller *teller
	loops  []*epoll.Loop     // of the relay; written by New
	spares []sockaddr.Spares // of each loop, which owns them; made by New, closed by Serve
	doors  []door            // each listener on each loop, those of the first loop first; written by New
	began  time.Time         // the zero of clock; written by New
	rules  atomic.Pointer[Rules]

	mu       sync.Mutex
	clients  *client       // the list of those not ended; nil: none
	count    int           // of them
	speakers int           // of them, in the stages Announcing and Silent
	waiting  int           // of them, in the stage Waiting
	idle     *time.Timer   // runs while there is no client; nil: IdleExit was never set
	empty    chan struct{} // non-nil: closed by the last client's end
	quiet    uint64        // counts the times that there was no client
	expired  uint64        // the quiet whose idle clock ran out; 0: none
	turned   time.Duration // on clock: when the first client came, or the last one went
	accepted uint64        // numbers the clients
	denied   uint64        // counts those that the rules kept out
	dead     uint64        // the last generation that is known to have ended
	severed  uint64        // the last generation whose sessions were cut
	after    sequels       // what to do once mu is given back; see unlock

	hurry context.Context         // ends when those inside are to be cut
	cut   context.CancelCauseFunc // ends hurry
}

// door is a listener of a Proxy's on one of its loops.
type door struct {
	Listener
	p    *Proxy
	at   int        // the loop's place in p.loops
	seat epoll.Seat // on that loop; 0: none yet; written by front.hear
	late bool       // it found front.mu taken, and has come back; owned by the loop
}

func (d *door) loop() *epoll.Loop { return d.p.loops[d.at] }

// Why a client was not served to its end; the events carry one of these or an
// error of the system.
var (
	ErrHungUp         = errors.New("client hung up")
	ErrReset          = errors.New("client reset its connection")
	ErrVanished       = errors.New("client vanished: it answers no more (KeepAliveSec=, --keep-alive)")
	ErrSessionTimeout = errors.New("the session took longer than SessionTimeoutSec= (--timeout) allows")
	ErrSessionIdle    = errors.New("no byte moved for SessionIdleSec= (--session-idle)")
	ErrQueueTimeout   = errors.New("the client waited longer than QueueTimeoutSec= (--queue-timeout) allows")
	ErrSilent         = errors.New("the client said nothing within WakeTimeoutSec= (--wake-timeout)")
	ErrUnannounced    = errors.New("no PROXY header came in time (AcceptProxy=)")
	ErrKicked         = errors.New("an administrator wants it (kick)")
	ErrNoProgram      = errors.New("its program was not started")
	ErrStopping       = errors.New("tiproxy is stopping")
)

// New prepares a Proxy.
func New(cfg Config) *Proxy {
	if cfg.Events == nil {
		cfg.Events = func(Event) {}
	}
	p := &Proxy{cfg: cfg, began: time.Now(), loops: cfg.Relay.Loops()}
	p.spares = make([]sockaddr.Spares, len(p.loops))
	for at := range p.loops {
		for _, l := range cfg.Listeners {
			p.doors = append(p.doors, door{Listener: l, p: p, at: at})
		}
	}
	p.hurry, p.cut = context.WithCancelCause(context.Background())
	p.front = newFront(p)
	p.teller = newTeller(cfg.Events, func() { p.front.resume(restUntold) })
	rules := cfg.Rules
	p.fill(&rules)
	p.gate = gate.New(rules.Gate)
	p.Configure(rules)
	return p
}

// Gate is the gate of the clients: to be looked at, paused and resumed.
func (p *Proxy) Gate() *gate.Gate { return p.gate }

// Serve accepts clients and serves them until it has been idle for IdleExit,
// or stop ends; then those in line are sent away, and those inside have
// Rules.Drain to end by themselves, or until now ends. It returns when nobody
// is left. idle tells why.
//
// The listeners stay open, but nobody is accepted any more; the Relay is
// closed unless it was idle.
func (p *Proxy) Serve(stop, now context.Context) (idle bool, err error) {
	go p.teller.run()
	defer p.teller.close()
	if err := p.front.begin(); err != nil {
		return false, fmt.Errorf("cannot accept connections: %w", err)
	}
	p.mu.Lock()
	p.beQuiet()
	p.mu.Unlock()
	select {
	case <-stop.Done():
		p.front.stop()
	case <-p.front.deaf:
	}
	if p.front.idle {
		p.closeSpares()
		return true, nil
	}
	p.drain(now)
	p.closeSpares()
	p.cfg.Relay.Close()
	return false, nil
}

// drain sees those inside off.
func (p *Proxy) drain(now context.Context) {
	empty := make(chan struct{})
	p.mu.Lock()
	count := p.count
	p.empty = empty
	if count == 0 {
		close(empty)
	}
	p.mu.Unlock()
	p.gate.Close()
	p.sendHome(Silent)
	patience := p.rules.Load().Drain
	p.teller.tell(DrainEvent{Clients: count, Limit: patience})
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-empty:
		return
	case <-limit.C:
	case <-now.Done():
	}
	p.cut(ErrStopping)
	p.sendHome(Entering) // and those for whom Before runs
	p.cfg.Relay.Sever()
	<-empty
}

// sendHome ends the clients that have come no further than that.
func (p *Proxy) sendHome(last Stage) {
	p.mu.Lock()
	defer p.unlock()
	for c := p.clients; c != nil; c = c.next {
		if c.stage <= last {
			p.dismiss(c, ErrStopping)
		}
	}
}

// BackendGone tells that a generation of the backend has ended, its whole tree.
// Its sessions end once the clients have what it sent: one that does not care
// for the end of its backend must not keep its slot from those in line.
func (p *Proxy) BackendGone(generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = max(p.dead, generation)
	p.eachOf(generation, (*relay.Session).Gone)
}

// Cut ends the sessions with a generation of the backend, and with those before.
func (p *Proxy) Cut(generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.severed = max(p.severed, generation)
	p.eachOf(generation, func(s *relay.Session) { s.Cut(false) })
}

// eachOf calls act for the sessions with a generation and those before; p.mu
// is held.
func (p *Proxy) eachOf(generation uint64, act func(*relay.Session)) {
	for c := p.clients; c != nil; c = c.next {
		if own := c.generation(); c.session != nil && own != 0 && own <= generation {
			act(c.session)
		}
	}
}

// clock is the time since New, on the monotonic clock. A client has two of
// these, and they are a third of a time.Time.
func (p *Proxy) clock() time.Duration { return time.Since(p.began) }

// enter counts a client in, and numbers it; p.mu is held.
func (p *Proxy) enter(c *client) {
	p.accepted++
	c.number = p.accepted
	p.count++
	if p.count == 1 {
		p.turned = p.clock()
	}
	if c.next = p.clients; c.next != nil {
		c.next.prev = c
	}
	p.clients = c
}

// move takes a client to another stage; p.mu is held.
func (p *Proxy) move(c *client, to Stage) {
	p.tally(c.stage, -1)
	c.stage = to
	p.tally(to, +1)
}

// tally counts a client in a stage, or out of it; p.mu is held.
func (p *Proxy) tally(s Stage, n int) {
	switch s {
	case Announcing, Silent:
		p.speakers += n
	case Waiting:
		p.waiting += n
	}
}

// anyWaits tells whether somebody stands in line, or has just been let in and
// does not know it yet.
func (p *Proxy) anyWaits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0
}

// exit counts a client out.
func (p *Proxy) exit(c *client) {
	p.mu.Lock()
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		p.clients = c.next
	}
	p.count--
	if p.count == 0 {
		p.beQuiet()
		if p.empty != nil {
			close(p.empty)
		}
	}
	p.mu.Unlock()
	p.front.resume(restStarved)
	p.front.resume(restFull)
}

// beQuiet starts the idle clock; p.mu is held and there is no client. A clock
// that ran out belongs to its own quiet: one whose fire was overtaken by a
// client says nothing about the next.
func (p *Proxy) beQuiet() {
	p.quiet++
	p.turned = p.clock()
	if p.idle != nil {
		p.idle.Stop()
	}
	after := p.rules.Load().IdleExit
	if after == never {
		return
	}
	quiet := p.quiet
	p.idle = time.AfterFunc(after, func() {
		p.mu.Lock()
		p.expired = quiet
		p.mu.Unlock()
		p.front.soon(p.front.leaveIfIdle)
	})
}

// isIdle tells whether the present quiet has lasted for IdleExit. Only the
// front may act on it, since only the front lets clients in.
func (p *Proxy) isIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count == 0 && p.expired == p.quiet
}
