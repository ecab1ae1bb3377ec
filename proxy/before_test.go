package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

// gateway is a Before that a test opens for one client at a time.
type gateway struct {
	asked chan Client
	reply chan error
}

func newGateway() *gateway {
	return &gateway{asked: make(chan Client, 100), reply: make(chan error)}
}

func (g *gateway) before(ctx context.Context, c Client) error {
	g.asked <- c
	select {
	case err := <-g.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// It runs with the slot, and before the backend is asked for.
func TestBefore(t *testing.T) {
	b, g := newBackend(t, echo), newGateway()
	r := run(t, b, 1, 10, func(c *Config) { c.Before = g.before })
	c, next := r.dial(0), r.dial(0)
	fmt.Fprint(c, "first")
	fmt.Fprint(next, "second")
	for i, c := range []io.Reader{c, next} {
		if who := <-g.asked; who.Number != uint64(i+1) {
			t.Errorf("asked about %v", who)
		}
		if n := b.acquired.Load(); n != int64(i) {
			t.Errorf("the backend was asked for %d times before client %d was let in", n, i+1)
		}
		if s := r.proxy.Gate().Stats(); s.Active != 1 {
			t.Errorf("%+v", s)
		}
		g.reply <- nil
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		c.(io.Closer).Close()
		if e := r.endOf(uint64(i + 1)); e.Outcome != Served {
			t.Errorf("%+v", e)
		}
	}
}

// Who only waits for Before found a slot: it does not stand in line, and is
// told nothing.
func TestBeforeIsNoLine(t *testing.T) {
	g := newGateway()
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) {
		c.Before, c.Rules.QueueMessage = g.before, []byte("please wait\n")
	})
	c := r.dial(0)
	<-g.asked
	g.reply <- nil
	exchange(t, c, "nothing before this")
	c.Close()
	for {
		switch e := await[any](r).(type) {
		case WaitEvent:
			t.Errorf("%+v", e)
		case EndEvent:
			return
		}
	}
}

func TestBeforeFails(t *testing.T) {
	broken := errors.New("broken")
	for _, mayFail := range []bool{false, true} {
		t.Run(fmt.Sprint("it may: ", mayFail), func(t *testing.T) {
			b, g := newBackend(t, echo), newGateway()
			r := run(t, b, 1, 10, func(c *Config) { c.Before, c.Rules.Gate.BeforeMayFail = g.before, mayFail })
			c := r.dial(0)
			<-g.asked
			g.reply <- broken
			if mayFail {
				exchange(t, c, "served nevertheless")
				return
			}
			mustEOF(t, c)
			if e := r.endOf(1); e.Outcome != Unserved || !errors.Is(e.Err, broken) {
				t.Errorf("%+v", e)
			}
			if n := b.acquired.Load(); n != 0 {
				t.Errorf("the backend was asked for %d times", n)
			}
			next := r.dial(0)
			<-g.asked
			g.reply <- nil
			exchange(t, next, "its turn")
		})
	}
}

func TestBeforeHangs(t *testing.T) {
	g := newGateway()
	r := run(t, newBackend(t, echo), 1, 10, func(c *Config) {
		c.Before, c.Rules.Gate.BeforeTimeout = g.before, 20*time.Millisecond
	})
	mustEOF(t, r.dial(0))
	if e := r.endOf(1); e.Outcome != Unserved || !errors.Is(e.Err, context.DeadlineExceeded) {
		t.Errorf("%+v", e)
	}
}

// A client that leaves while Before runs is gone at once; its slot goes on when
// Before has ended.
func TestLeavingWhileBeforeRuns(t *testing.T) {
	b, g := newBackend(t, echo), newGateway()
	r := run(t, b, 1, 10, func(c *Config) { c.Before = g.before })
	gone, next := r.dial(0), r.dial(0)
	<-g.asked
	gone.Close()
	if e := r.endOf(1); e.Outcome != Left || e.Err != ErrHungUp {
		t.Errorf("%+v", e)
	}
	if s := r.proxy.Gate().Stats(); s.Active != 1 {
		t.Errorf("the slot went on before Before had ended: %+v", s)
	}
	g.reply <- nil
	if who := <-g.asked; who.Number != 2 {
		t.Errorf("asked about %v", who)
	}
	g.reply <- nil
	exchange(t, next, "its turn")
	if n := b.acquired.Load(); n != 1 {
		t.Errorf("the backend was asked for %d times", n)
	}
}

// Neither the drain nor being told to stop at once waits for a Before that
// hangs.
func TestStopWhileBeforeHangs(t *testing.T) {
	for _, how := range []string{"the drain is over", "at once"} {
		t.Run(how, func(t *testing.T) {
			hanging, released := make(chan struct{}), make(chan struct{})
			r := run(t, newBackend(t, echo), 1, 10, func(c *Config) {
				c.Before = func(context.Context, Client) error {
					close(hanging)
					<-released
					return nil
				}
				if how == "the drain is over" {
					c.Rules.Drain = 20 * time.Millisecond
				}
			})
			defer close(released)
			c := r.dial(0)
			<-hanging
			r.stop()
			if how == "at once" {
				r.now()
			}
			select {
			case <-r.ended:
			case <-time.After(patience):
				t.Fatal("Serve still waits for it")
			}
			mustEOF(t, c)
			if e := r.endOf(1); e.Outcome != Left || e.Err != ErrStopping {
				t.Errorf("%+v", e)
			}
		})
	}
}
