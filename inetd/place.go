package inetd

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// family is the kinds of sockets that a protocol asks for.
type family struct {
	transport string // tcp, udp or unix
	v4, v6    bool   // a socket for each; with dual v6 is for both
	dual      bool
}

// families are what may follow tcp or udp.
var families = map[string]family{
	"":   {v4: true, v6: true},
	"4":  {v4: true},
	"6":  {v6: true},
	"46": {v6: true, dual: true},
}

// transports are the protocols, and the types of socket that they have.
var transports = map[string][]Type{
	"tcp":  {Stream},
	"udp":  {Datagram},
	"unix": {Stream, Datagram, Seqpacket},
}

// parseProtocol reads the name of a protocol, which must have sockets of type t.
func parseProtocol(name string, t Type) (family, error) {
	transport := name
	if name != "unix" {
		transport = name[:min(3, len(name))]
	}
	f, known := families[name[len(transport):]]
	if types, ok := transports[transport]; !ok || !known {
		return family{}, fmt.Errorf("%.60q is no protocol that systemd listens on; want tcp, udp or unix", name)
	} else if !slices.Contains(types, t) {
		return family{}, fmt.Errorf("protocol %s has no sockets of type %s", name, t)
	}
	f.transport = transport
	return f, nil
}

// unixPathMax is the longest path of a UNIX socket in bytes, unix(7): sun_path
// has 108 with the closing zero.
const unixPathMax = 107

// setPlace finds where the service listens.
func (c *confLine) setPlace() error {
	e := &c.entry
	if strings.HasPrefix(e.Name, "tcpmux/") {
		return errors.New("a service of tcpmux (RFC 1078) has no port: give it one, and write that")
	}
	if c.family.transport == "unix" {
		if !path.IsAbs(e.Name) || len(e.Name) > unixPathMax {
			return fmt.Errorf("%.60q is no absolute path of at most %d bytes, as a UNIX socket has it", e.Name, unixPathMax)
		}
		e.Path = e.Name
		return nil
	}
	port, err := c.reader.port(e.Name, c.family.transport)
	if err != nil {
		return err
	}
	e.Dual = c.family.dual
	for host := range strings.SplitSeq(c.host, ",") {
		addrs, err := c.family.addresses(strings.Trim(host, "[]"))
		if err != nil {
			c.notes = append(c.notes, e.note(host, "%v", err))
		}
		for _, a := range addrs {
			if ap := netip.AddrPortFrom(a, port); !slices.Contains(e.Listen, ap) {
				e.Listen = append(e.Listen, ap)
			}
		}
	}
	if e.nowhere() {
		return fmt.Errorf("%.60q has no address to listen on", c.host)
	}
	return nil
}

// addresses answers what host stands for: an address, `*` for all of the
// machine, or localhost.
func (f family) addresses(host string) ([]netip.Addr, error) {
	var all []netip.Addr
	switch host {
	case "":
		return nil, nil
	case "*":
		all = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	case "localhost":
		all = loopback
	default:
		a, err := netip.ParseAddr(host)
		if err != nil {
			return nil, errors.New("systemd looks up no names of hosts: write the address")
		}
		if f.dual {
			return []netip.Addr{a}, nil
		}
		all = []netip.Addr{a.Unmap()}
	}
	fit := slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return !(a.Is4() && f.v4 || a.Is6() && f.v6) })
	if len(fit) == 0 {
		return nil, errors.New("the protocol has no such address")
	}
	return fit, nil
}

// loopback is localhost, RFC 6761.
var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// port is the port of a service by number or name.
func (r Reader) port(service, transport string) (uint16, error) {
	if strings.Trim(service, "0123456789") == "" {
		n, err := strconv.ParseUint(service, 10, 16)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("%.60q is no port from 1 to 65535", service)
		}
		return uint16(n), nil
	}
	port, ok := r.Service(service, transport)
	if !ok || port == 0 {
		return 0, fmt.Errorf("%.60q is no service of %s in /etc/services: write the number of the port", service, transport)
	}
	return port, nil
}

// split gives each socket of a server that waits an entry of its own: its stdin
// is one of them.
func (e *Entry) split() []Entry {
	if !e.Wait || len(e.Listen) < 2 {
		return []Entry{*e}
	}
	var entries []Entry
	for _, a := range e.Listen {
		one := *e
		one.Listen = []netip.AddrPort{a}
		entries = append(entries, one)
	}
	return entries
}

// parseSize reads a number of bytes, with k or m after it for 1024 of them or
// 1024 times that.
func parseSize(s string) (int, error) {
	digits, shift := s, 0
	if d, ok := strings.CutSuffix(s, "k"); ok {
		digits, shift = d, 10
	} else if d, ok := strings.CutSuffix(s, "m"); ok {
		digits, shift = d, 20
	}
	n, err := strconv.ParseUint(digits, 10, 31-shift)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%.60q is no size such as 65536, 64k or 1m", s)
	}
	return int(n) << shift, nil
}
