package relay

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"
)

// idle is Terms.Idle of these tests.
const idle = 100 * time.Millisecond

// joinIdle is join with a clock.
func joinIdle(t testing.TB, r *Relay, terms Terms) joined {
	t.Helper()
	return joinSaid(t, r, terms, "")
}

// joinSaid is joinIdle of a client that has said something by then.
func joinSaid(t testing.TB, r *Relay, terms Terms, said string) joined {
	t.Helper()
	a, client := pair(t, "tcp4")
	b, backend := pair(t, "tcp4")
	mustWrite(t, client, said)
	j := joined{client: client, backend: backend, result: make(chan Result, 2)}
	s, err := r.Join(takeFD(t, a), takeFD(t, b), terms, func(res Result) { j.result <- res })
	if err != nil {
		t.Fatal(err)
	}
	j.session = s
	return j
}

// A session in which nothing ever moves ends when its time is over, in order or
// by a reset, and not before.
func TestIdleSessionEnds(t *testing.T) {
	for _, reset := range []bool{false, true} {
		began := time.Now()
		j := joinIdle(t, newRelay(t, Options{}), Terms{Idle: idle, Reset: reset})
		res := j.wait(t)
		if took := time.Since(began); res.Err != ErrIdle || took < idle || took > patience/2 {
			t.Errorf("reset %v: %+v after %v", reset, res, took)
		}
		want := error(nil)
		if reset {
			want = syscall.ECONNRESET
		}
		for _, c := range []conn{j.client, j.backend} {
			if _, err := io.ReadAll(c); !errors.Is(err, want) {
				t.Errorf("reset %v: a side read %v", reset, err)
			}
		}
	}
}

// Each byte, whichever way it goes, begins the time anew; it is over as long
// after the last one.
func TestBytesKeepASessionFromIdling(t *testing.T) {
	for _, fromClient := range []bool{true, false} {
		j := joinIdle(t, newRelay(t, Options{}), Terms{Idle: idle})
		from, to := j.client, j.backend
		if !fromClient {
			from, to = to, from
		}
		tick := time.NewTicker(idle / 4)
		var last time.Time
		for range 12 {
			<-tick.C
			last = time.Now()
			mustWrite(t, from, "x")
			mustRead(t, to, "x")
		}
		tick.Stop()
		res := j.wait(t)
		if took := time.Since(last); res.Err != ErrIdle || took < idle || res.FromA+res.FromB != 12 {
			t.Errorf("from the client %v: %+v %v after the last byte", fromClient, res, took)
		}
	}
}

// Bytes that nobody takes do not move.
func TestStuckSessionIdles(t *testing.T) {
	j := joinSaid(t, newRelay(t, Options{}), Terms{Idle: idle}, "the writer may begin later than that")
	written := make(chan error)
	go func() {
		_, err := j.client.Write(make([]byte, 64<<20))
		written <- err
	}()
	if res := j.wait(t); res.Err != ErrIdle || res.FromA == 0 {
		t.Errorf("%+v", res)
	}
	if err := <-written; err == nil {
		t.Error("all was taken")
	}
}

// Of two clocks the shorter one counts, and is the reason.
func TestIdleAndHalfClosed(t *testing.T) {
	for _, tt := range []struct {
		name       string
		halfClosed time.Duration
		idle       time.Duration
		want       error
	}{
		{"idle is shorter", time.Hour, idle, ErrIdle},
		{"half-closed is shorter", idle, time.Hour, ErrSilent},
		{"only idle", 0, idle, ErrIdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := joinIdle(t, newRelay(t, Options{HalfClosed: tt.halfClosed}), Terms{Idle: tt.idle})
			mustWrite(t, j.client, "x")
			j.client.CloseWrite()
			if got, err := io.ReadAll(io.LimitReader(j.backend, 1)); err != nil || string(got) != "x" {
				t.Errorf("the backend read %q, %v", got, err)
			}
			if res := j.wait(t); res.Err != tt.want {
				t.Errorf("%+v, want %v", res, tt.want)
			}
		})
	}
}

// A session that has ended by itself is not ended again by its clock.
func TestClockOfAnEndedSession(t *testing.T) {
	r := newRelay(t, Options{Loops: 1})
	j := joinIdle(t, r, Terms{Idle: idle})
	j.client.Close()
	j.backend.Close()
	if res := j.wait(t); res.Err == ErrIdle {
		t.Errorf("%+v", res)
	}
	began := time.Now()
	next := joinIdle(t, r, Terms{Idle: 2 * idle}) // in the same place
	if res := next.wait(t); res.Err != ErrIdle || time.Since(began) < 2*idle-idle/10 {
		t.Errorf("%+v after %v", res, time.Since(began))
	}
	if len(j.result) != 0 {
		t.Errorf("told twice: %+v", <-j.result)
	}
}

// Sessions with clocks of many lengths end each in its own time, and none of
// them before that, also if others have gone in between.
func TestManyClocks(t *testing.T) {
	r := newRelay(t, Options{Loops: 1})
	const sessions = 40
	type end struct {
		n    int
		took time.Duration
		res  Result
	}
	ends := make(chan end, sessions)
	joinIdle(t, r, Terms{Idle: time.Hour}) // nobody waits for that
	began := time.Now()
	limit := func(n int) time.Duration { return idle + time.Duration(n*7%sessions)*5*time.Millisecond }
	for n := range sessions {
		a, client := pair(t, "unix")
		b, backend := pair(t, "unix")
		if _, err := r.Join(takeFD(t, a), takeFD(t, b), Terms{Idle: limit(n)}, func(res Result) {
			ends <- end{n, time.Since(began), res}
		}); err != nil {
			t.Fatal(err)
		}
		if n%4 == 0 {
			client.Close()
			backend.Close()
		}
	}
	for range sessions {
		e := <-ends
		if gone := e.n%4 == 0; gone != (e.res.Err != ErrIdle) || !gone && e.took < limit(e.n) {
			t.Errorf("session %d of %v: %+v after %v", e.n, limit(e.n), e.res, e.took)
		}
	}
	empty := make(chan int)
	r.loops[0].Do(func() { empty <- len(r.loops[0].vigil.heap) })
	if n := <-empty; n != 1 {
		t.Errorf("%d of all are still expected, want the first alone", n)
	}
}

// A session that goes to another loop as a bulk flow takes its clock along.
func TestClockOfABulkFlow(t *testing.T) {
	r := newRelay(t, Options{Loops: 2})
	for range 2 { // one of them moves
		j := joinIdle(t, r, Terms{Idle: idle})
		go j.client.Write(make([]byte, 8<<20))
		if _, err := io.CopyN(io.Discard, j.backend, 8<<20); err != nil {
			t.Fatal(err)
		}
		last := time.Now()
		mustWrite(t, j.client, "x")
		mustRead(t, j.backend, "x")
		if res := j.wait(t); res.Err != ErrIdle || time.Since(last) < idle {
			t.Errorf("%+v %v after the last byte", res, time.Since(last))
		}
	}
}

// A clock is used again by later sessions, whose time begins when they need it.
func TestClocksAreUsedAgain(t *testing.T) {
	r := newRelay(t, Options{Loops: 1, HalfClosed: idle})
	spare := func() (n int) {
		on(r.loops[0], func() { n = len(r.loops[0].vigil.spare) })
		return n
	}
	for n := range 3 {
		terms := Terms{}
		if n == 2 {
			terms.Idle = idle / 2 // of this one alone; it comes with a clock of its own
		}
		j := joinIdle(t, r, terms)
		j.client.CloseWrite()
		if _, err := io.ReadAll(j.backend); err != nil { // its clock runs
			t.Fatal(err)
		}
		j.backend.Close()
		if res := j.wait(t); res.Err != nil {
			t.Errorf("%+v", res)
		}
		if got, want := spare(), 1+n/2; got != want {
			t.Errorf("%d clocks to be used again after session %d, want %d", got, n, want)
		}
	}
	j := join(t, r, "tcp4", "tcp4")
	began := time.Now()
	j.client.CloseWrite()
	if res := j.wait(t); res.Err != ErrSilent || time.Since(began) < idle {
		t.Errorf("%+v after %v", res, time.Since(began))
	}
}
