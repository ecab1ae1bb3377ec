package gate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// client enters in these tests, and takes down what it is told.
type client struct {
	Turn
	name  string // begins with its source; the one without rules if that is a digit
	moved func() // called by Moved; nil: nothing is

	mu     sync.Mutex
	atOnce bool    // Enter let it in
	told   []error // what Moved said
}

func (c *client) Moved(err error) {
	c.mu.Lock()
	c.told = append(c.told, err)
	c.mu.Unlock()
	if c.moved != nil {
		c.moved()
	}
}

// enter takes a turn; what was heard of an earlier one is forgotten.
func (c *client) enter(g *Gate) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	in, err := g.Enter(&c.Turn, c, c.source())
	c.atOnce, c.told = in, nil
	return err
}

func (c *client) source() string { return strings.TrimRight(c.name, "0123456789") }

// heard is what Moved said.
func (c *client) heard() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

// in tells whether the client knows that it is inside, or was.
func (c *client) in() bool {
	return slices.Contains(c.heard(), nil) || c.atOnce
}

// waits tells whether the client stands in line.
func (c *client) waits() bool {
	if c.from == nil {
		return false
	}
	c.from.gate.mu.Lock()
	defer c.from.gate.mu.Unlock()
	return c.state == waiting
}

// from has a client of that name enter.
func from(g *Gate, name string) (*client, error) {
	c := &client{name: name}
	return c, c.enter(g)
}

// come has clients enter, none of which may be refused.
func come(t *testing.T, g *Gate, names ...string) []*client {
	t.Helper()
	var all []*client
	for _, name := range names {
		c, err := from(g, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, c)
	}
	return all
}

// inLine is who waits, by name.
func inLine(g *Gate) string {
	var names []string
	for _, w := range g.Line() {
		names = append(names, w.(*client).name)
	}
	return strings.Join(names, " ")
}

// insiders are those of some clients who know that they are inside, or were.
func insiders(all []*client) string {
	var names []string
	for _, c := range all {
		if c.in() {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, " ")
}

func TestEnter(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rules      Options
		come       int // how many enter
		in, queued int // of them
		err        error
		full       bool
	}{
		{"zero value", Options{}, 50, 50, 0, nil, false},
		{"one at a time", Options{Limit: 1, Queue: 10}, 3, 1, 2, nil, false},
		{"three at a time", Options{Limit: 3, Queue: 10}, 3, 3, 0, nil, false},
		{"no limit needs no line", Options{Limit: NoLimit, Queue: 10}, 50, 50, 0, nil, false},
		{"nobody waits", Options{Limit: 1}, 2, 1, 0, ErrFull, true},
		{"line just full", Options{Limit: 1, Queue: 2}, 3, 1, 2, nil, true},
		{"line too short", Options{Limit: 1, Queue: 2}, 4, 1, 2, ErrFull, true},
		{"negative is zero", Options{Limit: -1, Queue: -1, PerSource: -1, QueuePerSource: -1}, 4, 4, 0, nil, false},
		{"no source, no rule about it", Options{Limit: 2, Queue: 9, PerSource: 1, QueuePerSource: 1}, 5, 2, 3, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := New(tt.rules)
			var last error
			for range tt.come {
				_, last = from(g, "1")
			}
			want := Stats{Limit: max(tt.rules.Limit, 0), Active: tt.in, Queued: tt.queued,
				Refused: uint64(tt.come - tt.in - tt.queued)}
			if s := g.Stats(); last != tt.err || s != want {
				t.Errorf("last Enter: %v, %+v; want %v, %+v", last, s, tt.err, want)
			}
			if (g.Places() == 0) != tt.full || len(g.Line()) != tt.queued {
				t.Errorf("full: %v, in line: %d; want %v, %d", (g.Places() == 0), len(g.Line()), tt.full, tt.queued)
			}
		})
	}
}

// Fifty wait for one slot and keep it a second each: it is taken fifty times in
// a row, and not for a moment by two.
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Limit: 1, Queue: 50})
		door := come(t, g, "1")[0]
		var served []int
		var all sync.WaitGroup
		for i := range 50 {
			called := make(chan struct{})
			c := &client{moved: func() { close(called) }}
			if err := c.enter(g); err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				<-called
				served = append(served, i) // the gate is the lock
				time.Sleep(time.Second)
				c.Done()
			})
		}
		start := time.Now()
		door.Done()
		all.Wait()
		if !slices.IsSorted(served) || len(served) != 50 {
			t.Errorf("served %v", served)
		}
		if took := time.Since(start); took != 50*time.Second {
			t.Errorf("took %v, want 50s", took)
		}
	})
}

// A newcomer must not take a slot that was freed while others wait, not even
// one who comes while the next is being told.
func TestNewcomerDoesNotOvertake(t *testing.T) {
	g := New(Options{Limit: 1, Queue: 10})
	all := come(t, g, "1", "2")
	all[1].moved = func() { all = append(all, come(t, g, "3")...) }
	all[0].Done()
	if got := insiders(all); got != "1 2" || inLine(g) != "3" {
		t.Errorf("inside: %s, in line: %s; want 1 2, 3", got, inLine(g))
	}
}

func TestLeaving(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(all []*client) // 2 leaves; it stands between 1 and 3
	}{
		{"by Leave", func(all []*client) {
			if !all[2].Leave() {
				t.Error("Leave says that the turn did not wait")
			}
		}},
		{"by Done", func(all []*client) { all[2].Done() }},
		{"twice", func(all []*client) {
			all[2].Done()
			all[2].Done()
			if all[2].Leave() {
				t.Error("Leave says that a turn waited which had left")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := New(Options{Limit: 1, Queue: 10})
			all := come(t, g, "0", "1", "2", "3")
			tt.leave(all)
			if got := inLine(g); got != "1 3" {
				t.Errorf("in line: %s; want 1 3", got)
			}
			all[0].Done()
			all[1].Done()
			if got := insiders(all); got != "0 1 3" || all[2].heard() != nil {
				t.Errorf("inside: %s, and 2 was told %v; want 0 1 3, nothing", got, all[2].heard())
			}
			if s, want := g.Stats(), (Stats{Limit: 1, Active: 1, Served: 2, Abandoned: 1}); s != want {
				t.Errorf("%+v, want %+v", s, want)
			}
		})
	}
}

func TestFirstAndLastLeave(t *testing.T) {
	g := New(Options{Limit: 1, Queue: 10})
	all := come(t, g, "0", "1", "2", "3", "4")
	all[1].Leave()
	all[4].Leave()
	come(t, g, "5")
	all[0].Done()
	if got := inLine(g); !all[2].in() || got != "3 5" {
		t.Errorf("2 is in: %v, in line: %s; want true, 3 5", all[2].in(), got)
	}
	all[2].Leave() // does nothing: it stands in line no more
	if s := g.Stats(); s.Active != 1 || s.Abandoned != 2 {
		t.Errorf("%+v", s)
	}
}

func TestTurnThatNeverEntered(t *testing.T) {
	var never Turn
	never.Done()
	if never.Queued() || never.Leave() {
		t.Error("it is said to wait")
	}
}

func TestDoneTwiceFreesOneSlot(t *testing.T) {
	g := New(Options{Limit: 2, Queue: 10})
	all := come(t, g, "1", "2", "3", "4")
	all[0].Done()
	all[0].Done()
	if got := insiders(all); got != "1 2 3" || g.Stats().Served != 1 {
		t.Errorf("were let in: %s, %+v; want 1 2 3, one served", got, g.Stats())
	}
}

func TestAcquire(t *testing.T) {
	why := errors.New("client hung up")
	gone, hangUp := context.WithCancelCause(t.Context())
	hangUp(why)
	for _, tt := range []struct {
		name  string
		ctx   context.Context
		queue int
		err   error
	}{
		{"the cause of ctx's end", gone, 1, why},
		{"the error of Enter", t.Context(), 0, ErrFull},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := New(Options{Limit: 1, Queue: tt.queue})
			if _, err := g.Acquire(gone, ""); err != nil {
				t.Fatalf("with room: %v", err)
			}
			turn, err := g.Acquire(tt.ctx, "")
			if turn != nil || err != tt.err {
				t.Errorf("got %v, %v; want %v", turn, err, tt.err)
			}
			if s := g.Stats(); s.Active != 1 || s.Queued != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The context of Acquire ends as the slot comes: whoever is faster, the slot is
// not lost, and the next one gets it.
func TestAcquireEndsAsTheSlotComes(t *testing.T) {
	for i := range 400 {
		synctest.Test(t, func(t *testing.T) {
			g := New(Options{Limit: 1, Queue: 10})
			door := come(t, g, "1")[0]
			ctx, hangUp := context.WithCancel(t.Context())
			go func() {
				synctest.Wait()
				if i%2 == 0 {
					hangUp()
					door.Done()
				} else {
					door.Done()
					hangUp()
				}
			}()
			turn, err := g.Acquire(ctx, "")
			synctest.Wait()
			switch {
			case err == nil:
				turn.Done()
			case err != context.Canceled:
				t.Errorf("Acquire: %v", err)
			}
			if s := g.Stats(); s.Active != 0 || s.Queued != 0 || s.Served+s.Abandoned != 2 {
				t.Errorf("%v, then %+v", err, s)
			}
			if !come(t, g, "2")[0].in() {
				t.Error("the slot was lost")
			}
		})
	}
}

// Many at once, many of them leaving: the limits are exact and no slot is lost.
func TestUnderRace(t *testing.T) {
	const limit, perSource, callers = 4, 2, 300
	for _, fair := range []bool{false, true} {
		g := New(Options{Limit: limit, Queue: callers, PerSource: perSource, Fair: fair})
		sources := []string{"a", "b", "c", "d", "e"}
		var mu sync.Mutex
		inside, most, total, mostOfAll := map[string]int{}, 0, 0, 0
		count := func(source string, n int) {
			mu.Lock()
			defer mu.Unlock()
			inside[source] += n
			total += n
			most, mostOfAll = max(most, inside[source]), max(mostOfAll, total)
		}
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				source := sources[i%len(sources)]
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*200*time.Microsecond)
				defer cancel()
				turn, err := g.Acquire(ctx, source)
				if err != nil {
					return
				}
				count(source, 1)
				time.Sleep(time.Duration(i%3) * 100 * time.Microsecond) // being served
				count(source, -1)
				turn.Done()
			})
		}
		all.Wait()
		s := g.Stats()
		if s.Active != 0 || s.Queued != 0 || s.Served+s.Abandoned != callers || len(g.sources) != 0 {
			t.Errorf("fair %v: %+v and %d sources are left", fair, s, len(g.sources))
		}
		if most > perSource || mostOfAll > limit {
			t.Errorf("fair %v: %d of one source and %d of all were inside; most are %d and %d", fair, most, mostOfAll, perSource, limit)
		}
	}
}
