package load_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/bench/backend"
	"github.com/tiproxy/tiproxy/bench/load"
	"github.com/tiproxy/tiproxy/bench/wire"
)

// serve starts a backend of a kind, and answers where.
func serve(t *testing.T, kind string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // the backend binds by itself
	ready, write := io.Pipe()
	go func() { write.CloseWithError(backend.Serve(kind, address, write)) }()
	if _, err := io.ReadFull(ready, make([]byte, len(backend.Ready))); err != nil {
		t.Fatal(err)
	}
	return address
}

// work does a piece of work with a few clients, and answers how many stages
// there were.
func work(t *testing.T, kind load.Kind, address string) (load.Result, int) {
	t.Helper()
	stages := 0
	spec := load.Spec{Kind: kind, Address: address, Connections: 3, Time: 30 * time.Millisecond}
	res, err := load.Run(spec, func() error { stages++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return res, stages
}

func TestEachKindOfWorkIsDone(t *testing.T) {
	for _, tt := range []struct {
		kind   load.Kind
		to     string
		stages int
	}{
		{load.Requests, backend.Echo, 0},
		{load.Connects, backend.Echo, 0},
		{load.Up, backend.Stream, 0},
		{load.Down, backend.Stream, 0},
		{load.Late, backend.Stream, 0},
		{load.Quiet, backend.Echo, 2},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			res, stages := work(t, tt.kind, serve(t, tt.to))
			if res.Units == 0 || res.Fault != "" || stages != tt.stages {
				t.Errorf("got %+v after %d stages", res, stages)
			}
		})
	}
}

// proxy stands before a backend and does to what it answers what mangle does;
// io.EOF makes it hang up. With deaf it hangs up as soon as its client has
// said all.
func proxy(t *testing.T, to string, deaf bool, mangle func([]byte) error) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	carry := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp4", to)
		if err != nil {
			return
		}
		defer server.Close()
		go func() {
			_, _ = io.Copy(server, client)
			if deaf {
				client.Close()
			}
			_ = server.(*net.TCPConn).CloseWrite()
		}()
		buf := make([]byte, 32<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || mangle(buf[:n]) != nil {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go carry(client)
		}
	}()
	return l.Addr().String()
}

func nothing([]byte) error { return nil }

func TestAProxyThatDoesItWrongIsFound(t *testing.T) {
	flip := func(b []byte) error { b[len(b)-1] ^= 1; return nil }
	hangUp := func([]byte) error { return io.EOF }
	for _, tt := range []struct {
		name   string
		kind   load.Kind
		to     string
		deaf   bool
		mangle func([]byte) error
		want   string
	}{
		{"requests, wrong byte", load.Requests, backend.Echo, false, flip, "wrong bytes"},
		{"requests, hung up", load.Requests, backend.Echo, false, hangUp, "reply lost"},
		{"connects, wrong byte", load.Connects, backend.Echo, false, flip, "wrong bytes"},
		{"connects, hung up", load.Connects, backend.Echo, false, hangUp, "reply lost"},
		{"down, wrong byte", load.Down, backend.Stream, false, flip, "wrong bytes"},
		{"down, hung up", load.Down, backend.Stream, false, hangUp, "reply lost"},
		{"up, hung up", load.Up, backend.Stream, false, hangUp, "reply lost"},
		{"up, another count", load.Up, backend.Stream, false, func(b []byte) error { b[0] ^= 1; return nil }, "wrong bytes"},
		{"late, hung up at the half-close", load.Late, backend.Stream, true, nothing, "reply lost"},
		{"late, wrong byte", load.Late, backend.Stream, false, flip, "reply lost"},
		{"quiet, wrong byte", load.Quiet, backend.Echo, false, flip, "wrong bytes"},
		{"quiet, hung up", load.Quiet, backend.Echo, false, hangUp, "reply lost"},
		{"line, more than one at once", load.Line, backend.Echo, false, nothing, "limit not kept"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := load.Spec{Kind: tt.kind, Address: proxy(t, serve(t, tt.to), tt.deaf, tt.mangle), Connections: 20, Time: 30 * time.Millisecond}
			res, err := load.Run(spec, func() error { return nil })
			if err != nil || !strings.Contains(res.Fault, tt.want) {
				t.Errorf("got %+v and %v, want the fault %q", res, err, tt.want)
			}
		})
	}
}

// oneByOne serves clients in an order, by their places: each is answered when
// the one before has left. The first is always served at once, the others when
// all are there.
func oneByOne(t *testing.T, order ...int) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(conn net.Conn) error {
		message := make([]byte, wire.MessageSize)
		if _, err := io.ReadFull(conn, message); err != nil {
			return err
		}
		_, err := conn.Write(message)
		return err
	}
	go func() {
		var line []net.Conn
		for range order {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if line = append(line, conn); len(line) == 1 && serve(conn) != nil {
				return
			}
		}
		for i, place := range order {
			if i > 0 && serve(line[place]) != nil {
				return
			}
			_, _ = line[place].Read(make([]byte, 1)) // it leaves
		}
	}()
	return l.Addr().String()
}

func TestThoseOvertakenInLineAreCounted(t *testing.T) {
	for _, tt := range []struct {
		order []int
		want  int
	}{
		{[]int{0, 1, 2, 3}, 0},
		{[]int{0, 2, 1, 3}, 1},
		{[]int{0, 3, 2, 1}, 2},
		{[]int{0, 3, 1, 2}, 2},
	} {
		spec := load.Spec{Kind: load.Line, Address: oneByOne(t, tt.order...), Connections: len(tt.order)}
		stages := 0
		res, err := load.Run(spec, func() error { stages++; return nil })
		if err != nil || res.Fault != "" || res.Units != 4 || res.Overtaken != tt.want || stages != 2 {
			t.Errorf("the order %v gave %+v and %v after %d stages, want %d overtaken", tt.order, res, err, stages, tt.want)
		}
	}
}

func TestWhatCannotBeMeasuredIsAnError(t *testing.T) {
	for _, s := range []load.Spec{
		{Kind: "nonsense", Address: "127.0.0.1:1"},
		{Kind: load.Requests, Address: "localhost:1", Connections: 1},
		{Kind: load.Requests, Address: "[::1]:1", Connections: 1},
	} {
		if res, err := load.Run(s, nil); err == nil {
			t.Errorf("%+v gave %+v", s, res)
		}
	}
}

func TestStagesAndResultGoOverPipes(t *testing.T) {
	spec := load.Spec{Kind: load.Quiet, Address: serve(t, backend.Echo), Connections: 2}
	var out bytes.Buffer
	if err := load.Serve(spec, strings.NewReader("\n\n"), &out); err != nil {
		t.Fatal(err)
	}
	lines := json.NewDecoder(&out)
	for i, want := range []bool{false, false, true} {
		var m load.Message
		if err := lines.Decode(&m); err != nil || (m.Result != nil) != want {
			t.Errorf("message %d: %+v, %v", i, m, err)
		}
	}
	if err := load.Serve(spec, strings.NewReader("\n"), io.Discard); !errors.Is(err, io.EOF) {
		t.Errorf("without an answer to the second stage: %v", err)
	}
}
