package sockaddr

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// served connects to a listener, with a spare if there is one, and answers the
// server's end, too.
func served(t *testing.T, s *Spares, l net.Listener) (fd int, peer *net.TCPConn) {
	t.Helper()
	kept := s.Len()
	fd, connected, again, err := s.Begin(TCP(netip.MustParseAddrPort(l.Addr().String())))
	if err != nil || !connected || again != (kept > s.Len()) {
		t.Fatalf("connected: %v, with one of %d spares: %v, %v", connected, kept, again, err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return fd, c.(*net.TCPConn)
}

// end ends a connection, the server's side last, after a word each way.
func end(t *testing.T, fd int, peer *net.TCPConn) {
	t.Helper()
	word := make([]byte, 5)
	if _, err := unix.Write(fd, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, word); err != nil || string(word) != "hello" {
		t.Fatalf("the server got %q, %v", word, err)
	}
	if _, err := peer.Write([]byte("world")); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(fd, word); err != nil || string(word[:n]) != "world" {
		t.Fatalf("got %q, %v", word[:n], err)
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if n, err := peer.Read(word); err != io.EOF {
		t.Fatalf("the server got %d bytes, %v, want the end", n, err)
	}
	peer.Close()
	if n, err := unix.Read(fd, word); n != 0 || err != nil {
		t.Fatalf("got %d bytes, %v, want the end", n, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
}

func TestSpareIsConnectedAnew(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addr := TCP(netip.MustParseAddrPort(l.Addr().String()))
		var s Spares
		fd, peer := served(t, &s, l)
		for range 100 {
			end(t, fd, peer)
			if !s.Keep(fd, addr) {
				t.Fatalf("%s: it is not kept", at)
			}
			first := fd
			if fd, peer = served(t, &s, l); fd != first {
				t.Fatalf("%s: socket %d instead of %d", at, fd, first)
			}
			if on, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); on == 0 || err != nil {
				t.Fatalf("%s: TCP_NODELAY is %d, %v", at, on, err)
			}
		}
		end(t, fd, peer)
		unix.Close(fd)
	}
}

// What is not over yet would be cut off, and its last bytes with it.
func TestWhatIsNotOverIsNoSpare(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := TCP(netip.MustParseAddrPort(l.Addr().String()))
	var s Spares
	for name, act := range map[string]func(fd int, peer *net.TCPConn){
		"open":                        func(int, *net.TCPConn) {},
		"its own side has ended":      func(fd int, _ *net.TCPConn) { _ = unix.Shutdown(fd, unix.SHUT_WR) },
		"the server's side has ended": func(fd int, peer *net.TCPConn) { _ = peer.CloseWrite(); await(t, fd, unix.POLLRDHUP) },
	} {
		fd, peer := served(t, &s, l)
		act(fd, peer)
		if s.Keep(fd, addr) {
			t.Errorf("%s: it is kept", name)
		} else if err := unix.Close(fd); err != nil { // it is still ours
			t.Errorf("%s: %v", name, err)
		}
		peer.Close()
	}
	fd, peer := served(t, &s, l)
	end(t, fd, peer)
	defer unix.Close(fd)
	for _, other := range []Addr{TCP(netip.MustParseAddrPort("192.0.2.1:80")), Unix("/run/x")} {
		if s.Keep(fd, other) {
			t.Errorf("one to %v is kept", other)
		}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if s.Keep(pair[0], addr) {
		t.Error("one of another kind is kept")
	}
}

func await(t *testing.T, fd int, events int16) {
	t.Helper()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 10_000); n != 1 || err != nil {
		t.Fatalf("poll: %d, %v", n, err)
	}
}

// There are not many, and all of one kind.
func TestSparesAreFew(t *testing.T) {
	before := openFiles(t)
	var s, none Spares
	over := func(at string) (fd int, addr Addr) {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		fd, peer := served(t, &none, l)
		end(t, fd, peer)
		return fd, TCP(netip.MustParseAddrPort(l.Addr().String()))
	}
	for i := range sparesMost + 1 {
		fd, addr := over("127.0.0.1:0")
		kept := s.Keep(fd, addr)
		if kept != (i < sparesMost) {
			t.Errorf("number %d is kept: %v", i+1, kept)
		}
		if !kept {
			unix.Close(fd)
		}
	}
	if fd, addr := over("[::1]:0"); !s.Keep(fd, addr) {
		t.Error("one of another kind is not kept")
	}
	if n := s.Close(); n != 1 {
		t.Errorf("%d of two kinds were kept, want those of the last kind alone", n)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, %d were", after, before)
	}
}
