package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/internal/nowait"
	"github.com/tiproxy/tiproxy/internal/proxyhdr"
	"github.com/tiproxy/tiproxy/internal/sockdiag"
	"github.com/tiproxy/tiproxy/relay"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

const (
	// retryFirst and retryMost are the pauses between connects that the
	// backend refused: it may be between two generations, and its end or its
	// readiness reach us within milliseconds.
	retryFirst = 2 * time.Millisecond
	retryMost  = 250 * time.Millisecond
	// lookFirst is the first pause between two looks whether the backend has
	// accepted a connection; each is twice the one before. lookLast is one that
	// is not made any more: by then the backend is not ending but busy.
	lookFirst = 100 * time.Microsecond
	lookLast  = 400 * time.Millisecond
)

// Stage is how far a client has come.
type Stage uint8

// The stages.
const (
	accepted   Stage = iota // by the front, which alone knows of it
	Announcing              // its PROXY header has not come yet
	Silent                  // its first byte has not come yet
	Waiting                 // in the hands of the gate
	Entering                // has a slot, and is being connected
	Joined                  // with the relay
	Hosted                  // with a program of its own, or that is being started
	Ended
)

// client is one accepted connection. Thousands of them may be joined and quiet,
// so what only some need, or only until then, stands in approach.
type client struct {
	number     uint64 // of the session, from 1
	door       *door
	addr       sockaddr.Addr // who it is: its own address, or what its PROXY header says
	turn       gate.Turn
	arrived    time.Duration // on Proxy.clock
	entered    time.Duration // when it was let in, on Proxy.clock; 0: not yet
	approach   *approach     // nil: not needed yet, or joined; under Proxy.mu; see way
	prev, next *client       // neighbours in Proxy.clients

	// Under Proxy.mu:
	session *relay.Session // nil: not joined yet; written by relay
	lease   Lease          // on the backend that it was joined to; nil: to none yet; written by relay
	fate    fate
	stage   Stage

	at    uint16 // the place of its loop in Proxy.loops; written by welcome, and by moved under Proxy.mu
	keeps bool   // its connection to the backend may leave a spare socket; written by pass
	again bool   // … and is one, which its loop still watches; written by begin and detour
	uid   int32  // of a client of a UNIX socket; -1: not known
	fd    int32  // the socket; -1 once the relay or a program has it
}

// fate is why a session was cut, where the relay does not know it.
type fate uint8

const (
	noFate  fate = iota
	tooLate      // SessionTimeout
	kicked       // Kick
)

// approach is what a client needs on its way to the backend. All of it is
// under Proxy.mu.
type approach struct {
	pid   int                     // of the program that serves it; 0: none
	local sockaddr.Addr           // what it connected to, as its PROXY header says; zero: ask its socket
	clock *time.Timer             // of the stages announcing and silent, and until it is watched in entering; nil: none
	leave context.CancelCauseFunc // ends the goroutine's work, in the stages entering and hosted; nil: it has none
	cause error                   // why it is to leave, in stages that cannot see to it at once; nil: it is not
	seat  epoll.Seat              // with the front's loop, while it is watched; 0: it is not
}

// loop is where the client is served; see client.at.
func (c *client) loop() *epoll.Loop { return c.door.p.loops[c.at] }

// way is a client's approach, which few need that find the backend ready; p.mu is
// held.
func (c *client) way() *approach {
	if c.approach == nil {
		c.approach = &approach{}
	}
	return c.approach
}

// serve leads a client that was let in to its program or to the relay, or to the
// end before that. What it may have already is as in detour.
func (p *Proxy) serve(ctx context.Context, c *client, lease Lease, fd int) {
	if p.cfg.Server != nil {
		p.host(ctx, c)
		return
	}
	lease, fd, err := p.reach(ctx, c, lease, fd)
	if err != nil {
		p.end(c, err)
		return
	}
	p.joinSoon(c, lease, fd)
}

// joinSoon has join called on the client's loop.
func (p *Proxy) joinSoon(c *client, lease Lease, fd int) {
	if !c.loop().Do(func() { p.join(c, lease, fd) }) {
		nowait.Close(fd)
		lease.Release()
		p.end(c, ErrStopping)
	}
}

// reach connects to the backend. One that refuses may just be restarting, so
// it is asked for again while the client's patience lasts.
func (p *Proxy) reach(ctx context.Context, c *client, lease Lease, begun int) (Lease, int, error) {
	rules := p.rules.Load()
	if rules.StartTimeout != never {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, rules.StartTimeout, errPatience)
		defer cancel()
	}
	var refusal, err error
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		if lease == nil {
			if lease, err = p.cfg.Backend.Acquire(ctx); err != nil {
				return nil, -1, unreached(ctx, err, refusal, rules.StartTimeout)
			}
		}
		fd, err := connect(ctx, lease, begun)
		if err == nil && !lease.Proven() {
			err = beAccepted(ctx, fd)
		}
		if err == nil {
			err = p.announce(c, fd, rules.SendProxy)
		}
		if err == nil {
			lease.Connected()
			return lease, fd, nil
		}
		lease.Release()
		if isStarved(err) {
			p.dropSpares()
		}
		lease, begun, refusal = nil, -1, err
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, -1, unreached(ctx, context.Cause(ctx), refusal, rules.StartTimeout)
		}
	}
}

// connect tries the backend's addresses in order. The first may have been begun
// with; -1: it was not.
func connect(ctx context.Context, lease Lease, begun int) (fd int, err error) {
	for i, addr := range lease.Addresses() {
		if i == 0 && begun >= 0 {
			fd, err = sockaddr.Finish(ctx, begun, addr)
		} else {
			fd, err = sockaddr.Connect(ctx, addr)
		}
		if err == nil {
			return fd, nil
		}
	}
	return -1, err
}

// beAccepted waits until the backend has accepted a connection, or closes it, for
// as long as it may be on its way to its end. A listener that is closed resets
// those whom nobody accepted; an end in order, or something to read, comes from
// somebody who has.
func beAccepted(ctx context.Context, fd int) error {
	for pause := lookFirst; pause < lookLast; pause *= 2 {
		accepted, err := sockdiag.Accepted(fd)
		switch state := nowait.Poll(fd, unix.POLLIN|unix.POLLRDHUP); {
		case state&unix.POLLERR != 0:
			unix.Close(fd)
			return errUnaccepted
		case accepted || err != nil || state != 0: // what cannot be known is not waited for
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			unix.Close(fd)
			return context.Cause(ctx)
		}
	}
	return nil
}

// announce tells the backend who comes, by a PROXY header. It is shorter than
// any socket's buffer, which is empty: it goes out whole or not at all.
func (p *Proxy) announce(c *client, fd, version int) error {
	if version == 0 {
		return nil
	}
	_, err := unix.Write(fd, proxyhdr.Format(version, c.addr, c.local()))
	if err != nil {
		unix.Close(fd)
	}
	return err
}

// join hands both sockets to the relay, unless the client is to leave or has
// left. It runs on the client's loop, so that the session cannot end before it is
// known. From here on the client has no goroutine.
func (p *Proxy) join(c *client, lease Lease, fd int) {
	p.mu.Lock()
	why := error(nil)
	if a := c.approach; a != nil {
		if why = a.cause; why == nil && a.leave != nil { // on its detour it may have left
			why = p.hasLeft(c)
		}
	}
	p.front.unwatch(c)
	c.approach.stopClock()
	p.mu.Unlock()
	if why == nil {
		if why = p.relay(c, lease, fd); why == nil {
			return
		}
	} else {
		// Its reset may have been fetched from the socket by now, so that the
		// relay would see a mere half-close.
		nowait.Close(fd)
	}
	lease.Release()
	p.end(c, why)
}

// relay is the half of join that begins the session. If it fails, the relay has
// closed both sockets.
func (p *Proxy) relay(c *client, lease Lease, fd int) error {
	rules := p.rules.Load()
	terms := relay.Terms{Reset: rules.OnLate.Kind == FarewellReset, Loop: int(c.at), Keep: c.keeps, Again: c.again}
	if rules.SessionIdle != never {
		terms.Idle = rules.SessionIdle
	}
	s, err := p.cfg.Relay.Join(int(c.fd), fd, terms, c.finished)
	p.mu.Lock()
	c.fd = -1
	if err != nil {
		p.mu.Unlock()
		return err
	}
	if c.approach != nil && c.approach.cause != nil { // that was faster
		s.Cut(c.fate == kicked || terms.Reset)
	}
	c.approach, c.session, c.lease = nil, s, lease
	p.move(c, Joined)
	generation := lease.Generation()
	if generation != 0 && generation <= p.dead {
		s.Gone()
	}
	if generation != 0 && generation <= p.severed {
		s.Cut(false)
	}
	p.mu.Unlock()
	s.Begin()
	return nil
}

// finished follows the end of a relayed session, on its loop. The slot goes on
// before the lease comes back: with IdleStop=0 the backend would else be stopped
// under those who wait.
func (c *client) finished(res relay.Result) {
	p := c.door.p
	p.mu.Lock()
	p.move(c, Ended)
	fate, lease := c.fate, c.lease
	p.mu.Unlock()
	if res.B >= 0 {
		p.keep(c, res.B)
	}
	e := p.account(c, Served, res.Err)
	e.FromClient, e.FromBackend = res.FromA, res.FromB
	switch {
	case fate == tooLate:
		e.Err = ErrSessionTimeout
	case fate == kicked:
		e.Err = ErrKicked
	case errors.Is(res.Err, relay.ErrIdle):
		e.Err = ErrSessionIdle
	case res.Err != nil && !errors.Is(res.Err, relay.ErrCut):
		e.FailedSide = [...]string{relay.A: "client", relay.B: "backend"}[res.From]
	}
	if e.FailedSide == "backend" {
		lease.Suspect() // before the next one is let in
	}
	if e.TooLong() && p.rules.Load().RestartLate {
		lease.Recycle("a session ran into its time limit (OnTimeout=restart)")
	}
	c.turn.Done()
	p.teller.tellEnd(e)
	if p.anyWaits() {
		p.front.home.Do(func() { p.leave(c, lease) }) // after whom Done let in
	} else {
		p.leave(c, lease)
	}
}

// leave gives a client's lease back, and counts it out.
func (p *Proxy) leave(c *client, lease Lease) {
	lease.Release()
	p.exit(c)
}

// end sees a client off that never reached the relay. Who moved it to the stage
// ended calls it, or its goroutine.
func (p *Proxy) end(c *client, why error) {
	how := c.outcome(why)
	p.mu.Lock()
	p.move(c, Ended)
	if how == Denied {
		p.denied++
	}
	p.front.unwatch(c)
	c.approach.stopClock()
	p.mu.Unlock()
	if c.fd >= 0 {
		p.rules.Load().seeOff(int(c.fd), why)
	}
	c.turn.Done()
	p.teller.tellEnd(p.account(c, how, why))
	p.exit(c)
}

// account fills in the event of a client's end.
func (p *Proxy) account(c *client, how Outcome, err error) EndEvent {
	now := p.clock()
	e := EndEvent{Client: c.facts(), Outcome: how, Err: err, Generation: c.generation()}
	if c.entered == 0 {
		e.Waited = now - c.arrived
	} else {
		e.Waited, e.Inside = c.entered-c.arrived, now-c.entered
	}
	return e
}

// generation is that of its backend, as in Lease; p.mu is held, or it has ended.
func (c *client) generation() uint64 {
	if c.lease == nil {
		return 0
	}
	return c.lease.Generation()
}

func (c *client) facts() Client {
	return Client{Number: c.number, Listener: c.door.Name, Addr: c.addr, UID: int(c.uid)}
}
