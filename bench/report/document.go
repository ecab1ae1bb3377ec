package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tiproxy/tiproxy/bench/chart"
	"github.com/tiproxy/tiproxy/bench/peer"
	"github.com/tiproxy/tiproxy/bench/record"
)

// What stands between these two lines of performance.md is ours.
const (
	documentName = "performance.md"
	figuresBegin = "<!-- figures: written by make bench -->\n"
	figuresEnd   = "<!-- end of figures -->\n"
)

// Document puts the tables into performance.md of a folder, and the charts
// beside it.
func Document(run *record.Run, folder string) error {
	file := filepath.Join(folder, documentName)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), figuresBegin)
	_, after, ends := strings.Cut(rest, figuresEnd)
	if !begins || !ends {
		return fmt.Errorf("cannot write the figures into %s: it must have the lines %q and %q", file, figuresBegin, figuresEnd)
	}
	var b strings.Builder
	b.WriteString(before + figuresBegin + "\n")
	for _, s := range sections {
		if s.chart == "" {
			continue
		}
		name := "performance-" + s.chart + ".svg"
		if err := writeChart(filepath.Join(folder, name), s.draw(run)); err != nil {
			return err
		}
		fmt.Fprintf(&b, "![%s](%s)\n\n", s.title, name)
	}
	if err := Text(&b, run); err != nil {
		return err
	}
	b.WriteString("\n" + figuresEnd + after)
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func writeChart(file string, c chart.Chart) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := c.Write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// draw makes a panel of each row, or of each three quantiles.
func (s section) draw(run *record.Run) chart.Chart {
	c := chart.Chart{Title: s.title, Note: "Lines: from the lower to the upper quartile of the rounds. ✗: loses replies or fails, does not count."}
	if s.log {
		c.Note = "Points: the medians of the rounds. ✗: loses replies or fails, does not count."
		for i := 0; i+2 < len(s.rows); i += 3 {
			c.Panels = append(c.Panels, quantiles(run, s.rows[i:i+3]))
		}
		return c
	}
	for _, r := range s.rows {
		if r.goal != (goal{}) {
			c.Panels = append(c.Panels, r.panel(run))
		}
	}
	return c
}

func (r row) panel(run *record.Run) chart.Panel {
	p := chart.Panel{Title: r.title}
	for _, one := range run.Peers {
		f := run.Figure(r.work, r.key, one.Name)
		if f.Rounds == 0 {
			continue
		}
		p.Bars = append(p.Bars, chart.Bar{
			Label: one.Name, Value: f.Median * r.scale, Low: f.Low * r.scale, High: f.High * r.scale,
			Text: label(f, short(f.Median*r.scale)), Style: styleOf(one.Name, f),
		})
	}
	return p
}

// quantiles draws three rows together, as points on a logarithmic scale.
func quantiles(run *record.Run, rows []row) chart.Panel {
	title, _, _ := strings.Cut(rows[0].title, ":")
	p := chart.Panel{Title: title + ": 50, 99, 99.9 %, µs", Log: true}
	for _, one := range run.Peers {
		b := chart.Bar{Label: one.Name}
		var texts []string
		for _, r := range rows {
			f := run.Figure(r.work, r.key, one.Name)
			if f.Rounds == 0 {
				continue
			}
			b.Points = append(b.Points, f.Median*r.scale)
			b.Style = styleOf(one.Name, f)
			texts = append(texts, short(f.Median*r.scale))
			b.Text = label(f, strings.Join(texts, " · "))
		}
		if b.Points != nil {
			p.Bars = append(p.Bars, b)
		}
	}
	return p
}

func label(f record.Figure, text string) string {
	if f.Fault != "" {
		return text + " ✗"
	}
	return text
}

func styleOf(name string, f record.Figure) chart.Style {
	switch {
	case f.Fault != "":
		return chart.Invalid
	case name == peer.Tiproxy:
		return chart.Ours
	case name == peer.None:
		return chart.Ceiling
	}
	return chart.Other
}
