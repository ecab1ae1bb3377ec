package sockdiag

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// errMalformed tells that an answer is not laid out as linux/netlink.h,
// linux/inet_diag.h and linux/unix_diag.h have it.
var errMalformed = errors.New("the kernel's answer is cut short or not understood")

// message is one netlink message (netlink(7)); body points into the datagram.
type message struct {
	kind  uint16 // NLMSG_DONE, NLMSG_ERROR, SOCK_DIAG_BY_FAMILY, …
	flags uint16
	seq   uint32
	body  []byte
}

// nextMessage takes the first message off a datagram.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return message{}, nil, errMalformed
	}
	size := binary.NativeEndian.Uint32(b)
	if size < unix.NLMSG_HDRLEN || uint64(size) > uint64(len(b)) {
		return message{}, nil, errMalformed
	}
	m = message{
		kind:  binary.NativeEndian.Uint16(b[4:]),
		flags: binary.NativeEndian.Uint16(b[6:]),
		seq:   binary.NativeEndian.Uint32(b[8:]),
		body:  b[unix.NLMSG_HDRLEN:size],
	}
	return m, b[align(int(size), len(b)):], nil
}

// end tells whether m closes the answer to a dump, and with which error.
func (m message) end() (bool, error) {
	switch m.kind {
	case unix.NLMSG_DONE, unix.NLMSG_ERROR:
	case unix.NLMSG_OVERRUN:
		return true, unix.ENOBUFS
	default:
		return false, nil
	}
	if len(m.body) < 4 {
		return true, errMalformed
	}
	if code := int32(binary.NativeEndian.Uint32(m.body)); code < 0 {
		return true, unix.Errno(-code)
	}
	return true, nil
}

// attr is one attribute after the fixed part of an answer (netlink(7)).
type attr struct {
	kind  uint16
	value []byte
}

// nextAttr takes the first attribute off b.
func nextAttr(b []byte) (a attr, rest []byte, err error) {
	if len(b) < unix.SizeofNlAttr {
		return attr{}, nil, errMalformed
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < unix.SizeofNlAttr || size > len(b) {
		return attr{}, nil, errMalformed
	}
	a = attr{
		kind:  binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER),
		value: b[unix.SizeofNlAttr:size],
	}
	return a, b[align(size, len(b)):], nil
}

// align rounds up to the four bytes at which messages and attributes start; the
// last one may end without its padding.
func align(size, limit int) int {
	return min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), limit)
}

// putHeader writes the header of a request for a whole list; dump sets the
// sequence number.
func putHeader(request []byte) {
	binary.NativeEndian.PutUint32(request[0:], uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
}
