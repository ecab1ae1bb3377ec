package supervisor

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who asks while somebody uses the backend needs no owner for it, and the
// backend is used until the last of them has gone, in whatever order.
func TestSharedLeases(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at, IdleStop: time.Nanosecond})
	if l := st.TryAcquire(); l != nil {
		t.Fatalf("a lease on nothing: %+v", l)
	}
	first := st.acquire()
	second, third := st.TryAcquire(), st.TryAcquire()
	if second == nil || third == nil || second.Generation() != 1 || second.Addresses()[0] != at.Addr() {
		t.Fatalf("got %+v and %+v", second, third)
	}
	if n := st.Status().Leases; n != 3 {
		t.Errorf("the backend was used %d times, want 3", n)
	}
	first.Release()
	first.Release() // does nothing
	second.Release()
	st.ping()
	if s := st.Status(); s.State != Ready {
		t.Errorf("with a lease out it is %s", s.State)
	}
	fourth := st.TryAcquire()
	third.Release()
	fourth.Release()
	await(st, func(ExitEvent) bool { return true })
	if l := st.TryAcquire(); l != nil {
		t.Errorf("a lease on what has ended: %+v", l)
	}
}

// ping returns when the owner has dealt with all that came before.
func (st *stage) ping() {
	st.t.Helper()
	if err := st.Ping(st.t.Context()); err != nil {
		st.t.Fatal(err)
	}
}

// A backend that is to be replaced takes nobody new, and neither does one of
// which each connection counts.
func TestLeasesThatAreNotShared(t *testing.T) {
	at := somewhere()
	for name, cfg := range map[string]Config{
		"counted": {RecycleConnections: 100},
		"weighed": {RecycleMemory: 1 << 40},
	} {
		cfg.Command, cfg.Address = play("listen="+at.String(), "stay"), at
		st := open(t, cfg)
		st.acquire()
		if l := st.TryAcquire(); l != nil {
			t.Errorf("%s: a lease that the owner does not know", name)
		}
		st.Shutdown(expired)
	}
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at, RecycleGrace: forever})
	lease := st.acquire()
	lease.Recycle("a test wants it")
	st.ping()
	if l := st.TryAcquire(); l != nil || st.Status().State != Draining {
		t.Errorf("a lease on what is %s", st.Status().State)
	}
}

func TestExternalLeasesAreAlwaysThere(t *testing.T) {
	st := open(t, Config{Address: name("127.0.0.1:3000")})
	if l := st.TryAcquire(); l == nil || l.Generation() != 0 || l.Addresses()[0] != st.cfg.Address.Addr() {
		t.Errorf("got %+v", l)
	} else {
		l.Release()
	}
	st = open(t, Config{Address: name("localhost:3000")})
	if l := st.TryAcquire(); l != nil {
		t.Errorf("a lease without a look at the resolver: %v", l.Addresses())
	}
}

// The second connection to a child has to be seen to be accepted, no other.
func TestProvenLeases(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at})
	lease := st.acquire()
	for n, want := range []bool{true, false, true, true} {
		if got := lease.Proven(); got != want {
			t.Errorf("after %d connections: proven %v", n, got)
		}
		lease.Connected()
	}
	signalTo(t, st.Status().PID, unix.SIGKILL)
	await(st, func(ExitEvent) bool { return true })
	if next := st.acquire(); !next.Proven() {
		t.Error("the next child has to prove what it has not been asked for")
	}
	if external := open(t, Config{Address: name("127.0.0.1:3000")}).acquire(); !external.Proven() {
		t.Error("an external backend is asked to prove itself")
	}
}
