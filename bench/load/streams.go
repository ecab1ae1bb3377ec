package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tiproxy/tiproxy/bench/wire"
)

// bulk lets flows run side by side, all in one direction.
func bulk(s Spec, _ Stage) (Result, error) {
	one := upload
	if s.Kind == Down {
		one = download
	}
	type flow struct {
		got uint64
		err error
	}
	flows := make(chan flow)
	begin := time.Now()
	for i := range s.Connections {
		go func() {
			got, err := one(s, uint32(i))
			flows <- flow{got, err}
		}()
	}
	var res Result
	var errs []error
	for range s.Connections {
		f := <-flows
		res.Units += f.got
		errs = append(errs, f.err)
	}
	res.Rate = float64(res.Units) / time.Since(begin).Seconds()
	return res, errors.Join(errs...)
}

// upload sends, and answers how many bytes the backend found right.
func upload(s Spec, i uint32) (uint64, error) {
	conn, err := flow(s, wire.Header{Kind: wire.Up, Flow: i})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	sent, err := wire.Send(conn, i, time.Now().Add(s.Time))
	if err != nil {
		return 0, fmt.Errorf("%w: flow %d broke behind byte %d: %v", errLost, i, sent, err)
	}
	var got uint64
	if _, err := fmt.Fscanln(conn, &got); err != nil {
		return 0, fmt.Errorf("%w: the backend did not say how many bytes of flow %d came right: %v", errLost, i, err)
	}
	if got != sent {
		return got, fmt.Errorf("%w: %d bytes of flow %d came, %d were sent", wire.ErrWrong, got, i, sent)
	}
	return got, nil
}

// download receives, and answers how many bytes were right.
func download(s Spec, i uint32) (uint64, error) {
	conn, err := flow(s, wire.Header{Kind: wire.Down, Flow: i, Time: s.Time})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	got, err := wire.Receive(conn, i)
	if err != nil && !errors.Is(err, wire.ErrWrong) {
		err = fmt.Errorf("%w: flow %d broke behind byte %d: %v", errLost, i, got, err)
	}
	return got, err
}

// flow opens a connection and says what it is for.
func flow(s Spec, h wire.Header) (net.Conn, error) {
	conn, err := net.Dial("tcp4", s.Address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(s.Time + patience)); err != nil {
		return nil, err
	}
	_, err = conn.Write(h.Append(nil))
	return conn, err
}

// late has each connection send a request that ends by half-closing, and wait
// for a reply that comes only after that.
func late(s Spec, _ Stage) (Result, error) {
	ends := make(chan error)
	for range s.Connections {
		go func() { ends <- lateReply(s) }()
	}
	var errs []error
	for range s.Connections {
		if err := <-ends; err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return Result{}, fmt.Errorf("%w after the client's half-close in %d of %d sessions", errLost, len(errs), s.Connections)
	}
	return Result{Units: uint64(s.Connections)}, nil
}

func lateReply(s Spec) error {
	conn, err := flow(s, wire.Header{Kind: wire.Late})
	if err != nil {
		return err
	}
	defer conn.Close()
	request := wire.Body(wire.Chunk)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	reply, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !bytes.HasSuffix(reply, request) {
		return fmt.Errorf("%w: %d bytes came", errLost, len(reply))
	}
	return nil
}
