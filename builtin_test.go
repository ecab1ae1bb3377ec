package main_test

import (
	"io"
	"net"
	"os"
	"testing"
	"time"
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
	client, err := net.DialUDP("udp", nil, socket.LocalAddr().(*net.UDPAddr))
	must(t, err)
	defer client.Close()
	must(t, client.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(client, "hello")
	must(t, err)
	got := make([]byte, 100)
	if n, err := client.Read(got); err != nil || string(got[:n]) != "hello" {
		t.Errorf("got %q, %v", got[:n], err)
	}
}
