// Package report says what a run has shown: as tables that can be read in a
// terminal and in Markdown, in the format of Go's benchmarks for benchstat,
// and as the figures and charts of the documentation.
package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tiproxy/tiproxy/bench/peer"
	"github.com/tiproxy/tiproxy/bench/record"
)

// Text writes all tables.
func Text(w io.Writer, run *record.Run) error {
	var b strings.Builder
	fmt.Fprintln(&b, about(run))
	faults := make(map[string]string) // by peer
	for _, s := range sections {
		if t := s.table(run, faults); t != nil {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", s.title, s.text)
			writeTable(&b, t)
		}
	}
	for _, p := range run.Peers {
		if fault := faults[p.Name]; fault != "" {
			fmt.Fprintf(&b, "\n✗ %s does not count: %s.\n", p.Name, fault)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// about says what was measured, where and when.
func about(run *record.Run) string {
	var names []string
	for _, p := range run.Peers {
		names = append(names, strings.TrimSpace(p.Name+" "+p.Version))
	}
	kind := "Run"
	if run.Quick {
		kind = "QUICK run, to try the benchmark: its figures are not to be cited. Run"
	}
	const minute = "2006-01-02 15:04 MST"
	when := run.Started.UTC().Format(minute)
	for _, t := range run.Also {
		when += " and " + t.UTC().Format(minute)
	}
	return fmt.Sprintf("%s of %s, tiproxy revision %s, %d rounds. %s, %d CPUs, Linux %s, congestion control %s, %s.\n%s.",
		kind, when, cmp.Or(run.Revision, "unknown"), run.Rounds,
		run.Machine.CPU, run.Machine.CPUs, run.Machine.Kernel, cmp.Or(run.Machine.Congestion, "unknown"), run.Machine.Go, strings.Join(names, ", "))
}

// table makes the cells of a section: a head, a line for each row and a column
// for each peer that was measured. Faults are added to what is known of them.
func (s section) table(run *record.Run, faults map[string]string) [][]string {
	head := []string{""}
	lines := make([][]string, 0, len(s.rows))
	for _, r := range s.rows {
		lines = append(lines, []string{r.title})
	}
	for _, p := range run.Peers {
		measured := false
		for _, r := range s.rows {
			f := run.Figure(r.work, r.key, p.Name)
			measured = measured || f.Rounds > 0 || f.Fault != ""
			faults[p.Name] = cmp.Or(faults[p.Name], f.Fault)
		}
		if !measured {
			continue
		}
		head = append(head, p.Name)
		for i, r := range s.rows {
			lines[i] = append(lines[i], r.cell(run.Figure(r.work, r.key, p.Name)))
		}
	}
	if len(head) == 1 {
		return nil
	}
	lines = slices.Insert(lines, 0, head)
	if slices.ContainsFunc(s.rows, func(r row) bool { return r.goal != goal{} }) {
		lines[0] = append(head, "tiproxy to the best peer")
		for i, r := range s.rows {
			lines[i+1] = append(lines[i+1], r.verdict(run))
		}
	}
	return lines
}

// cell shows a figure.
func (r row) cell(f record.Figure) string {
	switch text := short(f.Median * r.scale); {
	case f.Rounds == 0 && f.Fault == "":
		return "–"
	case f.Rounds == 0:
		return "✗"
	case f.Fault != "":
		return "✗ (" + text + ")"
	case f.Rounds == 1 || f.Spread() < 0.005:
		return text
	default:
		return fmt.Sprintf("%s ±%.0f %%", text, 100*f.Spread())
	}
}

// verdict compares tiproxy with the best peer, and with the goal.
func (r row) verdict(run *record.Run) string {
	var parts []string
	ours := run.Figure(r.work, r.key, peer.Tiproxy)
	if ours.Rounds == 0 {
		return ""
	}
	right, any := r.bestPeers(run)
	if right != "" && r.goal.ratio > 0 {
		f := run.Ratio(r.work, r.key, peer.Tiproxy, right)
		parts = append(append(parts, ratio(f, right)), reached(r.less, f.Median, r.goal.ratio)...)
	}
	if any != right && r.goal.ratio > 0 {
		parts = append(parts, ratio(run.Ratio(r.work, r.key, peer.Tiproxy, any), any+" ✗"))
	}
	if r.goal.value > 0 {
		parts = append(parts, reached(true, ours.Median*r.scale, r.goal.value)...)
	}
	return strings.Join(parts, ", ")
}

func ratio(f record.Figure, of string) string {
	if f.Rounds == 1 {
		return fmt.Sprintf("%.2f of %s", f.Median, of)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f) of %s", f.Median, f.Low, f.High, of)
}

// reached names a goal that was missed; nil: it was not.
func reached(less bool, got, goal float64) []string {
	switch {
	case less && got > goal*1.005:
		return []string{"goal at most " + short(goal)}
	case !less && got < goal*0.995:
		return []string{"goal at least " + short(goal)}
	}
	return nil
}

// short shows three digits.
func short(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', max(0, min(digits, 4)), 64)
}

// writeTable writes cells as Markdown, in columns that a terminal shows well.
func writeTable(b *strings.Builder, t [][]string) {
	widths := make([]int, len(t[0]))
	for _, cells := range t {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	rule := make([]string, len(widths))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
	}
	for _, cells := range slices.Insert(slices.Clone(t), 1, rule) {
		for i, c := range cells {
			fmt.Fprintf(b, "| %s%s ", c, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
		}
		b.WriteString("|\n")
	}
}
