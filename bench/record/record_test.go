package record_test

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/bench/record"
)

func run(samples ...record.Sample) *record.Run {
	return &record.Run{
		Started: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Rounds: 5,
		Peers:   []record.Peer{{Name: "a"}, {Name: "b", Version: "2"}},
		Samples: samples,
	}
}

// rounds are the samples of a peer, a value for each round.
func rounds(work, peer string, values ...float64) (samples []record.Sample) {
	for i, v := range values {
		samples = append(samples, record.Sample{Round: i, Work: work, Peer: peer, Values: map[string]float64{"rate": v}})
	}
	return samples
}

func TestFigures(t *testing.T) {
	r := run(append(rounds("w", "a", 50, 10, 40, 20, 30), rounds("other", "a", 1000)...)...)
	if got, want := r.Figure("w", "rate", "a"), (record.Figure{Median: 30, Low: 20, High: 40, Rounds: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := r.Figure("w", "rate", "a").Spread(), 1./3; math.Abs(got-want) > 1e-9 {
		t.Errorf("the spread is %v, want %v", got, want)
	}
	for _, what := range [][3]string{{"w", "rate", "b"}, {"w", "cpu", "a"}, {"none", "rate", "a"}} {
		if got := r.Figure(what[0], what[1], what[2]); got != (record.Figure{}) {
			t.Errorf("%v was not measured, and is %+v", what, got)
		}
	}
}

// The machine became ten times slower after the second round: the ratio does
// not care.
func TestRatiosAreOfOneRound(t *testing.T) {
	r := run(append(rounds("w", "a", 20, 20, 2, 2), rounds("w", "b", 10, 10, 1, 1, 1)...)...)
	if got, want := r.Ratio("w", "rate", "a", "b"), (record.Figure{Median: 2, Low: 2, High: 2, Rounds: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFaults(t *testing.T) {
	good := rounds("w", "a", 1, 2)
	for name, tt := range map[string]struct {
		bad  record.Sample
		want string
	}{
		"in one round":             {record.Sample{Round: 2, Work: "w", Peer: "a", Fault: "wrong bytes"}, "wrong bytes"},
		"of half-close, for all":   {record.Sample{Work: record.HalfClose, Peer: "a", Fault: "reply lost"}, "reply lost"},
		"of another piece of work": {record.Sample{Work: "other", Peer: "a", Fault: "wrong bytes"}, ""},
		"of another peer":          {record.Sample{Work: record.HalfClose, Peer: "b", Fault: "wrong bytes"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(append(good, tt.bad)...).Figure("w", "rate", "a").Fault; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	r := run(record.Sample{Work: record.HalfClose, Peer: "a", Fault: "reply lost"})
	if got := r.Figure("w", "rate", "a"); got.Fault != "" {
		t.Errorf("what was not tried has the fault %q", got.Fault)
	}
}

// The second run was on the same machine when that was ten times slower: a ratio is
// within a round of one of them.
func TestPool(t *testing.T) {
	first := run(append(rounds("w", "a", 20, 20), rounds("w", "b", 10, 10)...)...)
	second := run(append(rounds("w", "a", 2), rounds("w", "b", 1)...)...)
	second.Started, second.Revision, second.Rounds = first.Started.Add(time.Hour), "def", 2
	first.Revision, second.Peers[1].Version = "abc", "3"
	third := *first
	got, err := record.Pool(first, second, &third)
	if err != nil {
		t.Fatal(err)
	}
	if got.Rounds != 12 || got.Revision != "abc/def" || got.Peers[1].Version != "2/3" || got.Peers[0].Version != "" ||
		!reflect.DeepEqual(got.Also, []time.Time{second.Started, third.Started}) {
		t.Errorf("%+v", got)
	}
	if ratio, want := got.Ratio("w", "rate", "a", "b"), (record.Figure{Median: 2, Low: 2, High: 2, Rounds: 5}); ratio != want {
		t.Errorf("got %+v, want %+v", ratio, want)
	}
	if len(first.Samples) != 4 || first.Peers[1].Version != "2" || first.Rounds != 5 {
		t.Errorf("the first run has become %+v", first)
	}
	for name, change := range map[string]func(*record.Run){
		"another machine": func(r *record.Run) { r.Machine.CPU = "x" },
		"quick":           func(r *record.Run) { r.Quick = true },
		"a peer less":     func(r *record.Run) { r.Peers = r.Peers[:1] },
		"another peer":    func(r *record.Run) { r.Peers[0].Name = "c" },
	} {
		other := run()
		change(other)
		if r, err := record.Pool(first, other); err == nil || !strings.Contains(err.Error(), "2030") {
			t.Errorf("%s: got %+v and %v", name, r, err)
		}
	}
}

func TestFileKeepsAll(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.json")
	want := run(append(rounds("w", "a", 1, 2.5), record.Sample{Work: "w", Peer: "b", Fault: "wrong bytes"})...)
	want.Quick, want.Revision, want.Machine = true, "abc", record.Machine{CPU: "x", CPUs: 2, Kernel: "6", Go: "go1"}
	if err := want.Save(file); err != nil {
		t.Fatal(err)
	}
	got, err := record.Load(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
	text, err := os.ReadFile(file)
	if lines := strings.Count(string(text), "\n"); lines != 4 || err != nil {
		t.Errorf("%d lines, want a head and 3 samples: %s", lines, text)
	}
}

func TestFileThatIsNoRun(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no JSON": "hello", "no samples": `{"Rounds":3}`, "broken off": "{\"Rounds\":3}\n{\"Work\":",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "run.json")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := record.Load(file); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("got %+v and %v", r, err)
			}
		})
	}
}
