package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"golang.org/x/sys/unix"
)

// Those for whom there is no room are seen off as WhenFull says, although they
// have sent something that nobody read.
func TestWhenFull(t *testing.T) {
	const sorry = "come again later\n"
	for line := range 2 { // also when nobody waits
		for _, tt := range []struct {
			how  Farewell
			read string
			err  error
		}{
			{Farewell{Kind: FarewellClose}, "", nil},
			{Farewell{Kind: FarewellReset}, "", unix.ECONNRESET},
			{Farewell{Kind: FarewellMessage, Text: []byte(sorry)}, sorry, nil},
		} {
			t.Run(fmt.Sprint("kind ", tt.how.Kind, ", line of ", line), func(t *testing.T) {
				r := run(t, newBackend(t, echo), 1, line, func(c *Config) { c.Rules.WhenFull = tt.how })
				door := r.dial(0)
				exchange(t, door, "in")
				for range line {
					r.dial(0)
					await[WaitEvent](r)
				}
				if got, err := r.turnedAway(); string(got) != tt.read || !errors.Is(err, tt.err) {
					t.Errorf("read %q, %v", got, err)
				}
				if e := r.endOf(uint64(2 + line)); e.Outcome != Refused || e.Err != gate.ErrFull {
					t.Errorf("%+v", e)
				}
				exchange(t, door, "not touched")
			})
		}
	}
}

// turnedAway is what a client reads that sends a request. A reset may come
// before it is done with connecting or sending.
func (r *running) turnedAway() ([]byte, error) {
	c, err := net.Dial("tcp4", r.cfg.Listeners[0].Addr.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprint(c, "a request"); err != nil {
		return nil, err
	}
	return io.ReadAll(c)
}

// Nobody is refused with FarewellBacklog: they stay in the kernel's backlog,
// and come in order.
func TestBacklog(t *testing.T) {
	for line := range 3 {
		t.Run(fmt.Sprint("line of ", line), func(t *testing.T) {
			var mu sync.Mutex
			var order []byte
			b := newBackend(t, func(c net.Conn) {
				one := make([]byte, 1)
				c.Read(one)
				mu.Lock()
				order = append(order, one[0])
				mu.Unlock()
				c.Write(one)
				io.Copy(io.Discard, c)
			})
			r := run(t, b, 1, line, func(c *Config) { c.Rules.WhenFull.Kind = FarewellBacklog })
			var clients []*net.TCPConn
			for i := range 20 {
				c := r.dial(0)
				c.Write([]byte{byte(i)})
				clients = append(clients, c)
			}
			for i, c := range clients {
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Fatalf("client %d: %v", i, err)
				}
				if s := r.proxy.Gate().Stats(); s.Active > 1 || s.Queued > line {
					t.Errorf("%+v", s)
				}
				c.Close()
			}
			for range clients {
				if e := await[EndEvent](r); e.Outcome != Served {
					t.Errorf("%+v", e)
				}
			}
			if !slices.IsSorted(order) || len(order) != 20 || b.most.Load() != 1 {
				t.Errorf("order %v, %d at once", order, b.most.Load())
			}
		})
	}
}

// While the line is full and somebody stands in the backlog, the front sleeps.
func TestBacklogDoesNotSpin(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 0, func(c *Config) { c.Rules.WhenFull.Kind = FarewellBacklog })
	door, waits := r.dial(0), r.dial(0)
	exchange(t, door, "in")
	until(t, "a rest", func() bool { return rest(r.proxy.front.resting.Load()) == restFull })
	used := cpu()
	<-time.After(300 * time.Millisecond)
	if used = cpu() - used; used > 100*time.Millisecond {
		t.Errorf("used %v of CPU", used)
	}
	door.Close()
	exchange(t, waits, "its turn")
}

// cpu is the time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Everything that makes room ends the rest.
func TestBacklogGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(r *running, waiting *net.TCPConn)
	}{
		{"one in line leaves", func(_ *running, w *net.TCPConn) { w.Close() }},
		{"a higher limit", func(r *running, _ *net.TCPConn) { r.proxy.Gate().SetLimit(3) }},
		{"other rules", func(r *running, _ *net.TCPConn) {
			rules := r.cfg.Rules
			rules.WhenFull.Kind = FarewellClose
			rules.Gate.Queue = 5
			r.proxy.Configure(rules)
		}},
		{"a kick", func(r *running, _ *net.TCPConn) { r.proxy.Kick(2) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, newBackend(t, echo), 1, 1, func(c *Config) { c.Rules.WhenFull.Kind = FarewellBacklog })
			exchange(t, r.dial(0), "in")
			waiting := r.dial(0)
			await[WaitEvent](r)
			r.dial(0)
			until(t, "a rest", func() bool { return rest(r.proxy.front.resting.Load()) == restFull })
			tt.make(r, waiting)
			for {
				switch e := await[any](r).(type) {
				case WaitEvent:
					if e.Client.Number == 3 {
						return
					}
				case AdmitEvent:
					if e.Client.Number == 3 {
						return
					}
				}
			}
		})
	}
}

// Who begins to wait is told so; who is let in at once, or refused, is not.
func TestQueueMessage(t *testing.T) {
	const wait, full = "please wait\n", "full\n"
	r := run(t, newBackend(t, echo), 1, 1, func(c *Config) {
		c.Rules.QueueMessage = []byte(wait)
		c.Rules.WhenFull = Farewell{Kind: FarewellMessage, Text: []byte(full)}
	})
	door := r.dial(0)
	exchange(t, door, "in at once")
	c := r.dial(0)
	got := make([]byte, len(wait))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != wait {
		t.Fatalf("read %q, %v", got, err)
	}
	if got, err := io.ReadAll(r.dial(0)); err != nil || string(got) != full {
		t.Errorf("read %q, %v", got, err)
	}
	door.Close()
	exchange(t, c, "its turn")
	c.Close()
	if e := r.endOf(2); e.FromBackend != uint64(len("its turn")) {
		t.Errorf("%+v", e)
	}
}
