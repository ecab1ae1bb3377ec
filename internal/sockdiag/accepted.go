package sockdiag

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

const (
	unixShowPeer = 1 << 2 // UDIAG_SHOW_PEER
	unixPeer     = 2      // UNIX_DIAG_PEER
	noCookie     = ^uint64(0)
)

// Accepted tells whether somebody has accepted the connection that fd has begun,
// or whether it still stands in a listener's backlog: until then no file has the
// other socket. It fails with [ErrUnsupported], or when the kernel refuses, as it
// does if the other end is not of this network namespace, or no more.
func Accepted(fd int) (bool, error) {
	accepted, err := isAccepted(fd)
	if err != nil {
		return false, fmt.Errorf("cannot ask the kernel whether a connection was accepted: %w", advise(err))
	}
	return accepted, nil
}

func isAccepted(fd int) (bool, error) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return false, err
	}
	var request []byte
	inode := tcpInode
	switch family := sockaddr.From(local).Family; family {
	case unix.AF_INET, unix.AF_INET6:
		remote, err := unix.Getpeername(fd)
		if err != nil {
			return false, err
		}
		request = tcpPeerRequest(sockaddr.From(remote), sockaddr.From(local))
	case unix.AF_UNIX:
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return false, err
		}
		request, inode = unixPeerRequest(uint32(st.Ino)), unixPeerInode
	default:
		return false, ErrUnsupported
	}
	c, err := dial()
	if err != nil {
		return false, err
	}
	defer c.close()
	body, err := c.ask(request)
	if err != nil {
		return false, err
	}
	n, err := inode(body)
	return n != 0, err
}

// ask sends a request for one socket, and answers what is said of it.
func (c *conn) ask(request []byte) ([]byte, error) {
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST)
	if _, err := unix.Write(c.fd, request); err != nil {
		return nil, err
	}
	datagram, err := c.receive()
	if err != nil {
		return nil, err
	}
	m, _, err := nextMessage(datagram)
	if err != nil {
		return nil, err
	}
	if end, err := m.end(); err != nil {
		return nil, err
	} else if end {
		return nil, errMalformed
	}
	return m.body, nil
}

// tcpPeerRequest asks for the socket at the address near that is connected to
// the address far.
func tcpPeerRequest(near, far sockaddr.Addr) []byte {
	a, b := near.IP.Addr().Unmap(), far.IP.Addr().Unmap()
	family := byte(unix.AF_INET6)
	if a.Is4() {
		family = unix.AF_INET
	}
	request := tcpRequest(family, near.IP.Port(), ^uint32(0))
	id := request[unix.NLMSG_HDRLEN+8:] // struct inet_diag_sockid
	binary.BigEndian.PutUint16(id[2:], far.IP.Port())
	copy(id[4:20], a.AsSlice())
	copy(id[20:36], b.AsSlice())
	binary.NativeEndian.PutUint64(id[40:], noCookie)
	return request
}

// tcpInode reads the inode off a struct inet_diag_msg.
func tcpInode(body []byte) (uint32, error) {
	_, inode, err := tcpSocket(body)
	return inode, err
}

// unixPeerRequest asks for the socket with an inode, and for its peer's.
func unixPeerRequest(inode uint32) []byte {
	request := unixRequest(^uint32(0))
	body := request[unix.NLMSG_HDRLEN:] // struct unix_diag_req
	binary.NativeEndian.PutUint32(body[8:], inode)
	binary.NativeEndian.PutUint32(body[12:], unixShowPeer)
	binary.NativeEndian.PutUint64(body[16:], noCookie)
	return request
}

// unixPeerInode reads the peer's inode off what follows a struct unix_diag_msg.
func unixPeerInode(body []byte) (uint32, error) {
	if len(body) < unixAnswerSize {
		return 0, errMalformed
	}
	for attrs := body[unixAnswerSize:]; len(attrs) > 0; {
		var a attr
		var err error
		if a, attrs, err = nextAttr(attrs); err != nil {
			return 0, err
		}
		if a.kind == unixPeer && len(a.value) == 4 {
			return binary.NativeEndian.Uint32(a.value), nil
		}
	}
	return 0, unix.ENOTCONN
}
