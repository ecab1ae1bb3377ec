package gate

import "container/heap"

// source is where turns come from, while one of them is here. All of it is
// under Gate.mu.
type source struct {
	gate   *Gate
	name   string // "": everyone
	line   line   // its turns that wait, first come first
	inside int    // its slots
	rank   uint64 // the order of sources in Gate.ready
	at     int    // place in Gate.ready, or nowhere
}

// nowhere is the place of a source that is not in the ring.
const nowhere = -1

// source finds or makes the source of that name; g.mu is held.
func (g *Gate) source(name string) *source {
	if name == "" {
		return &g.everyone
	}
	s := g.sources[name]
	if s == nil {
		s = &source{gate: g, name: name, at: nowhere}
		g.sources[name] = s
	}
	return s
}

// mayEnter tells whether the source has a slot left of its own. A limit of the
// gate's that is no higher comes first anyway.
func (s *source) mayEnter() bool {
	most, limit := s.gate.opts.PerSource, s.gate.opts.Limit
	return s.name == "" || most == 0 || limit != NoLimit && most >= limit || s.inside < most
}

// settle puts a source where it belongs after its line or its slots changed:
// into the ring while somebody of it could be let in; out of the gate's memory
// when nobody of it is left.
func (g *Gate) settle(s *source) {
	ready := s.line.first != nil && s.mayEnter()
	switch {
	case ready && s.at == nowhere:
		g.place(s)
		heap.Push(&g.ready, s)
	case ready && !g.opts.Fair: // another may be its first now
		g.place(s)
		heap.Fix(&g.ready, s.at)
	case !ready && s.at != nowhere:
		heap.Remove(&g.ready, s.at)
	}
	if s.name != "" && s.line.first == nil && s.inside == 0 {
		delete(g.sources, s.name)
	}
}

// place gives a source its rank: that of the turn that came first, or behind
// all others if sources take turns.
func (g *Gate) place(s *source) {
	if !g.opts.Fair {
		s.rank = s.line.first.number
		return
	}
	g.rounds++
	s.rank = g.rounds
}

// inOrder lists who waits, in the order in which they will be let in: those of
// the ring, then those of sources that have all their slots.
func (g *Gate) inOrder() []*Turn {
	all := make([]*Turn, 0, g.queued)
	upcoming := make(ring, 0, len(g.ready))
	parked := ring{}
	copyOf := func(s *source) {
		switch {
		case s.line.first == nil:
		case s.at != nowhere:
			upcoming = append(upcoming, &source{line: s.line, rank: s.rank})
		default:
			parked = append(parked, &source{line: s.line, rank: s.line.first.number})
		}
	}
	copyOf(&g.everyone)
	for _, s := range g.sources {
		copyOf(s)
	}
	return g.deal(&parked, g.deal(&upcoming, all))
}

// deal empties a ring of copies, as admit would, and appends its turns to all.
func (g *Gate) deal(r *ring, all []*Turn) []*Turn {
	heap.Init(r)
	// Those that are parked rank by arrival, and what comes again behind them.
	for rounds := max(g.rounds, g.arrivals); len(*r) > 0; {
		s := (*r)[0]
		t := s.line.first
		all = append(all, t)
		switch s.line.first = t.next; {
		case t.next == nil:
			heap.Pop(r)
			continue
		case g.opts.Fair:
			rounds++
			s.rank = rounds
		default:
			s.rank = t.next.number
		}
		heap.Fix(r, 0)
	}
	return all
}

// ring is a heap of sources by rank: the first is whose turn it is.
type ring []*source

func (r ring) Len() int           { return len(r) }
func (r ring) Less(i, j int) bool { return r[i].rank < r[j].rank }
func (r ring) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].at, r[j].at = i, j
}

// Push implements heap.Interface.
func (r *ring) Push(x any) {
	s := x.(*source)
	s.at = len(*r)
	*r = append(*r, s)
}

// Pop implements heap.Interface.
func (r *ring) Pop() any {
	last := len(*r) - 1
	s := (*r)[last]
	(*r)[last] = nil
	*r = (*r)[:last]
	s.at = nowhere
	return s
}

// line is a list of waiting turns in which each of them can leave at once.
// A slice would have to be searched when a client in the middle hangs up.
type line struct {
	first, last *Turn // nil: empty
	n           int
}

func (l *line) push(t *Turn) {
	t.prev = l.last
	if l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
	l.n++
}

func (l *line) remove(t *Turn) {
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	l.n--
}
