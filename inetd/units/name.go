package units

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tiproxy/tiproxy/inetd"
)

// nameMax leaves room for the path of a control socket, /run/tiproxy@inetd-NAME/control.sock
// (unix(7): 107 bytes).
const nameMax = 56

// sumLen is how much of a checksum is written, in bytes.
const sumLen = 6

// name is the service and where it listens: www-80-tcp, 8080-tcp-127.0.0.1. A
// place belongs to one entry, so the name does, too. What cannot stand in the
// name of a unit is replaced, and a checksum of all of it ends the name; no
// place ends like one.
func name(e inetd.Entry) string {
	at := place(e)
	whole := e.Name + "-" + at
	if strings.HasPrefix(at, e.Name+"-") { // the number of the port
		whole = at
	}
	safe := strings.Map(unitRune, whole)
	if safe == whole && len(safe) <= nameMax {
		return safe
	}
	sum := sha256.Sum256(fmt.Append(nil, e.Type, " ", e.Name, " ", e.Path, e.Listen))
	return fmt.Sprintf("%s-%x", strings.Trim(safe[:min(len(safe), nameMax-1-2*sumLen)], "_-"), sum[:sumLen])
}

// unitRune is what stands for a rune in the name of a unit, systemd.unit(5). A
// backslash or colon could, too, but makes trouble in a shell or in
// FileDescriptorName=.
func unitRune(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-', r == '_':
		return r
	}
	return '_'
}

// place is where the service listens, as inetd.conf could have it: the port,
// the protocol, and the addresses unless those are all of the machine.
func place(e inetd.Entry) string {
	if e.Path != "" {
		return "unix-" + string(e.Type)
	}
	at := strconv.Itoa(int(e.Listen[0].Port())) + "-" + map[inetd.Type]string{inetd.Stream: "tcp", inetd.Datagram: "udp"}[e.Type]
	v4, v6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	switch first, last := e.Listen[0].Addr(), e.Listen[len(e.Listen)-1].Addr(); {
	case len(e.Listen) == 2 && first == v4 && last == v6:
		return at
	case len(e.Listen) == 1 && first == v4:
		return at + "4"
	case len(e.Listen) == 1 && first == v6 && e.Dual:
		return at + "46"
	case len(e.Listen) == 1 && first == v6:
		return at + "6"
	}
	for _, a := range e.Listen {
		at += "-" + strings.ReplaceAll(a.Addr().String(), ":", "_")
	}
	return at
}
