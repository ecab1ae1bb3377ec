package load

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tiproxy/tiproxy/bench/wire"
)

// warmShare of the quiet connections come first: they pay for what a proxy
// sets up once, and what the others add is what each of them costs.
const warmShare = 20

// quiet opens connections, one message to and fro on each, and keeps them.
// There are two stages: when the first ones are open, and when all are. In
// the end each must still carry a message.
func quiet(s Spec, stage Stage) (Result, error) {
	conns := make([]net.Conn, 0, s.Connections)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range s.Connections {
		conn, err := net.Dial("tcp4", s.Address)
		if err != nil {
			return Result{}, fmt.Errorf("%w: connection %d was not taken: %v", errLost, i, err)
		}
		conns = append(conns, conn)
		if err := exchange(conn, uint64(i), 0); err != nil {
			return Result{}, err
		}
		if i+1 == Warm(s.Connections) {
			if err := stage(); err != nil {
				return Result{}, err
			}
		}
	}
	if err := stage(); err != nil {
		return Result{}, err
	}
	for i, conn := range conns {
		if err := exchange(conn, uint64(i), 1); err != nil {
			return Result{}, err
		}
	}
	return Result{Units: uint64(len(conns))}, nil
}

// Warm is how many of n connections of Quiet or Line come before the first
// stage.
func Warm(n int) int { return max(n/warmShare, 1) }

// exchange sends a message and waits for its reply.
func exchange(conn net.Conn, connection, sequence uint64) error {
	if err := ask(conn, connection, sequence); err != nil {
		return err
	}
	return hear(conn, connection, sequence)
}

func ask(conn net.Conn, connection, sequence uint64) error {
	var message [wire.MessageSize]byte
	wire.FillMessage(&message, connection, sequence)
	if _, err := conn.Write(message[:]); err != nil {
		return fmt.Errorf("%w: cannot send on connection %d: %v", errLost, connection, err)
	}
	return conn.SetReadDeadline(time.Now().Add(patience))
}

func hear(conn net.Conn, connection, sequence uint64) error {
	var message, reply [wire.MessageSize]byte
	wire.FillMessage(&message, connection, sequence)
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return fmt.Errorf("%w on connection %d: %v", errLost, connection, err)
	}
	if !bytes.Equal(message[:], reply[:]) {
		return fmt.Errorf("%w on connection %d", wire.ErrWrong, connection)
	}
	return nil
}

// served is a client of Line whose reply is there.
type served struct {
	place int
	err   error
}

// line has clients stand in line, each with its request sent. The first one
// is served and stays, so the others wait. There are two stages: when the
// first ones stand there, and when all do. Then each leaves as soon as it was
// served.
func line(s Spec, stage Stage) (Result, error) {
	replies := make(chan served, s.Connections)
	conns := make([]net.Conn, s.Connections)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	for i := range conns {
		conn, err := net.Dial("tcp4", s.Address)
		if err != nil {
			return Result{}, fmt.Errorf("%w: client %d was not taken: %v", errLost, i, err)
		}
		conns[i] = conn
		if err := ask(conn, uint64(i), 0); err != nil {
			return Result{}, err
		}
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			return Result{}, err
		}
		go func() { replies <- served{i, hear(conn, uint64(i), 0)} }()
		if i+1 == Warm(s.Connections) {
			if err := stage(); err != nil {
				return Result{}, err
			}
		}
	}
	if err := stage(); err != nil {
		return Result{}, err
	}
	if err := firstStays(replies); err != nil {
		return Result{}, err
	}
	return letThrough(conns, replies)
}

// stay is how long the first client is served alone. Whoever lets others in
// beside it does so far sooner.
const stay = 250 * time.Millisecond

// firstStays fails if a second one is served while the first is, and puts its
// reply back.
func firstStays(replies chan served) error {
	select {
	case first := <-replies:
		defer func() { replies <- first }()
	case <-time.After(patience):
		return fmt.Errorf("%w: nobody is served", errLost)
	}
	select {
	case <-replies:
		return fmt.Errorf("%w: two clients were served at once", errCrowded)
	case <-time.After(stay):
		return nil
	}
}

// letThrough closes each connection when its reply is there. Only then may
// there be another one.
func letThrough(conns []net.Conn, replies <-chan served) (Result, error) {
	var res Result
	begin := time.Now()
	through := make([]bool, len(conns))
	first := 0 // of those still in line
	last := 0  // of those who were served
	for first < len(conns) {
		select {
		case r := <-replies:
			if r.err != nil {
				return res, r.err
			}
			if n := len(replies); n > 0 {
				return res, fmt.Errorf("%w: %d clients were served at once", errCrowded, 1+n)
			}
			if r.place < last {
				res.Overtaken++
			}
			last = max(last, r.place)
			conns[r.place].Close()
			through[r.place] = true
			for first < len(conns) && through[first] {
				first++
			}
			res.Units++
		case <-time.After(patience):
			return res, fmt.Errorf("%w: %d clients are still in line", errLost, len(conns)-int(res.Units))
		}
	}
	res.Rate = float64(res.Units) / time.Since(begin).Seconds()
	return res, nil
}
