package activation

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// acceptPatience is for a connection that is on its way, in milliseconds.
const acceptPatience = 10_000

// listenAt listens at what an administrator wrote.
func listenAt(t *testing.T, text string) ([]Listener, error) {
	t.Helper()
	name, err := sockaddr.Parse(text)
	must(t, err)
	return Listen(context.Background(), name)
}

// mustListenAt is listenAt for one address that has to be free.
func mustListenAt(t *testing.T, text string) *Listener {
	t.Helper()
	all, err := listenAt(t, text)
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("got %d listeners at %s, want 1", len(all), text)
	}
	return &all[0]
}

// reach connects to addr and answers the accepted socket.
func reach(t *testing.T, l *Listener, network, addr string) int {
	t.Helper()
	conn, err := net.Dial(network, addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(l.FD), Events: unix.POLLIN}}, acceptPatience); n != 1 {
		t.Fatalf("nobody came: %v", err)
	}
	fd, _, err := unix.Accept4(l.FD, unix.SOCK_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ text, network, host string }{
		{"0", "tcp4", "127.0.0.1"},
		{"127.0.0.1:0", "tcp4", "127.0.0.1"},
		{":0", "tcp4", "127.0.0.1"}, // every address, of both families
		{dir + "/s", "unix", ""},
		{"@" + dir, "unix", ""},
	} {
		t.Run(strings.ReplaceAll(tt.text, dir, "DIR"), func(t *testing.T) {
			l := mustListenAt(t, tt.text)
			defer l.Close()
			if l.Inherited || l.Name != "" || l.V6Only {
				t.Errorf("got %+v, want a nameless listener of our own", l)
			}
			flags, err := unix.FcntlInt(uintptr(l.FD), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Error("it blocks")
			}
			if flags, err := unix.FcntlInt(uintptr(l.FD), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Error("it goes through exec")
			}
			if tt.network == "unix" {
				reach(t, l, "unix", l.Addr.Path)
				return
			}
			_, port, err := net.SplitHostPort(l.Addr.String())
			must(t, err)
			fd := reach(t, l, tt.network, net.JoinHostPort(tt.host, port))
			if on, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on == 0 {
				t.Error("an accepted connection waits for acknowledgements")
			}
		})
	}
}

func TestListenAtLocalhost(t *testing.T) {
	all, err := listenAt(t, "localhost:0")
	must(t, err)
	for i := range all {
		defer all[i].Close()
		if !all[i].Addr.IP.Addr().IsLoopback() {
			t.Errorf("listens at %v", all[i].Addr)
		}
	}
	if len(all) == 0 {
		t.Error("listens nowhere")
	}
}

// 192.0.2.1 is of a network for documentation (RFC 5737): no machine has it.
func TestListenOnlyAtAddressesOfThisMachine(t *testing.T) {
	mine := sockaddr.TCP(netip.MustParseAddrPort("127.0.0.1:0"))
	foreign := sockaddr.TCP(netip.MustParseAddrPort("192.0.2.1:4000"))
	all, err := listenAll([]sockaddr.Addr{foreign, mine})
	must(t, err)
	if len(all) != 1 || all[0].Addr.IP.Addr() != mine.IP.Addr() {
		t.Errorf("got %+v, want one at %v", all, mine.IP.Addr())
	}
	for i := range all {
		all[i].Close()
	}
	_, err = listenAll([]sockaddr.Addr{foreign})
	if err == nil || !errors.Is(err, unix.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "cannot listen at 192.0.2.1:4000") {
		t.Errorf("got %v, want an error that names the address", err)
	}
}

func TestListenNamesTheAddressInUse(t *testing.T) {
	l := mustListenAt(t, "0")
	defer l.Close()
	free := mustListenAt(t, "0")
	must(t, free.Close())
	// The first address is free, and must be given back when the second is not.
	_, err := listenAll([]sockaddr.Addr{free.Addr, l.Addr})
	if want := "cannot listen at " + l.Addr.String() + ": address already in use"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
	again := mustListenAt(t, free.Addr.String())
	again.Close()
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := mustListenAt(t, path)
	must(t, unix.Close(l.FD)) // as a crash does
	l = mustListenAt(t, path)
	reach(t, l, "unix", path)
	must(t, l.Close())
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestListenLeavesALiveSocketAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := mustListenAt(t, path)
	defer l.Close()
	_, err := listenAt(t, path)
	if want := "cannot listen at " + path + ": address already in use"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
	reach(t, l, "unix", path)
}

// A listener that is too busy to take one more connection is alive.
func TestListenLeavesABusySocketAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := mustListenAt(t, path)
	defer l.Close()
	must(t, unix.Listen(l.FD, 0)) // the least backlog
	for {
		fd, err := sockaddr.Connect(context.Background(), sockaddr.Unix(path))
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		must(t, err)
		defer unix.Close(fd)
	}
	if _, err := listenAt(t, path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want %v", err, unix.EADDRINUSE)
	}
}

func TestListenNeverDeletesARegularFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	must(t, os.WriteFile(path, []byte("precious"), 0o600))
	if _, err := listenAt(t, path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want %v", err, unix.EADDRINUSE)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

func TestCloseRemovesOnlyOurOwnFile(t *testing.T) {
	for _, tt := range []struct {
		name    string
		replace func(t *testing.T, path string)
	}{
		{"a regular file in its place", func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) }},
		{"another's socket in its place", func(t *testing.T, path string) {
			other := mustListenAt(t, path)
			t.Cleanup(func() { other.Close() })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l := mustListenAt(t, path)
			must(t, os.Remove(path))
			tt.replace(t, path)
			must(t, l.Close())
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("it is gone: %v", err)
			}
		})
	}
}

// systemd has the same socket open: what we close must go on taking clients.
func TestCloseOfAnInheritedListenerLeavesItOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	systemd, _ := socket(t, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: path})
	fd, err := unix.FcntlInt(systemd.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	l, err := inherit(os.NewFile(uintptr(fd), "s"), firstFD)
	must(t, err)
	must(t, l.Close())
	conn, err := net.Dial("unix", path)
	must(t, err)
	conn.Close()
}
