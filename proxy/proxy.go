// Package proxy leads each connection through its life: accepted, in line, let
// in, joined to the backend, ended.
//
//	   (WakeOnData: from its first byte on)
//	            line is full              left, or waited too long
//	accepted ───────┬──────▶ refused        ┌──────▶ left
//	                └─▶ waiting ────────────┤
//	                       turn of the gate └─▶ inside: the backend is asked for
//	                                              │  │
//	                       start failed for as    │  └─▶ unserved
//	                       long as the client     │
//	                       has patience           └─▶ joined by the relay ──▶ served
//
// One goroutine, the front, accepts from all listeners and watches those who
// wait; so the order of accepting is the order of the line, whatever listener
// a client came by. A client has a goroutine while it waits or is connected,
// none while its bytes are relayed.
//
// Invariants:
//
//   - Every accepted client ends in exactly one event, and its fd is closed.
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
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/relay"
	"github.com/tiproxy/tiproxy/sockaddr"
)

// Backend is whom the clients want to reach.
type Backend interface {
	// Acquire blocks until the backend can be connected to, or ctx ends.
	Acquire(ctx context.Context) (Lease, error)
}

// Lease is the right to connect to the backend; it is not stopped meanwhile.
type Lease interface {
	Generation() uint64         // of the backend's process; they grow; 0: it is not known
	Addresses() []sockaddr.Addr // the first to be tried first
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

// Config says whom to serve, and how long. Durations of math.MaxInt64 are
// "never".
type Config struct {
	Listeners []Listener
	Gate      *gate.Gate
	Relay     *relay.Relay
	Backend   Backend

	WakeOnData     bool          // a client stands in line from its first byte on; a silent one wakes nobody
	WakeTimeout    time.Duration // silent so long, it is sent away
	QueueTimeout   time.Duration // in line
	StartTimeout   time.Duration // inside, until the backend took the connection
	SessionTimeout time.Duration // inside
	RestartLate    bool          // a session that takes longer has the backend recycled
	IdleExit       time.Duration // without a connection, until Serve returns
	Drain          time.Duration // after Serve was told to stop, for those inside

	// Events is told what happens; nil: nobody. It is called from many
	// goroutines and must not call the Proxy.
	Events func(Event)
}

// never is the duration that no timer is set for.
const never = time.Duration(1<<63 - 1)

// Proxy serves clients. Serve may be called once.
type Proxy struct {
	cfg   Config
	front *front
	began time.Time // the zero of clock; written by New

	mu       sync.Mutex
	clients  int           // accepted and not ended
	idle     *time.Timer   // runs while there is no client; nil: IdleExit is never
	empty    chan struct{} // non-nil: closed by the last client's end
	quiet    uint64        // counts the times that there was no client
	expired  uint64        // the quiet whose idle clock ran out; 0: none
	accepted uint64        // numbers the clients
	joined   *client       // the list of those with the relay; nil: none
	dead     uint64        // the last generation that is known to have ended

	stopping chan struct{} // closed when drain begins: nobody stands in line any more

	hurry context.Context         // ends when those inside are to be cut
	cut   context.CancelCauseFunc // ends hurry
}

// Why a client was not served to its end; the events carry one of these or an
// error of the system.
var (
	ErrHungUp         = errors.New("client hung up")
	ErrReset          = errors.New("client reset its connection")
	ErrSessionTimeout = errors.New("the session took longer than SessionTimeoutSec= (--timeout) allows")
	ErrQueueTimeout   = errors.New("the client waited longer than QueueTimeoutSec= (--queue-timeout) allows")
	ErrSilent         = errors.New("the client said nothing within WakeTimeoutSec= (--wake-timeout)")
	ErrStopping       = errors.New("tiproxy is stopping")
)

// New prepares a Proxy. It fails when fds are exhausted.
func New(cfg Config) (*Proxy, error) {
	if cfg.Events == nil {
		cfg.Events = func(Event) {}
	}
	poll, err := epoll.New(64)
	if err != nil {
		return nil, fmt.Errorf("cannot accept connections: %w", err)
	}
	p := &Proxy{cfg: cfg, began: time.Now(), stopping: make(chan struct{})}
	p.hurry, p.cut = context.WithCancelCause(context.Background())
	p.front = newFront(p, poll)
	return p, nil
}

// Serve accepts clients and serves them until it has been idle for IdleExit,
// or stop ends; then those in line are sent away, and those inside have
// Config.Drain to end by themselves, or until now ends. It returns when nobody
// is left. idle tells why.
//
// The listeners stay open, but nobody is accepted any more; the Relay is
// closed unless it was idle.
func (p *Proxy) Serve(stop, now context.Context) (idle bool, err error) {
	if err := p.front.hear(); err != nil {
		return false, fmt.Errorf("cannot accept connections: %w", err)
	}
	p.mu.Lock()
	p.beQuiet()
	p.mu.Unlock()
	go p.front.run()
	defer p.front.end()
	select {
	case <-stop.Done():
		p.front.stop()
	case <-p.front.deaf:
	}
	if p.front.idle {
		return true, nil
	}
	p.drain(now)
	return false, nil
}

// drain sees those inside off.
func (p *Proxy) drain(now context.Context) {
	close(p.stopping)
	p.cfg.Gate.Close()
	p.mu.Lock()
	clients, empty := p.clients, make(chan struct{})
	p.empty = empty
	if clients == 0 {
		close(empty)
	}
	p.mu.Unlock()
	p.cfg.Events(DrainEvent{Clients: clients, Limit: p.cfg.Drain})
	limit := time.NewTimer(p.cfg.Drain)
	defer limit.Stop()
	select {
	case <-empty:
		return
	case <-limit.C:
	case <-now.Done():
	}
	p.cut(ErrStopping)
	p.cfg.Relay.Close()
	<-empty
}

// BackendGone tells that a generation of the backend has ended, its whole tree.
// Its sessions end once the clients have what it sent: one that does not care
// for the end of its backend must not keep its slot from those in line.
func (p *Proxy) BackendGone(generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = max(p.dead, generation)
	for c := p.joined; c != nil; c = c.next {
		if c.generation != 0 && c.generation <= p.dead {
			c.session.Load().Gone()
		}
	}
}

// Cut ends the sessions with a generation of the backend, and with those before.
func (p *Proxy) Cut(generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := p.joined; c != nil; c = c.next {
		if c.generation != 0 && c.generation <= generation {
			c.session.Load().Cut(false)
		}
	}
}

// register counts a client among those with the relay, unless it has ended
// meanwhile.
func (p *Proxy) register(c *client, s *relay.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.session.Store(s)
	if c.done {
		return
	}
	if c.next = p.joined; c.next != nil {
		c.next.prev = c
	}
	p.joined = c
	if c.generation != 0 && c.generation <= p.dead {
		s.Gone()
	}
}

// unregister takes it out again; p.mu is held.
func (p *Proxy) unregister(c *client) {
	c.done = true
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else if p.joined == c {
		p.joined = c.next
	}
}

// clock is the time since New, on the monotonic clock. A client has two of
// these, and they are a third of a time.Time.
func (p *Proxy) clock() time.Duration { return time.Since(p.began) }

// enter counts a client in, and answers its number.
func (p *Proxy) enter() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients++
	p.accepted++
	return p.accepted
}

// exit counts a client out.
func (p *Proxy) exit(c *client) {
	p.mu.Lock()
	p.unregister(c)
	p.clients--
	if p.clients == 0 {
		p.beQuiet()
		if p.empty != nil {
			close(p.empty)
		}
	}
	p.mu.Unlock()
	p.front.resume()
}

// beQuiet starts the idle clock; p.mu is held and there is no client. A clock
// that ran out belongs to its own quiet: one whose fire was overtaken by a
// client says nothing about the next.
func (p *Proxy) beQuiet() {
	p.quiet++
	if p.cfg.IdleExit == never {
		return
	}
	if p.idle != nil {
		p.idle.Stop()
	}
	quiet := p.quiet
	p.idle = time.AfterFunc(p.cfg.IdleExit, func() {
		p.mu.Lock()
		p.expired = quiet
		p.mu.Unlock()
		p.front.poll.Wake()
	})
}

// isIdle tells whether the present quiet has lasted for IdleExit. Only the
// front may act on it, since only the front lets clients in.
func (p *Proxy) isIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients == 0 && p.expired == p.quiet
}
