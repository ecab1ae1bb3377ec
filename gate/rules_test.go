package gate

import "testing"

func TestSetLimit(t *testing.T) {
	g := New(Options{Limit: 1, Queue: 10})
	all := come(t, g, "1", "2", "3", "4")
	g.SetLimit(3)
	if got := insiders(all); got != "1 2 3" {
		t.Errorf("raised to 3: inside are %s", got)
	}
	g.SetLimit(1)
	all[0].Done()
	all[1].Done()
	if s := g.Stats(); s.Limit != 1 || s.Active != 1 || s.Queued != 1 {
		t.Errorf("lowered to 1: %+v", s)
	}
	all[2].Done()
	if !all[3].in() {
		t.Error("the last one still waits")
	}
	all = come(t, g, "5", "6", "7")
	g.SetLimit(-1)
	if got := insiders(all); got != "5 6 7" {
		t.Errorf("no limit: inside are %s", got)
	}
}

func TestConfigure(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after Options
		come          []string
		wantIn, wantQ string // after Configure
		thenDone      int    // this one is done
		thenIn, thenQ string
	}{
		{"limit up", Options{Limit: 1, Queue: 9}, Options{Limit: 2, Queue: 9},
			[]string{"1", "2", "3"}, "1 2", "3", 0, "1 2 3", ""},
		{"limit down", Options{Limit: 2, Queue: 9}, Options{Limit: 1, Queue: 9},
			[]string{"1", "2", "3"}, "1 2", "3", 0, "1 2", "3"},
		{"a shorter line puts nobody out", Options{Limit: 1, Queue: 9}, Options{Limit: 1, Queue: 1},
			[]string{"1", "2", "3"}, "1", "2 3", 0, "1 2", "3"},
		{"more per source", Options{Limit: 3, Queue: 9, PerSource: 1}, Options{Limit: 3, Queue: 9, PerSource: 2},
			[]string{"a1", "a2", "a3"}, "a1 a2", "a3", 0, "a1 a2 a3", ""},
		{"fewer per source", Options{Limit: 3, Queue: 9, PerSource: 2}, Options{Limit: 3, Queue: 9, PerSource: 1},
			[]string{"a1", "a2", "a3", "b1", "b2"}, "a1 a2 b1", "a3 b2", 0, "a1 a2 b1", "a3 b2"},
		{"no more rule per source", Options{Limit: 3, Queue: 9, PerSource: 1}, Options{Limit: 3, Queue: 9},
			[]string{"a1", "a2", "b1", "a3"}, "a1 a2 b1", "a3", 1, "a1 a2 b1 a3", ""},
		{"a rule per source", Options{Limit: 2, Queue: 9}, Options{Limit: 2, Queue: 9, PerSource: 1},
			[]string{"a1", "a2", "a3", "b1"}, "a1 a2", "b1 a3", 0, "a1 a2 b1", "a3"},
		{"fair", Options{Limit: 1, Queue: 9}, Options{Limit: 1, Queue: 9, Fair: true},
			[]string{"1", "a1", "a2", "a3", "b1", "2"}, "1", "a1 b1 2 a2 a3", 0, "1 a1", "b1 2 a2 a3"},
		{"fair no more", Options{Limit: 1, Queue: 9, Fair: true}, Options{Limit: 1, Queue: 9},
			[]string{"1", "a1", "a2", "a3", "b1", "2"}, "1", "a1 a2 a3 b1 2", 0, "1 a1", "a2 a3 b1 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := New(tt.before)
			all := come(t, g, tt.come...)
			g.Configure(tt.after)
			if in, line := insiders(all), inLine(g); in != tt.wantIn || line != tt.wantQ {
				t.Errorf("inside: %s, in line: %s; want %s, %s", in, line, tt.wantIn, tt.wantQ)
			}
			all[tt.thenDone].Done()
			if in, line := insiders(all), inLine(g); in != tt.thenIn || line != tt.thenQ {
				t.Errorf("one done: were inside: %s, in line: %s; want %s, %s", in, line, tt.thenIn, tt.thenQ)
			}
		})
	}
}

// Rules that do not change change nothing: not whose turn it is, either.
func TestConfigureKeepsWhoseTurnItIs(t *testing.T) {
	rules := Options{Limit: 1, Queue: 99, Fair: true}
	g := New(rules)
	all := come(t, g, "1", "a1", "b1", "c1", "d1", "e1", "f1", "a2", "b2", "c2")
	all[0].Done() // a is served, and its turn comes again behind f
	const want = "b1 c1 d1 e1 f1 a2 b2 c2"
	for range 5 {
		g.Configure(rules)
		if got := inLine(g); got != want {
			t.Fatalf("in line: %s; want %s", got, want)
		}
	}
}

func TestClose(t *testing.T) {
	g := New(Options{Limit: 1, Queue: 10, Fair: true})
	all := come(t, g, "1", "2", "a1", "3")
	var order []string
	for _, c := range all {
		c.moved = func() { order = append(order, c.name) }
	}
	g.Close()
	for _, c := range all[1:] {
		if len(c.heard()) != 1 || c.heard()[0] != ErrClosed {
			t.Errorf("%s was told %v", c.name, c.heard())
		}
	}
	if len(order) != 3 || order[0] != "2" || order[1] != "a1" {
		t.Errorf("sent away in the order %v, want 2 a1 3", order)
	}
	if _, err := from(g, "4"); err != ErrClosed {
		t.Errorf("Enter = %v", err)
	}
	all[0].Done()
	if _, err := from(g, "a5"); err != ErrClosed {
		t.Errorf("Enter with room = %v", err)
	}
	g.Close() // does no harm
	if s, want := g.Stats(), (Stats{Limit: 1, Served: 1, Abandoned: 3, Refused: 2}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	if len(g.sources) != 0 {
		t.Errorf("remembers %d sources", len(g.sources))
	}
}

// A pause keeps everybody where he is: who comes waits, who leaves leaves, and a
// slot that is given back is not handed on before it ends.
func TestPause(t *testing.T) {
	g := New(Options{Limit: 3, Queue: 4, PerSource: 1})
	all := come(t, g, "1", "a1")
	g.Pause()
	all = append(all, come(t, g, "2", "a2", "3", "4")...)
	if _, err := from(g, "5"); err != ErrFull || (g.Places() > 0) {
		t.Errorf("Enter = %v, full: %v; want %v", err, (g.Places() == 0), ErrFull)
	}
	all[0].Done()
	all[4].Leave()
	g.SetLimit(2)
	g.Configure(Options{Limit: 2, Queue: 4, PerSource: 1})
	if got := insiders(all); got != "1 a1" || inLine(g) != "2 4 a2" {
		t.Errorf("paused: inside were %s, in line: %s; want 1 a1, 2 4 a2", got, inLine(g))
	}
	if s, want := g.Stats(), (Stats{Limit: 2, Active: 1, Queued: 3, Paused: true, Served: 1, Refused: 1, Abandoned: 1}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	g.Resume()
	if got := insiders(all); got != "1 a1 2" || inLine(g) != "4 a2" || g.Stats().Paused {
		t.Errorf("went on: inside were %s, in line: %s; want 1 a1 2, 4 a2", got, inLine(g))
	}
}

// Room tells each time that the line has been full and is not any more, and at
// no other time.
func TestRoom(t *testing.T) {
	var g *Gate
	told := 0
	rules := Options{Limit: 1, Queue: 2, Room: func() {
		told++
		if g.Places() == 0 {
			t.Error("Room was called while the line is full")
		}
	}}
	g = New(rules)
	var all []*client
	more := func(names ...string) func() { return func() { all = append(all, come(t, g, names...)...) } }
	for _, step := range []struct {
		what string
		do   func()
		full bool
		told int // so far
	}{
		{"three come", more("1", "2", "3"), true, 0},
		{"one is refused", func() { from(g, "4") }, true, 0},
		{"the last leaves", func() { all[2].Leave() }, false, 1},
		{"the other leaves, too", func() { all[1].Leave() }, false, 1},
		{"two come", more("5", "6"), true, 1},
		{"the first is done", func() { all[0].Done() }, false, 2},
		{"one comes", more("7"), true, 2},
		{"the limit rises", func() { g.SetLimit(2) }, false, 3},
		{"one comes, and it sinks", func() { more("8")(); g.SetLimit(1) }, true, 3},
		{"a longer line", func() { rules.Queue = 3; g.Configure(rules) }, false, 4},
		{"a shorter one", func() { rules.Queue = 2; g.Configure(rules) }, true, 4},
		{"close", func() { g.Close() }, false, 5},
	} {
		step.do()
		if (g.Places() == 0) != step.full || told != step.told {
			t.Fatalf("%s: full %v, told %d times; want %v, %d", step.what, (g.Places() == 0), told, step.full, step.told)
		}
	}
}

// Room may take in the one who had to stay outside: so a listener is drained.
func TestRoomTakesInTheNext(t *testing.T) {
	var g *Gate
	outside := []string{"2", "3", "4"}
	var all []*client
	g = New(Options{Limit: 1, Room: func() {
		if len(outside) > 0 {
			all = append(all, come(t, g, outside[0])...)
			outside = outside[1:]
		}
	}})
	all = come(t, g, "1")
	for i := 0; i < len(all); i++ {
		all[i].Done()
	}
	if got := insiders(all); got != "1 2 3 4" || (g.Places() == 0) {
		t.Errorf("were inside: %s, full: %v", got, (g.Places() == 0))
	}
}
