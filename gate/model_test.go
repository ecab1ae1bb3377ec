package gate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestModel drives a Gate and plain lists side by side through 300 random events.
func TestModel(t *testing.T) {
	for seed := range uint64(50) {
		run(t, script(seed, 300))
	}
}

// FuzzModel does so with the events that the fuzzer thinks of. It begins with
// few, since it tries to shorten all that is new to it.
func FuzzModel(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(script(seed, 20))
	}
	f.Fuzz(func(t *testing.T, events []byte) { run(t, events[:min(len(events), 1000)]) })
}

// script is a number of random events: two bytes each, what happens, and to
// whom.
func script(seed uint64, events int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := make([]byte, 2*events)
	for i := range all {
		all[i] = byte(rng.Uint32())
	}
	return all
}

// run has the events of a script happen, and then all leave.
func run(t *testing.T, script []byte) {
	m := newModel(t)
	for ; len(script) >= 2; script = script[2:] {
		m.step(script[0], int(script[1]))
	}
	m.clear()
}

// model is the gate as one would explain it: who is inside, and who waits.
type model struct {
	t      *testing.T
	g      *Gate
	rules  Options
	paused bool
	closed bool

	inside []*client
	line   []*client           // in the order of arrival
	turns  []string            // the sources of which somebody could be let in, whose turn it is first
	gone   []*client           // done, left, sent away or refused
	heard  map[*client][]error // what each must have been told

	arrivals int
	counts   Stats
	full     bool // the line was, after the last step
	room     int  // how often Room must have been called
	roomTold int  // how often it was
}

func newModel(t *testing.T) *model {
	m := &model{t: t, heard: map[*client][]error{}}
	m.rules = Options{Limit: 1, Queue: 5, Room: func() { m.roomTold++ }}
	m.g = New(m.rules)
	return m
}

// step is one event, and what follows from it.
func (m *model) step(what byte, whom int) {
	switch what %= 16; {
	case what < 7:
		m.enter(whom)
	case what < 10 && len(m.inside) > 0:
		m.done(whom)
	case what < 12 && len(m.line) > 0:
		m.leave(whom)
	case what == 12:
		m.rules.Limit = max(whom%6-1, 0)
		m.g.SetLimit(whom%6 - 1)
	case what == 13:
		m.configure(whom)
	case what == 14:
		m.pause(whom%2 == 0)
	case what == 15 && whom < 4:
		m.close()
	case len(m.gone) > 0: // who is gone is gone
		c := m.gone[whom%len(m.gone)]
		c.Done()
		if c.waits() || c.Leave() {
			m.t.Errorf("%s left twice", c.name)
		}
	}
	m.admit()
	m.check()
}

func (m *model) enter(whom int) {
	c := &client{}
	if whom >= 128 && len(m.gone) > 0 { // a turn is used again
		c = take(&m.gone, whom)
	}
	m.arrivals++
	c.name = fmt.Sprint([]string{"", "a", "b", "c", "d"}[whom%5], m.arrivals)
	m.heard[c] = nil
	want := m.refuses(c.source())
	if err := c.enter(m.g); err != want {
		m.t.Fatalf("%s enters: %v, want %v", c.name, err, want)
	}
	room := m.hasRoom() && m.maySend(c.source())
	switch {
	case want != nil:
		m.counts.Refused++
		m.gone = append(m.gone, c)
		return
	case room:
		m.inside = append(m.inside, c)
	default:
		m.line = append(m.line, c)
	}
	if c.Queued() == room {
		m.t.Errorf("%s was queued: %v; there was room: %v", c.name, c.Queued(), room)
	}
}

func (m *model) done(whom int) {
	c := take(&m.inside, whom)
	c.Done()
	m.counts.Served++
	m.gone = append(m.gone, c)
}

func (m *model) leave(whom int) {
	c := take(&m.line, whom)
	if whom%2 == 0 {
		c.Done()
	} else if !c.Leave() {
		m.t.Errorf("%s does not leave, but it waits", c.name)
	}
	m.counts.Abandoned++
	m.gone = append(m.gone, c)
}

// configure sets one of 256 different rules. Sources that take turns keep their
// order.
func (m *model) configure(which int) {
	rng := rand.New(rand.NewPCG(uint64(which), 0))
	rules := Options{Limit: rng.IntN(5), Queue: rng.IntN(12), PerSource: rng.IntN(3), QueuePerSource: rng.IntN(4),
		Fair: rng.IntN(2) == 1, Room: m.rules.Room}
	m.turns = sources(m.order())
	m.rules = rules
	m.g.Configure(rules)
}

func (m *model) pause(on bool) {
	if m.paused = on; on {
		m.g.Pause()
	} else {
		m.g.Resume()
	}
}

func (m *model) close() {
	m.closed = true
	for _, c := range m.line {
		m.heard[c] = []error{ErrClosed}
	}
	m.counts.Abandoned += uint64(len(m.line))
	m.gone = append(m.gone, m.line...)
	m.line = nil
	m.g.Close()
}

// admit lets in who can be.
func (m *model) admit() {
	m.settle()
	for m.hasRoom() && len(m.turns) > 0 {
		c := m.order()[0]
		m.line = slices.DeleteFunc(m.line, func(other *client) bool { return other == c })
		m.inside = append(m.inside, c)
		m.heard[c] = []error{nil}
		m.turns = slices.DeleteFunc(m.turns, func(s string) bool { return s == c.source() })
		m.settle()
	}
}

// settle takes out of the turns who cannot be let in, and puts behind who can.
func (m *model) settle() {
	m.turns = slices.DeleteFunc(m.turns, func(s string) bool { return count(m.line, s) == 0 || !m.maySend(s) })
	for _, s := range sources(m.line) {
		if m.maySend(s) && !slices.Contains(m.turns, s) {
			m.turns = append(m.turns, s)
		}
	}
}

// order is who waits, whoever is let in next first: those whose source may send
// one in, then the others.
func (m *model) order() (all []*client) {
	parked := slices.DeleteFunc(sources(m.line), m.maySend)
	for _, group := range [][]string{m.turns, parked} {
		line := slices.DeleteFunc(slices.Clone(m.line), func(c *client) bool { return !slices.Contains(group, c.source()) })
		for round := 0; m.rules.Fair && len(line) > 0; round++ {
			for _, s := range group {
				if i := slices.IndexFunc(line, func(c *client) bool { return c.source() == s }); i >= 0 {
					all = append(all, line[i])
					line = slices.Delete(line, i, i+1)
				}
			}
		}
		all = append(all, line...)
	}
	return all
}

func (m *model) hasRoom() bool {
	return !m.paused && (m.rules.Limit == NoLimit || len(m.inside) < m.rules.Limit)
}

// maySend tells whether a source has not all its slots.
func (m *model) maySend(source string) bool {
	most, limit := m.rules.PerSource, m.rules.Limit
	return source == "" || most == 0 || limit != NoLimit && most >= limit || count(m.inside, source) < most
}

func (m *model) refuses(source string) error {
	switch most := m.rules.QueuePerSource; {
	case m.closed:
		return ErrClosed
	case m.hasRoom() && m.maySend(source):
		return nil
	case len(m.line) >= m.rules.Queue:
		return ErrFull
	case source != "" && most > 0 && count(m.line, source) >= most:
		return ErrSourceFull
	}
	return nil
}

// clear sends all away, one after the other; then nothing is left of them.
func (m *model) clear() {
	m.pause(false)
	m.admit()
	for len(m.inside)+len(m.line) > 0 {
		if len(m.inside) > 0 {
			m.done(m.arrivals)
		} else {
			m.leave(m.arrivals)
		}
		m.admit()
		m.check()
	}
	if g := m.g; len(g.sources) != 0 || len(g.ready) != 0 || g.everyone.line != (line{}) {
		m.t.Errorf("the gate is empty, and remembers %d sources, %d of them in its ring", len(g.sources), len(g.ready))
	}
}

// check compares.
func (m *model) check() {
	m.t.Helper()
	want := m.counts
	want.Limit, want.Active, want.Queued, want.Paused = m.rules.Limit, len(m.inside), len(m.line), m.paused
	if s := m.g.Stats(); s != want {
		m.t.Fatalf("%+v\nmodel: %+v", s, want)
	}
	for c, heard := range m.heard {
		if got := c.heard(); !slices.Equal(got, heard) {
			m.t.Fatalf("%s was told %v; model: %v", c.name, got, heard)
		}
	}
	for _, c := range m.inside {
		if !c.in() || c.waits() {
			m.t.Fatalf("%s waits, and is inside in the model", c.name)
		}
	}
	for _, c := range m.line {
		if !c.waits() {
			m.t.Fatalf("%s does not wait, and does in the model", c.name)
		}
	}
	var line []Waiter
	for _, c := range m.order() {
		line = append(line, c)
	}
	if got := m.g.Line(); !slices.Equal(got, line) {
		m.t.Fatalf("in line: %s\nmodel:   %v", inLine(m.g), names(m.order()))
	}
	m.checkRoom()
	m.checkSources()
}

func (m *model) checkRoom() {
	full := !m.hasRoom() && len(m.line) >= m.rules.Queue
	if m.full && !full {
		m.room++
	}
	m.full = full
	if (m.g.Places() == 0) != full || m.roomTold != m.room {
		m.t.Fatalf("full: %v, Room was called %d times; model: %v, %d", m.g.Places() == 0, m.roomTold, full, m.room)
	}
}

// checkSources looks inside: whose turn it is, and that each source of somebody
// who is here is known once, and no other.
func (m *model) checkSources() {
	here := sources(slices.Concat(m.inside, m.line))
	here = slices.DeleteFunc(here, func(s string) bool { return s == "" })
	if len(m.g.sources) != len(here) || len(m.g.ready) != len(m.turns) {
		m.t.Fatalf("knows %d sources, %d in the ring; model: %v, %v", len(m.g.sources), len(m.g.ready), here, m.turns)
	}
	for _, s := range here {
		if m.g.sources[s] == nil {
			m.t.Fatalf("knows no source %s", s)
		}
	}
	for at, s := range m.g.ready {
		if s.at != at || !slices.Contains(m.turns, s.name) {
			m.t.Fatalf("%q is %d. in the ring and thinks to be %d.; model: %q", s.name, at, s.at, m.turns)
		}
	}
}

// take removes one of some clients.
func take(all *[]*client, whom int) *client {
	i := whom % len(*all)
	c := (*all)[i]
	*all = slices.Delete(*all, i, i+1)
	return c
}

func count(all []*client, source string) (n int) {
	for _, c := range all {
		if c.source() == source {
			n++
		}
	}
	return n
}

// sources are those of some clients, each once, in the order of their first.
func sources(all []*client) (names []string) {
	for _, c := range all {
		if s := c.source(); !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	return names
}

func names(all []*client) (names []string) {
	for _, c := range all {
		names = append(names, c.name)
	}
	return names
}
