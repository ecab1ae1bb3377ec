package gate

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// crowd is many turns of many sources, one of them inside.
type crowd struct {
	g      *Gate
	turns  []member
	inside *member
}

type member struct {
	Turn
	crowd  *crowd
	source string
}

func (m *member) Moved(error) { m.crowd.inside = m }

func (m *member) enter() {
	if _, err := m.crowd.g.Enter(&m.Turn, m, m.source); err != nil {
		panic(err)
	}
}

// newCrowd has n turns wait, three of each source, and one be inside.
func newCrowd(n int, rules Options) *crowd {
	rules.Limit, rules.Queue = 1, n
	c := &crowd{g: New(rules), turns: make([]member, n+1)}
	for i := range c.turns {
		c.turns[i] = member{crowd: c, source: fmt.Sprint("2001:db8::", i/3)}
		c.turns[i].enter()
	}
	c.inside = &c.turns[0]
	return c
}

var kinds = []struct {
	name  string
	rules Options
}{
	{"plain", Options{}},
	{"PerSource", Options{PerSource: 1}},
	{"Fair", Options{Fair: true}},
	{"QueueTimeout", Options{QueueTimeout: time.Hour}},
}

// BenchmarkLine has one leave from the middle of the line and come again behind,
// and then the one inside be done, the next be let in, and the first come again
// behind: two arrivals, one leaving and one letting in.
func BenchmarkLine(b *testing.B) {
	for _, kind := range kinds {
		for _, n := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				c := newCrowd(n, kind.rules)
				i := 0
				for b.Loop() {
					i = (i + n/2 + 1) % len(c.turns)
					if m := &c.turns[i]; m.Leave() {
						m.enter()
					}
					m := c.inside
					m.Done()
					m.enter()
				}
				if s := c.g.Stats(); s.Active != 1 || s.Queued != n {
					b.Errorf("%+v", s)
				}
			})
		}
	}
}

// BenchmarkWaiting tells what 10,000 in line cost in memory, each with its
// source's share. A new crowd is made in each round.
func BenchmarkWaiting(b *testing.B) {
	const n = 10_000
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			var each float64
			for b.Loop() {
				before := inUse()
				c := newCrowd(n, kind.rules)
				each = float64(inUse()-before) / n
				runtime.KeepAlive(c)
			}
			b.ReportMetric(each, "B/turn")
		})
	}
}

// inUse is how many bytes of memory are.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
