package supervisor

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func newMachine() *machine {
	return &machine{startTimeout: 30 * time.Second, stopTimeout: 10 * time.Second, idleStop: time.Minute, state: Stopped}
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
			all = append(all, "grant")
		case dismiss:
			all = append(all, "dismiss")
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
		{"ready lets all in", []any{asked{}, asked{}, launched{1}, isReady{1}}, "[disarm grant]", Ready},
		{"ready, but all have left", []any{asked{}, quit{}, launched{1}, isReady{1}}, "[disarm grant arm 1m0s]", Ready},
		{"asked when ready", then(ready, asked{}), "[grant]", Ready},
		{"the last lease comes back", then(ready, released{}), "[arm 1m0s]", Ready},
		{"not the last lease", then(ready, asked{}, released{}), "[]", Ready},
		{"asked when idle", then(ready, released{}, asked{}), "[disarm grant]", Ready},
		{"idle for long enough", then(ready, released{}, fire{}), "[term 1 arm 10s]", Stopping},
		{"stopped", then(ready, released{}, fire{}, up(time.Second)), "[disarm]", Stopped},
		{"asked while it stops", then(ready, released{}, fire{}, asked{}), "[]", Stopping},
		{"stopped, but somebody waits", then(ready, released{}, fire{}, asked{}, up(time.Second)), "[disarm start 2 arm 30s]", Starting},
		{"it will not stop", then(ready, released{}, fire{}, fire{}), "[kill 1]", Stopping},
		{"killed", then(ready, released{}, fire{}, fire{}, up(time.Second)), "[]", Stopped},
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
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine()
			var do []any
			for _, in := range tt.in {
				if _, is := in.(fire); is {
					in = elapsed{m.timer}
				}
				do = m.step(in)
			}
			if text(do) != tt.do || m.state != tt.state {
				t.Errorf("%v, %s; want %v, %s", text(do), m.state, tt.do, tt.state)
			}
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
	if do := text(m.step(released{})); do != "[]" {
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
		m.step(released{})
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
	leases  int
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
		case kill:
			w.mustLive(do.gen)
		case grant:
			if len(w.alive) == 0 {
				w.t.Fatal("leases on a dead child")
			}
			w.leases += w.waiting
			w.waiting = 0
		case dismiss:
			w.waiting = 0
		}
	}
	if w.m.waiting != w.waiting || w.m.leases != w.leases {
		w.t.Fatalf("machine: %d wait, %d leases; world: %d, %d", w.m.waiting, w.m.leases, w.waiting, w.leases)
	}
	// Whoever waits is waiting for something that will happen.
	if w.waiting > 0 && w.m.state == Stopped {
		w.t.Fatal("somebody waits for a stopped backend")
	}
	if w.m.state == Backoff && !w.m.armed {
		w.t.Fatal("backoff without an end")
	}
	if (w.m.state == Starting || w.m.state == Stopping || w.m.state == Ready) != (len(w.alive) == 1) {
		w.t.Fatalf("%s with %d children", w.m.state, len(w.alive))
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
	switch b & 0x7f % 10 {
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
		if w.leases > 0 {
			w.leases--
			w.step(released{})
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
	if i := slices.Index(w.alive, gen); i >= 0 {
		w.alive = slices.Delete(w.alive, i, i+1)
	}
}

func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 4, 5, 0, 3, 3, 8, 8, 7})
	f.Add([]byte{0, 6, 8, 4, 5, 7, 0, 8, 9})
	f.Add([]byte{0, 8, 4, 0, 7, 8, 0x88, 0x87, 9})
	f.Fuzz(func(t *testing.T, script []byte) {
		w := &world{t: t, m: newMachine()}
		for _, b := range script {
			// An exit of a child that does not live is not the machine's to expect.
			if b&0x7f%10 == 7 && b&0x80 == 0 && len(w.alive) == 0 {
				continue
			}
			w.input(b)
		}
	})
}
