package sockdiag

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// inodeOf is the truth that Listeners is held against.
func inodeOf(t *testing.T, socket syscall.Conn) uint64 {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if ctlErr := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
	return st.Ino
}

func listen(t *testing.T, lc net.ListenConfig, network, address string) net.Listener {
	t.Helper()
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func portOf(l net.Listener) uint16 { return l.Addr().(*net.TCPAddr).AddrPort().Port() }

func tcp(ip string, port uint16) sockaddr.Addr {
	return sockaddr.TCP(netip.AddrPortFrom(netip.MustParseAddr(ip), port))
}

// inodesAt asks Listeners and answers the inodes found, sorted.
func inodesAt(t *testing.T, addr sockaddr.Addr) []uint64 {
	t.Helper()
	found, err := Listeners(addr)
	if err != nil {
		t.Fatal(err)
	}
	var inodes []uint64
	for _, l := range found {
		inodes = append(inodes, l.Inode)
	}
	slices.Sort(inodes)
	return inodes
}

func TestTCP(t *testing.T) {
	for _, c := range []struct {
		network, bound string
		asked          string
		found          bool
		addr           string // of the Listener found
		v6only         bool
	}{
		{network: "tcp4", bound: "127.0.0.1", asked: "127.0.0.1", found: true, addr: "127.0.0.1"},
		{network: "tcp4", bound: "127.0.0.1", asked: "127.0.0.2"},
		{network: "tcp4", bound: "127.0.0.1", asked: "::1"},
		{network: "tcp4", bound: "127.0.0.1", asked: "0.0.0.0", found: true, addr: "127.0.0.1"},
		{network: "tcp4", bound: "0.0.0.0", asked: "127.0.0.1", found: true, addr: "0.0.0.0"},
		{network: "tcp4", bound: "0.0.0.0", asked: "::1"},
		{network: "tcp6", bound: "[::1]", asked: "::1", found: true, addr: "::1", v6only: true},
		{network: "tcp6", bound: "[::1]", asked: "::", found: true, addr: "::1", v6only: true},
		{network: "tcp6", bound: "[::1]", asked: "127.0.0.1"},
		{network: "tcp", bound: "[::]", asked: "127.0.0.1", found: true, addr: "::"},
		{network: "tcp", bound: "[::]", asked: "::1", found: true, addr: "::"},
		{network: "tcp6", bound: "[::]", asked: "::1", found: true, addr: "::", v6only: true},
		{network: "tcp6", bound: "[::]", asked: "127.0.0.1", v6only: true},
	} {
		t.Run(c.network+" "+c.bound+" asked "+c.asked, func(t *testing.T) {
			l := listen(t, net.ListenConfig{}, c.network, c.bound+":0")
			found, err := Listeners(tcp(c.asked, portOf(l)))
			if err != nil {
				t.Fatal(err)
			}
			var want []Listener
			if c.found {
				want = []Listener{{
					Addr:   tcp(c.addr, portOf(l)),
					V6Only: c.v6only,
					Inode:  inodeOf(t, l.(*net.TCPListener)),
					UID:    uint32(os.Geteuid()),
				}}
			}
			if !slices.Equal(found, want) {
				t.Errorf("found %+v, want %+v", found, want)
			}
		})
	}
}

// A Go backend listens with MPTCP unless told otherwise; the kernel then shows a
// TCP socket underneath.
func TestMultipathListenerIsSeen(t *testing.T) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	l := listen(t, lc, "tcp", "127.0.0.1:0")
	got := inodesAt(t, tcp("127.0.0.1", portOf(l)))
	if want := []uint64{inodeOf(t, l.(*net.TCPListener))}; !slices.Equal(got, want) {
		t.Errorf("inodes %v, want %v", got, want)
	}
}

func TestReusePortTwinsAreBothSeen(t *testing.T) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		ctlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(ctlErr, err)
	}}
	one := listen(t, lc, "tcp4", "127.0.0.1:0")
	two := listen(t, lc, "tcp4", one.Addr().String())
	want := []uint64{inodeOf(t, one.(*net.TCPListener)), inodeOf(t, two.(*net.TCPListener))}
	slices.Sort(want)
	if got := inodesAt(t, tcp("127.0.0.1", portOf(one))); !slices.Equal(got, want) {
		t.Errorf("inodes %v, want %v", got, want)
	}
}

// Connections from and to the port are not listeners, nor is a bound socket
// before listen(2).
func TestOnlyListeningSocketsAreSeen(t *testing.T) {
	l, _ := dialed(t, "127.0.0.1:0")
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got := inodesAt(t, tcp("127.0.0.1", portOf(l))); len(got) != 1 {
		t.Errorf("%d listeners seen beside a connection, want 1", len(got))
	}

	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if got := inodesAt(t, sockaddr.From(bound)); got != nil {
		t.Errorf("a bound socket was taken for a listener: %v", got)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	if got := inodesAt(t, sockaddr.From(bound)); len(got) != 1 {
		t.Errorf("%d listeners seen after listen, want 1", len(got))
	}
}

func TestUnixPath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	listen(t, net.ListenConfig{}, "unix", "other")
	for _, bound := range []string{filepath.Join(dir, "a"), "b", "./c", "link/d"} {
		l := listen(t, net.ListenConfig{}, "unix", bound)
		want := []Listener{{Addr: sockaddr.Unix(bound), Inode: inodeOf(t, l.(*net.UnixListener)), UID: uint32(os.Geteuid())}}
		base := filepath.Base(bound)
		for _, asked := range []string{filepath.Join(dir, base), "./" + base, filepath.Join(dir, "link", base)} {
			got, err := Listeners(sockaddr.Unix(asked))
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("bound at %s, asked for %s: %+v, %v; want %+v", bound, asked, got, err, want)
			}
		}
	}
}

// A backend that died left its file, or one that lives had its file taken away:
// nobody can connect to either.
func TestUnixFileWithoutListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if got := inodesAt(t, sockaddr.Unix(path)); got != nil {
		t.Errorf("a listener where there is no file: %v", got)
	}
	old := listen(t, net.ListenConfig{}, "unix", path).(*net.UnixListener)
	old.SetUnlinkOnClose(false)
	if got := inodesAt(t, sockaddr.Unix(path+"/below")); got != nil {
		t.Errorf("a listener below what is no directory: %v", got)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if got := inodesAt(t, sockaddr.Unix(path)); got != nil {
		t.Errorf("a listener where the file was moved away: %v", got)
	}
	if got := inodesAt(t, sockaddr.Unix(path+".moved")); len(got) != 1 {
		t.Errorf("%d listeners where the file was moved to, want 1", len(got))
	}
	l := listen(t, net.ListenConfig{}, "unix", path)
	if got, want := inodesAt(t, sockaddr.Unix(path)), []uint64{inodeOf(t, l.(*net.UnixListener))}; !slices.Equal(got, want) {
		t.Errorf("after the file was replaced: %v, want %v", got, want)
	}
	old.Close()
	if got := inodesAt(t, sockaddr.Unix(path+".moved")); got != nil {
		t.Errorf("a listener at a stale file: %v", got)
	}
}

func TestUnixAbstract(t *testing.T) {
	name := "@tiproxy-" + filepath.Base(t.TempDir()) + "-" + t.Name()
	l := listen(t, net.ListenConfig{}, "unix", name)
	got, err := Listeners(sockaddr.Unix(name))
	want := []Listener{{Addr: sockaddr.Unix(name), Inode: inodeOf(t, l.(*net.UnixListener)), UID: uint32(os.Geteuid())}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if got := inodesAt(t, sockaddr.Unix(name+"x")); got != nil {
		t.Errorf("another name was taken for ours: %v", got)
	}
	if got := inodesAt(t, sockaddr.Unix("")); got != nil {
		t.Errorf("a listener without a name: %v", got)
	}
}

func TestUnixSeqpacketIsNoStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listen(t, net.ListenConfig{}, "unixpacket", path)
	if got := inodesAt(t, sockaddr.Unix(path)); got != nil {
		t.Errorf("a SOCK_SEQPACKET listener was taken for a stream: %v", got)
	}
}

func TestUnsupported(t *testing.T) {
	for _, addr := range []sockaddr.Addr{{}, {Family: unix.AF_VSOCK, CID: 1, Port: 2}} {
		if _, err := Listeners(addr); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{unix.EAFNOSUPPORT, "AF_NETLINK"},
		{unix.EPROTONOSUPPORT, "unix_diag"},
		{unix.ENOENT, "unix_diag"},
		{unix.EPERM, unix.EPERM.Error()},
	} {
		if got := advise(c.err); !errors.Is(got, c.err) || !strings.Contains(got.Error(), c.want) {
			t.Errorf("%v: %v, want %q in it", c.err, got, c.want)
		}
	}
}

func BenchmarkListenersTCP(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	benchmark(b, tcp("127.0.0.1", portOf(l)), 1)
}

func BenchmarkListenersTCPNone(b *testing.B) { benchmark(b, tcp("127.0.0.1", 1), 0) }

func BenchmarkListenersUnix(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	benchmark(b, sockaddr.Unix(path), 1)
}

func benchmark(b *testing.B, addr sockaddr.Addr, want int) {
	b.ReportAllocs()
	for b.Loop() {
		if found, err := Listeners(addr); err != nil || len(found) != want {
			b.Fatal(found, err)
		}
	}
}
