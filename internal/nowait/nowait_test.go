package nowait

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSocket(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b := fds[0], fds[1]
	buf := make([]byte, 10)
	if n, err := Recv(a, buf); n != -1 || err != unix.EAGAIN {
		t.Errorf("nothing there: read %d, %v", n, err)
	}
	if got := Poll(a, unix.POLLIN); got != 0 {
		t.Errorf("nothing there: poll answers %x", got)
	}
	if n, err := Send(b, []byte("hello")); n != 5 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if got := Poll(a, unix.POLLIN); got != unix.POLLIN {
		t.Errorf("poll answers %x", got)
	}
	if n, err := Recv(a, buf); n != 5 || err != nil || string(buf[:5]) != "hello" {
		t.Errorf("read %q, %v", buf[:5], err)
	}
	if err := SetInt(a, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
		t.Error(err)
	}
	if on, err := unix.GetsockoptInt(a, unix.SOL_SOCKET, unix.SO_KEEPALIVE); on != 1 || err != nil {
		t.Errorf("the option is %d, %v", on, err)
	}
	if err := Shutdown(b, unix.SHUT_WR); err != nil {
		t.Error(err)
	}
	if n, err := Recv(a, buf); n != 0 || err != nil {
		t.Errorf("at the end: read %d, %v", n, err)
	}
	Close(b)
	if n, err := Send(a, buf); n != -1 || err != unix.EPIPE {
		t.Errorf("to nobody: wrote %d, %v", n, err)
	}
	Close(a)
	if got := TCPState(b); got != 0 {
		t.Errorf("a closed fd has the state %d of TCP", got)
	}
	for what, err := range map[string]error{
		"SetInt": SetInt(a, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1), "Shutdown": Shutdown(a, unix.SHUT_WR),
		"Disconnect": Disconnect(a),
		"EpollCtl":   EpollCtl(-1, unix.EPOLL_CTL_DEL, a, nil),
	} {
		if !errors.Is(err, unix.EBADF) {
			t.Errorf("%s of a closed fd: %v", what, err)
		}
	}
}
