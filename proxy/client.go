package proxy

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/gate"
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
	// farewell is how many bytes of a client that is sent away are read off,
	// so that it sees an end and not a reset.
	farewell = 64 << 10
)

// client is one accepted connection. Thousands of them may be joined and quiet,
// so what only some need, or only until then, stands elsewhere.
type client struct {
	number   uint64 // of the session, from 1
	listener *Listener
	addr     sockaddr.Addr
	turn     *gate.Turn
	arrived  time.Duration // on Proxy.clock
	entered  time.Duration // when it was let in, on Proxy.clock; 0: not yet
	approach *approach     // nil once joined
	limit    *limit        // of SessionTimeout; nil: none

	session    atomic.Pointer[relay.Session] // nil: not joined yet; written by register
	generation uint64                        // of its backend, as in Lease; written by join
	prev, next *client                       // neighbours in Proxy.joined; under Proxy.mu

	fd   int32 // the socket; belongs to the relay once joined, and then is -1
	done bool  // it has ended; under Proxy.mu
}

// approach is what a client needs on its way to the backend.
type approach struct {
	leave context.CancelCauseFunc // ends what is done for it
	spoke chan error              // what the gate said at the first byte; nil: it was asked at once
	heard bool                    // its first byte was seen; under front.mu
}

// limit is the clock of a session.
type limit struct {
	timer *time.Timer
	late  atomic.Bool // it has fired
}

// isLate tells whether the session ran into its limit.
func (c *client) isLate() bool { return c.limit != nil && c.limit.late.Load() }

// welcome takes in an accepted connection. The front calls it, so that the
// turns are dealt out in the order of accepting.
func (p *Proxy) welcome(fd int, l *Listener, addr sockaddr.Addr) {
	c := &client{number: p.enter(), fd: int32(fd), listener: l, addr: addr, arrived: p.clock(), approach: &approach{}}
	if p.cfg.WakeOnData {
		c.approach.spoke = make(chan error, 1)
	} else if err := p.lineUp(c); err != nil {
		p.end(c, Refused, err)
		return
	}
	go p.serve(c)
}

// lineUp gives a client its place in line.
func (p *Proxy) lineUp(c *client) (err error) {
	c.turn, err = p.cfg.Gate.Enter()
	return err
}

// hear returns when a client that has to speak first has done so, and stands
// in line.
func (p *Proxy) hear(ctx context.Context, c *client) (Outcome, error) {
	if c.approach.spoke == nil {
		return "", nil
	}
	if p.cfg.WakeTimeout != never {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.cfg.WakeTimeout, ErrSilent)
		defer cancel()
	}
	select {
	case err := <-c.approach.spoke:
		return Refused, err
	case <-p.stopping:
		return Left, ErrStopping
	case <-ctx.Done():
		return Left, context.Cause(ctx)
	}
}

// serve leads a client to the relay, or to the end before that.
func (p *Proxy) serve(c *client) {
	ctx, leave := context.WithCancelCause(p.hurry)
	defer leave(nil)
	c.approach.leave = leave
	if err := p.front.watch(c); err != nil {
		p.front.unwatch(c)
		p.end(c, Unserved, err)
		return
	}
	how, err := p.hear(ctx, c)
	if err == nil {
		how, err = Left, p.wait(ctx, c)
	}
	if err != nil {
		p.front.unwatch(c)
		p.end(c, how, err)
		return
	}
	c.entered = p.clock()
	p.limitSession(c)
	lease, fd, err := p.reach(ctx)
	p.front.unwatch(c)
	c.approach = nil
	if err != nil {
		p.end(c, outcomeOf(err), err)
		return
	}
	p.join(c, lease, fd)
}

// wait stands in line until it is the client's turn.
func (p *Proxy) wait(ctx context.Context, c *client) error {
	if p.cfg.QueueTimeout != never && c.turn.Waits() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.cfg.QueueTimeout, ErrQueueTimeout)
		defer cancel()
	}
	if c.turn.Waits() {
		p.cfg.Events(WaitEvent{Client: c.facts()})
	}
	return c.turn.Wait(ctx)
}

// limitSession starts the clock of SessionTimeout.
func (p *Proxy) limitSession(c *client) {
	if p.cfg.SessionTimeout == never {
		return
	}
	leave := c.approach.leave
	c.limit = &limit{}
	c.limit.timer = time.AfterFunc(p.cfg.SessionTimeout, func() {
		c.limit.late.Store(true)
		leave(ErrSessionTimeout)
		if s := c.session.Load(); s != nil {
			s.Cut(false)
		}
	})
}

// reach connects to the backend. One that refuses may just be restarting, so
// it is asked for again while the client's patience lasts.
func (p *Proxy) reach(ctx context.Context) (Lease, int, error) {
	if p.cfg.StartTimeout != never {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.cfg.StartTimeout, errPatience)
		defer cancel()
	}
	var refusal error
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		lease, err := p.cfg.Backend.Acquire(ctx)
		if err != nil {
			return nil, -1, unreached(ctx, err, refusal, p.cfg.StartTimeout)
		}
		fd, err := connect(ctx, lease)
		if err == nil {
			return lease, fd, nil
		}
		lease.Release()
		refusal = err
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, -1, unreached(ctx, context.Cause(ctx), refusal, p.cfg.StartTimeout)
		}
	}
}

// connect tries the backend's addresses in order.
func connect(ctx context.Context, lease Lease) (fd int, err error) {
	for _, addr := range lease.Addresses() {
		if fd, err = sockaddr.Connect(ctx, addr); err == nil {
			lease.Connected()
			return fd, nil
		}
	}
	return -1, err
}

// join hands both sockets to the relay. From here on the client has no
// goroutine.
func (p *Proxy) join(c *client, lease Lease, fd int) {
	c.generation = lease.Generation()
	s, err := p.cfg.Relay.Join(int(c.fd), fd, func(res relay.Result) {
		go p.finish(c, lease, res) // the relay's loop must not wait for anybody
	})
	if err != nil {
		c.fd = -1 // the relay has closed it
		lease.Release()
		p.end(c, Unserved, err)
		return
	}
	p.register(c, s)
	if c.isLate() {
		s.Cut(false)
	}
}

// finish follows the end of a relayed session. The slot goes on before the
// lease comes back: with IdleStop=0 the backend would else be stopped under
// those who wait.
func (p *Proxy) finish(c *client, lease Lease, res relay.Result) {
	c.fd = -1
	if c.limit != nil {
		c.limit.timer.Stop()
	}
	e := p.account(c, Served, res.Err)
	e.FromClient, e.FromBackend = res.FromA, res.FromB
	if res.Err != nil && !errors.Is(res.Err, relay.ErrCut) {
		e.FailedSide = [...]string{relay.A: "client", relay.B: "backend"}[res.From]
	}
	if e.FailedSide == "backend" {
		lease.Suspect() // before the next one is let in
	}
	if c.isLate() {
		e.Err = ErrSessionTimeout
		if p.cfg.RestartLate {
			lease.Recycle("a session ran into its time limit (SessionTimeoutSec=, OnTimeout=restart)")
		}
	}
	c.turn.Done()
	lease.Release()
	p.cfg.Events(e)
	p.exit(c)
}

// end sees a client off that never reached the relay.
func (p *Proxy) end(c *client, how Outcome, err error) {
	if c.limit != nil {
		c.limit.timer.Stop()
	}
	if c.fd >= 0 {
		closeOrderly(int(c.fd))
	}
	if c.turn != nil {
		c.turn.Done()
	}
	p.cfg.Events(p.account(c, how, err))
	p.exit(c)
}

// account fills in the event of a client's end.
func (p *Proxy) account(c *client, how Outcome, err error) EndEvent {
	now := p.clock()
	e := EndEvent{Client: c.facts(), Outcome: how, Err: err}
	if c.entered == 0 {
		e.Waited = now - c.arrived
	} else {
		e.Waited, e.Inside = c.entered-c.arrived, now-c.entered
	}
	return e
}

func (c *client) facts() Client {
	return Client{Number: c.number, Listener: c.listener.Name, Addr: c.addr}
}

// closeOrderly sends a FIN rather than a reset, which closing a socket with
// unread bytes would send: the client shall see an end, and what was said to
// it before.
func closeOrderly(fd int) {
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	buf := make([]byte, 4<<10)
	for total := 0; total < farewell; {
		n, err := unix.Read(fd, buf)
		if n <= 0 || err != nil {
			break
		}
		total += n
	}
	unix.Close(fd)
}
