package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/bench/peer"
	"github.com/tiproxy/tiproxy/bench/record"
	"github.com/tiproxy/tiproxy/bench/report"
)

// run is one that was made up: a peer that is slower than tiproxy, and one
// that is faster and loses replies.
func run() *record.Run {
	r := &record.Run{
		Started: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Revision: "abc", Rounds: 3,
		Machine: record.Machine{CPU: "a CPU", CPUs: 2, Kernel: "6.1", Congestion: "cubic", Go: "go1"},
		Peers:   []record.Peer{{Name: peer.None}, {Name: peer.Tiproxy, Version: "1"}, {Name: "slow", Version: "2"}, {Name: "wrong", Version: "3"}},
	}
	for round, noise := range []float64{1, 0.9, 1.1} {
		add := func(work, peer string, values map[string]float64) {
			for key := range values {
				values[key] *= noise
			}
			r.Samples = append(r.Samples, record.Sample{Round: round, Work: work, Peer: peer, Values: values})
		}
		for p, rate := range map[string]float64{peer.None: 80_000, peer.Tiproxy: 30_000, "slow": 27_000, "wrong": 40_000} {
			add("requests-64", p, map[string]float64{"rate": rate, "p50": 1 / rate, "p99": 2 / rate, "p999": 3 / rate})
		}
		add("quiet", peer.Tiproxy, map[string]float64{"memory": 700, "files": 2})
		add("cold", peer.Tiproxy, map[string]float64{"above": 0.004})
		r.Samples = append(r.Samples, record.Sample{Round: round, Work: record.HalfClose, Peer: "wrong", Fault: "reply lost"})
	}
	return r
}

// cells answers the line of a table that begins so, without the padding.
func cells(t *testing.T, text, title string) string {
	t.Helper()
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "| "+title) {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	t.Fatalf("no line %q in\n%s", title, text)
	return ""
}

func TestTables(t *testing.T) {
	var b strings.Builder
	if err := report.Text(&b, run()); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for title, want := range map[string]string{
		"requests, 64 connections, 1000/s": "| requests, 64 connections, 1000/s | 80.0 ±5 % | 30.0 ±5 % | 27.0 ±5 % | ✗ (40.0) | " +
			"1.11 (1.11–1.11) of slow, goal at least 1.20, 0.75 (0.75–0.75) of wrong ✗ |",
		"requests, 64 connections: half":    "| requests, 64 connections: half within | 12.5 ±5 % | 33.3 ±5 % | 37.0 ±5 % | ✗ (25.0) | 0.90 (0.90–0.90) of slow, 1.33 (1.33–1.33) of wrong ✗ |",
		"bulk to the backend, 1 flow":       "| bulk to the backend, 1 flow, GB/s | – | – | – | – | |",
		"a quiet connection: memory, bytes": "| a quiet connection: memory, bytes | 700 ±5 % | goal at most 600 |",
		"a quiet connection: open files":    "| a quiet connection: open files | 2.00 ±5 % | |",
		"the difference":                    "| the difference, ms | 4.00 ±5 % | |",
	} {
		if got := cells(t, text, title); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	for _, want := range []string{"tiproxy revision abc", "2030-01-02 03:04 UTC", "congestion control cubic", "✗ wrong does not count: reply lost."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "QUICK") || strings.Contains(text, "Nobody there") {
		t.Errorf("it was not quick, and idleness was not measured:\n%s", text)
	}
}

func TestEachPooledRunIsNamed(t *testing.T) {
	second := run()
	second.Started, second.Revision = second.Started.Add(time.Hour), "def"
	both, err := record.Pool(run(), second)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	const want = "Run of 2030-01-02 03:04 UTC and 2030-01-02 04:04 UTC, tiproxy revision abc/def, 6 rounds."
	if err := report.Text(&b, both); err != nil || !strings.HasPrefix(b.String(), want) {
		t.Errorf("%v, and got\n%s", err, b.String())
	}
}

func TestQuickRunSaysSo(t *testing.T) {
	r := run()
	r.Quick = true
	var b strings.Builder
	if err := report.Text(&b, r); err != nil || !strings.HasPrefix(b.String(), "QUICK") {
		t.Errorf("%v, and got\n%s", err, b.String())
	}
}

// benchstat takes a name, a count, and pairs of value and unit.
func TestGoBenchmarkFormat(t *testing.T) {
	var b strings.Builder
	if err := report.GoBenchmark(&b, run()); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(b.String(), "\n") {
		if strings.HasPrefix(line, "Benchmark") {
			lines = append(lines, line)
			if n := len(strings.Fields(line)); n < 4 || n%2 != 0 {
				t.Errorf("%d fields in %q", n, line)
			}
		}
	}
	if want := 3 * (4 + 2); len(lines) != want {
		t.Errorf("%d lines, want %d:\n%s", len(lines), want, b.String())
	}
	for _, want := range []string{
		"Unit units/s better=higher\n",
		"Benchmark/work=quiet/peer=tiproxy 1 2 files 700 memory-B\n",
		"Benchmark/work=requests-64/peer=no_proxy 1 ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestDocumentKeepsWhatStandsAround(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "performance.md")
	const before, begin, end, after = "# Title\n", "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n", "\nAfter.\n"
	if err := os.WriteFile(file, []byte(before+begin+"old\n"+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over the first
		if err := report.Document(run(), folder); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, before+begin) || !strings.HasSuffix(got, end+after) || strings.Contains(got, "old") || strings.Count(got, "### Speed") != 1 {
		t.Errorf("got\n%s", got)
	}
	for _, name := range []string{"speed", "cpu", "latency", "connections"} {
		svg, err := os.ReadFile(filepath.Join(folder, "performance-"+name+".svg"))
		if err != nil || !strings.Contains(string(svg), "</svg>") || !strings.Contains(got, "(performance-"+name+".svg)") {
			t.Errorf("the chart of %s: %v", name, err)
		}
	}
}

func TestDocumentWithoutAPlaceForFigures(t *testing.T) {
	folder := t.TempDir()
	if err := report.Document(run(), folder); err == nil {
		t.Error("nothing to write into, and no error")
	}
	if err := os.WriteFile(filepath.Join(folder, "performance.md"), []byte("# Title\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := report.Document(run(), folder); err == nil || !strings.Contains(err.Error(), "written by make bench") {
		t.Errorf("got %v", err)
	}
}
