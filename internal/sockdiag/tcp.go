package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// Numbers of net/tcp_states.h and linux/inet_diag.h that package unix lacks.
const (
	stateListen    = 10 // TCP_LISTEN; UNIX sockets have it too
	tcpRequestSize = 56 // struct inet_diag_req_v2
	tcpAnswerSize  = 72 // struct inet_diag_msg
	tcpV6Only      = 11 // INET_DIAG_SKV6ONLY
)

// tcpListeners asks for IPv6 sockets too when addr is IPv4: one of them may be
// dual-stack.
func tcpListeners(addr sockaddr.Addr) ([]Listener, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	read := func(body []byte) (Listener, bool, error) {
		l, err := parseTCP(body)
		return l, l.Addr.Covers(addr, l.V6Only), err
	}
	six, err := c.dump(tcpRequest(unix.AF_INET6, addr.IP.Port(), 1<<stateListen), read)
	if err != nil || addr.Family == unix.AF_INET6 {
		return six, err
	}
	four, err := c.dump(tcpRequest(unix.AF_INET, addr.IP.Port(), 1<<stateListen), read)
	return append(four, six...), err
}

// destination is where a connection to addr goes: Linux takes the wildcard as
// the loopback address of its family.
func destination(addr sockaddr.Addr) sockaddr.Addr {
	if !addr.IP.Addr().IsUnspecified() {
		return addr
	}
	loopback := netip.IPv6Loopback()
	if addr.Family == unix.AF_INET {
		loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return sockaddr.TCP(netip.AddrPortFrom(loopback, addr.IP.Port()))
}

// tcpRequest asks for the TCP sockets of one family at one port of this side
// that are in some states.
func tcpRequest(family byte, port uint16, states uint32) []byte {
	request := make([]byte, unix.NLMSG_HDRLEN+tcpRequestSize)
	putHeader(request)
	body := request[unix.NLMSG_HDRLEN:]
	body[0] = family
	body[1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(body[4:], states)
	binary.BigEndian.PutUint16(body[8:], port) // idiag_sport
	return request
}

// tcpSocket reads what a struct inet_diag_msg says of every socket. Without an
// inode no file has it: it was closed, or not accepted yet.
func tcpSocket(body []byte) (local sockaddr.Addr, inode uint32, err error) {
	if len(body) < tcpAnswerSize {
		return sockaddr.Addr{}, 0, errMalformed
	}
	var ip netip.Addr
	switch source := body[8:24]; body[0] {
	case unix.AF_INET:
		ip = netip.AddrFrom4([4]byte(source))
	case unix.AF_INET6:
		ip = netip.AddrFrom16([16]byte(source))
	default:
		return sockaddr.Addr{}, 0, errMalformed
	}
	port := binary.BigEndian.Uint16(body[4:])
	return sockaddr.TCP(netip.AddrPortFrom(ip, port)), binary.NativeEndian.Uint32(body[68:]), nil
}

// parseTCP reads a struct inet_diag_msg and what follows it.
func parseTCP(body []byte) (Listener, error) {
	local, inode, err := tcpSocket(body)
	if err != nil || body[1] != stateListen {
		return Listener{}, errMalformed
	}
	l := Listener{Addr: local, UID: binary.NativeEndian.Uint32(body[64:]), Inode: uint64(inode)}
	for attrs := body[tcpAnswerSize:]; len(attrs) > 0; {
		var a attr
		var err error
		if a, attrs, err = nextAttr(attrs); err != nil {
			return Listener{}, err
		}
		if a.kind == tcpV6Only && len(a.value) == 1 {
			l.V6Only = a.value[0] != 0
		}
	}
	return l, nil
}
