package relay

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Who lasts, or has much to move, is not braked on this machine by what the system has
// chosen for its networks. A short session keeps that.
func TestNobodyIsBrakedOnThisMachine(t *testing.T) {
	chosen, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		r := newRelay(t, Options{Loops: 1})
		lasting, bulk := join(t, r, network, network), join(t, r, network, network)
		for _, j := range []joined{lasting, bulk} {
			j.message(t)
			j.mustHaveCongestionControl(t, strings.TrimSpace(string(chosen)))
		}
		for range settleAfter {
			lasting.message(t)
		}
		on(r.loops[0], func() { bulk.session.move() })
		for _, j := range []joined{lasting, bulk} {
			j.mustHaveCongestionControl(t, "reno")
		}
	}
}

func (j joined) mustHaveCongestionControl(t *testing.T, want string) {
	t.Helper()
	for side, fd := range j.session.fd {
		got, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil || strings.TrimRight(got, "\x00") != want {
			t.Errorf("side %d: %q %v, want %q", side, got, err, want)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"127.0.0.1", "127.0.0.1"}:       true,
		{"127.0.0.1", "127.0.0.2"}:       true,
		{"::1", "::1"}:                   true,
		{"192.0.2.1", "192.0.2.1"}:       true, // its own
		{"2001:db8::1", "2001:db8::1"}:   true,
		{"192.0.2.1", "192.0.2.2"}:       false,
		{"2001:db8::1", "2001:db8::2"}:   false,
		{"::ffff:192.0.2.1", "10.0.0.1"}: false,
	} {
		if got := isLocal(netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])); got != want {
			t.Errorf("from %s to %s: %v", pair[0], pair[1], got)
		}
	}
	mapped := ip(&unix.SockaddrInet6{Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()})
	if !isLocal(mapped, mapped) {
		t.Errorf("%v is not taken for loopback", mapped)
	}
	if none := ip(&unix.SockaddrUnix{}); isLocal(none, none) {
		t.Error("a UNIX socket has an IP address")
	}
}
