package supervisor

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// recycling keeps a backend that only recycling ends.
func recycling(t *testing.T, cfg Config) *stage {
	t.Helper()
	cfg.Address = somewhere()
	if cfg.Command == nil {
		cfg.Command = play("listen="+cfg.Address.String(), "stay")
	}
	if cfg.RecycleGrace == 0 {
		cfg.RecycleGrace = forever
	}
	return open(t, cfg)
}

// stopReason waits until a generation is told to end, and answers why.
func (st *stage) stopReason(gen uint64) string {
	st.t.Helper()
	return await(st, func(e StopEvent) bool { return e.Generation == gen }).Reason
}

// awaitReady waits for a generation that is ready.
func (st *stage) awaitReady(gen uint64) {
	st.t.Helper()
	await(st, func(e ReadyEvent) bool { return e.Generation == gen })
}

func TestRecycledInTheBackground(t *testing.T) {
	st := recycling(t, Config{RecycleConnections: 2})
	for _, want := range []uint64{1, 1, 2, 2, 3} {
		lease := st.acquire()
		if lease.Generation() != want {
			t.Fatalf("a lease on generation %d, want %d", lease.Generation(), want)
		}
		lease.Release()
		if exits := len(events[ExitEvent](st)); exits == 0 && want == 2 {
			t.Error("a lease on the second child before the first was gone")
		}
	}
	if reason := st.stopReason(1); reason != "recycling it after 2 connections (RecycleConnections=)" {
		t.Errorf("%q", reason)
	}
	st.acquire().Release() // the second lease on generation 3
	st.awaitReady(4)
	if s := st.Status(); s.State != Ready || s.Starts != 4 {
		t.Errorf("nobody asked, and the next one is %+v", s)
	}
	for _, e := range events[ExitEvent](st) {
		if !e.Wanted || e.Retry != 0 {
			t.Errorf("%+v", e)
		}
	}
}

func TestRecycledUnderThoseWhoWait(t *testing.T) {
	st := recycling(t, Config{RecycleConnections: 2})
	first, second := st.acquire(), st.acquire()
	leases := make(chan uint64)
	for range 3 {
		next := st.begin()
		go func() {
			<-next.done
			if next.err == nil {
				next.lease.Release()
				leases <- next.lease.Generation()
			}
		}()
	}
	first.Release()
	if s := st.Status(); s.State != Draining || s.Starts != 1 {
		t.Errorf("with a lease out: %+v", s)
	}
	second.Release()
	got := map[uint64]int{}
	soon(t, "all who wait are served", func() {
		for range 3 {
			got[<-leases]++
		}
	})
	if got[2] != 2 || got[3] != 1 {
		t.Errorf("leases by generation: %v, want two of the second and one of the third", got)
	}
}

func TestLeasesOfARecycledBackendAreCut(t *testing.T) {
	st := recycling(t, Config{RecycleGrace: 50 * time.Millisecond})
	kept := st.acquire()
	kept.Recycle("it is green")
	next := st.begin()
	if cut := await(st, func(CutEvent) bool { return true }); cut.Generation != 1 || cut.After != 50*time.Millisecond {
		t.Errorf("%+v", cut)
	}
	if reason := st.stopReason(1); reason != "it is green" {
		t.Errorf("%q", reason)
	}
	lease, err := next.await(t)
	if err != nil || lease.Generation() != 2 {
		t.Fatalf("lease %+v, error %v", lease, err)
	}
	kept.Recycle("again") // is of an earlier child, as is the release
	kept.Release()
	if s := st.Status(); s.State != Ready {
		t.Errorf("%+v", s)
	}
	if got, want := st.order(), "Launch Ready Cut Stop Exit Launch Ready"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestRecycledOnRequestOnceTheLeasesAreBack(t *testing.T) {
	st := recycling(t, Config{})
	first, second := st.acquire(), st.acquire()
	first.Recycle("it is green")
	next := st.begin()
	first.Release()
	if n := len(events[StopEvent](st)); n != 0 {
		t.Error("stopped under a lease")
	}
	second.Release()
	if lease, err := next.await(t); err != nil || lease.Generation() != 2 {
		t.Errorf("lease %+v, error %v", lease, err)
	}
	if n := len(events[CutEvent](st)); n != 0 {
		t.Error("cut, though the leases were back")
	}
}

func TestRecycledByAge(t *testing.T) {
	st := recycling(t, Config{RecycleAge: 100 * time.Millisecond})
	st.acquire().Release()
	if reason := st.stopReason(1); !strings.Contains(reason, "RecycleAgeSec=") {
		t.Errorf("%q", reason)
	}
	st.awaitReady(2)
	st.awaitReady(3) // each one has a clock of its own
	if exit := events[ExitEvent](st)[0]; exit.Uptime < 100*time.Millisecond {
		t.Errorf("%+v", exit)
	}
}

func TestRecycledByMemory(t *testing.T) {
	st := recycling(t, Config{Command: play("pid=awaits", "await", "eat=160", "say=full", "stay"), Ready: ReadyNone, RecycleMemory: 128 << 20})
	st.acquire().Release() // it is small yet
	signalTo(t, number(st.hears("awaits")), unix.SIGUSR1)
	st.hears("full")
	if used := st.Memory(); used < 160<<20 || used > 512<<20 {
		t.Errorf("it uses %d bytes", used)
	}
	eventually(t, "it is recycled after one of its leases", func() bool {
		st.acquire().Release()
		return len(events[StopEvent](st)) > 0
	})
	var size int
	if reason := st.stopReason(1); !strings.HasSuffix(reason, "(RecycleMemory=)") {
		t.Errorf("%q", reason)
	} else if _, err := fmt.Sscanf(reason, "recycling it at %d MiB", &size); err != nil || size < 160 {
		t.Errorf("%q (%v), and it has eaten 160 MiB", reason, err)
	}
	st.awaitReady(2)
}

func TestShorten(t *testing.T) {
	for _, tt := range []struct{ n, jitter, low, high int }{
		{0, 50, 0, 0},
		{100, 0, 100, 100},
		{100, 20, 80, 100},
		{1, 100, 1, 1},
		{1000, 100, 1, 1000},
		{100, 1000, 1, 100},
		{int(time.Hour), 10, int(54 * time.Minute), int(time.Hour)},
	} {
		seen := map[int]bool{}
		for range 1000 {
			got := shorten(tt.n, tt.jitter)
			if seen[got] = true; got < tt.low || got > tt.high {
				t.Fatalf("shorten(%d, %d) = %d", tt.n, tt.jitter, got)
			}
		}
		if tt.low < tt.high && len(seen) < 10 {
			t.Errorf("shorten(%d, %d) had %d values in 1000", tt.n, tt.jitter, len(seen))
		}
	}
}

// The kernel closes a dying process's listener after its connections, and we
// are told of the end later still. In between nobody is to be sent to it.
func TestNobodyIsSentToADyingBackend(t *testing.T) {
	st := recycling(t, Config{})
	lease := st.acquire()
	conn := st.connect()
	signalTo(t, st.Status().PID, unix.SIGKILL)
	_, _ = conn.Read(make([]byte, 1)) // until the connection is seen to end
	lease.Suspect()
	if next := st.acquire(); next.Generation() != 2 {
		t.Errorf("a lease on generation %d", next.Generation())
	}
}

func TestSuspicionOfAHealthyBackendIsForgotten(t *testing.T) {
	st := recycling(t, Config{})
	lease := st.acquire()
	lease.Suspect()
	if next := st.acquire(); next.Generation() != 1 {
		t.Errorf("a lease on generation %d", next.Generation())
	}
}

// connect is a client of the backend, past the proxy.
func (st *stage) connect() net.Conn {
	st.t.Helper()
	conn, err := net.Dial("unix", st.addr)
	if err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		st.t.Fatal(err)
	}
	return conn
}

// The end-to-end tests recycle as many; a goroutine shows only here.
func TestAThousandGenerationsLeaveNothing(t *testing.T) {
	const generations = 1000
	st := recycling(t, Config{Command: []string{"/bin/sleep", "1000"}, Ready: ReadyNone, RecycleConnections: 1})
	st.acquire().Release()
	st.awaitReady(2)
	fds, goroutines, children := openFiles(t), runtime.NumGoroutine(), ours.number()
	for range generations {
		st.acquire().Release()
	}
	st.awaitReady(generations + 2)
	if n := ours.number(); n != children {
		t.Errorf("%d children are known, %d before", n, children)
	}
	eventually(t, "no fd and no goroutine is left", func() bool {
		return openFiles(t) <= fds && runtime.NumGoroutine() <= goroutines
	})
	if n := len(events[ExitEvent](st)); n != generations+1 {
		t.Errorf("%d ends, want %d", n, generations+1)
	}
	st.Shutdown(t.Context())
	st.leavesNothing()
}
