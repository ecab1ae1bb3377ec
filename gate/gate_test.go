package gate

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func enter(t *testing.T, g *Gate) *Turn {
	t.Helper()
	turn, err := g.Enter()
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

func TestEnter(t *testing.T) {
	for _, tt := range []struct {
		name          string
		limit, length int
		come          int // how many enter
		in, queued    int // of them
		err           error
	}{
		{"one at a time", 1, 10, 3, 1, 2, nil},
		{"three at a time", 3, 10, 3, 3, 0, nil},
		{"no limit", NoLimit, 0, 50, 50, 0, nil},
		{"nobody waits", 1, 0, 2, 1, 0, ErrFull},
		{"line is full", 1, 2, 4, 1, 2, ErrFull},
		{"negative is none", -1, -1, 4, 4, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := New(tt.limit, tt.length)
			var err error
			for range tt.come {
				_, err = g.Enter()
			}
			s := g.Stats()
			if err != tt.err || s.Active != tt.in || s.Queued != tt.queued {
				t.Errorf("last Enter: %v, inside %d, queued %d; want %v, %d, %d", err, s.Active, s.Queued, tt.err, tt.in, tt.queued)
			}
			if want := uint64(tt.come - tt.in - tt.queued); s.Refused != want {
				t.Errorf("refused %d, want %d", s.Refused, want)
			}
		})
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1, 100)
		door := enter(t, g)
		var served []int
		var wg sync.WaitGroup
		for i := range 50 {
			turn := enter(t, g)
			wg.Go(func() {
				if err := turn.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				served = append(served, i) // the gate is the lock
				time.Sleep(time.Second)
				turn.Done()
			})
		}
		door.Done()
		wg.Wait()
		if !slices.IsSorted(served) || len(served) != 50 {
			t.Errorf("served %v", served)
		}
	})
}

// A newcomer must not take a slot that was freed while others wait.
func TestNewcomerDoesNotOvertake(t *testing.T) {
	g := New(1, 10)
	first, second := enter(t, g), enter(t, g)
	first.Done()
	third := enter(t, g)
	if second.Waits() || !third.Waits() {
		t.Errorf("second waits: %v, third waits: %v", second.Waits(), third.Waits())
	}
}

func TestLeaving(t *testing.T) {
	t.Run("from the middle", func(t *testing.T) {
		g := New(1, 10)
		first, gone, next := enter(t, g), enter(t, g), enter(t, g)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("client hung up")
		cancel(why)
		if err := gone.Wait(ctx); err != why {
			t.Errorf("Wait = %v, want the cause", err)
		}
		first.Done()
		if next.Waits() {
			t.Error("the next in line was not let in")
		}
		gone.Done() // does no harm
		if s := g.Stats(); s.Active != 1 || s.Abandoned != 1 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("by deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := New(1, 10)
			enter(t, g)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			if _, err := g.Acquire(ctx); err != context.DeadlineExceeded || time.Since(start) != 5*time.Second {
				t.Errorf("Acquire = %v after %v", err, time.Since(start))
			}
			if s := g.Stats(); s.TimedOut != 1 || s.Abandoned != 0 {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("let in at the same moment", func(t *testing.T) {
		g := New(1, 10)
		first, gone, next := enter(t, g), enter(t, g), enter(t, g)
		first.Done() // hands the slot to the one who is gone
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		gone.leave(ctx)
		if next.Waits() || g.Stats().Active != 1 {
			t.Errorf("the slot was lost: %+v", g.Stats())
		}
	})
	t.Run("by Done", func(t *testing.T) {
		g := New(1, 10)
		enter(t, g)
		second := enter(t, g)
		second.Done()
		if s := g.Stats(); s.Queued != 0 || s.Abandoned != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDoneTwiceFreesOneSlot(t *testing.T) {
	g := New(2, 10)
	first, _, third, fourth := enter(t, g), enter(t, g), enter(t, g), enter(t, g)
	first.Done()
	first.Done()
	if third.Waits() || !fourth.Waits() {
		t.Errorf("third waits: %v, fourth waits: %v", third.Waits(), fourth.Waits())
	}
}

func TestSetLimit(t *testing.T) {
	g := New(1, 10)
	turns := []*Turn{enter(t, g), enter(t, g), enter(t, g), enter(t, g)}
	g.SetLimit(3)
	if s := g.Stats(); s.Active != 3 || s.Queued != 1 {
		t.Errorf("raised: %+v", s)
	}
	g.SetLimit(1)
	turns[0].Done()
	turns[1].Done()
	if s := g.Stats(); s.Active != 1 || s.Queued != 1 {
		t.Errorf("lowered: %+v", s)
	}
	turns[2].Done()
	if turns[3].Waits() {
		t.Error("the last one still waits")
	}
}

func TestClose(t *testing.T) {
	g := New(1, 10)
	first, second := enter(t, g), enter(t, g)
	g.Close()
	if err := second.Wait(t.Context()); err != ErrClosed {
		t.Errorf("Wait = %v", err)
	}
	if _, err := g.Enter(); err != ErrClosed {
		t.Errorf("Enter = %v", err)
	}
	first.Done()
	if s := g.Stats(); s.Active != 0 || s.Served != 1 || s.Abandoned != 1 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

// Many at once, many of them leaving: the limit is exact and no slot is lost.
func TestUnderRace(t *testing.T) {
	const limit = 3
	g := New(limit, 1000)
	var mu sync.Mutex
	inside, most := 0, 0
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*200*time.Microsecond)
			defer cancel()
			turn, err := g.Acquire(ctx)
			if err != nil {
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(time.Duration(i%3) * 100 * time.Microsecond) // being served
			mu.Lock()
			inside--
			mu.Unlock()
			turn.Done()
		})
	}
	wg.Wait()
	s := g.Stats()
	if most > limit || s.Active != 0 || s.Queued != 0 || s.Served+s.TimedOut != 200 {
		t.Errorf("most inside %d of %d; %+v", most, limit, s)
	}
}

// FuzzModel drives a Gate and a plain list side by side with the same events.
func FuzzModel(f *testing.F) {
	f.Add(uint8(1), uint8(4), []byte{0, 0, 0, 1, 2, 1})
	f.Add(uint8(0), uint8(0), []byte{0, 0, 1, 9, 0})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		script := make([]byte, 200)
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		f.Add(uint8(rng.IntN(4)), uint8(rng.IntN(9)), script)
	}
	f.Fuzz(func(t *testing.T, limit, length uint8, script []byte) {
		m := model{limit: int(limit % 5), length: int(length % 10)}
		g := New(m.limit, m.length)
		for _, b := range script {
			m.step(t, g, b)
		}
	})
}

// model is the gate as one would explain it: who is inside, and who waits.
type model struct {
	limit, length int
	inside, line  []*Turn
}

func (m *model) step(t *testing.T, g *Gate, b byte) {
	pick := func(s []*Turn) int { return int(b>>2) % len(s) }
	switch op := b & 3; {
	case op == 0:
		m.enter(t, g)
	case op == 1 && len(m.inside) > 0:
		i := pick(m.inside)
		m.inside[i].Done()
		m.inside = slices.Delete(m.inside, i, i+1)
	case op == 2 && len(m.line) > 0:
		i := pick(m.line)
		m.line[i].Done()
		m.line = slices.Delete(m.line, i, i+1)
	case op == 3:
		m.limit = int(b>>2) % 5
		g.SetLimit(m.limit)
	}
	for len(m.line) > 0 && (m.limit == NoLimit || len(m.inside) < m.limit) {
		m.inside, m.line = append(m.inside, m.line[0]), m.line[1:]
	}
	m.check(t, g)
}

func (m *model) enter(t *testing.T, g *Gate) {
	turn, err := g.Enter()
	switch {
	case m.limit == NoLimit || len(m.inside) < m.limit:
		m.inside = append(m.inside, turn)
	case len(m.line) < m.length:
		m.line = append(m.line, turn)
	default:
		if err != ErrFull {
			t.Fatalf("Enter = %v, want ErrFull", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) check(t *testing.T, g *Gate) {
	if s := g.Stats(); s.Active != len(m.inside) || s.Queued != len(m.line) || s.Limit != m.limit {
		t.Fatalf("%+v; model: limit %d, %d inside, %d in line", s, m.limit, len(m.inside), len(m.line))
	}
	for _, turn := range m.inside {
		if turn.Waits() {
			t.Fatal("a turn waits that the model let in")
		}
	}
	for _, turn := range m.line {
		if !turn.Waits() {
			t.Fatal("a turn was let in that the model keeps in line")
		}
	}
}
