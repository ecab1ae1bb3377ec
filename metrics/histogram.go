package metrics

import (
	"slices"
	"time"
)

// bounds are the upper ends of the buckets, both of waits in line and of
// sessions: from what no person notices to what no person waits for. A quantile
// is off by a bucket's width at most.
var bounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, time.Minute,
	2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
}

// histogram counts durations by size.
type histogram struct {
	counts [len(bounds) + 1]uint64 // up to each of bounds and above the one before; the last: above all
	micros uint64                  // their sum, in µs: nanoseconds of 20,000 sessions at once overflow in ten days
}

// observe counts a duration; one that is negative counts as 0.
func (h *histogram) observe(d time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], d)
	h.counts[i]++
	h.micros += uint64(max(d, 0).Microseconds())
}
