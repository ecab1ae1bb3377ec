package relay

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"golang.org/x/sys/unix"
)

// world is what a crew may meet.
type world struct {
	done []float64 // events per second, by the number of loops with sessions
	busy float64   // share of the time of the first loop's thread
	idle float64   // CPUs that are idle
}

// live has a crew meet a world for some windows, and answers how many loops had
// sessions in each.
func (c *crew) live(w world, windows int) (history []uint32) {
	if c.last.at.IsZero() {
		c.last = sample{at: time.Unix(0, 0), own: epoll.Strain{Thread: 1}}
	}
	for range windows {
		active := c.now().active
		history = append(history, active)
		s := c.last
		s.at = s.at.Add(window)
		s.told += uint64(w.done[active-1] * window.Seconds())
		s.own.Busy += time.Duration(w.busy * float64(window))
		s.own.Idle += time.Duration(w.idle * float64(window))
		c.take(s)
	}
	return history
}

func newCrew(most uint32) *crew {
	c := &crew{most: most}
	c.set(1)
	return c
}

// share is in how many of the windows so many loops had sessions.
func share(history []uint32, active uint32) float64 {
	n := 0
	for _, a := range history {
		if a == active {
			n++
		}
	}
	return float64(n) / float64(len(history))
}

func TestCrew(t *testing.T) {
	for name, tt := range map[string]struct {
		world
		most  uint32
		final uint32 // with how many loops it ends up
	}{
		"little to do":                {world{[]float64{1000, 2000}, 0.5, 1}, 2, 1},
		"two do not do more":          {world{[]float64{100, 108}, 0.95, 0.2}, 2, 1},
		"others want the CPUs":        {world{[]float64{100, 130}, 0.8, 0}, 2, 2},
		"CPUs for all":                {world{[]float64{100, 200, 300, 400}, 0.95, 3}, 4, 4},
		"CPUs for three":              {world{[]float64{100, 190, 280, 285}, 0.95, 1.5}, 4, 3},
		"CPUs are idle, but not ours": {world{[]float64{100, 95}, 0.95, 60}, 2, 1},
	} {
		c := newCrew(tt.most)
		if h := c.live(tt.world, 200); share(h[100:], tt.final) < 0.9 {
			t.Errorf("%s: it had %v", name, h)
		}
	}
}

func TestCrewIsSoonBigEnough(t *testing.T) {
	c := newCrew(8)
	w := world{[]float64{100, 200, 300, 400, 500, 600, 600, 600}, 1, 8}
	if h := c.live(w, 18); h[len(h)-1] < 6 || share(h[:2], 1) != 1 {
		t.Errorf("with CPUs for six loops it had %v", h)
	}
	c = newCrew(8)
	if h := c.live(world{w.done, 1, 0.5}, 5); share(h, 1) != 1 {
		t.Errorf("without an idle CPU it had %v", h)
	}
}

func TestCrewGrowsSmaller(t *testing.T) {
	c := newCrew(4)
	many := world{[]float64{100, 200, 300, 400}, 0.95, 3}
	c.live(many, 100)
	for name, w := range map[string]world{
		"little to do":       {[]float64{50, 50, 50, 50}, 0.4, 3},
		"the others are out": {[]float64{100, 95, 90, 90}, 0.95, 0.2},
	} {
		c.live(many, 200)
		if n := c.now().active; n < 3 {
			t.Fatalf("%s: %d to begin with", name, n)
		}
		if h := c.live(w, 200); share(h[100:], 1) < 0.9 {
			t.Errorf("%s: it had %v", name, h)
		}
	}
	c = newCrew(4)
	c.set(2)
	c.fulls = 5 // one more is tried first, then one less
	if h := c.live(world{[]float64{100, 95, 90, 90}, 0.95, 0.2}, 200); share(h[100:], 1) < 0.9 {
		t.Errorf("it had %v", h)
	}
	c.live(many, 200)
	s := c.last
	s.at = s.at.Add(quietAfter + 1)
	c.take(s)
	if n := c.now().active; n != 1 {
		t.Errorf("%d after a while in which nothing happened", n)
	}
}

// A loop that is in another thread was not measured.
func TestCrewInAnotherThread(t *testing.T) {
	c := newCrew(2)
	w := world{[]float64{100, 200}, 1, 1}
	for c.live(w, 1); c.trial == 0; c.live(w, 1) {
	}
	s := c.last
	s.at, s.told, s.own.Thread = s.at.Add(window), s.told+1000, 2
	c.take(s)
	if n := c.now().active; n != 1 || c.trial != 0 {
		t.Errorf("%d loops, trial %d", n, c.trial)
	}
}

// newStillRelay makes a relay whose crew only the test changes.
func newStillRelay(t *testing.T, loops int) *Relay {
	r := newRelay(t, Options{Loops: loops})
	r.loops[0].Do(func() { r.crew.most = 0 })
	return r
}

// settle makes a session one that has lasted, where it is.
func (j joined) settle() {
	s, done := j.session, make(chan struct{})
	s.do(func() {
		s.young, s.era = 0, s.loop.Load().relay.crew.now().era
		close(done)
	})
	<-done
}

// on has f run on a loop.
func on(l *loop, f func()) {
	done := make(chan struct{})
	l.Do(func() { f(); close(done) })
	<-done
}

// onLoop is how many sessions a loop has.
func onLoop(l *loop) int {
	all := 0
	on(l, func() { l.Each(func(epoll.Handler) { all++ }) })
	return all
}

// Sessions follow at their next event, whatever state they are in.
func TestSessionsFollowTheCrew(t *testing.T) {
	r := newStillRelay(t, 3)
	var all []joined
	for range 12 {
		all = append(all, join(t, r, "tcp4", "tcp4"))
	}
	for _, j := range all {
		j.settle()
	}
	half := all[0]
	half.client.CloseWrite()
	if n, err := half.backend.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read %d, %v", n, err)
	}
	for _, tt := range []struct {
		active uint32
		want   [3]int
	}{{1, [3]int{12}}, {3, [3]int{4, 4, 4}}, {1, [3]int{12}}, {2, [3]int{6, 6}}} {
		r.crew.set(tt.active)
		for range 2 { // who has followed stays
			for _, j := range all[1:] {
				j.message(t)
			}
		}
		fmt.Fprint(half.backend, "x")
		if _, err := io.ReadFull(half.client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := r.Ping(t.Context()); err != nil { // each has done what it was about to do
			t.Fatal(err)
		}
		if got := [3]int{onLoop(r.loops[0]), onLoop(r.loops[1]), onLoop(r.loops[2])}; got != tt.want {
			t.Errorf("%d loops: %v sessions, want %v", tt.active, got, tt.want)
		}
	}
	half.backend.Close()
	if res := half.wait(t); res.Err != nil || res.FromB != 4 {
		t.Errorf("%+v", res)
	}
	for _, j := range all[1:] { // what comes from outside finds them
		j.session.Cut(false)
		if res := j.wait(t); res.Err != ErrCut {
			t.Errorf("%+v", res)
		}
	}
}

// A session stays while it has something under way on its loop.
func TestSessionFollowsWithEmptyHands(t *testing.T) {
	r := newStillRelay(t, 2)
	join(t, r, "tcp4", "tcp4") // has the first seat, which stays
	j := join(t, r, "tcp4", "tcp4")
	j.settle()
	s, done := j.session, make(chan struct{})
	r.loops[0].Do(func() {
		defer close(done)
		r.crew.set(2)
		for what, set := range map[string]func(bool){
			"an order":   func(on bool) { s.queue = on },
			"bulk":       func(on bool) { s.moves = on },
			"bytes of A": func(on bool) { s.dir[A].rest = map[bool]*rest{true: {}}[on] },
			"bytes of B": func(on bool) { s.dir[B].rest = map[bool]*rest{true: {}}[on] },
		} {
			set(true)
			s.follow(r.crew.now())
			if s.loop.Load() != r.loops[0] {
				t.Errorf("it went with %s", what)
				return
			}
			set(false)
		}
		s.follow(r.crew.now())
	})
	<-done
	if s.loop.Load() != r.loops[1] {
		t.Error("it stayed with nothing under way")
	}
	j.message(t)
}

// Streams that change their loops all the time arrive as they were sent.
func TestNothingIsLostOnTheWayToAnotherLoop(t *testing.T) {
	r := newStillRelay(t, 3)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := uint32(0); ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				r.crew.set(1 + n%3)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	results := make(chan error)
	const streams = 8
	for i := range streams {
		j := join(t, r, "tcp4", "tcp4")
		j.settle()
		go func() {
			sent := make([]byte, 1<<20)
			rand.NewChaCha8([32]byte{byte(i)}).Read(sent)
			go func() {
				for p := sent; len(p) > 0; { // pieces that are no bulk
					n := min(len(p), 1+rand.IntN(20_000))
					j.client.Write(p[:n])
					p = p[n:]
				}
				j.client.CloseWrite()
			}()
			go func() {
				io.Copy(j.backend, j.backend)
				j.backend.CloseWrite()
			}()
			got, err := io.ReadAll(j.client)
			if err == nil && !bytes.Equal(got, sent) {
				err = fmt.Errorf("stream %d came back with %d bytes that were not sent", i, len(got))
			}
			if res := <-j.result; err == nil && (res.Err != nil || res.FromA != 1<<20 || res.FromB != 1<<20) {
				err = fmt.Errorf("stream %d: %+v", i, res)
			}
			results <- err
		}()
	}
	for range streams {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// Who joined a session keeps its socket for the loop where that was.
func TestNoSocketIsKeptOnAnotherLoop(t *testing.T) {
	r := newStillRelay(t, 2)
	stays, goes := joinIdle(t, r, Terms{Keep: true}), joinIdle(t, r, Terms{Keep: true})
	for _, j := range []joined{stays, goes} {
		j.settle()
	}
	r.crew.set(2)
	for _, j := range []joined{stays, goes} {
		j.message(t)
		j.client.Close()
		j.backend.Read(make([]byte, 1))
		j.backend.Close()
	}
	if res := goes.wait(t); res.B >= 0 {
		t.Errorf("kept by one that went: %+v", res)
	}
	res := stays.wait(t)
	if res.B < 0 {
		t.Fatalf("not kept by one that stayed: %+v", res)
	}
	unix.Close(res.B)
}

// The clock of a session that must not be silent goes with it.
func TestIdleClockFollowsTheCrew(t *testing.T) {
	r := newStillRelay(t, 2)
	for n := range 2 {
		j := joinIdle(t, r, Terms{Idle: idle})
		j.settle() // its clock runs on the first loop by then
		r.crew.set(2)
		begin := time.Now()
		j.message(t)
		if res := j.wait(t); res.Err != ErrIdle || time.Since(begin) < idle {
			t.Errorf("session %d ended with %v after %v", n, res.Err, time.Since(begin))
		}
		join(t, r, "tcp4", "tcp4") // takes a seat, so that the next session goes to the other loop
	}
}

// A loop is in use while it is busy, and a window longer.
func TestLoopsInUse(t *testing.T) {
	r := newStillRelay(t, 2)
	changed := func() (told bool) {
		select {
		case <-r.Changes():
			return true
		default:
			return false
		}
	}
	endWindow := func() {
		on(r.loops[0], func() {
			r.crew.most, r.crew.last.at = 2, time.Time{}
			r.watchCrew()
			r.crew.most = 0
		})
	}
	toil := func(since time.Duration) {
		on(r.loops[1], func() {
			r.loops[1].aside = time.Now().Add(-since)
			r.loops[1].toil()
		})
	}
	toil(time.Minute) // once in a while is not busy
	if endWindow(); r.InUse() != 1 || changed() {
		t.Errorf("%d loops in use to begin with", r.InUse())
	}
	for n := range 3 {
		if toil(0); r.InUse() != 2 || changed() != (n == 0) {
			t.Errorf("%d loops in use while another is busy", r.InUse())
		}
		if endWindow(); r.InUse() != 2 || changed() {
			t.Errorf("%d loops in use just after that", r.InUse())
		}
	}
	if endWindow(); r.InUse() != 1 || !changed() {
		t.Errorf("%d loops in use a window later", r.InUse())
	}
	r.crew.set(2)
	if r.InUse() != 2 {
		t.Errorf("%d loops in use of two that have sessions", r.InUse())
	}
}

// A loop whose sessions move all the time is busy, be it little or much that they
// move.
func TestBusyLoop(t *testing.T) {
	for name, size := range map[string]int{"messages": 10, "bulk": 1 << 20} {
		r := newStillRelay(t, 2)
		r.crew.set(2)
		j := joinIdle(t, r, Terms{Loop: 1})
		r.bulk.Store(0) // if it is bulk, it is dealt out to the second loop
		go io.Copy(j.backend, j.backend)
		sent, got := make([]byte, size), make([]byte, size)
		for !r.loops[1].isBusy() {
			go j.client.Write(sent)
			if _, err := io.ReadFull(j.client, got); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		<-r.Changes()
	}
}

// A session goes to the loops that have those which last once it has lasted itself,
// and stays if it has begun on one of them.
func TestSessionSettles(t *testing.T) {
	for active, want := range map[uint32]int{1: 0, 2: 1} {
		r := newStillRelay(t, 2)
		r.crew.set(active)
		j := joinIdle(t, r, Terms{Loop: 1})
		s := j.session
		for n := 1; n <= 2*settleAfter; n++ {
			j.message(t)
			if err := r.Ping(t.Context()); err != nil { // it has done what the message calls for
				t.Fatal(err)
			}
			if n < settleAfter/2 && s.loop.Load() != r.loops[1] { // a message may be told twice
				t.Errorf("it has gone after %d messages", n)
			}
		}
		if s.loop.Load() != r.loops[want] {
			t.Errorf("%d loops have those that last: it is not on loop %d", active, want)
		}
	}
}
