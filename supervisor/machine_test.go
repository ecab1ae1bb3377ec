package supervisor

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func newMachine() *machine {
	return &machine{startTimeout: 30 * time.Second, stopTimeout: 10 * time.Second, idleStop: time.Minute, grace: 5 * time.Second, freezeStop: forever, state: Stopped}
}

// text writes what a step answered, short enough for a table.
func text(do []any) string {
	var all []string
	for _, d := range do {
		switch d := d.(type) {
		case start:
			all = append(all, fmt.Sprintf("start %d", d.gen))
		case terminate:
			all = append(all, fmt.Sprintf("term %d", d.gen))
		case kill:
			all = append(all, fmt.Sprintf("kill %d", d.gen))
		case arm:
			all = append(all, fmt.Sprintf("arm %v", d.after.Round(time.Second)))
		case disarm:
			all = append(all, "disarm")
		case grant:
			all = append(all, fmt.Sprintf("grant %d", d.n))
		case dismiss:
			all = append(all, "dismiss")
		case cut:
			all = append(all, fmt.Sprintf("cut %d", d.gen))
		case freeze:
			all = append(all, fmt.Sprintf("freeze %d", d.gen))
		case thaw:
			all = append(all, fmt.Sprintf("thaw %d", d.gen))
		}
	}
	return fmt.Sprint(all)
}

// fire is the timer that is armed now.
type fire struct{}

func TestWays(t *testing.T) {
	up := func(d time.Duration) exited { return exited{gen: 1, uptime: d} }
	served := exited{gen: 1, clean: true, uptime: time.Second}
	ready := []any{asked{}, launched{1}, isReady{1}}
	then := func(before []any, more ...any) []any { return slices.Concat(before, more) }
	for _, tt := range []struct {
		name  string
		in    []any
		do    string // of the last input
		state State
	}{
		{"the first asker starts", []any{asked{}}, "[start 1 arm 30s]", Starting},
		{"the second one waits", []any{asked{}, asked{}}, "[]", Starting},
		{"ready lets all in", []any{asked{}, asked{}, launched{1}, isReady{1}}, "[disarm grant 2]", Ready},
		{"ready, but all have left", []any{asked{}, quit{}, launched{1}, isReady{1}}, "[disarm grant 0 arm 1m0s]", Ready},
		{"asked when ready", then(ready, asked{}), "[grant 1]", Ready},
		{"the last lease comes back", then(ready, released{1}), "[arm 1m0s]", Ready},
		{"not the last lease", then(ready, asked{}, released{1}), "[]", Ready},
		{"asked when idle", then(ready, released{1}, asked{}), "[disarm grant 1]", Ready},
		{"idle for long enough", then(ready, released{1}, fire{}), "[term 1 arm 10s]", Stopping},
		{"stopped", then(ready, released{1}, fire{}, up(time.Second)), "[disarm]", Stopped},
		{"asked while it stops", then(ready, released{1}, fire{}, asked{}), "[]", Stopping},
		{"stopped, but somebody waits", then(ready, released{1}, fire{}, asked{}, up(time.Second)), "[disarm start 2 arm 30s]", Starting},
		{"it will not stop", then(ready, released{1}, fire{}, fire{}), "[kill 1]", Stopping},
		{"killed", then(ready, released{1}, fire{}, fire{}, up(time.Second)), "[]", Stopped},
		{"crash", then(ready, up(time.Second)), "[arm 0s]", Backoff},
		{"crash, then asked", then(ready, up(time.Second), asked{}), "[]", Backoff},
		{"crash, asked, time is over", then(ready, up(time.Second), asked{}, fire{}), "[start 2 arm 30s]", Starting},
		{"crash, nobody waits", then(ready, up(time.Second), fire{}), "[]", Stopped},
		{"one-client backend has served", then(ready, served), "[]", Stopped},
		{"died before it was ready", []any{asked{}, launched{1}, up(0)}, "[arm 0s]", Backoff},
		{"cannot be started", []any{asked{}, unborn{1}}, "[arm 0s]", Backoff},
		{"start takes too long", []any{asked{}, launched{1}, fire{}}, "[term 1 arm 10s]", Stopping},
		{"start took too long, then it ended", []any{asked{}, launched{1}, fire{}, up(0)}, "[arm 0s]", Backoff},
		{"ready, but too late", []any{asked{}, launched{1}, fire{}, isReady{1}}, "[]", Stopping},
		{"start takes too long, and there is no child yet", []any{asked{}, fire{}, launched{1}}, "[term 1 arm 10s]", Stopping},
		{"shutdown when stopped", []any{shutter{}}, "[dismiss]", Stopped},
		{"shutdown when ready", then(ready, shutter{}), "[dismiss term 1 arm 10s]", Stopping},
		{"shutdown while starting", []any{asked{}, shutter{}}, "[dismiss term 1 arm 10s]", Stopping},
		{"shutdown while starting, and it cannot", []any{asked{}, shutter{}, unborn{1}}, "[disarm]", Stopped},
		{"shutdown in backoff", then(ready, up(0), shutter{}), "[dismiss disarm]", Stopped},
		{"asked after shutdown", []any{shutter{}, asked{}}, "[dismiss]", Stopped},
		{"ended after shutdown", then(ready, shutter{}, up(0)), "[disarm]", Stopped},
		{"shutdown in a hurry", then(ready, shutter{}, hurry{}), "[arm 0s]", Stopping},
		{"shutdown in a hurry, and there is no child yet", []any{asked{}, shutter{}, hurry{}, launched{1}}, "[term 1 arm 0s]", Stopping},
		{"exit of an earlier child", then(ready, up(0), asked{}, fire{}, up(0)), "[]", Starting},
		{"readiness of an earlier child", then(ready, up(0), asked{}, fire{}, isReady{1}), "[]", Starting},
		{"started before anybody asks", []any{preload{}}, "[start 1 arm 30s]", Starting},
		{"started before anybody asks, and shut down", []any{shutter{}, preload{}}, "[]", Stopped},
		{"recycled when nobody uses it", then(ready, released{1}, recycle{1}), "[term 1 arm 10s]", Stopping},
		{"recycled, it is started again for nobody", then(ready, released{1}, recycle{1}, up(0)), "[disarm start 2 arm 30s]", Starting},
		{"recycled while it is used", then(ready, recycle{1}), "[arm 5s]", Draining},
		{"asked while it drains", then(ready, recycle{1}, asked{}), "[]", Draining},
		{"the last lease of a draining one", then(ready, recycle{1}, released{1}), "[term 1 arm 10s]", Stopping},
		{"a lease is not brought back", then(ready, recycle{1}, fire{}), "[cut 1 term 1 arm 10s]", Stopping},
		{"recycled twice", then(ready, recycle{1}, recycle{1}), "[]", Draining},
		{"an earlier child was to be recycled", then(ready, recycle{0}), "[]", Ready},
		{"it ends while it drains", then(ready, recycle{1}, served), "[disarm start 2 arm 30s]", Starting},
		{"it crashes while it drains", then(ready, recycle{1}, up(0)), "[arm 0s]", Backoff},
		{"shutdown while it drains", then(ready, recycle{1}, shutter{}), "[dismiss term 1 arm 10s]", Stopping},
		{"recycled and shut down", then(ready, released{1}, recycle{1}, shutter{}, up(0)), "[disarm]", Stopped},
		{"its watchdog is silent", then(ready, ailing{1}), "[term 1 arm 10s]", Stopping},
		{"its watchdog was silent", then(ready, ailing{1}, up(0)), "[arm 0s]", Backoff},
		{"it says that it ends", then(ready, leaving{gen: 1}), "[arm 10s]", Stopping},
		{"it says so and does not", then(ready, leaving{gen: 1}, fire{}), "[kill 1]", Stopping},
		{"it said so and did", then(ready, leaving{gen: 1}, up(0)), "[disarm]", Stopped},
		{"it is seen dying", then(ready, leaving{1, true}, asked{}), "[]", Stopping},
		{"it was seen dying, and did", then(ready, leaving{1, true}, asked{}, up(0)), "[arm 0s]", Backoff},
		{"more time to start", []any{asked{}, launched{1}, extend{1, time.Hour}}, "[arm 1h0m0s]", Starting},
		{"more time to stop", then(ready, released{1}, fire{}, extend{1, time.Hour}), "[arm 1h0m0s]", Stopping},
		{"more time when it has no end", then(ready, extend{1, time.Hour}), "[]", Ready},
	} {
		t.Run(tt.name, func(t *testing.T) { newMachine().follow(t, tt.in, tt.do, tt.state) })
	}
}

// follow takes the inputs, and wants the answer to the last of them.
func (m *machine) follow(t *testing.T, in []any, want string, state State) {
	t.Helper()
	var do []any
	for _, in := range in {
		if _, is := in.(fire); is {
			in = elapsed{m.timer}
		}
		do = m.step(in)
	}
	if text(do) != want || m.state != state {
		t.Errorf("%v, %s; want %v, %s", text(do), m.state, want, state)
	}
}

func TestFreezing(t *testing.T) {
	idle := []any{asked{}, launched{1}, isReady{1}, released{1}, fire{}}
	then := func(more ...any) []any { return append(slices.Clone(idle), more...) }
	for _, tt := range []struct {
		name  string
		in    []any
		do    string
		state State
	}{
		{"idle for long enough", idle, "[freeze 1 arm 2h0m0s]", Frozen},
		{"asked", then(asked{}), "[thaw 1 disarm grant 1]", Ready},
		{"frozen for long enough", then(fire{}), "[thaw 1 term 1 arm 10s]", Stopping},
		{"too old", then(recycle{1}), "[thaw 1 term 1 arm 10s]", Stopping},
		{"too old, and then stopped", then(recycle{1}, exited{gen: 1}), "[disarm]", Stopped},
		{"killed", then(exited{gen: 1}), "[arm 0s]", Backoff},
		{"shutdown", then(shutter{}), "[dismiss thaw 1 term 1 arm 10s]", Stopping},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine()
			m.freeze, m.freezeStop = true, 2*time.Hour
			m.follow(t, tt.in, tt.do, tt.state)
		})
	}
}

// With a quota a child gets that many leases and no more, whoever waits.
func TestQuota(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    []any
		do    string
		state State
	}{
		{"not reached", []any{asked{}, isReady{1}}, "[disarm grant 1]", Ready},
		{"reached", []any{asked{}, isReady{1}, asked{}}, "[grant 1 arm 5s]", Draining},
		{"more wait than may", []any{asked{}, asked{}, asked{}, isReady{1}}, "[disarm grant 2 arm 5s]", Draining},
		{"all are back", []any{asked{}, asked{}, asked{}, isReady{1}, released{1}, released{1}}, "[term 1 arm 10s]", Stopping},
		{"the rest gets the next", []any{asked{}, asked{}, asked{}, isReady{1}, released{1}, released{1}, exited{gen: 1}, isReady{2}}, "[disarm grant 1]", Ready},
		{"a lease of the one before comes back", []any{asked{}, isReady{1}, exited{gen: 1}, fire{}, asked{}, isReady{2}, released{1}}, "[]", Ready},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine()
			m.quota = 2
			m.follow(t, tt.in, tt.do, tt.state)
		})
	}
}

func TestStaleTimerDoesNothing(t *testing.T) {
	m := newMachine()
	m.step(asked{})
	old := m.timer // of start 1
	m.step(unborn{1})
	m.step(elapsed{m.timer}) // start 2
	if do := m.step(elapsed{old}); len(do) != 0 || m.state != Starting {
		t.Errorf("%v, %s", text(do), m.state)
	}
}

func TestNever(t *testing.T) {
	m := newMachine()
	m.startTimeout, m.idleStop = forever, forever
	if do := text(m.step(asked{})); do != "[start 1]" {
		t.Error(do)
	}
	m.step(launched{1})
	m.step(isReady{1})
	if do := text(m.step(released{1})); do != "[]" {
		t.Error(do)
	}
}

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		failures int
		want     time.Duration
	}{{1, 100 * time.Millisecond}, {2, 200 * time.Millisecond}, {5, 1600 * time.Millisecond}, {9, 25600 * time.Millisecond}, {10, 30 * time.Second}, {1 << 40, 30 * time.Second}} {
		if got := backoff(tt.failures, 0.5); got != tt.want {
			t.Errorf("after %d failures: %v, want %v", tt.failures, got, tt.want)
		}
		low, high := backoff(tt.failures, 0), backoff(tt.failures, 0.999)
		if low < tt.want*79/100 || high > tt.want*121/100 || low >= high {
			t.Errorf("after %d failures: from %v to %v", tt.failures, low, high)
		}
	}
}

func TestFailuresAreForgotten(t *testing.T) {
	m := newMachine()
	life := func(uptime time.Duration) {
		if m.state == Backoff {
			m.step(elapsed{m.timer})
		}
		m.step(asked{})
		m.step(isReady{m.gen})
		m.step(released{m.gen})
		m.step(exited{gen: m.gen, uptime: uptime})
	}
	for range 4 {
		life(time.Second)
	}
	if m.failures != 4 {
		t.Errorf("%d failures, want 4", m.failures)
	}
	life(healthy)
	if m.failures != 1 {
		t.Errorf("%d failures after a healthy life, want 1", m.failures)
	}
}

// world is what the machine's orders mean: it holds the invariants of the
// package comment against every sequence of inputs.
type world struct {
	t       *testing.T
	m       *machine
	alive   []uint64 // generations started and not ended
	waiting int
	leases  map[uint64]int // out, by generation
	given   map[uint64]int // ever
	frozen  bool
	closed  bool
}

func (w *world) step(in any) {
	for _, do := range w.m.step(in) {
		switch do := do.(type) {
		case start:
			if w.closed {
				w.t.Fatal("started after shutdown")
			}
			if len(w.alive) > 0 {
				w.t.Fatalf("child %d started while %v live", do.gen, w.alive)
			}
			w.alive = append(w.alive, do.gen)
		case terminate:
			w.mustLive(do.gen)
			if w.frozen {
				w.t.Fatal("a frozen child is told to end")
			}
		case kill:
			w.mustLive(do.gen)
		case cut:
			w.mustLive(do.gen)
		case freeze:
			w.mustLive(do.gen)
			if w.leases[do.gen] > 0 {
				w.t.Fatal("frozen under a lease")
			}
			w.frozen = true
		case thaw:
			w.mustLive(do.gen)
			w.frozen = false
		case grant:
			w.grant(do.n)
		case dismiss:
			w.waiting = 0
		}
	}
	if w.m.waiting != w.waiting || len(w.alive) > 0 && w.m.leases != w.leases[w.m.gen] {
		w.t.Fatalf("machine: %d wait, %d leases; world: %d, %d", w.m.waiting, w.m.leases, w.waiting, w.leases[w.m.gen])
	}
	if w.m.state == Draining && w.m.leases == 0 {
		w.t.Fatal("drained, and not stopped")
	}
	if w.m.state == Ready && w.waiting > 0 {
		w.t.Fatal("somebody waits for a ready backend")
	}
	// Whoever waits is waiting for something that will happen.
	if w.waiting > 0 && w.m.state == Stopped {
		w.t.Fatal("somebody waits for a stopped backend")
	}
	if w.m.state == Backoff && !w.m.armed {
		w.t.Fatal("backoff without an end")
	}
	if dead := w.m.state == Stopped || w.m.state == Backoff; dead == (len(w.alive) == 1) {
		w.t.Fatalf("%s with %d children", w.m.state, len(w.alive))
	}
}

func (w *world) grant(n int) {
	if len(w.alive) == 0 || w.frozen {
		w.t.Fatal("leases on a dead or frozen child")
	}
	gen := w.alive[0]
	w.waiting -= n
	w.leases[gen] += n
	w.given[gen] += n
	if w.m.quota > 0 && w.given[gen] > w.m.quota {
		w.t.Fatalf("%d leases on one child, %d may be", w.given[gen], w.m.quota)
	}
}

func (w *world) mustLive(gen uint64) {
	if !slices.Contains(w.alive, gen) {
		w.t.Fatalf("child %d is signalled, alive: %v", gen, w.alive)
	}
}

// input makes one thing happen that can happen now, or a stale one.
func (w *world) input(b byte) {
	gen := w.m.gen
	if b&0x80 != 0 && gen > 0 {
		gen-- // of an earlier child
	}
	switch b & 0x7f % 15 {
	case 0, 1:
		if w.closed {
			return
		}
		w.waiting++
		w.step(asked{})
	case 2:
		if w.waiting > 0 {
			w.waiting--
			w.step(quit{})
		}
	case 3:
		if w.leases[gen] > 0 {
			w.leases[gen]--
			w.step(released{gen})
		}
	case 4:
		w.step(launched{gen})
	case 5:
		w.step(isReady{gen})
	case 6:
		if gen == w.m.gen && w.m.state != Starting {
			return // only a start can fail
		}
		w.end(gen)
		w.step(unborn{gen})
	case 7:
		w.end(gen)
		w.step(exited{gen: gen, clean: b&0x40 != 0, uptime: time.Duration(b) * time.Second})
	case 8:
		timer := w.m.timer
		if b&0x80 != 0 {
			timer--
		}
		w.step(elapsed{timer})
	case 9:
		if b&0x70 == 0 { // rarely: nothing happens after it
			w.closed = true
			w.step(shutter{})
			w.step(hurry{})
		}
	}
}

func (w *world) end(gen uint64) {
	if gen == w.m.gen {
		w.frozen = false
	}
	if i := slices.Index(w.alive, gen); i >= 0 {
		w.alive = slices.Delete(w.alive, i, i+1)
	}
}

func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 4, 5, 0, 3, 3, 8, 8, 7})
	f.Add([]byte{0, 6, 8, 4, 5, 7, 0, 8, 9})
	f.Add([]byte{0, 8, 4, 0, 7, 8, 0x88, 0x87, 9})
	f.Add([]byte{0, 0, 0, 0, 4, 5, 3, 3, 7, 5, 3, 3, 8, 10})
	f.Add([]byte{14, 4, 5, 8, 0, 3, 8, 10, 7, 12, 11})
	f.Fuzz(func(t *testing.T, script []byte) {
		w := &world{t: t, m: newMachine(), leases: map[uint64]int{}, given: map[uint64]int{}}
		if len(script) > 0 {
			w.m.quota, w.m.freeze = int(script[0]>>5)%4, script[0]&0x10 != 0
		}
		for _, b := range script {
			// An exit of a child that does not live is not the machine's to expect.
			if b&0x7f%15 == 7 && b&0x80 == 0 && len(w.alive) == 0 {
				continue
			}
			w.input(b)
		}
	})
}
