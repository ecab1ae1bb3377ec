// Package load is the clients of a benchmark: they put one kind of work on an
// address, verify every byte that comes back, and say how much was done.
//
// The load is closed: a client has one request under way and sends the next
// when the reply is there. So a latency is that of a loaded proxy, and a slow
// proxy is asked less often.
package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tiproxy/tiproxy/bench/wire"
)

// Kind of work.
type Kind string

// The kinds, and what a unit of each is.
const (
	Requests Kind = "requests" // messages to and fro on connections that stay; a reply
	Connects Kind = "connects" // connect, one message to and fro, close; a session
	Up       Kind = "up"       // bulk from the clients; a byte
	Down     Kind = "down"     // bulk to the clients; a byte
	Late     Kind = "late"     // a request that ends by half-closing, and a late reply; a session
	Quiet    Kind = "quiet"    // connections that stay and say nothing; a connection
	Line     Kind = "line"     // clients of a proxy that lets in one at a time; a session
)

// Spec says what to do.
type Spec struct {
	Kind        Kind
	Address     string
	Connections int           // at once; of Quiet and Line: in all
	Time        time.Duration // of Requests, Connects, Up and Down
}

// Result is what was done.
type Result struct {
	Units     uint64  // in all, warming up included
	Rate      float64 // units per second, without warming up
	Latency   Latency // of Requests and Connects
	Overtaken int     `json:",omitempty"` // clients of Line that were served after one who had come later
	Fault     string  `json:",omitempty"` // wrong bytes, a lost reply: the figures are worth nothing
}

// patience is how long a reply may take before it counts as lost.
const patience = 10 * time.Second

var (
	// errLost: the reply did not come.
	errLost = errors.New("reply lost")
	// errCrowded: the proxy has let in more clients than it should.
	errCrowded = errors.New("limit not kept")
)

// Stage is called by Quiet and Line whenever connections are as they are to be
// measured; the work goes on when it returns.
type Stage func() error

// Run does the work. An error means that nothing could be measured; what the
// proxy did wrong is the result's Fault.
func Run(s Spec, stage Stage) (Result, error) {
	run, ok := map[Kind]func(Spec, Stage) (Result, error){
		Requests: requests, Connects: connects, Up: bulk, Down: bulk, Late: late, Quiet: quiet, Line: line,
	}[s.Kind]
	if !ok {
		return Result{}, fmt.Errorf("unknown kind of work %q", s.Kind)
	}
	res, err := run(s, stage)
	if isFault(err) {
		res.Fault, err = err.Error(), nil
	}
	return res, err
}

// isFault tells what a proxy did from what the benchmark could not do.
func isFault(err error) bool {
	return errors.Is(err, wire.ErrWrong) || errors.Is(err, errLost) || errors.Is(err, errCrowded)
}

// Serve is Run for a process of its own: the stages and then the result are
// written to out as JSON lines, and a stage lasts until a line comes in.
func Serve(s Spec, in io.Reader, out io.Writer) error {
	lines := json.NewEncoder(out)
	res, err := Run(s, func() error {
		if err := lines.Encode(Message{}); err != nil {
			return err
		}
		_, err := io.ReadFull(in, make([]byte, 1))
		return err
	})
	if err != nil {
		return err
	}
	return lines.Encode(Message{Result: &res})
}

// Message is a line that Serve writes.
type Message struct {
	Result *Result `json:",omitempty"` // nil: a stage was reached
}

// First connects, sends a message and answers after which time the first byte
// of the reply was there.
func First(address string) (time.Duration, error) {
	begin := time.Now()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(begin.Add(patience)); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte{wire.Probe}); err != nil {
		return 0, err
	}
	var b [1]byte
	_, err = io.ReadFull(conn, b[:])
	took := time.Since(begin)
	if err == nil && b[0] != wire.Probe {
		err = wire.ErrWrong
	}
	return took, err
}
