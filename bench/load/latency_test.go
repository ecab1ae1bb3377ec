package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreRightToOneIn64(t *testing.T) {
	var h histogram
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(rand.Int64N(1 << rand.IntN(40)))
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999} {
		want := all[int(q*float64(len(all)))]
		if got := h.quantile(q); (got - want).Abs() > want/64 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestNoDurationIsBeyondTheHistogram(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 127, 128, time.Hour, 1<<63 - 1} {
		var h histogram
		h.add(d)
		want := max(d, 0)
		if got := h.quantile(0.5); (got - want).Abs() > want/64 {
			t.Errorf("%v is counted as %v", d, got)
		}
	}
}

func TestNothingCounted(t *testing.T) {
	var h histogram
	if got := h.latency(); got != (Latency{}) {
		t.Errorf("got %v", got)
	}
}
