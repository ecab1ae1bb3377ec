// Package sockdiag asks the kernel which sockets listen at an address, and /proc
// who holds them, without connecting to anything.
//
// A backend is ready when a socket of its own process tree listens where clients
// are to be sent. Connecting to find out would use up a backend that serves one
// client and ends, and could not tell the backend's socket from a stranger's.
//
//	address ── Listeners ──> inodes ── Owner ──> pid
//	           sock_diag(7)            /proc/PID/fd
//
// A backend that accepts its clients itself is idle when nobody is connected to
// its listeners any more: Connections.
//
// Nothing is kept between calls, every call may be made from any goroutine, and no
// answer of the kernel is waited for longer than a second. What is seen is the
// network namespace of the calling process.
package sockdiag

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// ErrUnsupported tells that the kernel cannot be asked about this family, which
// is so for VSOCK, and for an address that is not known.
var ErrUnsupported = errors.New("listening sockets of this family cannot be seen; choose another Ready= than listen")

// Listener is one listening stream socket of this network namespace.
type Listener struct {
	Addr   sockaddr.Addr // as it was bound: the wildcard or a relative path may stand here
	V6Only bool          // an IPv6 socket that takes no IPv4 (IPV6_V6ONLY)
	Inode  uint64        // as in "socket:[INODE]" of /proc/PID/fd; 0: already being closed
	UID    uint32        // who made the socket; for UNIX the kernel tells since 5.3, else 0
}

// Listeners answers the stream sockets in LISTEN state at which a connection to
// addr may arrive, none being no error. For TCP the rule is
// [sockaddr.Addr.Covers]; for a UNIX path it is the socket's file, by whatever
// name the listener bound it, and a listener whose file was removed or replaced
// is out of reach. It fails with [ErrUnsupported], or when the kernel refuses.
func Listeners(addr sockaddr.Addr) ([]Listener, error) {
	listeners, err := listenersOf(addr)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the kernel who listens at %s: %w", addr, advise(err))
	}
	return listeners, nil
}

func listenersOf(addr sockaddr.Addr) ([]Listener, error) {
	switch {
	case addr.IsIP():
		return tcpListeners(destination(addr))
	case addr.Family == unix.AF_UNIX:
		return unixListeners(addr.Path)
	}
	return nil, ErrUnsupported
}

// advise says what an administrator can do about an error of the kernel.
func advise(err error) error {
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: add AF_NETLINK to RestrictAddressFamilies=", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: load the kernel modules tcp_diag and unix_diag, or choose another Ready= than listen", err)
	}
	return err
}
