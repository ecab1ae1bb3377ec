package sockdiag

import (
	"errors"
	"net"
	"testing"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

func TestAccepted(t *testing.T) {
	for _, at := range []struct{ network, listen, dial string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"}, {"tcp6", "[::1]:0", "::1"},
		{"tcp", "[::]:0", "127.0.0.1"}, // IPv4 at an IPv6 socket
		{"unix", t.TempDir() + "/s", ""}, {"unix", "@tiproxy/test/accepted", ""},
	} {
		t.Run(at.network+" "+at.listen, func(t *testing.T) {
			l, err := net.Listen(at.network, at.listen)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			to := at.listen
			if at.dial != "" {
				_, port, _ := net.SplitHostPort(l.Addr().String())
				to = net.JoinHostPort(at.dial, port)
			}
			name, err := sockaddr.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			fd, err := sockaddr.Connect(t.Context(), name.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if accepted, err := Accepted(fd); accepted || err != nil {
				t.Errorf("in the backlog: %v, %v", accepted, err)
			}
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if accepted, err := Accepted(fd); !accepted || err != nil {
				t.Errorf("accepted: %v, %v", accepted, err)
			}
			conn.Close()
		})
	}
}

func TestAcceptedOfWhatCannotBeKnown(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	name, err := sockaddr.Parse(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fd, err := sockaddr.Connect(t.Context(), name.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	l.Close() // resets those whom nobody accepted
	if accepted, err := Accepted(fd); accepted || err == nil {
		t.Errorf("reset: %v, %v", accepted, err)
	}
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if accepted, err := Accepted(pipe[0]); accepted || !errors.Is(err, unix.ENOTSOCK) {
		t.Errorf("a pipe: %v, %v", accepted, err)
	}
}

func TestAnswersAboutPeersThatAreCutShort(t *testing.T) {
	for n := range tcpAnswerSize {
		if _, err := tcpInode(make([]byte, n)); err != errMalformed {
			t.Fatalf("TCP, %d bytes: %v", n, err)
		}
	}
	whole := make([]byte, unixAnswerSize, unixAnswerSize+8)
	whole = append(whole, 8, 0, unixPeer, 0, 7, 0, 0, 0)
	if inode, err := unixPeerInode(whole); inode != 7 || err != nil {
		t.Errorf("inode %d, %v; want 7", inode, err)
	}
	for n := range whole {
		if inode, err := unixPeerInode(whole[:n]); inode != 0 || err == nil {
			t.Errorf("UNIX, %d bytes: inode %d, %v", n, inode, err)
		}
	}
}
