package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tiproxy/tiproxy/bench/record"
)

// goUnits are the values in the words of Go's benchmark format.
var goUnits = map[string]string{
	"rate": "units/s", "cpu": "cpu-sec", "p50": "p50-sec", "p99": "p99-sec", "p999": "p99.9-sec",
	"memory": "memory-B", "files": "files", "kernel": "kernel-B", "overtaken": "overtaken",
	"own": "own-sec", "first": "first-sec", "above": "above-sec", "warm": "warm-sec",
	"wakeups": "wakeups/s", "rss": "rss-B", "pss": "pss-B",
}

// GoBenchmark writes each round as a line of a Go benchmark, for benchstat:
// golang.org/design/14313-benchmark-format.
func GoBenchmark(w io.Writer, run *record.Run) error {
	var b strings.Builder
	// The revision is no line of this head: benchstat compares only what has
	// the same one.
	fmt.Fprintf(&b, "cpu: %s\nUnit units/s better=higher\n", run.Machine.CPU)
	for _, s := range run.Samples {
		line := fmt.Sprintf("Benchmark/work=%s/peer=%s 1", s.Work, strings.ReplaceAll(s.Peer, " ", "_"))
		for _, key := range slices.Sorted(maps.Keys(s.Values)) {
			if unit := goUnits[key]; unit != "" {
				line += fmt.Sprintf(" %g %s", s.Values[key], unit)
			}
		}
		if s.Fault == "" && len(s.Values) > 0 {
			fmt.Fprintln(&b, line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
