package relay

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// settle notes that a session counts as one that lasts, and takes the brake off its
// sockets: it has the time that this needs back by then.
func (s *Session) settle() {
	if s.young == 0 {
		return
	}
	s.young = 0
	for _, fd := range s.fd {
		freeLocal(int(fd))
	}
}

// freeLocal takes a socket whose other end is on this machine out of what the system
// has chosen for its networks (tcp(7), TCP_CONGESTION): nothing between the two can be
// congested. bbr paces such a socket all the same, and bulk gets half as much done.
// reno does not; it is in every kernel, and anybody may choose it.
func freeLocal(fd int) {
	local, err1 := unix.Getsockname(fd)
	remote, err2 := unix.Getpeername(fd)
	if err1 == nil && err2 == nil && isLocal(ip(local), ip(remote)) {
		_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	}
}

// isLocal tells whether what is sent to an address goes over loopback: so does what
// a machine sends to one of its own.
func isLocal(from, to netip.Addr) bool {
	return to.IsLoopback() || to.IsValid() && to == from
}

// ip is the IP address in sa; the zero Addr: it has none.
func ip(sa unix.Sockaddr) netip.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr)
	}
	return netip.Addr{}
}
