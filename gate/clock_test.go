package gate

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const minute = time.Minute

func TestQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limit: 1, Queue: 9, QueueTimeout: minute})
		all := come(t, g, "1", "2", "a1")
		time.Sleep(minute / 2)
		all = append(all, come(t, g, "a2", "3")...)
		time.Sleep(minute/2 - time.Nanosecond)
		synctest.Wait()
		if got := inLine(g); got != "2 a1 a2 3" {
			t.Errorf("too early: in line: %s", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		for _, c := range all[1:3] {
			if len(c.heard()) != 1 || c.heard()[0] != ErrTimeout {
				t.Errorf("%s was told %v", c.name, c.heard())
			}
			c.Done() // does no harm
		}
		if got := inLine(g); got != "a2 3" {
			t.Errorf("after a minute: in line: %s; want a2 3", got)
		}
		all[0].Done()
		all[4].Leave()
		time.Sleep(minute) // it ends the wait, not the session
		synctest.Wait()
		if s, want := g.Stats(), (Stats{Limit: 1, Active: 1, Served: 1, Abandoned: 1, TimedOut: 2}); s != want || !all[3].in() {
			t.Errorf("a2 is in: %v, %+v; want %+v", all[3].in(), s, want)
		}
	})
}

func TestQueueTimeoutOfAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limit: 1, Queue: 9, QueueTimeout: minute})
		come(t, g, "1")
		start := time.Now()
		if _, err := g.Acquire(t.Context(), ""); err != ErrTimeout || time.Since(start) != minute {
			t.Errorf("Acquire: %v after %v", err, time.Since(start))
		}
	})
}

// The clock of the wait ends with it: Before has one of its own.
func TestQueueTimeoutEndsWithTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 2 * minute}
		g := New(Options{Limit: 1, Queue: 9, QueueTimeout: minute})
		all := come(t, g, "1", "2")
		g.Configure(Options{Limit: 1, Queue: 9, Before: h.run, QueueTimeout: minute})
		time.Sleep(minute / 2)
		all[0].Done()
		time.Sleep(2 * minute)
		synctest.Wait()
		if s := g.Stats(); !all[1].in() || s.TimedOut != 0 {
			t.Errorf("was told %v, %+v", all[1].heard(), s)
		}
	})
}

// A paused gate does not hold the clocks: who waits for too long goes.
func TestQueueTimeoutGoesOnInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limit: 1, Queue: 9, QueueTimeout: minute})
		g.Pause()
		c := come(t, g, "1")[0]
		time.Sleep(minute)
		synctest.Wait()
		if len(c.heard()) != 1 || c.heard()[0] != ErrTimeout {
			t.Errorf("was told %v", c.heard())
		}
	})
}

// SessionTimeout counts from being let in, and once.
func TestSessionTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan string, 9)
		h := &hook{takes: minute / 4}
		g := New(Options{Limit: 1, Queue: 9, SessionTimeout: minute, Before: h.run,
			Late: func(t *Turn) { late <- t.Waiter().(*client).name }})
		all := come(t, g, "1", "2", "3")
		for _, step := range []struct {
			sleep  time.Duration
			late   string // who was, in this step
			inside string // who is, or was
			done   int    // who is, after that; 0: nobody
		}{
			{minute/4 + minute - 1, "", "1", 0},
			{1, "1", "1", 0},
			{9 * minute, "", "1", 1},              // it keeps its slot until Done
			{minute/4 + minute - 1, "", "1 2", 2}, // just in time
			{9 * minute, "3", "1 2 3", 0},
		} {
			time.Sleep(step.sleep)
			synctest.Wait()
			who := ""
			for len(late) > 0 {
				who += <-late
			}
			if got := insiders(all); who != step.late || got != step.inside {
				t.Errorf("late: %s, were inside: %s; want %s, %s", who, got, step.late, step.inside)
			}
			if step.done > 0 {
				all[step.done-1].Done()
			}
		}
		if s, want := g.Stats(), (Stats{Limit: 1, Active: 1, Served: 2, Late: 2}); s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	})
}

// Late may end the session on the spot, and the next one comes in.
func TestLateMayCallDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limit: 1, Queue: 9, SessionTimeout: minute, Late: (*Turn).Done})
		all := come(t, g, "1", "2", "3")
		time.Sleep(minute + 1)
		synctest.Wait()
		if got := insiders(all); got != "1 2" {
			t.Errorf("after a minute: were inside: %s; want 1 2", got)
		}
		time.Sleep(2 * minute)
		synctest.Wait()
		if s, want := g.Stats(), (Stats{Limit: 1, Served: 3, Late: 3}); s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	})
}

// Nothing is done about sessions that last, if nobody wants to know.
func TestSessionTimeoutWithoutLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limit: 1, SessionTimeout: minute})
		come(t, g, "1")
		time.Sleep(2 * minute)
		synctest.Wait()
		if s, want := g.Stats(), (Stats{Limit: 1, Active: 1}); s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	})
}

// A turn is used again: the clocks of its first time are not those of its
// second.
func TestOldClockDoesNotHitANewTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late atomic.Int32
		g := New(Options{Limit: 1, Queue: 9, SessionTimeout: minute, QueueTimeout: minute, Late: func(*Turn) { late.Add(1) }})
		c := come(t, g, "1")[0]
		again := func() {
			c.Done()
			if err := c.enter(g); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 { // inside, and again
			time.Sleep(minute - time.Nanosecond)
			again()
		}
		synctest.Wait()
		if n := late.Load(); n != 0 {
			t.Errorf("late %d times", n)
		}
		time.Sleep(minute)
		synctest.Wait()
		if n := late.Load(); n != 1 {
			t.Errorf("late %d times, want once", n)
		}
		c.Done()
		come(t, g, "2")
		c.enter(g)
		for range 5 { // waiting, and again
			time.Sleep(minute - time.Nanosecond)
			again()
		}
		synctest.Wait()
		if c.heard() != nil {
			t.Errorf("was told %v", c.heard())
		}
		time.Sleep(minute)
		synctest.Wait()
		if len(c.heard()) != 1 || c.heard()[0] != ErrTimeout {
			t.Errorf("was told %v", c.heard())
		}
	})
}

// The clock runs out in the moment in which the turn ends and is used again:
// whoever is faster, what is told belongs to the first time. That also holds
// for the memory of the turn, as the race detector sees.
func TestClockRunsOutAsTheTurnIsUsedAgain(t *testing.T) {
	enter := func(g *Gate, turn *Turn) *client {
		c := &client{}
		if _, err := g.Enter(turn, c, ""); err != nil {
			t.Error(err)
		}
		return c
	}
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			seat := New(Options{Limit: 1, SessionTimeout: minute, Late: func(*Turn) {}})
			bench := New(Options{Queue: 1, QueueTimeout: minute})
			bench.Pause()
			var sits, waits Turn
			enter(seat, &sits)
			enter(bench, &waits)
			time.Sleep(minute)
			sits.Done()
			late := seat.Stats().Late
			enter(seat, &sits)
			waits.Done()
			again := enter(bench, &waits)
			synctest.Wait()
			if s := seat.Stats(); s.Late != late || s.Active != 1 {
				t.Errorf("%d were late, then %+v", late, s)
			}
			if s := bench.Stats(); again.heard() != nil || s.Queued != 1 {
				t.Errorf("who came again was told %v, %+v", again.heard(), s)
			}
		})
	}
}

// A clock that nobody needs any more is stopped: it would keep the memory of a
// client who is long gone.
func TestClocksAreStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limit: 1, Queue: 9, SessionTimeout: minute, QueueTimeout: minute, Late: func(*Turn) {}})
		all := come(t, g, "1", "2", "3", "4")
		session, letIn, leaves, closed := all[0].clock, all[1].clock, all[2].clock, all[3].clock
		all[0].Done()
		all[2].Leave()
		g.Close()
		for name, clock := range map[string]*time.Timer{"session": session, "let in": letIn, "leaves": leaves, "closed": closed} {
			if clock.Stop() {
				t.Errorf("%s: the clock still ran", name)
			}
		}
	})
}

// New rules hold for clocks that start; those that run go on by the old ones.
func TestConfigureLeavesClocksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var old, late atomic.Int32
		g := New(Options{Limit: 1, Queue: 9, QueueTimeout: minute, SessionTimeout: minute, Late: func(*Turn) { old.Add(1) }})
		all := come(t, g, "1", "2")
		g.Configure(Options{Limit: 1, Queue: 9, QueueTimeout: 9 * minute, SessionTimeout: 2 * minute, Late: func(*Turn) { late.Add(1) }})
		all = append(all, come(t, g, "3")...)
		time.Sleep(minute)
		synctest.Wait()
		if old.Load() != 1 || len(all[1].heard()) != 1 || all[2].heard() != nil {
			t.Errorf("late: %d, told: %v and %v", old.Load(), all[1].heard(), all[2].heard())
		}
		all[0].Done()
		time.Sleep(2 * minute)
		synctest.Wait()
		if old.Load() != 1 || late.Load() != 1 || !all[2].in() {
			t.Errorf("late: %d by the old rules and %d by the new, in: %v; want 1, 1, true", old.Load(), late.Load(), all[2].in())
		}
	})
}
