package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
)

// clocked remembers when it was asked.
type clocked struct {
	*fake
	began time.Time
	asked []time.Duration // after it began
}

func (c *clocked) Status(ctx context.Context) (json.RawMessage, error) {
	c.asked = append(c.asked, time.Since(c.began))
	return c.fake.Status(ctx)
}

// It asks once a second, whatever the answer, and not while the screen is paused.
func TestAsking(t *testing.T) {
	answer := busy()
	for _, c := range []struct {
		name string
		fake *fake
	}{
		{"busy", answer},
		{"asleep", &fake{status: `{"state":"asleep"}`}},
		{"silent", &fake{}},
		{"silent in the middle", &fake{status: answer.status}},
		{"not understood", &fake{status: `[]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := &clocked{fake: c.fake, began: time.Now()}
				m := model{ctx: t.Context(), tiproxy: clock, width: 80, height: 24}
				pauses := []time.Duration{2 * time.Second, 5 * time.Second} // when p is hit
				for cmd := m.Init(); time.Since(clock.began) < 8*time.Second; {
					var next tea.Model
					next, cmd = m.Update(cmd())
					m = next.(model)
					if len(pauses) > 0 && time.Since(clock.began) >= pauses[0] {
						m, pauses = m.hit(t, 'p'), pauses[1:]
					}
				}
				if got := fmt.Sprint(clock.asked); got != "[0s 1s 2s 6s 7s]" {
					t.Errorf("it asked after %s", got)
				}
			})
		})
	}
}

// Who pauses the screen wants to read what is on it, and not what was under way.
func TestPausedScreenStandsStill(t *testing.T) {
	f := busy()
	m := watched(t, f, 80, 24).hit(t, 'p')
	before := m.shown()
	f.status = `{"state":"asleep"}`
	m = m.told(t, looked(f.look(t, noon.Add(glance))), silent{io.EOF}, tick{})
	if got := m.shown(); got != before {
		t.Errorf("got:\n%s\nwant:\n%s", got, before)
	}
	m = m.hit(t, 'p').told(t, looked(f.look(t, noon.Add(2*glance))))
	if got := m.shown(); !strings.Contains(got, "asleep") {
		t.Errorf("when it goes on:\n%s", got)
	}
}

// What was there before it fell asleep or silent is no more, and comes back.
func TestItComesBack(t *testing.T) {
	f := busy()
	m := watched(t, f, 80, 24)
	for _, away := range []tea.Msg{
		silent{errors.New("gone")},
		looked((&fake{status: `{"state":"asleep"}`}).look(t, noon.Add(time.Second))),
	} {
		m = m.told(t, away)
		if got := m.shown(); strings.Contains(got, "198.51.100") || m.hit(t, 'k').question != nil {
			t.Errorf("after %T it shows\n%s", away, got)
		}
		m = m.told(t, looked(f.look(t, noon.Add(2*time.Second))))
		if got := m.shown(); !strings.Contains(got, "198.51.100") || !strings.Contains(got, "▂▃▃▄") {
			t.Errorf("back after %T it shows\n%s", away, got)
		}
		if m.rates.known {
			t.Errorf("after %T there are rates: %+v", away, m.rates)
		}
	}
}

func TestResize(t *testing.T) {
	m := watched(t, busy(), 80, 24).told(t, tea.WindowSizeMsg{Width: 60, Height: 15})
	if got, want := m.shown(), watched(t, busy(), 60, 15).shown(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestRates(t *testing.T) {
	see := func(pid int, at time.Time, served uint64, sessions ...session) look {
		l := look{at: at, sessions: sessions}
		l.status.PID, l.status.Gate.Served = pid, served
		return l
	}
	before := see(1, noon, 10, session{Session: 1, In: 100, Out: 200}, session{Session: 2, In: 5000})
	now := see(1, noon.Add(2*time.Second), 13, session{Session: 1, In: 150, Out: 1200}, session{Session: 3, In: 8})
	r := ratesOf(before, now)
	if got, want := fmt.Sprint(r), "{true 1.5 {29 500} map[1:{25 500} 3:{4 0}]}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, c := range map[string]struct{ before, now look }{
		"the first look":    {look{}, see(0, noon, 10)},
		"another tiproxy":   {see(2, noon, 10), now},
		"at the same time":  {now, now},
		"a clock set back":  {now, before},
		"of one that slept": {look{at: noon}, now},
	} {
		if r := ratesOf(c.before, c.now); r.known {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestTrend(t *testing.T) {
	type level struct {
		after time.Duration
		level uint64
	}
	for _, c := range []struct {
		name   string
		levels []level
		want   string // the last letters
	}{
		{"nothing", nil, "    "},
		{"unknown", []level{{0, 0}}, "    "},
		{"one", []level{{0, 7}}, "   █"},
		{"the highest of a cell", []level{{0, 1}, {time.Second, 8}, {2 * time.Second, 3}, {trendCell, 4}}, "  █▅"},
		{"nothing is ever zero high", []level{{0, 1}, {trendCell, 1_000_000}}, "  ▁█"},
		{"a gap", []level{{0, 5}, {3 * trendCell, 5}}, "█  █"},
		{"a gap longer than all", []level{{0, 5}, {trendCells * trendCell * 2, 5}}, "   █"},
		{"a clock set back", []level{{trendCell, 4}, {0, 8}, {2 * trendCell, 4}}, "  █▅"},
		{"the largest number", []level{{0, math.MaxUint64}, {trendCell, math.MaxUint64 / 2}}, "  █▅"},
	} {
		var trend trend
		for _, l := range c.levels {
			trend.add(noon.Add(l.after), l.level)
		}
		if got := trend.draw(4); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTakeFails(t *testing.T) {
	whole := *busy()
	for _, c := range []struct {
		change func(*fake)
		want   string
	}{
		{func(f *fake) { f.status = "" }, "no tiproxy answers"},
		{func(f *fake) { f.queue = "" }, "no tiproxy answers"},
		{func(f *fake) { f.sessions = "" }, "no tiproxy answers"},
		{func(f *fake) { f.events = "" }, "no tiproxy answers"},
		{func(f *fake) { f.status = `{"pid":"seven"}` }, "cannot understand the status"},
		{func(f *fake) { f.queue = `{"waiting":[7]}` }, "cannot understand the queue"},
		{func(f *fake) { f.sessions = `{"sessions":[{"client":7}]}` }, "cannot understand the sessions"},
		{func(f *fake) { f.events = `{"events":[{"time":"noon"}]}` }, "cannot understand the events"},
	} {
		f := fake{status: whole.status, queue: whole.queue, sessions: whole.sessions, events: whole.events}
		c.change(&f)
		if _, err := take(t.Context(), &f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// One that sleeps could not answer more.
func TestOneThatSleepsIsLeftAlone(t *testing.T) {
	l, err := take(t.Context(), &fake{status: `{"state":"asleep"}`})
	if err != nil || l.status.State != asleep {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestRunEnds(t *testing.T) {
	t.Run("by the user", func(t *testing.T) {
		keys, hand := io.Pipe()
		go hand.Write([]byte("q"))
		if err := (Screen{In: keys, Out: io.Discard}).Run(t.Context(), busy()); err != nil {
			t.Error(err)
		}
	})
	t.Run("by its context", func(t *testing.T) {
		keys, _ := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := (Screen{In: keys, Out: io.Discard}).Run(ctx, busy()); err != nil {
			t.Error(err)
		}
	})
	t.Run("by its terminal", func(t *testing.T) {
		keys, hand := io.Pipe()
		hand.CloseWithError(errors.New("input/output error"))
		err := (Screen{In: keys, Out: io.Discard}).Run(t.Context(), busy())
		if err == nil || !strings.HasPrefix(err.Error(), "cannot show the screen: ") || !strings.Contains(err.Error(), "input/output error") {
			t.Error(err)
		}
	})
}
