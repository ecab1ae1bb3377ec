package gate

import "testing"

// A limit per source that is no lower than the limit never binds: it must not
// have those of another source pass.
func TestLimitPerSourceAboveTheLimit(t *testing.T) {
	for _, change := range []struct {
		name string
		do   func(*Gate)
	}{
		{"from the beginning", func(*Gate) {}},
		{"by a lower limit", func(g *Gate) { g.SetLimit(1) }},
	} {
		t.Run(change.name, func(t *testing.T) {
			limit := 1
			if change.name != "from the beginning" {
				limit = 2
			}
			g := New(Options{Limit: limit, Queue: 9, PerSource: 1})
			all := come(t, g, "a1", "a2")
			change.do(g)
			all = append(all, come(t, g, "b1")...)
			next := g.Line()[0].(*client)
			all[0].Done()
			if !next.in() {
				t.Errorf("%v was the first in line, and somebody else was let in", next)
			}
		})
	}
}
