package sockaddr

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func tcp(s string) Addr { return TCP(netip.MustParseAddrPort(s)) }

func vsock(cid, port uint32) Addr { return Addr{Family: unix.AF_VSOCK, CID: cid, Port: port} }

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		addr Addr   // zero: there is a host to resolve
		want string // "": as text
	}{
		{"127.0.0.1:4000", tcp("127.0.0.1:4000"), ""},
		{"4000", tcp("127.0.0.1:4000"), "127.0.0.1:4000"},
		{"0", tcp("127.0.0.1:0"), "127.0.0.1:0"},
		{"0080", tcp("127.0.0.1:80"), "127.0.0.1:80"},
		{":4000", tcp("[::]:4000"), "[::]:4000"},
		{"*:4000", tcp("[::]:4000"), "[::]:4000"},
		{"0.0.0.0:65535", tcp("0.0.0.0:65535"), ""},
		{"[::1]:4000", tcp("[::1]:4000"), ""},
		{"[fe80::1%eth0]:4000", tcp("[fe80::1%eth0]:4000"), ""},
		{"[::ffff:10.0.0.1]:4000", tcp("10.0.0.1:4000"), "10.0.0.1:4000"},
		{"localhost:4000", Addr{}, ""},
		{"db.example.org:5432", Addr{}, ""},
		{"/run/db.sock", Unix("/run/db.sock"), ""},
		{"/a:b", Unix("/a:b"), ""},
		{"./db.sock", Unix("./db.sock"), ""},
		{"@db", Unix("@db"), ""},
		{"/" + strings.Repeat("x", 106), Unix("/" + strings.Repeat("x", 106)), ""},
		{"vsock:2:4000", vsock(2, 4000), ""},
		{"vsock::4000", vsock(unix.VMADDR_CID_ANY, 4000), ""},
		{"vsock:4294967295:4000", vsock(unix.VMADDR_CID_ANY, 4000), "vsock::4000"},
	} {
		n, err := Parse(tt.text)
		if err != nil || n.Addr() != tt.addr {
			t.Errorf("%q: %+v, error %v", tt.text, n.Addr(), err)
			continue
		}
		if want := cmp.Or(tt.want, tt.text); n.String() != want {
			t.Errorf("%q: String is %q, want %q", tt.text, n, want)
		}
		if n.IsZero() {
			t.Errorf("%q: zero", tt.text)
		}
	}
}

func TestParseBad(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "empty address"},
		{"localhost", "want host:port"},
		{"127.0.0.1", "want host:port"},
		{"::1", "want host:port"},
		{"::1:4000", "want host:port"},
		{"70000", "from 0 to 65535"},
		{"-1", "want host:port"},
		{"localhost:", `port ""`},
		{"localhost:http", `port "http"`},
		{"localhost:65536", "from 0 to 65535"},
		{"localhost:+1", `port "+1"`},
		{"a b:80", "no host"},
		{"[a:b]:80", "no host"},
		{"[::1%]:80", "no host"},
		{"user@host:80", "no host"},
		{"http://host:80", "want host:port"},
		{"/a\x00b", "zero byte"},
		{"/" + strings.Repeat("x", 107), "path of 108 bytes"},
		{"vsock:4000", "vsock:CID:PORT"},
		{"vsock:x:4000", `CID "x"`},
		{"vsock:2:x", `port "x"`},
		{"vsock:2:4294967296", "port"},
	} {
		if n, err := Parse(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %+v, error %v; want %q", tt.text, n, err, tt.want)
		}
	}
}

func TestFromAndBack(t *testing.T) {
	for _, tt := range []struct {
		sa   unix.Sockaddr
		want Addr
	}{
		{&unix.SockaddrInet4{Addr: [4]byte{10, 0, 0, 1}, Port: 80}, tcp("10.0.0.1:80")},
		{&unix.SockaddrInet6{Addr: netip.MustParseAddr("::1").As16(), Port: 80}, tcp("[::1]:80")},
		{&unix.SockaddrInet6{Addr: netip.MustParseAddr("fe80::1").As16(), Port: 80, ZoneId: 7}, tcp("[fe80::1%7]:80")},
		{&unix.SockaddrInet6{Addr: netip.MustParseAddr("::ffff:10.0.0.1").As16(), Port: 80, ZoneId: 7}, tcp("10.0.0.1:80")},
		{&unix.SockaddrUnix{Name: "@db"}, Unix("@db")},
		{&unix.SockaddrUnix{}, Unix("")},
		{&unix.SockaddrVM{CID: 2, Port: 80}, vsock(2, 80)},
		{&unix.SockaddrNetlink{}, Addr{}},
		{nil, Addr{}},
	} {
		got := From(tt.sa)
		if got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.sa, got, tt.want)
		}
		if back := From(got.Sockaddr()); back != got {
			t.Errorf("%+v becomes %+v", got, back)
		}
	}
}

func TestZoneByName(t *testing.T) {
	sa := tcp("[fe80::1%lo]:80").Sockaddr().(*unix.SockaddrInet6)
	if sa.ZoneId == 0 {
		t.Error("lo has no number")
	}
	if n := zoneID("no-such-interface"); n != 0 {
		t.Errorf("an interface that is not there has number %d", n)
	}
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		listener, to Addr
		v6only, want bool
	}{
		{tcp("10.0.0.1:80"), tcp("10.0.0.1:80"), false, true},
		{tcp("10.0.0.1:80"), tcp("10.0.0.1:81"), false, false},
		{tcp("10.0.0.1:80"), tcp("10.0.0.2:80"), false, false},
		{tcp("0.0.0.0:80"), tcp("10.0.0.1:80"), false, true},
		{tcp("0.0.0.0:80"), tcp("10.0.0.1:81"), false, false},
		{tcp("0.0.0.0:80"), tcp("[::1]:80"), false, false},
		{tcp("[::]:80"), tcp("[::1]:80"), true, true},
		{tcp("[::]:80"), tcp("10.0.0.1:80"), false, true},
		{tcp("[::]:80"), tcp("10.0.0.1:80"), true, false},
		{tcp("[fe80::1%2]:80"), tcp("[fe80::1%eth0]:80"), false, true},
		{Unix("/a"), Unix("/a"), false, true},
		{Unix("/a"), Unix("@a"), false, false},
		{vsock(2, 80), vsock(2, 80), false, true},
		{vsock(2, 80), vsock(3, 80), false, false},
		{Unix("/a"), tcp("10.0.0.1:80"), false, false},
	} {
		if got := tt.listener.Covers(tt.to, tt.v6only); got != tt.want {
			t.Errorf("%v covers %v (v6only %v): %v", tt.listener, tt.to, tt.v6only, got)
		}
	}
}

func TestStringOfWhatCannotBeWritten(t *testing.T) {
	for want, a := range map[string]Addr{"unknown": {}, "unix": Unix("")} {
		if got := a.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestResolve(t *testing.T) {
	n, err := Parse("localhost:4000")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := n.Resolve(t.Context())
	if err != nil || !slices.Contains(addrs, tcp("127.0.0.1:4000")) {
		t.Errorf("%v, error %v", addrs, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err = Parse("no-such-host.invalid:4000")
	if err != nil {
		t.Fatal(err)
	}
	if addrs, err := n.Resolve(ctx); err == nil || !strings.HasPrefix(err.Error(), `cannot resolve "no-such-host.invalid": `) {
		t.Errorf("%v, error %v", addrs, err)
	}
	n, _ = Parse("4000")
	if addrs, err := n.Resolve(ctx); err != nil || !slices.Equal(addrs, []Addr{tcp("127.0.0.1:4000")}) {
		t.Errorf("%v, error %v", addrs, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"4000", "localhost:80", "[fe80::1%eth0]:80", "[::ffff:1.2.3.4]:5", "/run/x", "@x", "vsock:2:3", "vsock::3", "*:1", "[]:1", "[a:b]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err != nil {
			if n != (Name{}) {
				t.Fatalf("%q: %+v beside %v", text, n, err)
			}
			return
		}
		again, err := Parse(n.String())
		if err != nil || again != n {
			t.Fatalf("%q is written %q, and that reads %+v, %v", text, n, again, err)
		}
		if a := n.Addr(); a.Family == 0 && n.host == "" {
			t.Fatalf("%q is nothing", text)
		}
	})
}
