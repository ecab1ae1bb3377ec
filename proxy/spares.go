package proxy

import (
	"context"
	"errors"

	"github.com/tiproxy/tiproxy/internal/nowait"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// begin begins to connect to the backend, with a spare socket of the client's loop
// if there is one.
func (p *Proxy) begin(c *client, backend sockaddr.Addr) (fd int, connected bool, err error) {
	fd, connected, c.again, err = p.spares[c.at].Begin(backend)
	return fd, connected, err
}

// keep keeps the socket that a session had to the backend for one to come, on the
// loop of both. While fds are exhausted each is given back.
func (p *Proxy) keep(c *client, fd int) {
	if p.front.is(restStarved) || !p.spares[c.at].Keep(fd, c.lease.Addresses()[0]) {
		nowait.Close(fd)
	}
}

// dropSpares gives the spare sockets of all loops back. Those who wait for an fd
// to become free may have one of them.
func (p *Proxy) dropSpares() {
	for at, l := range p.loops {
		l.Do(func() {
			if p.spares[at].Close() > 0 {
				p.front.resume(restStarved)
			}
		})
	}
}

// closeSpares does so before the loops may end, and returns when it is done. No
// session comes any more.
func (p *Proxy) closeSpares() {
	p.dropSpares()
	_ = p.cfg.Relay.Ping(context.Background())
}

// isStarved tells whether an error means that fds or memory are exhausted.
func isStarved(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}
