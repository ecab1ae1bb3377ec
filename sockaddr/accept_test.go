package sockaddr

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Accept answers what unix.Accept4 does, of each family.
func TestAccept(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		network, listen string
		local           string // that the client is bound to; "": the kernel chooses
	}{
		{"tcp4", "127.0.0.1:0", ""},
		{"tcp6", "[::1]:0", ""},
		{"tcp", "[::]:0", ""},
		{"unix", filepath.Join(dir, "s"), ""},
		{"unix", filepath.Join(dir, "s2"), filepath.Join(dir, "client")},
		{"unix", filepath.Join(dir, "s3"), "@tiproxy-test-client"},
	} {
		t.Run(tt.network+tt.local, func(t *testing.T) {
			l, err := net.Listen(tt.network, tt.listen)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			fd := rawFD(t, l)
			if got, addr, err := Accept(fd); err != unix.EAGAIN {
				t.Fatalf("with nobody there: %d, %v, %v", got, addr, err)
			}
			client := dialFrom(t, l.Addr(), tt.local)
			got, addr, err := Accept(fd)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(got)
			want := client.LocalAddr().String()
			if tt.network == "unix" && tt.local == "" {
				want = "unix"
			}
			if addr.String() != want {
				t.Errorf("got %v, want %s", addr, want)
			}
			flags, _ := unix.FcntlInt(uintptr(got), unix.F_GETFL, 0)
			fdFlags, _ := unix.FcntlInt(uintptr(got), unix.F_GETFD, 0)
			if flags&unix.O_NONBLOCK == 0 || fdFlags&unix.FD_CLOEXEC == 0 {
				t.Errorf("flags %#x, %#x", flags, fdFlags)
			}
		})
	}
}

func rawFD(t *testing.T, l net.Listener) (fd int) {
	t.Helper()
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(n uintptr) { fd = int(n) }); err != nil {
		t.Fatal(err)
	}
	return fd
}

func dialFrom(t *testing.T, to net.Addr, local string) net.Conn {
	t.Helper()
	d := net.Dialer{}
	if local != "" {
		d.LocalAddr = &net.UnixAddr{Name: local, Net: "unix"}
	}
	c, err := d.Dial(to.Network(), strings.Replace(to.String(), "[::]", "127.0.0.1", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
