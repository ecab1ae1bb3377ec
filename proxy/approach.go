package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/internal/nowait"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// soon is how long a client may be on its way to a backend that is ready:
// watching it from the beginning would cost as much as connecting it.
const soon = 5 * time.Millisecond

// welcome takes in an accepted connection, and tells whether it was not denied,
// and what is to be done then. The front calls it, so that the turns are dealt out
// in the order of accepting.
func (p *Proxy) welcome(fd int, d *door, addr sockaddr.Addr) (bool, sequels) {
	rules := p.rules.Load()
	c := &client{fd: int32(fd), door: d, at: uint16(d.at), addr: addr, uid: -1, arrived: p.clock()}
	announced := rules.announced(addr.IsIP())
	err := error(nil)
	switch {
	case !announced:
		err = rules.admit(c)
	case addr.IsIP() && !rules.Trusted.Contains(addr.IP.Addr()):
		err = &access.Refusal{Who: access.Caller{IP: addr.IP.Addr()}, Why: "is no proxy in AcceptProxy=, and nobody else may come in"}
	}
	if err != nil {
		p.deny(c, err)
		return false, sequels{}
	}
	p.mu.Lock()
	p.enter(c)
	if announced {
		p.listenTo(c, Announcing, announcePatience, ErrUnannounced)
	} else {
		p.advance(rules, c)
	}
	return true, p.decided()
}

// admit asks whether a client may come in.
func (r *Rules) admit(c *client) error {
	who := access.Caller{IP: c.addr.IP.Addr()}
	if c.door.Addr.Family == unix.AF_UNIX {
		peer, err := access.PeerOf(int(c.fd))
		if err != nil {
			return err
		}
		c.uid, who.Unix = int32(peer.UID), &peer
	}
	return r.Access.Admit(who, time.Now())
}

// deny sees a client off that may not come in. It is nobody's activity: the
// idle clock goes on.
func (p *Proxy) deny(c *client, err error) {
	p.mu.Lock()
	p.accepted++
	c.number = p.accepted
	p.denied++
	p.mu.Unlock()
	closeOrderly(int(c.fd))
	p.teller.tellEnd(p.account(c, Denied, err))
}

// The functions from here to letIn are called with p.mu held.

// dismiss ends a client for a reason that comes from outside.
func (p *Proxy) dismiss(c *client, why error) {
	switch c.stage {
	case Announcing, Silent:
		p.conclude(c, why)
	case Waiting:
		if c.turn.Leave() {
			p.conclude(c, why)
		} else {
			c.way().cause = why // the gate was faster: moved sees to it
		}
	case Entering, Hosted:
		c.way().cause = why // join sees to it
		if leave := c.approach.leave; leave != nil {
			leave(why)
		}
	}
}

// conclude ends a client that is in nobody else's hands.
func (p *Proxy) conclude(c *client, why error) {
	p.move(c, Ended)
	p.then(sequel{c: c, why: why})
}

// listenTo waits for what a client has to say first.
func (p *Proxy) listenTo(c *client, s Stage, patience time.Duration, otherwise error) {
	p.move(c, s)
	c.way().stopClock()
	if patience != never {
		c.approach.clock = time.AfterFunc(patience, func() {
			p.mu.Lock()
			defer p.unlock()
			if c.stage == s {
				p.dismiss(c, otherwise)
			}
		})
	}
	if err := p.front.watch(c); err != nil {
		p.conclude(c, err)
	}
}

// advance leads a client that may come in to where it waits for its turn.
func (p *Proxy) advance(rules *Rules, c *client) {
	if rules.WakeOnData && unread(int(c.fd)) == 0 {
		p.listenTo(c, Silent, rules.WakeTimeout, ErrSilent)
		return
	}
	p.lineUp(rules, c)
}

// lineUp gives a client its place in line. The lock keeps back what the gate
// tells of it meanwhile.
func (p *Proxy) lineUp(rules *Rules, c *client) {
	source := ""
	if rules.bySource() {
		source = c.facts().Source()
	}
	c.approach.stopClock()
	in, err := p.gate.Enter(&c.turn, c, source)
	switch {
	case errors.Is(err, gate.ErrClosed):
		p.conclude(c, ErrStopping)
	case err != nil:
		p.conclude(c, err)
	case in:
		p.letIn(c)
	default:
		p.move(c, Waiting)
		if err := p.front.watch(c); err != nil {
			p.dismiss(c, err)
			return
		}
		if !c.turn.Queued() { // Before runs for it
			return
		}
		p.teller.tell(WaitEvent{Client: c.facts()})
		if text := rules.QueueMessage; len(text) > 0 {
			_, _ = unix.Write(int(c.fd), text)
		}
	}
}

// letIn sends a client on that has its slot, on its loop.
func (p *Proxy) letIn(c *client) {
	p.move(c, Entering)
	c.entered = p.clock()
	p.then(sequel{c: c})
}

// hasLeft asks the kernel whether a client has left, and answers why. Of one that
// is watched its loop may not have heard yet.
func (p *Proxy) hasLeft(c *client) error {
	return p.departure(c, uint32(uint16(nowait.Poll(int(c.fd), unix.POLLRDHUP))))
}

// pass leads a client to the backend at once if that takes no waiting, else
// on a goroutine of its own. It runs on the client's loop.
func (p *Proxy) pass(c *client) {
	if err := p.hasLeft(c); err != nil {
		p.end(c, err)
		return
	}
	p.teller.tellAdmit(AdmitEvent{Client: c.facts(), Waited: c.entered - c.arrived})
	var lease Lease
	if p.cfg.Server == nil {
		lease = p.cfg.Backend.TryAcquire()
	}
	if lease == nil || !lease.Proven() {
		p.detour(c, lease, -1)
		return
	}
	backend := lease.Addresses()[0]
	fd, connected, err := p.begin(c, backend)
	if err == nil && connected {
		err = p.announce(c, fd, p.rules.Load().SendProxy)
	}
	switch {
	case err != nil:
		lease.Release()
		p.detour(c, nil, -1)
	case !connected:
		p.detour(c, lease, fd)
	default:
		lease.Connected()
		c.keeps = sockaddr.CanKeep(backend)
		p.join(c, lease, fd)
	}
}

// detour starts the goroutine of a client. It may have a lease already, and fd
// may be on its way to the lease's first address; nil and -1: not so.
func (p *Proxy) detour(c *client, lease Lease, fd int) {
	c.again = false // what Finish answers is another fd; the watch of this one is nobody's until the socket is closed
	ctx, leave := context.WithCancelCause(p.hurry)
	p.mu.Lock()
	c.way().leave = leave
	if why := c.approach.cause; why != nil { // it was faster
		leave(why)
	}
	if c.approach.seat == 0 {
		c.approach.clock = time.AfterFunc(soon, func() { p.watchOn(c) })
	}
	p.mu.Unlock()
	go func() {
		defer leave(nil)
		p.serve(ctx, c, lease, fd)
	}()
}

// watchOn has a client looked after whose way to the backend takes longer. Its
// clock may have been stopped while this waited for the lock: then the relay
// watches the socket, or is about to.
func (p *Proxy) watchOn(c *client) {
	p.mu.Lock()
	defer p.unlock()
	if c.stage != Entering || c.approach.clock == nil {
		return
	}
	if err := p.front.watch(c); err != nil {
		p.dismiss(c, err)
	}
}

// Moved implements gate.Waiter: the wait is over.
func (c *client) Moved(err error) {
	p := c.door.p
	p.front.home.Do(func() { p.moved(c, err) })
}

// moved goes on with a client that has waited. The home loop lets it in, and has it
// from here on, for its session begins where it is let in.
func (p *Proxy) moved(c *client, err error) {
	p.mu.Lock()
	defer p.unlock()
	switch {
	case errors.Is(err, gate.ErrTimeout):
		err = ErrQueueTimeout
	case errors.Is(err, gate.ErrClosed):
		err = ErrStopping
	case err != nil:
		err = fmt.Errorf("%w: %w", errBefore, err)
	default:
		err = c.approach.cause // it has an approach: it was watched
	}
	if err != nil {
		p.conclude(c, err)
		return
	}
	p.front.unwatch(c)
	c.at = 0
	p.letIn(c)
}

// Ready implements epoll.Handler: it is told of a client that is watched.
func (c *client) Ready(_ uint8, events uint32) { c.door.p.lookAfter(c, events) }

// lookAfter decides what it means that a client has spoken or hung up. A reset
// has left. A close and a half-close look the same, so the bytes decide: who
// sent something and said that it was all may wait for the answer
// (echo x | nc -N), unless AbortOnClose.
//
// Nothing is read for it and no error is fetched of a client that stays: that
// would eat what the relay has to pass on.
func (p *Proxy) lookAfter(c *client, events uint32) {
	p.mu.Lock()
	defer p.unlock()
	if c.approach == nil || c.approach.seat == 0 || c.stage == Ended { // it went on meanwhile
		return
	}
	rules, hungUp := p.rules.Load(), events&(epoll.RdHup|epoll.Hup) != 0
	if c.stage == Announcing && events&epoll.Err == 0 {
		if whole := p.readHeader(rules, c, hungUp); !whole || c.stage == Ended {
			return
		}
		p.advance(rules, c)
		if !hungUp {
			return
		}
	}
	if why := p.departure(c, events); why != nil {
		p.dismiss(c, why)
	} else if c.stage == Silent && unread(int(c.fd)) > 0 {
		p.lineUp(rules, c)
	}
}

// departure tells why a client has left of which epoll or poll says so much;
// nil: it is still there. Whoever has a slot and a program of its own may have
// nothing to say (nc -N HOST daytime </dev/null): inetd serves it.
func (p *Proxy) departure(c *client, events uint32) error {
	listens := c.stage == Entering && p.cfg.Server != nil
	switch hungUp := events&(epoll.RdHup|epoll.Hup) != 0; {
	case events&epoll.Err != 0:
		return whyReset(int(c.fd))
	case hungUp && (p.rules.Load().AbortOnClose || !listens && unread(int(c.fd)) == 0):
		return ErrHungUp
	}
	return nil
}

// stopClock ends the clock of announcing or silent.
func (a *approach) stopClock() {
	if a != nil && a.clock != nil {
		a.clock.Stop()
		a.clock = nil
	}
}

// late cuts a session whose time is over; the gate tells it.
func (p *Proxy) late(t *gate.Turn) {
	p.mu.Lock()
	defer p.unlock()
	c := t.Waiter().(*client)
	c.fate = tooLate
	if c.session != nil {
		c.session.Cut(p.rules.Load().OnLate.Kind == FarewellReset)
		return
	}
	p.dismiss(c, ErrSessionTimeout)
}

// unread is how many bytes a socket holds for us (FIONREAD, which Go calls TIOCINQ).
func unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// whyReset tells a client that reset its connection from one that keepalive
// gave up.
func whyReset(fd int) error {
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && unix.Errno(n) == unix.ETIMEDOUT {
		return ErrVanished
	}
	return ErrReset
}
