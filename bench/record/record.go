// Package record keeps what a benchmark measured: every round of every piece
// of work, in one file for each run, and the figures that follow from them.
package record

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// Run is one run of the benchmark.
type Run struct {
	Started  time.Time
	Also     []time.Time `json:",omitempty"` // when the other runs began that Pool has put to it
	Revision string      // of the project
	Quick    bool        // short and small: to try, not to cite
	Rounds   int
	Machine  Machine
	Peers    []Peer
	Samples  []Sample `json:",omitempty"` // in the order of measuring
}

// Machine is where it ran.
type Machine struct {
	CPU        string
	CPUs       int
	Kernel     string
	Congestion string `json:",omitempty"` // the system's choice of congestion control; empty: nobody took note
	Go         string
}

// Peer is one of those that were compared.
type Peer struct{ Name, Version string }

// Sample is what one round of one piece of work gave with one peer.
type Sample struct {
	Round  int
	Work   string
	Peer   string
	Values map[string]float64 `json:",omitempty"` // by key, as in report.Rows
	Fault  string             `json:",omitempty"` // wrong bytes, a lost reply, no service
}

// Pool makes one run of the rounds of several, which are better than one on a machine
// with other work. It fails where they are not of the same machine and peers; versions
// may differ, and are all named.
func Pool(first *Run, others ...*Run) (*Run, error) {
	all := *first
	all.Peers, all.Samples = slices.Clone(first.Peers), slices.Clone(first.Samples)
	sameName := func(a, b Peer) bool { return a.Name == b.Name }
	for _, r := range others {
		if r.Machine != all.Machine || r.Quick != all.Quick || !slices.EqualFunc(r.Peers, all.Peers, sameName) {
			return nil, fmt.Errorf("cannot pool the runs of %v and %v: machine, peers and -quick have to be the same", first.Started, r.Started)
		}
		for _, s := range r.Samples {
			s.Round += all.Rounds
			all.Samples = append(all.Samples, s)
		}
		for i, p := range r.Peers {
			all.Peers[i].Version = alsoNamed(all.Peers[i].Version, p.Version)
		}
		all.Rounds += r.Rounds
		all.Also = append(all.Also, r.Started)
		all.Revision = alsoNamed(all.Revision, r.Revision)
	}
	return &all, nil
}

// alsoNamed adds a version to others, unless it is one of them.
func alsoNamed(versions, version string) string {
	if slices.Contains(strings.Split(versions, "/"), version) {
		return versions
	}
	return versions + "/" + version
}

// HalfClose is the piece of work whose fault stands for all figures of a peer:
// who takes the end of a request for the end of the session loses replies.
const HalfClose = "half-close"

// Figure is what the rounds say about one value.
type Figure struct {
	Median, Low, High float64 // Low and High are the quartiles
	Rounds            int     // that measured it; 0: none did
	Fault             string  // why it is worth nothing; "": it is good
}

// Spread is half the distance of the quartiles, as a share of the median.
func (f Figure) Spread() float64 {
	if f.Median == 0 {
		return 0
	}
	return (f.High - f.Low) / 2 / math.Abs(f.Median)
}

// Figure sums up a value of a peer.
func (r *Run) Figure(work, key, peer string) Figure {
	f := summary(slices.Collect(maps.Values(r.byRound(work, key, peer))))
	of := func(work string) (fault string, tried bool) {
		for _, s := range r.Samples {
			if s.Peer == peer && s.Work == work {
				tried = true
				fault = cmp.Or(fault, s.Fault)
			}
		}
		return fault, tried
	}
	fault, tried := of(work)
	if tried {
		all, _ := of(HalfClose)
		f.Fault = cmp.Or(fault, all)
	}
	return f
}

// Ratio sums up how much a peer's value is of another's in the same round:
// what slows a whole round down does not spread it.
func (r *Run) Ratio(work, key, peer, other string) Figure {
	values := r.byRound(work, key, peer)
	var ratios []float64
	for round, v := range r.byRound(work, key, other) {
		if mine, ok := values[round]; ok && v != 0 {
			ratios = append(ratios, mine/v)
		}
	}
	return summary(ratios)
}

func (r *Run) byRound(work, key, peer string) map[int]float64 {
	values := make(map[int]float64)
	for _, s := range r.Samples {
		if v, ok := s.Values[key]; ok && s.Work == work && s.Peer == peer {
			values[s.Round] = v
		}
	}
	return values
}

func summary(values []float64) Figure {
	slices.Sort(values)
	return Figure{Median: quantile(values, 0.5), Low: quantile(values, 0.25), High: quantile(values, 0.75), Rounds: len(values)}
}

// quantile of sorted values, between two of them in proportion.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	at := q * float64(len(values)-1)
	below := int(at)
	above := min(below+1, len(values)-1)
	return values[below] + (at-float64(below))*(values[above]-values[below])
}

// Save writes the run to a file, a sample on each line.
func (r *Run) Save(file string) error {
	samples := r.Samples
	head := *r
	head.Samples = nil
	text, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", file, err)
	}
	text = append(text, '\n')
	for _, s := range samples {
		line, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", file, err)
		}
		text = append(append(text, line...), '\n')
	}
	return os.WriteFile(file, text, 0o644)
}

// Load reads what Save has written.
func Load(file string) (*Run, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r Run
	lines := json.NewDecoder(f)
	if err := lines.Decode(&r); err != nil {
		return nil, fmt.Errorf("cannot read the run in %s: %w", file, err)
	}
	for lines.More() {
		var s Sample
		if err := lines.Decode(&s); err != nil {
			return nil, fmt.Errorf("cannot read the run in %s: %w", file, err)
		}
		r.Samples = append(r.Samples, s)
	}
	if len(r.Samples) == 0 {
		return nil, fmt.Errorf("cannot use the run in %s: it has no samples", file)
	}
	return &r, nil
}
