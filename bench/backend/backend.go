// Package backend is what stands behind the proxies of a benchmark: one that
// echoes small messages from a single thread, and one for streams of bytes.
package backend

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tiproxy/tiproxy/bench/raw"
	"github.com/tiproxy/tiproxy/bench/wire"
	"golang.org/x/sys/unix"
)

// The two kinds.
const (
	Echo   = "echo"   // every byte comes back; many connections in one epoll loop
	Stream = "stream" // bulk and half-close, as wire.Header says
)

// lateness is how long after the client's end a Late reply is sent: a proxy
// that takes a half-close for the end has hung up by then.
const lateness = 50 * time.Millisecond

// Ready is what Serve writes as soon as it listens.
const Ready = "ready\n"

// Serve listens at an address, says so on ready, and serves for ever.
func Serve(kind, address string, ready io.Writer) error {
	switch kind {
	case Echo:
		fd, err := raw.Listen(address)
		if err != nil {
			return err
		}
		io.WriteString(ready, Ready)
		return echo(fd)
	case Stream:
		l, err := net.Listen("tcp4", address)
		if err != nil {
			return err
		}
		io.WriteString(ready, Ready)
		return streams(l)
	}
	return fmt.Errorf("unknown kind of backend %q; there are %s and %s", kind, Echo, Stream)
}

// echo has no state: a message is small, so what was read can be written.
func echo(listener int) error {
	poll, err := raw.NewPoll()
	if err != nil {
		return err
	}
	if err := poll.Add(listener, uint32(listener)); err != nil {
		return err
	}
	buf := make([]byte, 4<<10)
	serve := func(fd int) {
		n, err := raw.Read(fd, buf)
		if err == unix.EAGAIN {
			return
		}
		if n > 0 {
			if _, err = raw.Write(fd, buf[:n]); err == nil {
				return
			}
		}
		raw.Close(fd)
	}
	for {
		_, err := poll.Wait(-1, func(id uint32) {
			if int(id) != listener {
				serve(int(id))
			} else if fd, err := raw.Accept(listener); err == nil {
				if poll.Add(fd, uint32(fd)) != nil {
					raw.Close(fd)
				}
			}
		})
		if err != nil {
			return err
		}
	}
}

func streams(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_ = stream(conn) // the client sees that something is missing
		}()
	}
}

func stream(conn net.Conn) error {
	var kind [1]byte
	if _, err := io.ReadFull(conn, kind[:]); err != nil {
		return err
	}
	switch kind[0] {
	case wire.Probe:
		_, err := conn.Write(kind[:])
		return err
	case wire.Late:
		body, err := io.ReadAll(conn)
		if err != nil {
			return err
		}
		time.Sleep(lateness)
		_, err = conn.Write(body)
		return err
	}
	h, err := wire.ReadHeader(conn, kind[0])
	if err != nil {
		return err
	}
	if h.Kind == wire.Down {
		_, err = wire.Send(conn, h.Flow, time.Now().Add(h.Time))
		return err
	}
	got, err := wire.Receive(conn, h.Flow)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(conn, got)
	return err
}
