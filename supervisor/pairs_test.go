package supervisor

import (
	"testing"
	"time"
)

// ways lead a machine into each of its states.
var ways = map[State][]any{
	Stopped:  {},
	Starting: {asked{}, launched{1}},
	Ready:    {asked{}, launched{1}, isReady{1}},
	Draining: {asked{}, launched{1}, isReady{1}, recycle{1}},
	Frozen:   {asked{}, launched{1}, isReady{1}, released{1}, fire{}},
	Stopping: {asked{}, launched{1}, isReady{1}, released{1}, recycle{1}},
	Backoff:  {asked{}, unborn{1}},
}

// possible are the inputs of every kind, and whether they can come in a state:
// a child that does not live does not end.
var possible = []struct {
	in  any
	can func(State) bool
}{
	{asked{}, anytime}, {preload{}, anytime}, {shutter{}, anytime}, {hurry{}, anytime}, {fire{}, anytime},
	{quit{}, func(s State) bool { return s == Starting || s == Backoff }},
	{released{1}, func(s State) bool { return s == Ready || s == Draining }},
	{launched{1}, alive}, {isReady{1}, alive}, {recycle{1}, alive}, {ailing{1}, alive},
	{leaving{gen: 1}, alive}, {leaving{1, true}, alive}, {extend{1, time.Minute}, alive},
	{exited{gen: 1}, alive}, {exited{gen: 1, clean: true, uptime: time.Hour}, alive},
	{unborn{1}, func(s State) bool { return s == Starting }},
	{released{0}, anytime}, {launched{0}, anytime}, {isReady{0}, anytime}, {recycle{0}, anytime}, {ailing{0}, anytime},
	{leaving{gen: 0}, anytime}, {extend{0, time.Minute}, anytime}, {exited{gen: 0}, anytime}, {unborn{0}, anytime},
}

func anytime(State) bool { return true }
func alive(s State) bool { return s != Stopped && s != Backoff }

// Every input in every state keeps the invariants, and so does every input
// after that.
func TestEveryPair(t *testing.T) {
	pairs := 0
	for state, way := range ways {
		for _, first := range possible {
			if !first.can(state) {
				continue
			}
			for _, second := range possible {
				w := newWorld(t, way)
				if w.m.state != state {
					t.Fatalf("the way to %s leads to %s", state, w.m.state)
				}
				w.happens(first.in)
				if second.can(w.m.state) {
					w.happens(second.in)
				}
				pairs++
			}
		}
	}
	t.Logf("%d pairs of inputs", pairs)
}

func newWorld(t *testing.T, way []any) *world {
	m := newMachine()
	m.freeze = true
	w := &world{t: t, m: m, leases: map[uint64]int{}, given: map[uint64]int{}}
	for _, in := range way {
		w.happens(in)
	}
	return w
}

// happens makes an input happen in the world, whose own part of it comes first.
func (w *world) happens(in any) {
	switch in := in.(type) {
	case fire:
		w.step(elapsed{w.m.timer})
		return
	case asked:
		if w.closed {
			return
		}
		w.waiting++
	case quit:
		if w.waiting == 0 {
			return
		}
		w.waiting--
	case released:
		if w.leases[in.gen] == 0 {
			return
		}
		w.leases[in.gen]--
	case exited:
		if in.gen == w.m.gen && len(w.alive) == 0 {
			return
		}
		w.end(in.gen)
	case unborn:
		if in.gen == w.m.gen && w.m.state != Starting {
			return
		}
		w.end(in.gen)
	case shutter:
		w.closed = true
	}
	w.step(in)
}
