package proxy

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// until waits for something that no event tells.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s never came true", what)
		}
	}
}

// openFDs counts the fds of this process.
func openFDs(t testing.TB) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// nothingLeft counts fds and goroutines, and answers a check that there are no
// more of them. The last goroutines may be about to end.
func nothingLeft(t testing.TB) func() {
	t.Helper()
	fds, goroutines := openFDs(t), runtime.NumGoroutine()
	return func() {
		if t.Failed() { // then it may have left anything
			return
		}
		for deadline := time.Now().Add(patience); openFDs(t) > fds || runtime.NumGoroutine() > goroutines; runtime.Gosched() {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("left behind: %d fds, %d before; %d goroutines, %d before\n%s", openFDs(t), fds,
					runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
			}
		}
	}
}

// mustBeEmpty checks that a Proxy whose Serve has returned knows nobody.
func (r *running) mustBeEmpty(p *Proxy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count != 0 || p.clients != nil || p.front.watches != 0 || p.after.first.c != nil {
		r.t.Errorf("left in the proxy: %d clients (%v), %d watched, to do: %v", p.count, p.clients, p.front.watches, p.after)
	}
	until(r.t, "an empty gate", func() bool { // a Before may have to end
		s := p.gate.Stats()
		return s.Active == 0 && s.Queued == 0
	})
	if b, counts := r.cfg.Backend.(interface{ out() int64 }); counts && b.out() != 0 {
		r.t.Errorf("%d leases are still out", b.out())
	}
}
