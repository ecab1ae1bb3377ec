package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A half-close is leaving with AbortOnClose, wherever the client stands.
func TestAbortOnClose(t *testing.T) {
	for _, where := range []string{"in line", "silent", "entering"} {
		t.Run(where, func(t *testing.T) {
			b := newBackend(t, echo)
			b.open = make(chan struct{})
			r := run(t, b, 1, 10, func(c *Config) {
				c.Rules.AbortOnClose = true
				c.Rules.WakeOnData, c.Rules.WakeTimeout = where == "silent", never
			})
			number := uint64(1)
			if where == "in line" {
				r.dial(0)
				number = 2
			}
			c := r.dial(0)
			if where == "in line" {
				await[WaitEvent](r)
			}
			fmt.Fprint(c, "request")
			c.CloseWrite()
			mustEOF(t, c)
			if e := r.endOf(number); e.Outcome != Left || e.Err != ErrHungUp {
				t.Errorf("%+v", e)
			}
			if n := b.acquired.Load(); n != 0 {
				t.Errorf("the backend was asked for %d times", n)
			}
		})
	}
}

// hooked is a backend that tells when it took a connection.
type hooked struct {
	*backend
	connected func()
}

func (h *hooked) Acquire(ctx context.Context) (Lease, error) {
	l, err := h.backend.Acquire(ctx)
	return &hookedLease{l, h.connected}, err
}

// TryAcquire has clients take the way on which somebody may wait.
func (h *hooked) TryAcquire() Lease { return nil }

type hookedLease struct {
	Lease
	connected func()
}

func (l *hookedLease) Connected() { l.connected() }

// A client that leaves in the moment in which the backend takes its connection
// must not stay there as one that only has nothing to say any more.
func TestLeavingWhileConnecting(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(*running, *net.TCPConn)
		err   error
	}{
		{"reset", func(_ *running, c *net.TCPConn) { c.SetLinger(0); c.Close() }, ErrReset},
		{"close", func(_ *running, c *net.TCPConn) { c.Close() }, ErrHungUp},
		{"kick", func(r *running, _ *net.TCPConn) { r.proxy.Kick(1) }, ErrKicked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			left := make(chan struct{})
			b := newBackend(t, func(c net.Conn) {
				if _, err := c.Read(make([]byte, 1)); err == io.EOF {
					<-left // an end does not impress it
				}
			})
			joining, goOn := make(chan struct{}, 2), make(chan struct{})
			r := run(t, &hooked{b, func() { joining <- struct{}{}; <-goOn }}, 1, 10, nil)
			defer close(left)
			c := r.dial(0)
			<-joining
			tt.leave(r, c)
			r.dial(0)
			await[WaitEvent](r) // by now the front has seen it
			close(goOn)
			if e := r.endOf(1); e.Outcome != Left || e.Err != tt.err {
				t.Errorf("%+v", e)
			}
		})
	}
}

// Bytes keep a session alive, whichever way they go; without any it ends.
func TestSessionIdle(t *testing.T) {
	const idle = 150 * time.Millisecond
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		talk  func(*net.TCPConn)
	}{
		{"bytes from the client", func(c net.Conn) { io.Copy(io.Discard, c) }, func(c *net.TCPConn) { trickle(c, 3*idle) }},
		{"bytes from the backend", func(c net.Conn) { trickle(c, 3*idle); io.Copy(io.Discard, c) }, func(*net.TCPConn) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, newBackend(t, tt.serve), 1, 10, func(c *Config) { c.Rules.SessionIdle = idle })
			c := r.dial(0)
			tt.talk(c)
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("the client read %v", err)
			}
			if e := r.endOf(1); e.Outcome != Served || e.Err != ErrSessionIdle || !e.TooLong() || e.FailedSide != "" || e.Inside < 3*idle {
				t.Errorf("%+v", e)
			}
		})
	}
}

// trickle writes a byte now and then.
func trickle(c io.Writer, during time.Duration) {
	tick := time.NewTicker(during / 20)
	defer tick.Stop()
	for range 20 {
		<-tick.C
		c.Write([]byte("x"))
	}
}

func TestOnLateResets(t *testing.T) {
	const late = 500 * time.Millisecond // far longer than a busy machine takes to connect to the backend
	for _, tt := range []struct {
		name   string
		change func(*Rules)
		err    error
	}{
		{"SessionTimeout", func(r *Rules) { r.Gate.SessionTimeout = late }, ErrSessionTimeout},
		{"SessionIdle", func(r *Rules) { r.SessionIdle = late }, ErrSessionIdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t, echo)
			r := run(t, b, 1, 10, func(c *Config) {
				tt.change(&c.Rules)
				c.Rules.OnLate.Kind, c.Rules.RestartLate = FarewellReset, true
			})
			mustReset(t, r.dial(0))
			if e := r.endOf(1); e.Err != tt.err || b.recycled.Load() != 1 {
				t.Errorf("%+v, recycled %d times", e, b.recycled.Load())
			}
		})
	}
}

// Those whom the backend has not taken yet are reset, too.
func TestOnLateResetsWhileTheBackendStarts(t *testing.T) {
	b := newBackend(t, echo)
	b.open = make(chan struct{})
	r := run(t, b, 1, 10, func(c *Config) {
		c.Rules.Gate.SessionTimeout, c.Rules.OnLate.Kind = 20*time.Millisecond, FarewellReset
	})
	mustReset(t, r.dial(0))
	if e := r.endOf(1); e.Outcome != Unserved || e.Err != ErrSessionTimeout {
		t.Errorf("%+v", e)
	}
}

func mustReset(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %v, want a reset", err)
	}
}

// The listener's socket hands its options on to those accepted from it.
func TestKeepAlive(t *testing.T) {
	b := newBackend(t, echo)
	b.open = make(chan struct{}) // nobody gets further than to ask for it
	r := run(t, b, 1, 10, func(c *Config) {
		c.Listeners = []Listener{listen(t), listenUnix(t)}
		c.Rules.KeepAlive = time.Hour
	})
	for _, tt := range []struct {
		quiet           time.Duration
		idle, intvl, on int
	}{
		{time.Hour, 3600, 720, 1},
		{10 * time.Second, 10, 2, 1},
		{time.Millisecond, 1, 1, 1},
		{1000 * time.Hour, 32767, 6553, 1},
		{never, 32767, 6553, 1}, // as it was
	} {
		rules := r.cfg.Rules
		rules.KeepAlive = tt.quiet
		r.proxy.Configure(rules)
		c := r.dial(0)
		await[AdmitEvent](r)
		for option, want := range map[[2]int]int{
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}: tt.idle, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: tt.intvl,
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}: probes, {unix.SOL_SOCKET, unix.SO_KEEPALIVE}: tt.on,
		} {
			if got, err := unix.GetsockoptInt(r.onlyFD(), option[0], option[1]); err != nil || got != want {
				t.Errorf("after %v: option %v is %d, %v; want %d", tt.quiet, option, got, err, want)
			}
		}
		c.Close()
		await[EndEvent](r)
	}
}

// onlyFD is the accepted socket of the only client.
func (r *running) onlyFD() int {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	return int(r.proxy.clients.fd)
}

// A client in line that answers no more sends not even a FIN. This one takes
// nothing of what it is told, and so the kernel gives it up as it gives up one
// that does not answer to keepalive (tcp(7), TCP_USER_TIMEOUT).
func TestVanishedClientLeavesTheLine(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.Rules.QueueMessage = make([]byte, 1<<20) })
	if err := unix.SetsockoptInt(r.cfg.Listeners[0].FD, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 200); err != nil {
		t.Fatal(err)
	}
	door := r.dial(0)
	exchange(t, door, "in")
	r.dial(0)
	if e := r.endOf(2); e.Outcome != Left || e.Err != ErrVanished {
		t.Errorf("%+v", e)
	}
	exchange(t, door, "is not touched")
}

// Room for one more at once: a client that left does not hold the slot of one
// that waits, also when both happen in the same moment as a slot comes free.
func TestLeavingAsTheTurnComes(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 1, 10, nil)
	for i := range 100 {
		door := r.dial(0)
		exchange(t, door, "in")
		leaving, stays := r.dial(0), r.dial(0)
		await[WaitEvent](r)
		await[WaitEvent](r)
		go door.Close()
		leaving.SetLinger(0)
		leaving.Close()
		exchange(t, stays, "its turn")
		stays.Close()
		for j := range uint64(3) {
			r.endOf(uint64(3*i) + j + 1)
		}
	}
	if s := r.proxy.Gate().Stats(); s.Active != 0 || s.Queued != 0 || s.Limit != 1 {
		t.Errorf("%+v", s)
	}
}
