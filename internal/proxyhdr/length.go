package proxyhdr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pires/go-proxyproto"
)

// Most is the most bytes that a header may have. The specification's own bound
// is 65,551; what proxies send is a few hundred, or 2 kB with a certificate of
// the client.
const Most = 4096

// mostText is the most bytes that version 1 may have before its CRLF, which
// makes 107 of a line.
const mostText = 105

// fixedSize is the part of version 2 that is always there, and tells the length
// of the rest: signature, version and command, family, length.
const fixedSize = 16

// openings are the ways in which a header can begin.
var openings = [][]byte{
	[]byte("PROXY TCP4 "),
	[]byte("PROXY TCP6 "),
	[]byte("PROXY UNKNOWN "),
	[]byte("PROXY UNKNOWN\r\n"),
	proxyproto.SIGV2,
}

// addressSizes are the families of version 2 that a stream can have, with the
// bytes that their addresses take.
var addressSizes = map[proxyproto.AddressFamilyAndProtocol]int{
	proxyproto.UNSPEC:     0,
	proxyproto.TCPv4:      12,
	proxyproto.TCPv6:      36,
	proxyproto.UnixStream: 2 * sunPathSize,
}

// Length answers the length in bytes of the header that b begins with, once b
// has all of it, with or without bytes behind it. It is 0 while more bytes are
// needed. An error is final: nothing that could follow makes b a header.
func Length(b []byte) (int, error) {
	if err := checkOpening(b); err != nil {
		return 0, err
	}
	if isBinary(b) {
		return binaryLength(b)
	}
	return lineLength(b)
}

// checkOpening refuses b when it departs from all openings. Its error shows no
// more of b than it must: these bytes may be a client's.
func checkOpening(b []byte) error {
	fitting := 0
	for _, o := range openings {
		n := commonPrefix(b, o)
		if n == len(b) || n == len(o) {
			return nil
		}
		fitting = max(fitting, n)
	}
	return fmt.Errorf("no PROXY header begins with %q", b[:fitting+1])
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// lineLength is Length for version 1: up to the first CRLF. Neither CR nor LF
// may stand alone.
func lineLength(b []byte) (int, error) {
	end := bytes.IndexAny(b, "\r\n")
	switch {
	case end > mostText, end < 0 && len(b) > mostText:
		return 0, fmt.Errorf("PROXY header without CRLF after %d bytes at most", mostText)
	case end < 0:
		return 0, nil
	case b[end] == '\n':
		return 0, errors.New("PROXY header with LF where CRLF is due")
	case end+1 == len(b):
		return 0, nil
	case b[end+1] != '\n':
		return 0, errors.New("PROXY header with CR where CRLF is due")
	}
	return end + 2, nil
}

// isBinary tells whether b, if it is a header, is one of version 2.
func isBinary(b []byte) bool { return bytes.HasPrefix(b, proxyproto.SIGV2[:1]) }

// command is version and command of version 2.
func command(b []byte) proxyproto.ProtocolVersionAndCommand {
	return proxyproto.ProtocolVersionAndCommand(b[12])
}

// family is the address family and protocol of version 2.
func family(b []byte) proxyproto.AddressFamilyAndProtocol {
	return proxyproto.AddressFamilyAndProtocol(b[13])
}

// binaryLength is Length for version 2, which announces its own. A LOCAL header
// may have any family, and any bytes after it.
func binaryLength(b []byte) (int, error) {
	if len(b) > 12 {
		if version := b[12] >> 4; version != 2 {
			return 0, fmt.Errorf("PROXY header of version %d; known are 1 and 2", version)
		}
		if c := command(b); c != proxyproto.LOCAL && c != proxyproto.PROXY {
			return 0, fmt.Errorf("PROXY header with command %d; known are LOCAL (0) and PROXY (1)", c&0xf)
		}
	}
	atLeast := 0
	if len(b) > 13 && command(b) == proxyproto.PROXY {
		size, known := addressSizes[family(b)]
		if !known {
			return 0, fmt.Errorf("PROXY header of family and protocol 0x%02x; a stream has 0x11 (IPv4), 0x21 (IPv6), 0x31 (UNIX) or 0", byte(family(b)))
		}
		atLeast = size
	}
	if len(b) < fixedSize {
		return 0, nil
	}
	announced := int(binary.BigEndian.Uint16(b[14:]))
	n := fixedSize + announced
	switch {
	case n > Most:
		return 0, fmt.Errorf("PROXY header of %d bytes; %d are the most", n, Most)
	case announced < atLeast:
		return 0, fmt.Errorf("PROXY header of %d bytes; its addresses alone take it to %d", n, fixedSize+atLeast)
	case n > len(b):
		return 0, nil
	}
	return n, nil
}
