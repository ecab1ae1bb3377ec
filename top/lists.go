package top

import (
	"fmt"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
)

// lists are the line, the sessions and the events, in so many rows.
func (m model) lists(rows int) []string {
	line, inside, lately := 1+len(m.latest.waiting), 1+len(m.latest.sessions), 1+len(m.latest.events)
	if m.width < wide {
		room := share(rows, line, inside, lately)
		lines := append(m.line(m.width, room[0]), m.sessions(m.width, room[1])...)
		return append(lines, m.events(m.width, room[2])...)
	}
	const gap = 3
	half := m.width / 3
	room := share(rows, max(line, inside), lately)
	above := lipgloss.JoinHorizontal(lipgloss.Top,
		lipgloss.NewStyle().Width(m.width-half).Render(strings.Join(m.sessions(m.width-half-gap, room[0]), "\n")),
		strings.Join(m.line(half, room[0]), "\n"))
	return append(strings.Split(above, "\n"), m.events(m.width, room[1])...)
}

// share deals out rows to lists that want so many each: a list that wants little
// leaves the rest to the others, which get the same.
func share(rows int, wants ...int) (room []int) {
	room = make([]int, len(wants))
	for ; rows > 0; rows-- {
		least := -1
		for i, want := range wants {
			if room[i] < want && (least < 0 || room[i] < room[least]) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		room[least]++
	}
	return room
}

func (m model) line(width, rows int) []string {
	all := m.latest.waiting
	if len(all) == 0 {
		return nobody("nobody waits", rows)
	}
	t := table{columns: []column{
		{head: "LINE", right: true}, {head: "CLIENT", flexible: true},
		{head: "SESSION", right: true, rank: 2}, {head: "LISTENER", rank: 1}, {head: "WAITED", right: true},
	}}
	w := windowOf(len(all), rows-1, 0)
	for _, c := range all[w.first:w.end] {
		t.add(neutral, strconv.Itoa(c.Position), string(c.Client), number(c.Session), string(c.Listener), span(micros(c.WaitedUsec)))
	}
	return w.below(t.lines(width), rows)
}

func (m model) sessions(width, rows int) []string {
	all := m.latest.sessions
	if len(all) == 0 {
		return nobody("nobody is inside", rows)
	}
	t := table{columns: []column{
		{head: "SESSION", right: true}, {head: "CLIENT", flexible: true}, {head: "STATE", rank: 2}, {head: "LISTENER", rank: 4},
		{head: "GEN", right: true, rank: 3}, {head: "WAITED", right: true, rank: 5}, {head: "INSIDE", right: true},
		{head: "IN/s", right: true}, {head: "OUT/s", right: true}, {head: "IN", right: true, rank: 1}, {head: "OUT", right: true, rank: 1},
	}}
	w := windowOf(len(all), rows-1, index(all, m.selected))
	for _, s := range all[w.first:w.end] {
		mark, style, in, out, generation := " ", neutral, "-", "-", "-"
		if s.Generation != 0 {
			generation = number(s.Generation)
		}
		if s.Session == m.selected {
			mark, style = ">", chosen
		}
		if m.rates.known {
			in, out = size(m.rates.sessions[s.Session].in), size(m.rates.sessions[s.Session].out)
		}
		t.add(style, mark+number(s.Session), string(s.Client), string(s.State), string(s.Listener), generation,
			span(micros(s.WaitedUsec)), span(micros(s.SinceUsec)), in, out, size(float64(s.In)), size(float64(s.Out)))
	}
	return w.below(t.lines(width), rows)
}

// events are shown with the latest above.
func (m model) events(width, rows int) []string {
	all := m.latest.events
	if len(all) == 0 {
		return nobody("nothing has happened", rows)
	}
	t := table{columns: []column{{head: "TIME"}, {head: "EVENT", rank: 1}, {head: "WHAT HAPPENED", flexible: true}}}
	for i := range min(len(all), rows-1) {
		e := all[len(all)-1-i]
		style := neutral
		switch e.Level {
		case "error", "fatal":
			style = bad
		case "warning":
			style = doubt
		}
		t.add(style, e.Time.In(m.latest.at.Location()).Format("15:04:05"), string(e.Event), string(e.Text))
	}
	return t.lines(width)[:min(rows, 1+len(t.rows))]
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// nobody stands for an empty list.
func nobody(text string, rows int) []string {
	return []string{faint.Render("  " + text)}[:min(1, rows)]
}

// window is the part of a list that is shown.
type window struct{ first, end, all int }

// windowOf puts the selected one of so many into the middle of the rows, as far
// as the list's ends allow. Where not all are shown, the last row is for saying
// so, unless it is the only one.
func windowOf(all, rows, selected int) window {
	if all <= rows {
		return window{0, all, all}
	}
	shown := max(0, min(1, rows), rows-1)
	first := min(max(0, selected-shown/2), all-shown)
	return window{first, first + shown, all}
}

// below adds that there are more, and cuts all to the rows there are.
func (w window) below(lines []string, rows int) []string {
	above, after := w.first, w.all-w.end
	switch {
	case above > 0:
		lines = append(lines, faint.Render(fmt.Sprintf("  … %d above, %d more", above, after)))
	case after > 0:
		lines = append(lines, faint.Render(fmt.Sprintf("  … %d more", after)))
	}
	return lines[:min(len(lines), rows)]
}
