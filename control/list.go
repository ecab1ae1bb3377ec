package control

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// PrintQueue writes who waits, as [Client.Queue] answers it, for people: a line
// for each. It fails if raw is not such an answer, or w does.
func PrintQueue(w io.Writer, raw []byte) error {
	var q Queue
	if err := json.Unmarshal(raw, &q); err != nil {
		return misunderstood("queue", err)
	}
	if len(q.Waiting) == 0 {
		_, err := io.WriteString(w, "nobody waits\n")
		return err
	}
	t := table{columns: []column{{"", right}, {"SESSION", right}, {"CLIENT", left}, {"LISTENER", left}, {"WAITED", right}}}
	for _, c := range q.Waiting {
		t.add(strconv.Itoa(c.Position), number(c.Session), c.Client, dash(c.Listener), span(micros(c.WaitedUsec)))
	}
	return t.print(w)
}

// PrintSessions writes who is let in, as [Client.Sessions] answers it, likewise.
func PrintSessions(w io.Writer, raw []byte) error {
	var s Sessions
	if err := json.Unmarshal(raw, &s); err != nil {
		return misunderstood("sessions", err)
	}
	if len(s.Sessions) == 0 {
		_, err := io.WriteString(w, "nobody is inside\n")
		return err
	}
	t := table{columns: []column{
		{"SESSION", right}, {"CLIENT", left}, {"LISTENER", left}, {"STATE", left}, {"BACKEND", right},
		{"WAITED", right}, {"INSIDE", right}, {"IN", right}, {"OUT", right},
	}}
	for _, c := range s.Sessions {
		backend := dash("")
		switch {
		case c.Generation != 0:
			backend = number(c.Generation)
		case c.PID != 0:
			backend = "pid " + strconv.Itoa(c.PID)
		}
		t.add(number(c.Session), c.Client, dash(c.Listener), c.State, backend,
			span(micros(c.WaitedUsec)), span(micros(c.SinceUsec)), size(c.In), size(c.Out))
	}
	return t.print(w)
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// dash stands in a cell that would be empty.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

type side bool

const (
	left  side = false
	right side = true
)

// column is one of a table: what stands above it, and to which side its cells go.
type column struct {
	head string
	side side
}

// table has columns as wide as their widest cell.
type table struct {
	columns []column
	rows    [][]string
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// print writes the heads and the rows, two blanks between the columns.
func (t *table) print(w io.Writer) error {
	heads := make([]string, len(t.columns))
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		heads[i] = c.head
		widths[i] = len(c.head)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var out strings.Builder
	t.line(&out, heads, widths)
	for _, row := range t.rows {
		t.line(&out, row, widths)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (t *table) line(out *strings.Builder, cells []string, widths []int) {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString("  ")
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if t.columns[i].side == right {
			cell = pad + cell
		} else {
			cell += pad
		}
		line.WriteString(cell)
	}
	out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}
