package metrics

import (
	"math"
	"strconv"
	"strings"
)

// page is a text of Prometheus's format 0.0.4, as far as it is written; see
// https://prometheus.io/docs/instrumenting/exposition_formats/
//
// It is written here because client_golang, and its encoder alone, bring Protocol
// Buffers with them: 2 and 1.6 MB of program, and as much of the 15 MB that an
// idle tiproxy may have. The tests read the text with Prometheus's own parser and
// linter.
type page struct {
	text   []byte
	family *family // that is being written
}

// number is what a metric can be.
type number interface {
	~int | ~int64 | ~uint64 | ~float64
}

// escape is for the value of a label.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// begin writes the head of a family.
func (p *page) begin(f *family) {
	p.family = f
	p.add("# HELP ", f.name, " ", f.help, "\n# TYPE ", f.name, " ", string(f.kind), "\n")
}

// put writes a metric of the family; value is that of its label, "" without one.
// NaN, an unknown number, is left out.
func put[N number](p *page, value string, n N) {
	if f := float64(n); !math.IsNaN(f) {
		p.line("", p.family.label, value, f)
	}
}

// times writes the histogram that is the family.
func (p *page) times(h *histogram) {
	var sum uint64
	for i, n := range h.counts {
		sum += n
		bound := "+Inf"
		if i < len(bounds) {
			bound = decimal(bounds[i].Seconds())
		}
		p.line("_bucket", "le", bound, float64(sum))
	}
	p.line("_sum", "", "", float64(h.micros)/1e6)
	p.line("_count", "", "", float64(sum))
}

func (p *page) line(suffix, label, value string, n float64) {
	p.add(p.family.name, suffix)
	if label != "" {
		p.add("{", label, `="`, escape.Replace(value), `"}`)
	}
	p.add(" ", decimal(n), "\n")
}

func (p *page) add(parts ...string) {
	for _, s := range parts {
		p.text = append(p.text, s...)
	}
}

// decimal writes a number without an exponent, for people read it as well.
func decimal(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
