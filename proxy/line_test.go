package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
)

// Fifty clients over two listeners reach the backend in the order in which
// they came, one at a time, whichever loop took them in.
func TestOrderOverTwoListeners(t *testing.T) {
	var mu sync.Mutex
	var order []string
	b := newBackend(t, func(c net.Conn) {
		name, _ := io.ReadAll(c)
		mu.Lock()
		order = append(order, string(name))
		mu.Unlock()
		fmt.Fprint(c, "bye")
	})
	two := withLoops(t, 2)
	r := run(t, b, 1, 100, func(c *Config) { two(c); c.Listeners = []Listener{listen(t), listen(t)} })
	door := r.dial(0)
	fmt.Fprint(door, "door")
	var clients []*net.TCPConn
	var want []string
	for i := range 50 {
		release := func() {}
		if i%3 == 0 {
			release = hold(r.proxy.loops[0])
		}
		c := r.dial(i % 2)
		await[WaitEvent](r) // so the next one comes later
		release()
		name := fmt.Sprintf("client %d", i)
		fmt.Fprint(c, name)
		c.CloseWrite()
		clients, want = append(clients, c), append(want, name)
	}
	door.CloseWrite()
	for _, c := range clients {
		if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if got, want := strings.Join(order, ","), "door,"+strings.Join(want, ","); got != want {
		t.Errorf("order: %s", got)
	}
	if b.most.Load() != 1 {
		t.Errorf("%d were at the backend at once", b.most.Load())
	}
}

func TestThoseWhoLeaveTheLine(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(*net.TCPConn)
		err   error
	}{
		{"close", func(c *net.TCPConn) { c.Close() }, ErrHungUp},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, ErrReset},
		{"reset after a request", func(c *net.TCPConn) { fmt.Fprint(c, "x"); c.SetLinger(0); c.Close() }, ErrReset},
		{"half-close without a request", func(c *net.TCPConn) { c.CloseWrite() }, ErrHungUp},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t, echo)
			r := run(t, b, 1, 10, nil)
			door := r.dial(0)
			exchange(t, door, "in")
			gone := r.dial(0)
			await[WaitEvent](r)
			tt.leave(gone)
			if e := await[EndEvent](r); e.Outcome != Left || !errors.Is(e.Err, tt.err) || e.Client.Number != 2 {
				t.Errorf("%+v", e)
			}
			if s := r.proxy.Gate().Stats(); s.Queued != 0 || s.Abandoned != 1 {
				t.Errorf("%+v", s)
			}
			if n := b.acquired.Load(); n != 1 {
				t.Errorf("the backend was asked for %d times", n)
			}
		})
	}
}

// echo request | nc -N: the client has said all and waits for the answer.
func TestHalfClosedRequestKeepsItsPlace(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, nil)
	door := r.dial(0)
	exchange(t, door, "in")
	c := r.dial(0)
	await[WaitEvent](r)
	fmt.Fprint(c, "request")
	c.CloseWrite()
	other := r.dial(0) // once it waits, the front has seen the half-close
	await[WaitEvent](r)
	other.Close()
	await[EndEvent](r)
	door.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "request" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHangUpWhileTheBackendStarts(t *testing.T) {
	b := newBackend(t, echo)
	b.open = make(chan struct{})
	r := run(t, b, 1, 10, nil)
	gone, next := r.dial(0), r.dial(0)
	await[WaitEvent](r)
	gone.Close()
	if e := await[EndEvent](r); e.Outcome != Left || e.Err != ErrHungUp {
		t.Errorf("%+v", e)
	}
	close(b.open)
	exchange(t, next, "its turn")
	if n := b.acquired.Load(); n != 1 {
		t.Errorf("%d leases were given", n)
	}
}

// A client that only connects wakes nobody, takes no slot, and is sent away.
func TestWakeOnData(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 1, 1, func(c *Config) { c.Rules.WakeOnData, c.Rules.WakeTimeout = true, never })
	silent, leaving := r.dial(0), r.dial(0)
	leaving.Close()
	if e := await[EndEvent](r); e.Outcome != Left || e.Err != ErrHungUp {
		t.Errorf("%+v", e)
	}
	if n := b.acquired.Load(); n != 0 {
		t.Errorf("the backend was asked for %d times by those who said nothing", n)
	}
	if s := r.proxy.Gate().Stats(); s.Active != 0 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
	exchange(t, r.dial(0), "speaks first") // and holds the slot
	fmt.Fprint(silent, "speaks at last")
	await[WaitEvent](r)
	late := r.dial(0)
	fmt.Fprint(late, "one too many")
	mustEOF(t, late)
	if e := await[EndEvent](r); e.Outcome != Refused || e.Err != gate.ErrFull {
		t.Errorf("%+v", e)
	}
	r.stop()
	mustEOF(t, silent)
	if e := await[EndEvent](r); e.Outcome != Left || !errors.Is(e.Err, ErrStopping) {
		t.Errorf("%+v", e)
	}
}

func TestSilentClientDoesNotHoldUpTheDrain(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 1, func(c *Config) { c.Rules.WakeOnData, c.Rules.WakeTimeout = true, never })
	exchange(t, r.dial(0), "accepted after")
	silent := r.dial(0)
	fmt.Fprint(r.dial(0), "the silent one") // so that one is accepted, too
	await[WaitEvent](r)
	r.stop()
	mustEOF(t, silent)
	for range 2 {
		if e := await[EndEvent](r); e.Client.Number == 2 && (e.Outcome != Left || e.Err != ErrStopping) {
			t.Errorf("%+v", e)
		}
	}
}

// Only the first byte asks for a place.
func TestWakeOnDataOnce(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.Rules.WakeOnData, c.Rules.WakeTimeout = true, never })
	exchange(t, r.dial(0), "holds the slot")
	talker := r.dial(0)
	fmt.Fprint(talker, "first")
	await[WaitEvent](r)
	fmt.Fprint(talker, "second")
	fmt.Fprint(r.dial(0), "another")
	await[WaitEvent](r) // by now the front has seen the second piece
	if s := r.proxy.Gate().Stats(); s.Queued != 2 {
		t.Errorf("%d in line, want 2", s.Queued)
	}
}

func TestWakeTimeout(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.Rules.WakeOnData, c.Rules.WakeTimeout = true, 20*time.Millisecond })
	mustEOF(t, r.dial(0))
	if e := await[EndEvent](r); e.Outcome != Left || e.Err != ErrSilent {
		t.Errorf("%+v", e)
	}
	c := r.dial(0) // a request and its half-close at once are data
	fmt.Fprint(c, "request")
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "request" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFullLineRefuses(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 1, nil)
	door := r.dial(0)
	exchange(t, door, "in")
	r.dial(0)
	await[WaitEvent](r)
	c := r.dial(0)
	mustEOF(t, c)
	e := await[EndEvent](r)
	if e.Outcome != Refused || e.Err != gate.ErrFull || e.Hint() == "" {
		t.Errorf("%+v", e)
	}
}

// Who waits is told of before what becomes of him, also when that is decided while
// he takes his place.
func TestShortestWaitIsToldOf(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 1000, func(c *Config) { c.Rules.Gate.QueueTimeout = time.Nanosecond })
	exchange(t, r.dial(0), "in")
	await[AdmitEvent](r)
	const rounds, many = 10, 200
	waited := map[uint64]bool{}
	for range rounds {
		var all []net.Conn
		for range many {
			all = append(all, r.dial(0))
		}
		for ended := 0; ended < many; {
			switch e := await[any](r).(type) {
			case WaitEvent:
				waited[e.Client.Number] = true
			case EndEvent:
				ended++
				if !waited[e.Client.Number] || e.Err != ErrQueueTimeout {
					t.Errorf("waited: %v, and then %+v", waited[e.Client.Number], e)
				}
			}
		}
		for _, c := range all {
			c.Close()
		}
	}
}

func TestQueueTimeout(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) { c.Rules.Gate.QueueTimeout = 20 * time.Millisecond })
	door := r.dial(0)
	exchange(t, door, "in")
	c := r.dial(0)
	fmt.Fprint(c, "what nobody has read must not turn the end into a reset")
	mustEOF(t, c)
	e := await[EndEvent](r)
	if e.Outcome != Left || e.Err != ErrQueueTimeout || e.Waited < 20*time.Millisecond {
		t.Errorf("%+v", e)
	}
	if s := r.proxy.Gate().Stats(); s.TimedOut != 1 {
		t.Errorf("%+v", s)
	}
	exchange(t, door, "not touched")
}
