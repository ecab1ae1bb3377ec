package main_test

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serveFrom runs a built-in service with a socket as its stdin, as inetd does.
func serveFrom(t *testing.T, name string, socket interface{ File() (*os.File, error) }) {
	t.Helper()
	file, err := socket.File()
	must(t, err)
	defer file.Close()
	cmd := prepare(t.TempDir(), "tiproxy", []string{"inetd-builtin", name})
	cmd.Stdin = file
	launch(t, cmd)
}

func TestBuiltinServesAConnection(t *testing.T) {
	t.Parallel()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer l.Close()
	client, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	must(t, err)
	defer client.Close()
	server, err := l.AcceptTCP()
	must(t, err)
	serveFrom(t, "echo", server)
	must(t, server.Close())
	must(t, client.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(client, "hello")
	must(t, err)
	must(t, client.CloseWrite())
	if got, err := io.ReadAll(client); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBuiltinServesDatagrams(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer socket.Close()
	serveFrom(t, "echo", socket)
	at := socket.LocalAddr().(*net.UDPAddr)
	// Another echo, as it were: it is first, and is to hear nothing.
	twin, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: at.Port}, at)
	must(t, err)
	defer twin.Close()
	_, err = io.WriteString(twin, "hello")
	must(t, err)
	client, err := net.DialUDP("udp", nil, at)
	must(t, err)
	defer client.Close()
	must(t, client.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(client, "hello")
	must(t, err)
	got := make([]byte, 100)
	if n, err := client.Read(got); err != nil || string(got[:n]) != "hello" {
		t.Errorf("got %q, %v", got[:n], err)
	}
	raw, err := twin.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		if n, _, err := unix.Recvfrom(int(fd), got, unix.MSG_DONTWAIT); err != unix.EAGAIN {
			t.Errorf("a service at the same port got %q, %v", got[:max(n, 0)], err)
		}
	}))
}
