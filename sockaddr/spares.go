package sockaddr

import (
	"fmt"

	"github.com/tiproxy/tiproxy/internal/nowait"
	"golang.org/x/sys/unix"
)

// Spares are TCP sockets whose connection is over, to be connected anew
// (connect(2), AF_UNSPEC): to close a socket and make another takes the kernel as
// long as to connect one over loopback. They keep their options, and an epoll
// instance that watches them goes on with that.
//
// Only connections over loopback are made with them: a socket that is connected
// anew goes on with its sequence numbers, which strangers could then foretell
// (RFC 6528). The zero value is empty. It is not for concurrent use.
type Spares struct {
	fds    []int
	family int // of all of them
}

// sparesMost is how many are kept: as many as begin anew in one round of a busy
// loop.
const sparesMost = 32

// CanKeep tells whether sockets connected to a can be kept.
func CanKeep(a Addr) bool { return a.IsIP() && a.IP.Addr().IsLoopback() }

// Keep takes in a socket that was connected to a. It answers false if the
// connection is not over yet, both ways and with all acknowledged, or if there
// are enough: then the socket is as it was, and the caller's.
func (s *Spares) Keep(fd int, a Addr) bool {
	if !CanKeep(a) || nowait.TCPState(fd) != unix.BPF_TCP_CLOSE {
		return false
	}
	if a.Family != s.family {
		s.Close()
		s.family = a.Family
	}
	if len(s.fds) == sparesMost {
		return false
	}
	s.fds = append(s.fds, fd)
	return true
}

// Begin is the part of Connect that takes no waiting: connected tells that it was
// all, else Finish does the rest. It takes a spare if there is one: again tells so.
func (s *Spares) Begin(a Addr) (fd int, connected, again bool, err error) {
	last := len(s.fds) - 1
	if last < 0 || a.Family != s.family || !CanKeep(a) {
		fd, connected, err = begin(a)
		return fd, connected, false, err
	}
	fd = s.fds[last]
	s.fds = s.fds[:last]
	if err := nowait.Disconnect(fd); err != nil {
		nowait.Close(fd)
		return -1, false, false, fmt.Errorf("cannot use a socket again: %w", err)
	}
	fd, connected, err = beginWith(fd, a)
	return fd, connected, true, err
}

// Len is how many there are.
func (s *Spares) Len() int { return len(s.fds) }

// Close closes all that are kept, and answers how many there were. Others may be
// kept after it.
func (s *Spares) Close() int {
	n := len(s.fds)
	for _, fd := range s.fds {
		nowait.Close(fd)
	}
	s.fds = nil
	return n
}
