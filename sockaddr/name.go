package sockaddr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// DefaultHost is where a bare port belongs: nothing is open to a network until
// an administrator writes so.
const DefaultHost = "127.0.0.1"

// unixPathMax is the longest path of a UNIX socket in bytes (unix(7): sun_path
// has 108 with the closing zero).
const unixPathMax = 107

// Name is an address as an administrator writes it: host:port (a host's name,
// an IPv4 address, or an IPv6 address in brackets), :port for every address of
// the machine, port alone for [DefaultHost], a path or @name for UNIX, and
// vsock:CID:PORT.
type Name struct {
	addr Addr   // not zero: nothing is left to resolve
	host string // else the host to look up
	port uint16
}

// Parse reads a Name. Its errors say what is wrong with s without repeating it
// in full: the caller knows where s stands.
func Parse(s string) (Name, error) {
	switch {
	case s == "":
		return Name{}, errors.New("empty address; want host:port, a port, or the path of a UNIX socket")
	case s[0] == '/' || s[0] == '@' || strings.HasPrefix(s, "./"):
		if len(s) > unixPathMax {
			return Name{}, fmt.Errorf("path of %d bytes; a UNIX socket's has %d at most", len(s), unixPathMax)
		}
		if strings.Contains(s, "\x00") {
			return Name{}, errors.New("zero byte in the path of a UNIX socket")
		}
		return Name{addr: Unix(s)}, nil
	case strings.HasPrefix(s, "vsock:"):
		a, err := parseVsock(s[len("vsock:"):])
		return Name{addr: a}, err
	}
	if strings.Trim(s, "0123456789") == "" {
		port, err := parsePort(s)
		if err != nil {
			return Name{}, err
		}
		return hostPort(DefaultHost, port)
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return Name{}, fmt.Errorf("%q is no address; want host:port, a port, or the path of a UNIX socket", s)
	}
	port, err := parsePort(portText)
	if err != nil {
		return Name{}, err
	}
	return hostPort(host, port)
}

func hostPort(host string, port uint16) (Name, error) {
	if host == "" || host == "*" {
		return Name{addr: TCP(netip.AddrPortFrom(netip.IPv6Unspecified(), port))}, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return Name{addr: TCP(netip.AddrPortFrom(ip, port))}, nil
	}
	if strings.ContainsAny(host, "/ []%:@\x00") {
		return Name{}, fmt.Errorf("%q is no host", host)
	}
	return Name{host: host, port: port}, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %q is not a number from 0 to 65535", s)
	}
	return uint16(n), nil
}

// String writes the Name as Parse reads it.
func (n Name) String() string {
	if n.host != "" {
		return net.JoinHostPort(n.host, strconv.Itoa(int(n.port)))
	}
	return n.addr.String()
}

// IsZero tells whether no name was given.
func (n Name) IsZero() bool { return n == Name{} }

// Addr is the address, if there was nothing to resolve; else the zero Addr.
func (n Name) Addr() Addr { return n.addr }

// Resolve asks for the addresses behind the name, the first to be tried first.
// It fails if the resolver does, or when ctx ends.
func (n Name) Resolve(ctx context.Context) ([]Addr, error) {
	if n.host == "" {
		return []Addr{n.addr}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", n.host)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve %q: %w", n.host, err)
	}
	addrs := make([]Addr, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, TCP(netip.AddrPortFrom(ip, n.port)))
	}
	return addrs, nil
}
