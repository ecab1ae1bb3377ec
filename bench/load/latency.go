package load

import (
	"math/bits"
	"time"
)

// Latency is how long units took, from the request to the whole reply.
type Latency struct {
	P50, P99, P999 time.Duration
}

// fine is into how many steps a power of two is divided: a value is known to
// one in 64.
const fine = 6

// histogram counts durations in nanoseconds, in buckets that grow with them.
type histogram struct {
	counts [(64 - fine) << fine]uint64
	total  uint64
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
}

// bucket numbers below 2^fine stand for themselves; above, fine bits behind
// the first one are kept.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-fine-1, 0)
	return shift<<fine + int(v>>shift)
}

// value is the middle of a bucket.
func value(bucket int) time.Duration {
	if bucket < 1<<(fine+1) {
		return time.Duration(bucket)
	}
	shift := bucket>>fine - 1
	low := uint64(bucket-shift<<fine) << shift
	return time.Duration(low + 1<<shift/2)
}

// quantile is the duration that a share q of all did not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	for b, n := range h.counts {
		if rank < n {
			return value(b)
		}
		rank -= n
	}
	return 0
}

func (h *histogram) latency() Latency {
	return Latency{h.quantile(0.5), h.quantile(0.99), h.quantile(0.999)}
}
