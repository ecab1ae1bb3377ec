package gate

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// hook is a Before that takes a while, and takes down for whom it ran.
type hook struct {
	takes time.Duration
	deaf  bool // to the end of its context
	err   error

	mu      sync.Mutex
	names   []string // for whom it ran
	running int
	most    int // that ran at once
}

func (h *hook) run(ctx context.Context, t *Turn) error {
	h.count(t.Waiter().(*client).name)
	defer h.uncount()
	if h.deaf {
		ctx = context.Background()
	}
	select {
	case <-time.After(h.takes):
		return h.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hook) count(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names = append(h.names, name)
	h.running++
	h.most = max(h.most, h.running)
}

func (h *hook) uncount() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running--
}

// ran tells for whom the hook ran.
func (h *hook) ran() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.names, " ")
}

// Before runs once for each turn, also for one that found room, and one after
// the other if there is one slot.
func TestBeforeRunsOnceForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: time.Second}
		g := New(Options{Limit: 1, Queue: 9, Before: h.run})
		all := come(t, g, "1", "2", "3")
		if s := g.Stats(); all[0].in() || all[0].waits() || !all[1].waits() || all[0].Queued() || !all[1].Queued() || s.Active != 1 || s.Queued != 2 {
			t.Errorf("Enter did not wait for Before: in %v, in line %v, queued %v; %+v", all[0].in(), all[0].waits(), all[0].Queued(), s)
		}
		for _, c := range all {
			time.Sleep(time.Second)
			synctest.Wait()
			if !c.in() || len(c.heard()) != 1 {
				t.Errorf("%s was told %v", c.name, c.heard())
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if ran := h.ran(); !strings.HasSuffix(ran, c.name) {
				t.Errorf("Before ran for %s while %s is inside", ran, c.name)
			}
			c.Done()
		}
		if ran := h.ran(); ran != "1 2 3" || h.most != 1 {
			t.Errorf("ran for %s, %d at once; want 1 2 3, 1", ran, h.most)
		}
	})
}

func TestBeforeFails(t *testing.T) {
	broken := errors.New("the mill is broken")
	for _, tt := range []struct {
		name    string
		hook    *hook
		mayFail bool
		after   time.Duration // the wait ends
		told    error
	}{
		{"succeeds", &hook{takes: time.Second}, false, time.Second, nil},
		{"error sends away", &hook{takes: time.Second, err: broken}, false, time.Second, broken},
		{"error lets in", &hook{takes: time.Second, err: broken}, true, time.Second, nil},
		{"hangs", &hook{takes: time.Hour}, false, 10 * time.Second, context.DeadlineExceeded},
		{"hangs, and may", &hook{takes: time.Hour}, true, 10 * time.Second, nil},
		{"is deaf, and a little late", &hook{takes: 10500 * time.Millisecond, deaf: true}, false, 10500 * time.Millisecond, nil},
		{"is deaf", &hook{takes: time.Hour, deaf: true}, false, 11 * time.Second, context.DeadlineExceeded},
		{"is deaf, and may fail", &hook{takes: time.Hour, deaf: true}, true, 11 * time.Second, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(Options{Limit: 1, Queue: 9, Before: tt.hook.run, BeforeTimeout: 10 * time.Second, BeforeMayFail: tt.mayFail})
				c := come(t, g, "1")[0]
				time.Sleep(tt.after - time.Nanosecond)
				synctest.Wait()
				if c.heard() != nil {
					t.Fatalf("was told %v too early", c.heard())
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if len(c.heard()) != 1 || !errors.Is(c.heard()[0], tt.told) {
					t.Fatalf("was told %v, want %v", c.heard(), tt.told)
				}
				want := Stats{Limit: 1, Active: 1}
				if tt.told != nil {
					want = Stats{Limit: 1, Failed: 1}
				}
				if s := g.Stats(); s != want {
					t.Errorf("%+v, want %+v", s, want)
				}
				c.Done()
				if s := g.Stats(); s.Active != 0 || s.Served+s.Failed != 1 {
					t.Errorf("done: %+v", s)
				}
				time.Sleep(2 * time.Hour) // the deaf one ends, and nobody hears
				synctest.Wait()
				if len(c.heard()) != 1 || g.Stats().Active != 0 {
					t.Errorf("told %v, %+v", c.heard(), g.Stats())
				}
			})
		})
	}
}

// A hook that fails or hangs hands the slot on to the next in line.
func TestSlotGoesOnWhenBeforeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: time.Hour, deaf: true}
		g := New(Options{Limit: 1, Queue: 9, Before: h.run, BeforeTimeout: 10 * time.Second})
		all := come(t, g, "a1", "a2", "b1")
		for _, c := range all {
			time.Sleep(11 * time.Second)
			synctest.Wait()
			if len(c.heard()) != 1 || c.in() {
				t.Errorf("%s was told %v", c.name, c.heard())
			}
		}
		if s, want := g.Stats(), (Stats{Limit: 1, Failed: 3}); s != want || len(g.sources) != 0 {
			t.Errorf("%+v, %d sources; want %+v, 0", s, len(g.sources), want)
		}
		time.Sleep(time.Hour) // the bubble ends with its goroutines
	})
}

func TestAcquireTellsWhyBeforeFailed(t *testing.T) {
	broken := errors.New("the mill is broken")
	g := New(Options{Limit: 1, Before: func(context.Context, *Turn) error { return broken }})
	if turn, err := g.Acquire(t.Context(), ""); turn != nil || err != broken {
		t.Errorf("Acquire: %v, %v", turn, err)
	}
}

// Who leaves while Before runs for him takes the slot along until it has ended.
func TestLeavingDuringBefore(t *testing.T) {
	broken := errors.New("the mill is broken")
	for _, tt := range []struct {
		name  string
		err   error // of Before
		leave func(g *Gate, c *client)
	}{
		{"by Leave", nil, func(_ *Gate, c *client) {
			if !c.Leave() {
				t.Error("Leave says that it did not wait")
			}
		}},
		{"by Done", nil, func(_ *Gate, c *client) { c.Done() }},
		{"by Done, and Before fails", broken, func(_ *Gate, c *client) { c.Done() }},
		{"twice", nil, func(_ *Gate, c *client) { c.Done(); c.Done(); c.Leave() }},
		{"and the gate pauses and goes on", nil, func(g *Gate, c *client) {
			c.Leave()
			g.Pause()
			g.Resume()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hook{takes: 10 * time.Second, err: tt.err}
				g := New(Options{Limit: 1, Queue: 9, Before: h.run, BeforeMayFail: true})
				all := come(t, g, "a1", "b1", "c1")
				time.Sleep(4 * time.Second)
				tt.leave(g, all[0])
				time.Sleep(6*time.Second - time.Nanosecond)
				synctest.Wait()
				if s := g.Stats(); h.ran() != "a1" || s.Active != 1 || s.Abandoned != 1 {
					t.Errorf("before it ended: ran for %s, %+v", h.ran(), s)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if s := g.Stats(); h.ran() != "a1 b1" || s.Active != 1 || s.Queued != 1 {
					t.Errorf("after it ended: ran for %s, %+v", h.ran(), s)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if !all[1].in() || all[0].heard() != nil || h.most != 1 {
					t.Errorf("the next is in: %v; who left was told %v; %d at once", all[1].in(), all[0].heard(), h.most)
				}
				if s, want := g.Stats(), (Stats{Limit: 1, Active: 1, Queued: 1, Abandoned: 1}); s != want {
					t.Errorf("%+v, want %+v", s, want)
				}
				all[2].Leave()
				all[1].Done()
				if len(g.sources) != 0 || g.Stats().Active != 0 {
					t.Errorf("%d sources are left, %+v", len(g.sources), g.Stats())
				}
			})
		})
	}
}

// A turn that left while Before ran for it may enter again at once, and wait or
// be called again: the Before that still runs is not its own any more.
func TestEnteringAgainDuringBefore(t *testing.T) {
	for _, tt := range []struct{ limit, inLine int }{{1, 1}, {2, 0}} {
		synctest.Test(t, func(t *testing.T) {
			g := New(Options{Limit: tt.limit, Queue: 9, PerSource: 1, Before: func(context.Context, *Turn) error {
				time.Sleep(10 * time.Second)
				return nil
			}})
			c := come(t, g, "a1")[0]
			time.Sleep(time.Second)
			c.Done()
			c.name = "b1"
			if err := c.enter(g); err != nil {
				t.Fatal(err)
			}
			if s := g.Stats(); s.Active != tt.limit || s.Queued != tt.inLine {
				t.Errorf("limit %d: entered again: %+v", tt.limit, s)
			}
			time.Sleep(9 * time.Second)
			synctest.Wait()
			if s := g.Stats(); c.in() || s.Active != 1 || s.Queued != 0 {
				t.Errorf("limit %d: the old Before ended: in %v, %+v", tt.limit, c.in(), s)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if s := g.Stats(); !c.in() || s.Active != 1 {
				t.Errorf("limit %d: the new Before ended: in %v, %+v", tt.limit, c.in(), s)
			}
			c.Done()
			if len(g.sources) != 0 || g.Stats().Active != 0 {
				t.Errorf("limit %d: %d sources are left, %+v", tt.limit, len(g.sources), g.Stats())
			}
		})
	}
}

// New rules do not touch a Before that runs, and hold for the next one.
func TestConfigureDuringBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 10 * time.Second}
		g := New(Options{Limit: 1, Queue: 9, Before: h.run})
		all := come(t, g, "1", "2")
		g.Configure(Options{Limit: 1, Queue: 9})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		all[0].Done()
		if h.ran() != "1" || insiders(all) != "1 2" {
			t.Errorf("ran for %s, were inside: %s; want 1, 1 2", h.ran(), insiders(all))
		}
	})
}

// A pause does not end what is called; close sends it away neither.
func TestClosingDuringBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{takes: 10 * time.Second}
		g := New(Options{Limit: 1, Queue: 9, Before: h.run})
		all := come(t, g, "1", "2")
		g.Pause()
		g.Close()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := insiders(all); got != "1" || len(all[1].heard()) != 1 {
			t.Errorf("inside: %s, 2 was told %v; want 1, %v", got, all[1].heard(), ErrClosed)
		}
	})
}
