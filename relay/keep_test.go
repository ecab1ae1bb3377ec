package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/internal/nowait"
	"golang.org/x/sys/unix"
)

// With Terms.Keep B's socket outlives an end in order, and no other.
func TestKeep(t *testing.T) {
	r := newRelay(t, Options{Loops: 1})
	inOrder := func(j joined) {
		j.client.Close()
		j.backend.Read(make([]byte, 1))
		j.backend.Close()
	}
	for name, tt := range map[string]struct {
		keep, kept bool
		end        func(joined)
	}{
		"in order":            {true, true, inOrder},
		"in order, unwanted":  {false, false, inOrder},
		"cut":                 {true, false, func(j joined) { j.session.Cut(false) }},
		"reset":               {true, false, func(j joined) { j.session.Cut(true) }},
		"the backend is gone": {true, false, func(j joined) { j.session.Gone(); j.backend.Close() }},
		"bulk": {true, false, func(j joined) {
			go j.client.Write(make([]byte, 8<<20))
			io.CopyN(io.Discard, j.backend, 8<<20)
			inOrder(j)
		}},
	} {
		a, client := pair(t, "tcp4")
		b, backend := pair(t, "tcp4")
		fd := takeFD(t, b)
		j := joined{client: client, backend: backend, result: make(chan Result, 2)}
		var err error
		if j.session, err = r.Join(takeFD(t, a), fd, Terms{Keep: tt.keep}, func(res Result) { j.result <- res }); err != nil {
			t.Fatal(err)
		}
		j.message(t)
		tt.end(j)
		res := j.wait(t)
		if want := map[bool]int{true: fd, false: -1}[tt.kept]; res.B != want {
			t.Errorf("%s: B is %d, want %d (%+v)", name, res.B, want, res)
		}
		if res.B < 0 {
			continue
		}
		if err := r.loops[0].Rewatch(0, 0, fd, interest); err != nil { // ENOENT: it is not watched any more
			t.Errorf("%s: %v", name, err)
		}
		if err := unix.Close(res.B); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One after the other, sessions use a socket again that is watched all the time.
func TestAgain(t *testing.T) {
	r := newRelay(t, Options{Loops: 1})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	b, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if i > 0 {
			if err := nowait.Disconnect(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Connect(b, to); err != unix.EINPROGRESS { // over loopback it is through by then
			t.Fatalf("connect: %v", err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		backend := c.(conn)
		backend.SetDeadline(time.Now().Add(patience))
		a, client := pair(t, "tcp4")
		j := joined{client: client, backend: backend, result: make(chan Result, 2)}
		if j.session, err = r.Join(takeFD(t, a), b, Terms{Keep: true, Again: i > 0}, func(res Result) { j.result <- res }); err != nil {
			t.Fatal(err)
		}
		for range i { // the later ones last
			j.message(t)
		}
		sendUrgent(t, backend, "before!")
		mustRead(t, client, "before!")
		client.CloseWrite()
		if n, err := backend.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("session %d: the backend got %d bytes, %v, want the end", i, n, err)
		}
		backend.Close()
		if n, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("session %d: the client got %d bytes, %v, want the end", i, n, err)
		}
		if res := j.wait(t); res.B != b || res.Err != nil {
			t.Fatalf("session %d: socket %d is not kept: %+v", i, b, res)
		}
	}
	unix.Close(b)
}
