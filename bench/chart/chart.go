// Package chart draws panels of horizontal bars as SVG. A chart brings its own
// background, and a dark one for readers who prefer that, so it can stand on
// any page.
package chart

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// Chart is panels, two in a row.
type Chart struct {
	Title  string
	Panels []Panel
	Note   string // stands below
}

// Panel is bars of one measure.
type Panel struct {
	Title string // with the unit
	Bars  []Bar
	Log   bool // the points lie on a logarithmic scale; else bars begin at 0
}

// Bar is one value, or with Points several of them.
type Bar struct {
	Label     string
	Value     float64
	Low, High float64   // the whisker; the same: none
	Points    []float64 // rising; drawn on a line instead of a bar
	Text      string    // stands behind the bar
	Style     Style
}

// Style of a bar.
type Style string

// The styles.
const (
	Other   Style = "other"
	Ours    Style = "ours"
	Ceiling Style = "ceiling" // what nobody can be better than
	Invalid Style = "invalid" // the value does not count
)

// Measures in pixels.
const (
	width      = 880
	panelWidth = width / 2
	labelWidth = 104 // left of the bars
	textWidth  = 150 // right of the longest bar
	barWidth   = panelWidth - labelWidth - textWidth
	line       = 20 // from bar to bar
	bar        = 12 // its height
	head       = 34 // of a panel
	foot       = 16 // of a panel
	top        = 44 // above the panels
	bottom     = 24 // below them
)

// palette is the colours for one kind of page.
type palette struct{ paper, ink, faint, other, ours, ceiling string }

var (
	light = palette{"#ffffff", "#1f2328", "#d1d9e0", "#8c959f", "#0969da", "#c8ced5"}
	dark  = palette{"#0d1117", "#e6edf3", "#3d444d", "#768390", "#4493f8", "#444c56"}
)

// css has no variables: not every program that shows SVG knows them.
func (p palette) css() string {
	return fmt.Sprintf(`text { fill: %[2]s } .paper { fill: %[1]s } .whisker { stroke: %[2]s } .grid { stroke: %[3]s }
.other { fill: %[4]s } .ours { fill: %[5]s } .ceiling { fill: %[6]s } .invalid { fill: %[1]s; stroke: %[4]s }
`, p.paper, p.ink, p.faint, p.other, p.ours, p.ceiling)
}

func style() string {
	return `<style>
text { font: 12px system-ui, sans-serif }
.title { font-size: 16px; font-weight: 600 } .panel { font-weight: 600 }
.end { text-anchor: end } .small { font-size: 10px; text-anchor: middle }
rect.invalid { stroke-dasharray: 3 2 }
` + light.css() + "@media (prefers-color-scheme: dark) {\n" + dark.css() + "}\n</style>\n"
}

// Write draws the chart.
func (c Chart) Write(w io.Writer) error {
	var b strings.Builder
	y := top
	for i := 0; i < len(c.Panels); i += 2 {
		row := c.Panels[i:min(i+2, len(c.Panels))]
		height := 0
		for column, p := range row {
			p.write(&b, column*panelWidth, y)
			height = max(height, p.height())
		}
		y += height
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img">
<title>%s</title>
%s<rect class="paper" width="%[1]d" height="%[2]d" rx="8"/>
<text class="title" x="16" y="28">%[3]s</text>
%[5]s<text x="16" y="%[6]d">%[7]s</text>
</svg>
`, width, y+bottom, html.EscapeString(c.Title), style(), b.String(), y+bottom/2, html.EscapeString(c.Note))
	return err
}

func (p Panel) height() int { return head + len(p.Bars)*line + foot }

func (p Panel) write(b *strings.Builder, x, y int) {
	fmt.Fprintf(b, `<g transform="translate(%d %d)">`+"\n", x, y)
	fmt.Fprintf(b, `<text class="panel" x="16" y="20">%s</text>`+"\n", html.EscapeString(p.Title))
	scale := p.scale(b)
	for i, one := range p.Bars {
		y := head + i*line
		fmt.Fprintf(b, `<text class="end" x="%d" y="%d">%s</text>`+"\n", labelWidth-8, y+bar-2, html.EscapeString(one.Label))
		end := labelWidth
		if one.Points != nil {
			end = one.points(b, y, scale)
		} else if one.Text != "" {
			end = one.bar(b, y, scale)
		}
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", end+6, y+bar-2, html.EscapeString(one.Text))
	}
	b.WriteString("</g>\n")
}

// scale answers where a value lies between the left end of the bars and the
// right one. A logarithmic scale is drawn as well.
func (p Panel) scale(b *strings.Builder) func(float64) int {
	low, high := math.Inf(1), 0.0
	for _, one := range p.Bars {
		for _, v := range append(one.Points, one.Value, one.High) {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		return func(float64) int { return labelWidth }
	}
	if !p.Log {
		return func(v float64) int { return labelWidth + int(v/high*barWidth) }
	}
	first, last := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	if first == last {
		last++
	}
	at := func(v float64) int { return labelWidth + int((math.Log10(v)-first)/(last-first)*barWidth) }
	ground := head + len(p.Bars)*line
	for e := first; e <= last; e++ {
		x := at(math.Pow(10, e))
		fmt.Fprintf(b, `<path class="grid" d="M%d %dV%d"/><text class="small" x="%[1]d" y="%[4]d">%[5]s</text>`+"\n", x, head-4, ground, ground+10, strconv.FormatFloat(math.Pow(10, e), 'f', -1, 64))
	}
	return at
}

// bar draws a bar and its whisker, and answers where they end.
func (o Bar) bar(b *strings.Builder, y int, at func(float64) int) int {
	end := at(o.Value)
	fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d"/>`+"\n", o.Style, labelWidth, y, max(end-labelWidth, 1), bar)
	if o.Low < o.High {
		low, high := at(o.Low), at(o.High)
		fmt.Fprintf(b, `<path class="whisker" d="M%d %dH%d"/>`+"\n", low, y+bar/2, high)
		end = max(end, high)
	}
	return end
}

// points draws the points on a line, and answers where it ends.
func (o Bar) points(b *strings.Builder, y int, at func(float64) int) int {
	middle := y + bar/2
	first, last := at(o.Points[0]), at(o.Points[len(o.Points)-1])
	fmt.Fprintf(b, `<path class="whisker" d="M%d %dH%d"/>`+"\n", first, middle, last)
	for _, v := range o.Points {
		fmt.Fprintf(b, `<circle class="%s" cx="%d" cy="%d" r="4"/>`+"\n", o.Style, at(v), middle)
	}
	return last + 4
}
