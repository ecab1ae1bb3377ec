package proxy

import (
	"context"
	"fmt"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// Server serves each client by itself, on the client's own socket: a program
// that is run for it alone.
type Server interface {
	// Serve lets a program have the socket, and returns when nothing of it is
	// left. begun is called, at most once, when the program has it: from then on
	// the Server must not use fd. If begun was not called nobody has read from
	// the socket, and the error says why. When ctx ends the program is ended.
	// local is what the client connected to.
	Serve(ctx context.Context, fd int, c Client, local sockaddr.Addr, begun func(pid int)) error
}

// host has the Server serve a client that was let in.
func (p *Proxy) host(ctx context.Context, c *client) {
	local := c.local()
	p.mu.Lock()
	// What the program reads, the front would take for nothing having been sent.
	p.front.unwatch(c)
	c.approach.stopClock()
	p.move(c, Hosted)
	p.mu.Unlock()
	begun := false
	err := context.Cause(ctx)
	if err == nil {
		err = p.cfg.Server.Serve(ctx, int(c.fd), c.facts(), local, func(pid int) {
			begun = true
			p.handOver(c, pid)
		})
	}
	switch {
	case begun:
		p.endHosted(ctx, c, err)
	case ctx.Err() == nil:
		p.end(c, fmt.Errorf("%w: %w", ErrNoProgram, err))
	default:
		p.end(c, err)
	}
}

// handOver notes that a program has a client's socket, and closes ours: the
// client sees an end when the program closes its own.
func (p *Proxy) handOver(c *client, pid int) {
	p.mu.Lock()
	c.approach.pid = pid
	fd := c.fd
	c.fd = -1
	p.mu.Unlock()
	unix.Close(int(fd))
}

// endHosted follows the end of a client's program. Nothing of it is left, so
// the slot may go on.
func (p *Proxy) endHosted(ctx context.Context, c *client, err error) {
	p.mu.Lock()
	p.move(c, Ended)
	p.mu.Unlock()
	e := p.account(c, Served, err)
	e.PID = c.approach.pid
	if err != nil && ctx.Err() == nil {
		e.FailedSide = "backend"
	}
	c.turn.Done()
	p.teller.tellEnd(e)
	p.exit(c)
}

// local is the address that the client connected to, as its PROXY header says
// or its socket; zero: that is not known.
func (c *client) local() sockaddr.Addr {
	p, local := c.door.p, sockaddr.Addr{}
	p.mu.Lock()
	if c.approach != nil {
		local = c.approach.local
	}
	p.mu.Unlock()
	if local.Family != 0 {
		return local
	}
	sa, err := unix.Getsockname(int(c.fd))
	if err != nil {
		return sockaddr.Addr{}
	}
	return sockaddr.From(sa)
}
