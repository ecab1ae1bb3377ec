// Package proxyhdr reads and writes the header of the PROXY protocol, versions
// 1 and 2: the first bytes of a connection, in which a proxy says who its
// client is. The specification is doc/proxy-protocol.txt of HAProxy.
//
// A header stands before bytes that belong to others, so that not one byte too
// many may be read. Framing is therefore apart from parsing, and neither of
// them reads from anything:
//
//	peek at the socket ──> Length ── 0 ──> wait for more bytes, peek again
//	                         ├── error ──> no header, close
//	                         └── n ──> read exactly n bytes ──> Parse
//
// Length refuses what begins otherwise at the first wrong byte, and a header that
// would be too long as soon as it announces that; the addresses of a whole one
// are left to Parse. Whether the one who speaks may be believed is not known here.
package proxyhdr

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// Header is what a PROXY header says about a connection.
type Header struct {
	// Local tells that it says nothing: the connection is the proxy's own (a
	// health check), or of a kind that the proxy cannot describe. The addresses
	// of the socket are the ones to use, as if there were no header.
	Local bool

	Source sockaddr.Addr // the client; zero if Local
	Dest   sockaddr.Addr // where the client connected to; zero if Local, else of TCP or UNIX as Source is
}

// Parse reads b, which must be exactly one header: as many bytes as [Length]
// says. It refuses what the specification does not allow, and a header of
// version 2 whose checksum is wrong or whose TLVs do not fit; of a LOCAL one, as
// the specification has it, nothing but the length counts.
func Parse(b []byte) (Header, error) {
	n, err := Length(b)
	if err != nil {
		return Header{}, err
	}
	if n == 0 || n != len(b) {
		return Header{}, fmt.Errorf("cannot read %d bytes as one PROXY header: they end before it does, or after it", len(b))
	}
	if isBinary(b) {
		return parseBinary(b)
	}
	return parse(b)
}

// parseBinary looks at what go-proxyproto does not know: a connection of no
// family, checksums, and abstract UNIX sockets.
func parseBinary(b []byte) (Header, error) {
	if command(b) == proxyproto.LOCAL {
		return Header{Local: true}, nil
	}
	if err := checkTLVs(b, fixedSize+addressSizes[family(b)]); err != nil {
		return Header{}, err
	}
	switch family(b) {
	case proxyproto.UNSPEC:
		return Header{Local: true}, nil
	case proxyproto.UnixStream:
		source, dest := b[fixedSize:][:sunPathSize], b[fixedSize+sunPathSize:][:sunPathSize]
		return Header{Source: fromSunPath(source), Dest: fromSunPath(dest)}, nil
	}
	return parse(b)
}

// parse has go-proxyproto read the addresses of a whole header.
func parse(b []byte) (Header, error) {
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return Header{}, fmt.Errorf("cannot read PROXY header %q: %w", b, err)
	}
	source, dest, ok := h.TCPAddrs()
	if !ok { // the UNKNOWN of version 1
		return Header{Local: true}, nil
	}
	return Header{Source: sockaddr.TCP(source.AddrPort()), Dest: sockaddr.TCP(dest.AddrPort())}, nil
}

// Format writes the header of a version, 1 or 2, for the client source that
// connected to dest.
//
// Where only one of them is of IPv4, both are written as of IPv6 (::ffff:1.2.3.4).
// A zone is not written: it means nothing on another machine. What the version
// cannot describe (UNIX in version 1, VSOCK, an unknown address) is said to be
// unknown: UNKNOWN in version 1, the family UNSPEC in version 2.
func Format(version int, source, dest sockaddr.Addr) []byte {
	h := proxyproto.HeaderProxyFromAddrs(byte(version), netAddr(source), netAddr(dest))
	// An unknown client is not LOCAL, which would make it a connection of ours.
	h.Command = proxyproto.PROXY
	b, err := h.Format()
	if err != nil { // impossible: the family was chosen by these very addresses
		panic(fmt.Sprintf("cannot write PROXY header for %s to %s: %v", source, dest, err))
	}
	return b
}

// netAddr is a in the terms of go-proxyproto; nil if the protocol has none for it.
func netAddr(a sockaddr.Addr) net.Addr {
	switch {
	case a.IsIP():
		return net.TCPAddrFromAddrPort(a.IP)
	case a.Family == unix.AF_UNIX:
		return &net.UnixAddr{Net: "unix", Name: sunPath(a)}
	}
	return nil
}

// sunPathSize is the size of sun_path in bytes (unix(7)), which a header has as
// it is, filled up with zeros.
const sunPathSize = 108

// sunPath is the path of a UNIX socket as the kernel has it: the abstract
// namespace begins with a zero byte.
func sunPath(a sockaddr.Addr) string {
	if name, abstract := strings.CutPrefix(a.Path, "@"); abstract {
		return "\x00" + name
	}
	return a.Path
}

// fromSunPath reads the path of a UNIX socket; all zeros is an unnamed one, as
// most clients have. Some senders write the @ of an abstract name as it is.
func fromSunPath(b []byte) sockaddr.Addr {
	name, abstract := bytes.CutPrefix(b, []byte{0})
	name, _, _ = bytes.Cut(name, []byte{0})
	path := string(name)
	if abstract {
		path = "@" + path
	}
	if path == "@" {
		path = ""
	}
	return sockaddr.Unix(path)
}
