package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// answerTimeout is how long the kernel may take for a datagram. It answers
	// while we ask; the limit is there so that no fault of it can hang a start.
	answerTimeout = 1 // seconds

	// dumpTries is how often a list that changed while it was read is asked for.
	dumpTries = 5

	// bufferSize holds any datagram of a dump: the kernel starts with a page of
	// 8 KiB at most and never makes one larger than the reader's buffer.
	bufferSize = 16 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// conn is a netlink socket connected to the kernel's sock_diag, so that nobody
// else can answer. One goroutine uses it for one call of Listeners.
type conn struct {
	fd  int
	seq uint32            // of the last request
	buf *[bufferSize]byte // the last datagram; goes back to buffers
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	c := newConn(fd)
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		c.close()
		return nil, err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerTimeout}); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func newConn(fd int) *conn {
	return &conn{fd: fd, buf: buffers.Get().(*[bufferSize]byte)}
}

func (c *conn) close() {
	unix.Close(c.fd)
	buffers.Put(c.buf)
}

// readFunc reads the body of one answer and says whether it is one of those
// sought. The body is overwritten by the next answer.
type readFunc func(body []byte) (l Listener, wanted bool, err error)

// dump sends the request, into whose header it writes a fresh sequence number,
// and answers the listeners that read wants.
func (c *conn) dump(request []byte, read readFunc) ([]Listener, error) {
	for range dumpTries {
		listeners, interrupted, err := c.dumpOnce(request, read)
		if err != nil || !interrupted {
			return listeners, err
		}
	}
	return nil, fmt.Errorf("the list of sockets changed under each of %d readings", dumpTries)
}

func (c *conn) dumpOnce(request []byte, read readFunc) (listeners []Listener, interrupted bool, err error) {
	c.seq++
	binary.NativeEndian.PutUint32(request[8:], c.seq)
	if _, err := unix.Write(c.fd, request); err != nil {
		return nil, false, err
	}
	for {
		datagram, err := c.receive()
		if err != nil {
			return nil, false, err
		}
		for len(datagram) > 0 {
			var m message
			if m, datagram, err = nextMessage(datagram); err != nil {
				return nil, false, err
			}
			if m.seq != c.seq {
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			if end, err := m.end(); end || err != nil {
				return listeners, interrupted, err
			}
			if m.kind != unix.SOCK_DIAG_BY_FAMILY {
				continue
			}
			l, wanted, err := read(m.body)
			if err != nil {
				return nil, false, err
			}
			if wanted {
				listeners = append(listeners, l)
			}
		}
	}
}

// receive answers the next datagram, which is good until the next call.
func (c *conn) receive() ([]byte, error) {
	for {
		// With MSG_TRUNC the length is the datagram's own, so that a cut is seen.
		n, _, err := unix.Recvfrom(c.fd, c.buf[:], unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR: // signal(7): a receive with a timeout is not restarted
			continue
		case err == unix.EAGAIN:
			return nil, fmt.Errorf("no answer within %d s", answerTimeout)
		case err != nil:
			return nil, err
		case n == 0:
			return nil, errors.New("an empty answer")
		case n > len(c.buf):
			return nil, fmt.Errorf("an answer of %d bytes was cut to %d", n, len(c.buf))
		}
		return c.buf[:n], nil
	}
}
