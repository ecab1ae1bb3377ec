package epoll

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func newLoop(t *testing.T) *Loop {
	t.Helper()
	l, err := NewLoop(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop(); <-l.Stopped() })
	return l
}

// on runs f on the loop, and returns when it has.
func (l *Loop) on(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Do(func() { f(); close(done) }) {
		t.Fatal("the loop has ended")
	}
	<-done
}

// told is a Handler that passes on what it is told.
type told chan [2]uint32

func (c told) Ready(tag uint8, events uint32) { c <- [2]uint32{uint32(tag), events} }

func pair(t *testing.T) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestLoopTellsHandlers(t *testing.T) {
	l := newLoop(t)
	a, atA := pair(t)
	b, atB := pair(t)
	h := make(told, 10)
	var s Seat
	if err := l.Enroll(h, &s, In|Edge, File{FD: a}, File{FD: b}); err != nil {
		t.Fatal(err)
	}
	for tag, fd := range []int{atA, atB} {
		if _, err := unix.Write(fd, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if got := <-h; got[0] != uint32(tag) || got[1]&In == 0 {
			t.Errorf("got %v, want tag %d and In", got, tag)
		}
	}
}

// An event of a handler that has retired is nobody's, though another has its
// place by then.
func TestLoopKnowsGenerations(t *testing.T) {
	l := newLoop(t)
	fd, there := pair(t)
	before, after := make(told, 10), make(told, 10)
	var first, second Seat
	l.on(t, func() {
		if err := l.Enroll(before, &first, In|Edge, File{FD: fd}); err != nil {
			t.Error(err)
		}
		_, _ = unix.Write(there, []byte("x")) // the event is there before the seat changes hands
		l.Retire(first)
		_ = l.Enroll(after, &second, 0)
	})
	l.on(t, func() {}) // comes after the events of one wait
	l.on(t, func() {})
	if uint32(first) != uint32(second) || first == second {
		t.Errorf("seats %x and %x, want one place in two generations", first, second)
	}
	if len(before)+len(after) != 0 {
		t.Errorf("told %d times the one who had left, %d times the one who had not asked", len(before), len(after))
	}
	l.Unwatch(fd)
	if err := l.Watch(second, 0, fd, In|Edge); err != nil {
		t.Fatal(err)
	}
	<-after
}

// Whoever cannot be watched whole is not told of the half, and leaves no seat.
func TestLoopEnrollsWhollyOrNot(t *testing.T) {
	l := newLoop(t)
	fd, there := pair(t)
	if _, err := unix.Write(there, []byte("x")); err != nil {
		t.Fatal(err)
	}
	refused, taken := make(told, 10), make(told, 10)
	var none, s Seat
	if err := l.Enroll(refused, &none, In|Edge, File{FD: fd}, File{FD: -1}); err == nil || none != 0 {
		t.Errorf("seat %x, %v", none, err)
	}
	if err := l.Enroll(taken, &s, In|Edge, File{FD: fd}); err != nil {
		t.Fatal(err)
	}
	<-taken
	if len(refused) != 0 || uint32(s) != 0 {
		t.Errorf("told %d times; the next seat is %x", len(refused), s)
	}
}

// A file that is left watched is watched for nobody, until it is for another.
func TestLoopWatchesAFileAgain(t *testing.T) {
	l := newLoop(t)
	kept, atKept := pair(t)
	other, atOther := pair(t)
	first, second := make(told, 10), make(told, 10)
	var a, b, none Seat
	if err := l.Enroll(first, &a, In|Edge, File{FD: kept}); err != nil {
		t.Fatal(err)
	}
	l.Retire(a)
	_, _ = unix.Write(atKept, []byte("x"))
	l.on(t, func() {}) // comes after the events of one wait
	l.on(t, func() {})
	if err := l.Enroll(second, &b, In|Edge, File{FD: other}, File{FD: kept, Again: true}); err != nil {
		t.Fatal(err)
	}
	if got := <-second; got[0] != 1 {
		t.Errorf("told of file %d, want the one that had something to read", got[0])
	}
	_, _ = unix.Write(atOther, []byte("x"))
	if got := <-second; got[0] != 0 {
		t.Errorf("told of file %d, want the new one", got[0])
	}
	if len(first) != 0 {
		t.Errorf("told %d times the one who had left", len(first))
	}
	l.Retire(b)
	l.Unwatch(other)
	if err := l.Enroll(second, &none, In|Edge, File{FD: -1}, File{FD: kept, Again: true}); err == nil || none != 0 {
		t.Errorf("seat %x, %v", none, err)
	}
	for _, fd := range []int{kept, other} {
		if err := l.poll.Delete(fd); err == nil {
			t.Errorf("file %d is watched still", fd)
		}
	}
}

// A handler is told nothing of one file before the other is watched, too: it may
// close both.
func TestLoopTellsNothingBeforeAllIsWatched(t *testing.T) {
	l := newLoop(t)
	a, atA := pair(t)
	b, _ := pair(t)
	if _, err := unix.Write(atA, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		var s Seat
		gone := make(chan struct{})
		h := handler(func() {
			l.Retire(s)
			l.Unwatch(a)
			if err := l.poll.Delete(b); err != nil {
				t.Errorf("told before the second file was watched: %v", err)
			}
			close(gone)
		})
		if err := l.Enroll(h, &s, In|Edge, File{FD: a}, File{FD: b}); err != nil {
			t.Fatal(err)
		}
		<-gone
	}
}

// Orders keep their order, also those that orders give, and events come between
// them.
func TestLoopObeys(t *testing.T) {
	l := newLoop(t)
	var got []int
	done := make(chan struct{})
	l.on(t, func() {
		l.Do(func() { got = append(got, 1); l.Do(func() { got = append(got, 3); close(done) }) })
		l.Do(func() { got = append(got, 2) })
	})
	<-done
	if !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("they ran as %v", got)
	}
}

type handler func()

func (h handler) Ready(uint8, uint32) { h() }

// An order wakes a loop that sleeps, and costs no wake-up while it is awake.
func TestLoopIsWokenOnceOnly(t *testing.T) {
	l := newLoop(t)
	wakes := func() uint64 { // the counter of the eventfd, which nobody else reads
		var b [8]byte
		if _, err := unix.Read(l.poll.wake, b[:]); err != nil {
			return 0
		}
		return uint64(b[0])
	}
	l.on(t, func() {
		_ = wakes()
		for range 100 {
			l.Do(func() {})
		}
		if n := wakes(); n != 0 {
			t.Errorf("woken %d times while it was awake", n)
		}
	})
}

func TestLoopThatHasStopped(t *testing.T) {
	l, err := NewLoop(nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := false
	l.Do(func() { ran = true })
	l.Stop()
	<-l.Stopped()
	if !ran {
		t.Error("an order from before the stop was not run")
	}
	if l.Do(func() {}) {
		t.Error("it takes an order")
	}
}

// A loop that is told several events at a time keeps its thread, one by one it
// does not.
func TestBusyLoopKeepsItsThread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breath
		for _, step := range []struct {
			told   int
			locked bool
		}{{1, false}, {4, true}, {2, true}, {1, false}, {0, false}, {3, true}, {1, false}} {
			time.Sleep(breathAfter)
			for range 16 {
				b.take(step.told)
			}
			if b.locked != step.locked || b.waits != 0 || b.told != 0 {
				t.Errorf("%d events at a time: %+v", step.told, b)
			}
		}
		for range 16 {
			b.take(5)
		}
		if b.locked || b.waits != 16 {
			t.Errorf("it took a breath before its time: %+v", b)
		}
	})
}
