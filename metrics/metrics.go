// Package metrics tells the numbers of a tiproxy to Prometheus.
//
//	proxy.Event ──────┐
//	supervisor.Event ─┼─▶ tally.go ──────────┐
//	hook.Event ───────┘                      ├─▶ families.go ──▶ page.go ──▶ WriteTo
//	gate, proxy, supervisor (Sources) ───────┤
//	the kernel ─────────▶ process.go ────────┘
//
// Invariants:
//
//   - Nothing is counted twice: what somebody counts already is asked of him
//     when the metrics are written, and only the rest is tallied from events.
//   - The number of lines is fixed. Labels take their values from short lists;
//     no client, and nothing that a client says, is among them.
//   - Taking an event allocates nothing, and waits for nobody longer than it
//     takes to copy the tally.
//   - A page shows each event whole, or not at all.
package metrics

import (
	"fmt"
	"io"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/supervisor"
)

// Sources are asked whenever the metrics are written, from any goroutine. None
// of the functions may be nil.
type Sources struct {
	Version string                   // of tiproxy
	Gate    func() gate.Stats        // of the line and those inside
	Denied  func() uint64            // clients that the access rules kept out so far
	Backend func() supervisor.Status // without any backend: State is Stopped
	Memory  func() int64             // bytes that the backend uses; 0: none runs, or unknown
}

// Metrics are those of one tiproxy. All its methods may be called from any
// goroutine.
type Metrics struct {
	from  Sources
	began time.Time // when New was called: at tiproxy's start
	tally tally
}

// New makes Metrics that have seen no event yet.
func New(from Sources) *Metrics {
	return &Metrics{from: from, began: time.Now()}
}

// look is what the families of one page are read from.
type look struct {
	version string
	gate    gate.Stats
	denied  uint64
	backend supervisor.Status
	memory  int64
	began   time.Time
	process process
	events  tallied
}

// WriteTo writes all metrics in Prometheus's text format, version 0.0.4, in one
// piece. It answers how many bytes w took, and fails as w does.
func (m *Metrics) WriteTo(w io.Writer) (int64, error) {
	l := look{
		version: m.from.Version, gate: m.from.Gate(), denied: m.from.Denied(),
		backend: m.from.Backend(), memory: m.from.Memory(),
		began: m.began, process: lookAtProcess(), events: m.tally.copy(),
	}
	var p page
	for i := range families {
		p.begin(&families[i])
		families[i].write(&p, &l)
	}
	n, err := w.Write(p.text)
	if err != nil {
		err = fmt.Errorf("cannot write the metrics: %w", err)
	}
	return int64(n), err
}
