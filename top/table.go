package top

import (
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	columnGap = 2
	// enough is what a flexible column gets, if its cells are so wide, before
	// others are left out.
	enough = 40
)

// column is one of a table.
type column struct {
	head     string
	right    bool // its cells stand at the right side
	flexible bool // its cells are cut where there is no room; one of each table
	rank     int  // those with the highest are left out first; 0: never
}

// table has columns as wide as their widest cell, if the screen is wide enough.
type table struct {
	columns []column
	rows    []row
}

type row struct {
	style lipgloss.Style
	cells []string // as many as columns
}

func (t *table) add(style lipgloss.Style, cells ...string) {
	t.rows = append(t.rows, row{style, cells})
}

// lines are the heads and the rows, none wider than width.
func (t *table) lines(width int) []string {
	widths := t.widths(width)
	heads := make([]string, len(t.columns))
	for i, c := range t.columns {
		heads[i] = c.head
	}
	lines := []string{strong.Render(t.line(heads, widths))}
	for _, r := range t.rows {
		lines = append(lines, r.style.Render(t.line(r.cells, widths)))
	}
	return lines
}

// widths are those of the columns; 0: it is left out, as are those that no row
// has anything in.
func (t *table) widths(width int) []int {
	widths := make([]int, len(t.columns))
	flexible, rank := 0, 0
	for i, c := range t.columns {
		for _, r := range t.rows {
			widths[i] = max(widths[i], lipgloss.Width(r.cells[i]))
		}
		if widths[i] > 0 || len(t.rows) == 0 {
			widths[i] = max(widths[i], lipgloss.Width(c.head))
		}
		if c.flexible {
			flexible = i
		}
		rank = max(rank, c.rank)
	}
	wanted := widths[flexible]
	widths[flexible] = min(wanted, enough)
	for ; rank > 0 && total(widths) > width; rank-- {
		for i, c := range t.columns {
			if c.rank == rank {
				widths[i] = 0
			}
		}
	}
	spare := width - total(widths)
	widths[flexible] = max(1, min(wanted, widths[flexible]+spare))
	return widths
}

// total is how wide a line is.
func total(widths []int) (n int) {
	for _, w := range widths {
		if w > 0 {
			n += w + columnGap
		}
	}
	return max(0, n-columnGap)
}

func (t *table) line(cells []string, widths []int) string {
	var line []string
	for i, cell := range cells {
		if widths[i] == 0 {
			continue
		}
		cell = ansi.Truncate(cell, widths[i], "…")
		pad := strings.Repeat(" ", widths[i]-lipgloss.Width(cell))
		if t.columns[i].right {
			cell = pad + cell
		} else {
			cell += pad
		}
		line = append(line, cell)
	}
	return strings.Join(line, strings.Repeat(" ", columnGap))
}
