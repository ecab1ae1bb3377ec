//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync/atomic"
)

// self is the test binary, as the harness installs it.
const self = "/usr/lib/tiproxy/e2e.test"

// serve is the main function of a backend of ours; the end is a signal.
func serve(name, address string) {
	answer := map[string]func(net.Conn){"echo": echo, "who": tellWho, "count": countClients}[name]
	if answer == nil {
		log.Fatalf("cannot serve: no backend is called %q", name)
	}
	listener, err := listen(address)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			answer(conn)
		}()
	}
}

// listen takes the socket that it is given as fd 3, at the address "given", and else makes one.
func listen(address string) (net.Listener, error) {
	if address == "given" {
		return net.FileListener(os.NewFile(3, os.Getenv("LISTEN_FDNAMES")))
	}
	return net.Listen("tcp", address)
}

// answerDatagrams is a server of inetd's wait for datagrams: it has the socket as its stdin, answers each
// with the pid of itself, and ends at one that says so.
func answerDatagrams() {
	socket, err := net.FilePacketConn(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	for buf := make([]byte, 1500); ; {
		n, from, err := socket.ReadFrom(buf)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintln(os.Stderr, "heard", string(buf[:n]))
		socket.WriteTo(fmt.Append(nil, os.Getpid()), from)
		if string(buf[:n]) == "end" {
			os.Exit(0)
		}
	}
}

// echo returns every byte. It hides the sockets from io.Copy, which would hold a pipe for each.
func echo(conn net.Conn) {
	io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
}

// tellWho speaks first: the pid of tiproxy and the backend's own. Then it waits for the client to go.
func tellWho(conn net.Conn) {
	fmt.Fprintf(conn, "%d %d\n", os.Getppid(), os.Getpid())
	io.Copy(io.Discard, conn)
}

var served, present atomic.Int64

// countClients hears a name and answers with it, with the number of clients served so far, this one
// included, and with the number of those who were here when it came, again this one included.
func countClients(conn net.Conn) {
	here := present.Add(1)
	defer present.Add(-1)
	name, err := readLine(conn)
	if err != nil {
		return
	}
	fmt.Fprintf(conn, "%s %d %d\n", name, served.Add(1), here)
	io.Copy(io.Discard, conn)
}
