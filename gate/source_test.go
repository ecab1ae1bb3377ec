package gate

import (
	"fmt"
	"strings"
	"testing"
)

// A hundred from one source cannot keep another one out.
func TestFloodOfOneSource(t *testing.T) {
	g := New(Options{Limit: 2, Queue: 1000, PerSource: 1})
	var flood []*client
	for i := range 100 {
		flood = append(flood, come(t, g, fmt.Sprint("a", i))...)
	}
	if got := insiders(flood); got != "a0" {
		t.Errorf("inside are %s, want a0", got)
	}
	b := come(t, g, "b1", "b2")
	if !b[0].in() || b[1].in() {
		t.Errorf("inside: b1 %v, b2 %v; want true, false", b[0].in(), b[1].in())
	}
	for i := range 99 {
		flood[i].Done()
		if s := g.Stats(); !flood[i+1].in() || s.Active != 2 {
			t.Fatalf("after a%d: the next is in: %v, %+v", i, flood[i+1].in(), s)
		}
	}
	b[0].Done()
	if !b[1].in() {
		t.Error("b2 still waits")
	}
}

func TestQueuePerSource(t *testing.T) {
	g := New(Options{Limit: 1, Queue: 6, QueuePerSource: 2})
	all := map[string]*client{}
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"a1", nil}, {"a2", nil}, {"a3", nil}, // a1 is inside
		{"a4", ErrSourceFull},
		{"b1", nil}, {"b2", nil}, {"b3", ErrSourceFull},
		{"1", nil}, {"2", nil}, // no source, no rule about it
		{"3", ErrFull}, {"c1", ErrFull}, {"a5", ErrFull},
	} {
		c, err := from(g, tt.name)
		all[tt.name] = c
		if err != tt.err {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
	all["b1"].Leave()
	if _, err := from(g, "b4"); err != nil {
		t.Errorf("after one of b left: %v", err)
	}
	if got, want := inLine(g), "a2 a3 b2 1 2 b4"; got != want {
		t.Errorf("in line: %s; want %s", got, want)
	}
}

// What a source has of its own does not matter to a turn that finds room.
func TestRoomNeedsNoPlaceInLine(t *testing.T) {
	g := New(Options{Limit: 3, QueuePerSource: 1, PerSource: 2})
	if got := insiders(come(t, g, "a1", "a2", "b1")); got != "a1 a2 b1" {
		t.Errorf("inside are %s", got)
	}
	g = New(Options{Limit: 3, PerSource: 1})
	come(t, g, "a1")
	if _, err := from(g, "a2"); err != ErrFull || (g.Places() == 0) {
		t.Errorf("Enter = %v, full %v; want %v: there is room, but not for a", err, (g.Places() == 0), ErrFull)
	}
}

// A source is remembered as long as one of its turns is here, however it goes.
func TestSourcesAreForgotten(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(g *Gate, all []*client)
	}{
		{"done", func(_ *Gate, all []*client) {
			for _, c := range all {
				c.Done()
			}
		}},
		{"the last comes first", func(_ *Gate, all []*client) {
			for i := range all {
				all[len(all)-1-i].Done()
			}
		}},
		{"refused", func(g *Gate, all []*client) {
			g.Configure(Options{Limit: 1})
			from(g, "z")
			g.Close()
			from(g, "y")
			all[0].Done()
		}},
	} {
		for _, fair := range []bool{false, true} {
			g := New(Options{Limit: 1, Queue: 10, PerSource: 1, Fair: fair})
			all := come(t, g, "a1", "a2", "b1", "c1", "b2", "1", "2")
			if len(g.sources) != 3 {
				t.Errorf("remembers %d sources, want 3", len(g.sources))
			}
			tt.do(g, all)
			if len(g.sources) != 0 || len(g.ready) != 0 || g.Stats().Active != 0 {
				t.Errorf("%s, fair %v: remembers %d sources, %d in the ring", tt.name, fair, len(g.sources), len(g.ready))
			}
		}
	}
}

// drain has who was let in last go, until nobody of the line comes in, and tells the
// order in which they came in.
func drain(inside *client, all []*client) string {
	var order []string
	last := inside
	for _, c := range all {
		c.moved = func() {
			order = append(order, c.name)
			last = c
		}
	}
	for going := (*client)(nil); going != last; {
		going = last
		going.Done()
	}
	return strings.Join(order, " ")
}

// Line tells who will be let in, and when.
func TestLineIsTheOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules Options
		come  string // the first is inside
		leave string // then these do
		then  string // then these come
		want  string
	}{
		{"first come, first served", Options{}, "1 a1 a2 b1 2 a3 c1", "", "", "a1 a2 b1 2 a3 c1"},
		{"some leave", Options{}, "1 a1 a2 b1 2 a3 c1", "a1 2", "", "a2 b1 a3 c1"},
		{"sources take turns", Options{Fair: true}, "1 a1 a2 a3 a4 b1 b2 c1 2 3", "", "",
			"a1 b1 c1 2 a2 b2 3 a3 a4"},
		{"a source that has been served stands behind", Options{Fair: true}, "a1 a2 b1 b2", "", "c1",
			"a2 b1 c1 b2"},
		{"a source keeps its turn when its first leaves", Options{Fair: true}, "1 a1 b1 a2 b2", "a1", "",
			"a2 b1 b2"},
		{"a source that left altogether stands behind", Options{Fair: true}, "1 a1 b1 b2", "a1", "a2",
			"b1 a2 b2"},
		{"the last of the ring leaves", Options{Fair: true}, "1 a1 b1 c1 a2", "c1", "c2",
			"a1 b1 c2 a2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.rules.Limit, tt.rules.Queue = 1, 100
			g := New(tt.rules)
			all := come(t, g, strings.Fields(tt.come)...)
			for _, c := range all {
				if strings.Contains(" "+tt.leave+" ", " "+c.name+" ") {
					c.Leave()
				}
			}
			all = append(all, come(t, g, strings.Fields(tt.then)...)...)
			if got := inLine(g); got != tt.want {
				t.Errorf("in line: %s\nwant     %s", got, tt.want)
			}
			if got := drain(all[0], all); got != tt.want {
				t.Errorf("let in:  %s\nwant     %s", got, tt.want)
			}
		})
	}
}

// A source that has all its slots is passed over, and Line says so: its turns
// stand behind, in the order that holds among them.
func TestLineWithParkedSources(t *testing.T) {
	for _, tt := range []struct {
		name          string
		fair          bool
		come          string // the first one goes again and again; p and q have all their slots
		ready, parked string
	}{
		{"first come, first served", false, "1 p1 q1 p2 q2 a1 p3 2 3 q3 4", "a1 2 3 4", "p2 q2 p3 q3"},
		{"sources take turns", true, "1 p1 q1 p2 p3 q2 a1 2 3 p4 q3 4", "a1 2 3 4", "p2 q2 p3 q3 p4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := New(Options{Limit: 3, Queue: 100, PerSource: 1, Fair: tt.fair})
			all := come(t, g, strings.Fields(tt.come)...)
			if got, want := inLine(g), tt.ready+" "+tt.parked; got != want {
				t.Errorf("in line: %s\nwant     %s", got, want)
			}
			if got := drain(all[0], all); got != tt.ready {
				t.Errorf("let in:  %s\nwant     %s", got, tt.ready)
			}
			if got := inLine(g); got != tt.parked {
				t.Errorf("in line: %s\nwant     %s", got, tt.parked)
			}
			g.Configure(Options{Limit: 1, Queue: 100, Fair: tt.fair}) // now all may come, one at a time
			all[2].Done()
			if got := drain(all[1], all); got != tt.parked {
				t.Errorf("let in:  %s\nwant     %s", got, tt.parked)
			}
		})
	}
}
