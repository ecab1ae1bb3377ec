package gate

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name string
		rate Rate
		come []time.Duration // when they come, each as soon as the one before is counted
		wait []time.Duration
	}{
		{"no rate", Rate{}, []time.Duration{0, 0, 0}, []time.Duration{0, 0, 0}},
		{"negative is none", Rate{-1, s}, []time.Duration{0, 0, 0}, []time.Duration{0, 0, 0}},
		{"no stretch of time", Rate{1, 0}, []time.Duration{0, 0, s}, []time.Duration{0, 0, 0}},
		{"one a second", Rate{1, s}, []time.Duration{0, s / 4, s + s/4, 9 * s}, []time.Duration{0, 3 * s / 4, 3 * s / 4, 0}},
		{"three in two seconds", Rate{3, 2 * s}, []time.Duration{0, 0, s, s, 2 * s, 2 * s}, []time.Duration{0, 0, 0, s, 0, s}},
		{"just in time", Rate{2, s}, []time.Duration{0, 0, s - 1, s}, []time.Duration{0, 0, 1, 0}},
		{"not from zero", Rate{1, s}, []time.Duration{time.Hour, time.Hour + 1}, []time.Duration{0, s - 1}},
		{"before the fixed moment", Rate{1, s}, []time.Duration{-s, -s / 2}, []time.Duration{0, s / 2}},
		{"as good as never", Rate{1, math.MaxInt64}, []time.Duration{s, 2 * s}, []time.Duration{0, math.MaxInt64 - s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := NewMeter(tt.rate)
			for i, now := range tt.come {
				wait := m.Wait(now)
				if wait != tt.wait[i] {
					t.Errorf("arrival %d at %v waits %v, want %v", i, now, wait, tt.wait[i])
				}
				if again := m.Wait(now); again != wait {
					t.Errorf("arrival %d asks again: %v, not %v", i, again, wait)
				}
				m.Count(now + wait)
			}
		})
	}
}

// However many came, a stretch of quiet heals the meter: N may come at once.
func TestMeterHeals(t *testing.T) {
	const n, per = 20, 2 * time.Second
	m := NewMeter(Rate{n, per})
	now := time.Duration(0)
	for range 1000 {
		now += m.Wait(now)
		m.Count(now)
	}
	if want := (1000/n - 1) * per; now != want {
		t.Errorf("a thousand at once took %v, want %v", now, want)
	}
	now += per
	for i := range n {
		if wait := m.Wait(now); wait != 0 {
			t.Fatalf("arrival %d waits %v", i, wait)
		}
		m.Count(now)
	}
	if wait := m.Wait(now); wait != per {
		t.Errorf("one more waits %v, want %v", wait, per)
	}
}

// FuzzMeter has arrivals come with random gaps. Those that waited as they were
// told are never more than N in a stretch of length Per, and none waits longer
// than that takes.
func FuzzMeter(f *testing.F) {
	f.Add(1, int64(time.Second), []byte{0, 0, 0, 255})
	f.Add(20, int64(2*time.Second), []byte{1, 2, 3, 4, 5, 6, 7})
	f.Add(0, int64(0), []byte{1})
	f.Add(-3, int64(-5), []byte{0, 0})
	rng := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		gaps := make([]byte, 100)
		for i := range gaps {
			gaps[i] = byte(rng.IntN(1 << rng.IntN(9)))
		}
		f.Add(rng.IntN(9), int64(rng.IntN(1000)), gaps)
	}
	f.Fuzz(func(t *testing.T, n int, per int64, gaps []byte) {
		rate := Rate{n % 100, time.Duration(per % 1000)}
		m := NewMeter(rate)
		var now time.Duration
		var came []time.Duration
		within := func(at time.Duration) (count int) { // how many came in the stretch that ends with at
			for _, c := range came {
				if c > at-rate.Per {
					count++
				}
			}
			return count
		}
		for _, gap := range gaps {
			now += time.Duration(gap)
			wait := m.Wait(now)
			if wait < 0 || rate.N <= 0 && wait != 0 {
				t.Fatalf("%+v: waits %v", rate, wait)
			}
			if wait > 0 && within(now+wait-1) < rate.N {
				t.Fatalf("%+v: %v waits %v, and could have come sooner; came: %v", rate, now, wait, came)
			}
			now += wait
			if rate.N > 0 && within(now) >= rate.N {
				t.Fatalf("%+v: one too many at %v; came: %v", rate, now, came)
			}
			m.Count(now)
			came = append(came, now)
		}
	})
}
