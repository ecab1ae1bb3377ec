// Package sockaddr names the two ends of stream sockets: TCP over IPv4 and
// IPv6, UNIX, and VSOCK.
//
// An [Addr] is what the kernel deals in and is plain data; a [Name] is what an
// administrator writes, and may have to be resolved, each time anew, because
// the answer can change while tiproxy runs.
package sockaddr

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Addr is one socket address. The zero Addr is "no address known".
type Addr struct {
	Family int            // unix.AF_INET, AF_INET6, AF_UNIX or AF_VSOCK; 0: unknown
	IP     netip.AddrPort // AF_INET and AF_INET6
	Path   string         // AF_UNIX; a leading '@' is the abstract namespace, empty is unnamed
	CID    uint32         // AF_VSOCK
	Port   uint32         // AF_VSOCK
}

// TCP makes the Addr of an IP address and port.
func TCP(ap netip.AddrPort) Addr {
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	if ap.Addr().Is4() {
		return Addr{Family: unix.AF_INET, IP: ap}
	}
	return Addr{Family: unix.AF_INET6, IP: ap}
}

// Unix makes the Addr of a UNIX socket's path.
func Unix(path string) Addr { return Addr{Family: unix.AF_UNIX, Path: path} }

// From converts what the kernel answered. An IPv4 address mapped into IPv6
// (a client of a dual-stack listener) becomes plain IPv4.
func From(sa unix.Sockaddr) Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return TCP(netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 && !ip.Is4In6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return TCP(netip.AddrPortFrom(ip, uint16(sa.Port)))
	case *unix.SockaddrUnix:
		if sa.Name == "@" { // so x/sys reads the address of a socket without a name
			return Unix("")
		}
		return Unix(sa.Name)
	case *unix.SockaddrVM:
		return Addr{Family: unix.AF_VSOCK, CID: sa.CID, Port: sa.Port}
	}
	return Addr{}
}

// Sockaddr converts to what the kernel wants; nil for the zero Addr.
func (a Addr) Sockaddr() unix.Sockaddr {
	switch a.Family {
	case unix.AF_INET:
		return &unix.SockaddrInet4{Addr: a.IP.Addr().As4(), Port: int(a.IP.Port())}
	case unix.AF_INET6:
		return &unix.SockaddrInet6{Addr: a.IP.Addr().As16(), Port: int(a.IP.Port()), ZoneId: zoneID(a.IP.Addr().Zone())}
	case unix.AF_UNIX:
		return &unix.SockaddrUnix{Name: a.Path}
	case unix.AF_VSOCK:
		return &unix.SockaddrVM{CID: a.CID, Port: a.Port}
	}
	return nil
}

// zoneID turns a scope (fe80::1%eth0, fe80::1%2) into the kernel's number; 0 if
// there is no such interface.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	return 0
}

// String writes the address as Parse reads it.
func (a Addr) String() string {
	switch a.Family {
	case unix.AF_INET, unix.AF_INET6:
		return a.IP.String()
	case unix.AF_UNIX:
		if a.Path == "" {
			return "unix"
		}
		return a.Path
	case unix.AF_VSOCK:
		if a.CID == unix.VMADDR_CID_ANY {
			return fmt.Sprintf("vsock::%d", a.Port)
		}
		return fmt.Sprintf("vsock:%d:%d", a.CID, a.Port)
	}
	return "unknown"
}

// IsIP tells whether the address is one of TCP.
func (a Addr) IsIP() bool { return a.Family == unix.AF_INET || a.Family == unix.AF_INET6 }

// Covers tells whether a listener bound to a is the one that a connection to b
// may reach: the same address, or the wildcard of b's family, or the IPv6
// wildcard, which takes IPv4 too unless its listener is IPv6-only.
func (a Addr) Covers(b Addr, v6only bool) bool {
	switch {
	case a == b:
		return true
	case !a.IsIP() || !b.IsIP() || a.IP.Port() != b.IP.Port():
		return false
	case !a.IP.Addr().IsUnspecified():
		return a.IP.Addr().WithZone("") == b.IP.Addr().WithZone("")
	case a.Family == b.Family:
		return true
	}
	return a.Family == unix.AF_INET6 && !v6only
}

// parseVsock reads what follows "vsock:", which is CID:PORT or :PORT (any CID,
// for a listener), as systemd.socket(5) writes it.
func parseVsock(s string) (Addr, error) {
	cid, port, ok := strings.Cut(s, ":")
	if !ok {
		return Addr{}, fmt.Errorf("want vsock:CID:PORT")
	}
	a := Addr{Family: unix.AF_VSOCK, CID: unix.VMADDR_CID_ANY}
	if cid != "" {
		n, err := strconv.ParseUint(cid, 10, 32)
		if err != nil {
			return Addr{}, fmt.Errorf("CID %q is not a number", cid)
		}
		a.CID = uint32(n)
	}
	n, err := strconv.ParseUint(port, 10, 32)
	if err != nil {
		return Addr{}, fmt.Errorf("port %q is not a number", port)
	}
	a.Port = uint32(n)
	return a, nil
}
