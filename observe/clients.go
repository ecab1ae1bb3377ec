package observe

import (
	"net/netip"
	"strings"

	"github.com/tiproxy/tiproxy/proxy"
	"golang.org/x/sys/unix"
)

// Clients is how much of a client's address is told (LogClients=). An unknown
// word counts as ClientsNone.
type Clients string

// What is told of it.
const (
	ClientsFull   Clients = "full"   // address and port, or path
	ClientsMasked Clients = "masked" // the network: 24 bits of IPv4, 48 of IPv6; of others, the family
	ClientsNone   Clients = "none"   // nothing
)

// name is what the log calls a client; "": nothing.
func (c Clients) name(who proxy.Client) string {
	switch c {
	case ClientsFull:
		return who.Addr.String()
	case ClientsMasked:
		switch who.Addr.Family {
		case unix.AF_UNIX:
			return "unix"
		case unix.AF_VSOCK:
			return "vsock"
		}
		return network(who.Addr.IP.Addr()).String()
	}
	return ""
}

// hide takes a client's address out of a text, such as an error's. A loopback
// address stays: it is everybody's, and may be the backend's.
func (c Clients) hide(text string, who proxy.Client) string {
	if c == ClientsFull {
		return text
	}
	name := c.name(who)
	if name == "" {
		name = "the client"
	}
	switch {
	case who.Addr.IsIP() && !who.Addr.IP.Addr().IsLoopback():
		text = strings.ReplaceAll(text, who.Addr.IP.String(), name)
		return strings.ReplaceAll(text, who.Addr.IP.Addr().String(), name)
	case who.Addr.Path != "":
		return strings.ReplaceAll(text, who.Addr.Path, name)
	}
	return text
}

// network is what is left of an address when its host is hidden.
func network(ip netip.Addr) netip.Prefix {
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	p, _ := ip.Prefix(bits) // fails only for an invalid address, which has no host either
	return p
}
