package sockdiag

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// mustCount demands a number of connections.
func mustCount(t *testing.T, what string, bound sockaddr.Addr, want int) {
	t.Helper()
	if got, err := Connections(bound, false); got != want || err != nil {
		t.Errorf("%s: %d connections, %v; want %d", what, got, err, want)
	}
}

func TestConnections(t *testing.T) {
	for _, at := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:0"}, {"tcp4", "0.0.0.0:0"}, {"tcp", "[::]:0"},
		{"unix", t.TempDir() + "/s"}, {"unix", "@tiproxy/test/connections"},
	} {
		t.Run(at.network+" "+at.address, func(t *testing.T) {
			l, err := net.Listen(at.network, at.address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			bound := sockaddr.Unix(at.address)
			if at.network != "unix" {
				bound = sockaddr.TCP(netip.MustParseAddrPort(l.Addr().String()))
			}
			mustCount(t, "nobody has come", bound, 0)
			network, to := at.network, l.Addr().String()
			if network != "unix" {
				network = "tcp4"
				_, port, _ := net.SplitHostPort(to)
				to = "127.0.0.1:" + port
			}
			client, err := net.Dial(network, to)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if network != "unix" {
				mustCount(t, "in the backlog", bound, 1)
			}
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			mustCount(t, "accepted", bound, 1)
			type half interface{ CloseWrite() error }
			client.(half).CloseWrite()
			io.ReadAll(server)
			mustCount(t, "half-closed by the client", bound, 1)
			server.Close()
			io.ReadAll(client)
			mustCount(t, "closed by the server", bound, 0)
		})
	}
}

// dialed is a listener, and a connection that stands in its backlog.
func dialed(t *testing.T, address string) (net.Listener, net.Conn) {
	t.Helper()
	l := listen(t, net.ListenConfig{}, "tcp4", address)
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return l, client
}

// The server has said all, and still hears.
func TestConnectionHalfClosedByItsServer(t *testing.T) {
	l, client := dialed(t, "127.0.0.1:0")
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	bound := sockaddr.TCP(netip.MustParseAddrPort(l.Addr().String()))
	server.(*net.TCPConn).CloseWrite()
	io.ReadAll(client)
	mustCount(t, "half-closed", bound, 1)
	server.Close() // the client has not closed: an orphan in FIN_WAIT2 is left
	mustCount(t, "closed", bound, 0)
}

func TestConnectionsOfAnotherAddressAreNotCounted(t *testing.T) {
	l, _ := dialed(t, "127.0.0.2:0")
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	mustCount(t, "another address", sockaddr.TCP(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)), 0)
	mustCount(t, "its own", sockaddr.TCP(netip.MustParseAddrPort(l.Addr().String())), 1)
}

func TestConnectionsThatCannotBeSeen(t *testing.T) {
	for _, a := range []sockaddr.Addr{{}, {Family: unix.AF_VSOCK, Port: 1}, sockaddr.Unix("")} {
		if _, err := Connections(a, false); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestParseConnection(t *testing.T) {
	for name, body := range map[string][]byte{
		"empty":            nil,
		"cut":              tcpAnswer(9)[:tcpAnswerSize-1],
		"of another world": append([]byte{unix.AF_UNIX}, tcpAnswer(9)[1:]...),
	} {
		if _, _, err := parseConnection(body); err != errMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}
