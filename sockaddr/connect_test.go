package sockaddr

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen answers a listener with a short backlog, and where it is.
func listen(t *testing.T, a Addr) (fd int, at Addr) {
	t.Helper()
	fd, err := unix.Socket(a.Family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, a.Sockaddr()), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, From(sa)
}

func TestConnect(t *testing.T) {
	for _, a := range []Addr{tcp("127.0.0.1:0"), Unix(t.TempDir() + "/s"), Unix("@tiproxy/test/" + rand.Text())} {
		listener, at := listen(t, a)
		fd, err := Connect(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("%v: flags %#x, %v", at, flags, err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%v: it would be open in children", at)
		}
		peer, _, err := unix.Accept(listener)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(peer)
		if _, err := unix.Write(peer, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); err != nil {
			t.Fatal(err)
		}
		var b [2]byte
		if n, err := unix.Read(fd, b[:]); n != 1 || err != nil {
			t.Errorf("%v: %d bytes, %v", at, n, err)
		}
	}
}

func TestConnectFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := TCP(netip.MustParseAddrPort(l.Addr().String()))
	l.Close()
	for _, tt := range []struct {
		to   Addr
		want error
	}{
		{dead, unix.ECONNREFUSED},
		{Unix(t.TempDir() + "/missing"), unix.ENOENT},
		{Unix("@tiproxy/test/" + rand.Text()), unix.ECONNREFUSED},
		{Addr{}, unix.EAFNOSUPPORT},
	} {
		if fd, err := Connect(t.Context(), tt.to); !errors.Is(err, tt.want) || fd != -1 {
			t.Errorf("%v: fd %d, error %v; want %v", tt.to, fd, err, tt.want)
		}
	}
}

func TestFullBacklogOfUnix(t *testing.T) {
	_, at := listen(t, Unix("@tiproxy/test/"+rand.Text()))
	var err error
	for range 10 {
		var fd int
		if fd, err = Connect(t.Context(), at); err != nil {
			break
		}
		defer unix.Close(fd)
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%v, want EAGAIN", err)
	}
}

// fill has more clients wait at a TCP listener than its backlog takes: the
// kernel leaves further ones without an answer.
func fill(t *testing.T, at Addr) {
	t.Helper()
	for range 3 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Connect(fd, at.Sockaddr()); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
	}
}

// The second attempt of the kernel, after a second, finds room.
func TestAnswerThatComesLate(t *testing.T) {
	listener, at := listen(t, tcp("127.0.0.1:0"))
	fill(t, at)
	before := openFiles(t)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			fd, _, err := unix.Accept(listener)
			if err != nil {
				return
			}
			unix.Close(fd)
		}
	})
	fd, err := Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Shutdown(listener, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	accepting.Wait()
	if after := openFiles(t); after > before+1 {
		t.Errorf("%d files open, %d before", after, before)
	}
}

func TestContextEndsWithoutAnAnswer(t *testing.T) {
	_, at := listen(t, tcp("127.0.0.1:0"))
	fill(t, at)
	before := openFiles(t)
	late := errors.New("too late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
	defer cancel()
	if fd, err := Connect(ctx, at); !errors.Is(err, late) || fd != -1 {
		t.Errorf("fd %d, error %v", fd, err)
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestSelfConnect(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, tcp("127.0.0.1:0").Sockaddr()); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if isSelf(fd) {
		t.Error("not connected, and taken for connected to itself")
	}
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	if !isSelf(fd) {
		t.Errorf("%v is connected to itself, and that is not seen", From(sa))
	}
	_, at := listen(t, tcp("127.0.0.1:0"))
	other, err := Connect(t.Context(), at)
	if err != nil {
		t.Fatal(fmt.Errorf("an honest connection: %w", err))
	}
	defer unix.Close(other)
	if isSelf(other) {
		t.Error("an honest connection is taken for one to itself")
	}
}
