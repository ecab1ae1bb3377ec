package proxy

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
)

// Each stage has its client: 1 is joined, 2 announces itself, 3 is silent, 4
// waits; with a backend that does not answer, 1 is entering.
func oneAtEachStage(t testing.TB, b *backend, change func(*Config)) (*running, [5]*net.TCPConn) {
	t.Helper()
	r := run(t, b, 1, 10, func(c *Config) {
		c.Listeners = []Listener{listen(t), listenUnix(t)}
		c.Rules.Trusted = sources(t, "127.0.0.1")
		c.Rules.WakeOnData, c.Rules.WakeTimeout = true, never
		if change != nil {
			change(c)
		}
	})
	var clients [5]*net.TCPConn
	for i, text := range []string{1: header(1) + "x", 2: "", 3: header(1), 4: header(2) + "x"} {
		if i == 0 {
			continue
		}
		c := r.dial(0)
		io.WriteString(c, text)
		clients[i] = c
		want := []Stage{1: Joined, 2: Announcing, 3: Silent, 4: Waiting}[i]
		if i == 1 && b.open != nil {
			want = Entering
		}
		until(t, fmt.Sprint("stage ", want), func() bool {
			all := r.proxy.Sessions()
			return len(all) == i && all[i-1].Stage == want
		})
	}
	return r, clients
}

func TestKick(t *testing.T) {
	for _, tt := range []struct {
		name   string
		number uint64
		starts bool // the backend, for ever
		how    Outcome
	}{
		{"joined", 1, false, Served},
		{"entering", 1, true, Left},
		{"announcing", 2, false, Left},
		{"silent", 3, false, Left},
		{"waiting", 4, false, Left},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t, func(c net.Conn) { io.Copy(io.Discard, c) })
			if tt.starts {
				b.open = make(chan struct{})
			}
			r, clients := oneAtEachStage(t, b, nil)
			if !r.proxy.Kick(tt.number) {
				t.Error("nobody has that number")
			}
			if tt.how == Served {
				mustReset(t, clients[tt.number])
			} else {
				mustEOF(t, clients[tt.number])
			}
			if e := r.endOf(tt.number); e.Outcome != tt.how || e.Err != ErrKicked {
				t.Errorf("%+v", e)
			}
			until(t, "an end", func() bool { return len(r.proxy.Sessions()) == 3 })
			if r.proxy.Kick(tt.number) || r.proxy.Kick(99) {
				t.Error("somebody who is not there was kicked")
			}
		})
	}
}

// Sessions tells all in the order of coming, Line those who wait in the order
// of being let in.
func TestSessions(t *testing.T) {
	b := newBackend(t, echo)
	b.gen = 9
	r := run(t, b, 1, 10, func(c *Config) { c.Rules.Gate.Fair = true })
	exchange(t, r.dial(0), "twelve bytes")
	for _, from := range []string{"127.0.0.2", "127.0.0.2", "127.0.0.3"} {
		r.dialFrom(from, 0)
		await[WaitEvent](r)
	}
	until(t, "bytes counted", func() bool { return r.proxy.Sessions()[0].FromBackend == 12 })
	all, line := r.proxy.Sessions(), r.proxy.Line()
	if got := numbers(all); got != "[1 2 3 4]" {
		t.Errorf("sessions %v", got)
	}
	if got := numbers(line); got != "[2 4 3]" { // sources take turns
		t.Errorf("line %v", got)
	}
	in, waits := all[0], all[1]
	if in.Stage != Joined || in.Inside <= 0 || in.Generation != 9 || in.FromClient != 12 || in.FromBackend != 12 {
		t.Errorf("%+v", in)
	}
	if waits.Stage != Waiting || waits.Inside != 0 || waits.Waited <= 0 || waits.Generation != 0 || waits.Client.Addr.IP.Addr().String() != "127.0.0.2" {
		t.Errorf("%+v", waits)
	}
}

func numbers(all []Session) string {
	list := []uint64{}
	for _, s := range all {
		list = append(list, s.Client.Number)
	}
	return fmt.Sprint(list)
}

// Whose end is told is no session any more.
func TestEndedIsNoSession(t *testing.T) {
	served, left := make(chan *Proxy, 1), make(chan int, 1)
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) {
		c.Events = func(e Event) {
			if _, ended := e.(*EndEvent); ended {
				left <- len((<-served).Sessions())
			}
		}
	})
	c := r.dial(0)
	exchange(t, c, "in")
	served <- r.proxy
	c.Close()
	if n := <-left; n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestPause(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 0, 10, nil)
	in := r.dial(0)
	exchange(t, in, "in")
	r.proxy.Gate().Pause()
	c := r.dial(0)
	if e := await[WaitEvent](r); e.Client.Number != 2 {
		t.Errorf("%+v", e)
	}
	exchange(t, in, "not concerned")
	if n := b.acquired.Load(); n != 1 {
		t.Errorf("the backend was asked for %d times", n)
	}
	r.proxy.Gate().Resume()
	exchange(t, c, "on again")
}

// A paused gate is drained like any other.
func TestStopWhilePaused(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, nil)
	r.proxy.Gate().Pause()
	c := r.dial(0)
	await[WaitEvent](r)
	r.stop()
	mustEOF(t, c)
	if e := r.endOf(1); e.Err != ErrStopping {
		t.Errorf("%+v", e)
	}
	<-r.ended
}

// Rules hold for what begins from now on, wherever the clients stand.
func TestConfigureWithClientsAtEachStage(t *testing.T) {
	r, clients := oneAtEachStage(t, newBackend(t, echo), nil)
	rules := r.cfg.Rules
	rules.Trusted, rules.WakeOnData = nil, false
	rules.Access.DenyFrom = sources(t, visitor.IP.Addr().String())
	rules.Gate.Limit = 3
	r.proxy.Configure(rules)
	for _, i := range []int{1, 4} { // joined, and waiting
		if _, err := io.ReadFull(clients[i], make([]byte, 1)); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	exchange(t, clients[3], "it was silent, and had been let in")
	io.WriteString(clients[2], header(1)) // it still has to announce itself, by the new rules
	mustEOF(t, clients[2])
	if e := r.endOf(2); e.Outcome != Denied {
		t.Errorf("%+v", e)
	}
	rules.Gate.Limit = gate.NoLimit
	r.proxy.Configure(rules)
	exchange(t, r.dial(0), header(1)) // no longer expected
}

// Lower limits put nobody out; the line goes on when there is room again.
func TestLowerLimit(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 3, 10, nil)
	var in []*net.TCPConn
	for range 3 {
		c := r.dial(0)
		exchange(t, c, "in")
		in = append(in, c)
	}
	next := r.dial(0)
	await[WaitEvent](r)
	r.proxy.Gate().SetLimit(1)
	for i, c := range in {
		exchange(t, c, "still in")
		if s := r.proxy.Gate().Stats(); s.Queued != 1 || s.Active != 3-i {
			t.Errorf("%+v", s)
		}
		c.Close()
		r.endOf(uint64(i + 1))
	}
	exchange(t, next, "its turn")
}

// Kicks that meet every step between line and backend: each client ends once,
// and the slot goes on.
func TestKickInTheAct(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, nil)
	for i := uint64(1); i <= 200; i++ {
		c := r.dial(0)
		kicked := make(chan bool)
		go func() {
			for !r.proxy.Kick(i) {
			}
			close(kicked)
		}()
		c.Read(make([]byte, 1))
		<-kicked
		c.Close()
		if e := r.endOf(i); e.Err != ErrKicked {
			t.Fatalf("%+v", e)
		}
	}
	exchange(t, r.dial(0), "its turn")
}

// The drain ends those at every stage but the one inside.
func TestStopWithClientsAtEachStage(t *testing.T) {
	r, clients := oneAtEachStage(t, newBackend(t, echo), func(c *Config) { c.Rules.Drain = time.Hour })
	io.ReadFull(clients[1], make([]byte, 1))
	r.stop()
	for i := 2; i <= 4; i++ {
		mustEOF(t, clients[i])
		if e := r.endOf(uint64(i)); e.Outcome != Left || e.Err != ErrStopping {
			t.Errorf("%+v", e)
		}
	}
	exchange(t, clients[1], "still in")
	clients[1].Close()
	if idle := <-r.ended; idle {
		t.Error("it was told to stop")
	}
}
