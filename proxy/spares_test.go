package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"golang.org/x/sys/unix"
)

// steady is a backend to which there is always a way that takes no waiting.
type steady struct{ *backend }

func (b steady) TryAcquire() Lease {
	l, _ := b.Acquire(context.Background())
	return l
}

// spares is how many spare sockets the loops have.
func (r *running) spares() int {
	all := 0
	for at, l := range r.cfg.Relay.Loops() {
		n := make(chan int)
		l.Do(func() { n <- r.proxy.spares[at].Len() })
		all += <-n
	}
	return all
}

// One session after the other makes do with a socket on each loop.
func TestSessionsUseASocketAgain(t *testing.T) {
	r := run(t, steady{newBackend(t, echo)}, gate.NoLimit, 10, nil)
	for i := range 50 {
		c := r.dial(0)
		exchange(t, c, fmt.Sprint("hello ", i))
		c.CloseWrite()
		mustEOF(t, c)
		if e := r.endOf(uint64(i + 1)); e.Err != nil || e.FromClient != e.FromBackend {
			t.Errorf("%+v", e)
		}
	}
	if n, most := r.spares(), len(r.cfg.Relay.Loops()); n < 1 || n > most {
		t.Errorf("%d spare sockets, want 1 to %d", n, most)
	}
}

// A session that was reset leaves none.
func TestNoSpareOfAReset(t *testing.T) {
	r := run(t, steady{newBackend(t, echo)}, gate.NoLimit, 10, nil)
	c := r.dial(0)
	exchange(t, c, "hello")
	c.SetLinger(0)
	c.Close()
	r.endOf(1)
	if n := r.spares(); n != 0 {
		t.Errorf("%d of a session that was reset", n)
	}
}

// Nobody waits for an fd while there are spare ones. The backend lives here as
// well, and takes fds only when it is told to: one that accepts by itself would
// compete for those that become free, and give up if it came too early.
func TestSparesAreForThoseWithoutFD(t *testing.T) {
	set(t, &starvedRest, time.Hour)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := run(t, steady{&backend{Listener: l}}, gate.NoLimit, 10, nil)
	var clients, servers []net.Conn
	for range 2 { // an fd for the client, and one to connect it
		clients = append(clients, r.dial(0))
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	for i, c := range clients {
		c.Close()
		mustEOF(t, servers[i])
		servers[i].Close()
		r.endOf(uint64(i + 1))
	}
	if n := r.spares(); n != 2 {
		t.Fatalf("%d spare sockets, want 2", n)
	}
	starve(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err) // starve leaves one
	}
	if err := unix.Connect(fd, r.cfg.Listeners[0].Addr.Sockaddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if e := await[AdmitEvent](r); e.Client.Number != 3 {
		t.Errorf("%+v", e)
	}
	if n := r.spares(); n != 0 {
		t.Errorf("%d spare sockets are left", n)
	}
	unix.Close(fd) // which leaves one for the backend
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := io.ReadAll(s); err != nil || string(got) != "hello" {
		t.Errorf("the backend got %q, %v", got, err)
	}
}

// A spare socket whose connect takes its time is waited for like any other.
func TestSpareThatHasToWait(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accept := func() net.Conn {
		t.Helper()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	listen := func(backlog int) {
		t.Helper()
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if ctlErr := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) }); ctlErr != nil || err != nil {
			t.Fatal(ctlErr, err)
		}
	}
	r := run(t, steady{&backend{Listener: l}}, gate.NoLimit, 10, withLoops(t, 1))
	c := r.dial(0)
	s := accept()
	c.Close()
	mustEOF(t, s)
	s.Close()
	r.endOf(1)
	if n := r.spares(); n != 1 {
		t.Fatalf("%d spare sockets, want 1", n)
	}
	listen(0)
	waits, err := net.Dial("tcp4", l.Addr().String()) // fills the backlog
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	c = r.dial(0)
	for await[AdmitEvent](r).Client.Number != 2 {
	}
	if n := r.spares(); n != 0 { // asked of each loop, after what it does for the client
		t.Fatalf("%d spare sockets, want none", n)
	}
	listen(10)
	accept().Close()
	s = accept() // when TCP has asked a second time
	defer s.Close()
	fmt.Fprint(c, "hello")
	fmt.Fprint(s, "world")
	for who, conn := range map[string]io.Reader{"hello": s, "world": c} {
		got := make([]byte, len(who))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != who {
			t.Errorf("got %q, %v, want %q", got, err, who)
		}
	}
}
