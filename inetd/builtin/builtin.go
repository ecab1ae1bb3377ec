// Package builtin is the services that an inetd provides itself: echo (RFC 862),
// discard (863), chargen (864), daytime (867) and time (868). Each is for one
// connection, or for all the datagrams of a socket.
package builtin

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// service is one of them, in both of its forms.
type service struct {
	// stream serves one client until it leaves, which is what an error of the
	// connection means.
	stream func(client io.ReadWriter)
	// reply is the answer to a datagram, the n-th one; nil: none.
	reply func(datagram []byte, n int) []byte
}

var services = map[string]service{
	"echo": {
		stream: func(client io.ReadWriter) { _, _ = io.Copy(client, client) },
		reply:  func(datagram []byte, _ int) []byte { return datagram },
	},
	"discard": {
		stream: func(client io.ReadWriter) { _, _ = io.Copy(io.Discard, client) },
		reply:  func([]byte, int) []byte { return nil },
	},
	"chargen": {
		stream: func(client io.ReadWriter) {
			for n, err := 0, error(nil); err == nil; n++ {
				_, err = client.Write(pattern(n))
			}
		},
		reply: func(_ []byte, n int) []byte { return pattern(n) },
	},
	"daytime": once(func(now time.Time) []byte { return []byte(now.Format(time.ANSIC) + "\r\n") }),
	"time":    once(func(now time.Time) []byte { return binary.BigEndian.AppendUint32(nil, since1900(now)) }),
}

// once is a service that says the time, and no more.
func once(say func(time.Time) []byte) service {
	return service{
		stream: func(client io.ReadWriter) { _, _ = client.Write(say(time.Now())) },
		reply:  func([]byte, int) []byte { return say(time.Now()) },
	}
}

// since1900 is the seconds since 1900, RFC 868. They begin again at 0 in 2036.
func since1900(t time.Time) uint32 { return uint32(t.Unix() + 2_208_988_800) }

// pattern is the n-th line of chargen: 72 characters of those that can be
// printed, each line one further on.
func pattern(n int) []byte {
	const first, count = ' ', '~' - ' ' + 1
	line := make([]byte, 72, 74)
	for i := range line {
		line[i] = byte(first + (n+i)%count)
	}
	return append(line, "\r\n"...)
}

// Serve serves a client of a stream until it leaves. The error is for a name
// that is none of a service.
func Serve(name string, client io.ReadWriter) error {
	s, err := find(name)
	if err == nil {
		s.stream(client)
	}
	return err
}

// Packets is a socket for datagrams, such as a [net.UDPConn].
type Packets interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	SetReadDeadline(t time.Time) error
}

// datagramMax is the longest datagram, in bytes.
const datagramMax = 1 << 16

// reserved is the first port that a client may have. At those below are services.
const reserved = 1024

// mayLoop tells whether there may be a service at a sender's port that answers
// answers: two such never stop, and anybody can set them on each other, for
// nothing proves who has sent a datagram. At our own port is one of our kind, and
// it may be us.
func mayLoop(port, own uint16) bool { return port < reserved || port == own }

// ServePackets answers datagrams until none has come for the time idle. own is
// the port that the socket is bound to.
func ServePackets(name string, socket Packets, own uint16, idle time.Duration) error {
	s, err := find(name)
	if err != nil {
		return err
	}
	buffer := make([]byte, datagramMax)
	for n := 0; ; n++ {
		if err := socket.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return fmt.Errorf("cannot wait for datagrams: %w", err)
		}
		size, from, err := socket.ReadFromUDPAddrPort(buffer)
		if timeout, is := err.(interface{ Timeout() bool }); is && timeout.Timeout() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot receive a datagram: %w", err)
		}
		if reply := s.reply(buffer[:size], n); reply != nil && !mayLoop(from.Port(), own) {
			_, _ = socket.WriteToUDPAddrPort(reply, from) // as good as lost on the way
		}
	}
}

func find(name string) (service, error) {
	s, ok := services[name]
	if !ok {
		return service{}, fmt.Errorf("no service %.60q is built in; there are %s", name, strings.Join(slices.Sorted(maps.Keys(services)), ", "))
	}
	return s, nil
}
