package proxy

import (
	"time"

	"github.com/tiproxy/tiproxy/internal/proxyhdr"
	"golang.org/x/sys/unix"
)

// announcePatience is how long a trusted proxy may take for its header, which
// it sends with the first packet.
var announcePatience = 10 * time.Second

// readHeader takes in a PROXY header, and tells whether it was whole. What
// stands behind it is left in the socket.
func (p *Proxy) readHeader(rules *Rules, c *client, hungUp bool) (whole bool) {
	buf := make([]byte, proxyhdr.Most)
	n, _, err := unix.Recvfrom(int(c.fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil && err != unix.EAGAIN {
		p.conclude(c, ErrReset)
		return false
	}
	length, err := proxyhdr.Length(buf[:max(n, 0)])
	switch {
	case err != nil:
		err = &badHeader{err}
	case length > 0:
		err = p.introduce(rules, c, buf[:length])
	case hungUp:
		err = ErrHungUp
	default:
		return false // more will come
	}
	if err != nil {
		p.conclude(c, err)
	}
	return err == nil
}

// introduce reads a header off the socket, and asks the rules about the client
// that it names.
func (p *Proxy) introduce(rules *Rules, c *client, header []byte) error {
	if n, err := unix.Read(int(c.fd), header); err != nil || n < len(header) {
		return ErrReset // it was there a moment ago
	}
	h, err := proxyhdr.Parse(header)
	if err != nil {
		return &badHeader{err}
	}
	if !h.Local {
		c.addr, c.approach.local = h.Source, h.Dest
	}
	return rules.admit(c)
}
