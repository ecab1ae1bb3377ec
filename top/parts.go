package top

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"
)

// The parts above the lists: facts behind a label.

// stateStyle is for the states of tiproxy and of the backend.
func stateStyle(state text) lipgloss.Style {
	switch state {
	case "ready", "serving", "external", "stdio":
		return good
	case "backoff":
		return bad
	case "starting", "stopping", "draining", paused:
		return doubt
	}
	return strong
}

func (m model) backend() []string {
	b := m.latest.status.Backend
	facts := []string{stateStyle(b.State).Render(string(b.State))}
	if b.PID != 0 {
		facts = append(facts, fmt.Sprintf("pid %d", b.PID))
	}
	if b.UpUsec != 0 {
		facts = append(facts, "up "+span(micros(b.UpUsec)))
	}
	if b.Generation != 0 {
		facts = append(facts, fmt.Sprintf("generation %d", b.Generation))
	}
	facts = append(facts, count(b.Starts, "start"))
	if b.Served != 0 {
		facts = append(facts, fmt.Sprintf("%d served", b.Served))
	}
	lines := m.flow("backend", facts...)
	if memory := m.curve(); memory != "" {
		lines = append(lines, m.flow("memory", memory)...)
	}
	if m.height < low {
		return lines // the events tell of the rest
	}
	if b.LastExit != "" {
		lines = append(lines, m.flow("last exit", string(b.LastExit))...)
	}
	if b.Text != "" {
		lines = append(lines, m.flow("says", string(b.Text))...)
	}
	return lines
}

// curve is the memory now and lately; "": it was never known.
func (m model) curve() string {
	minutes := min(trendMinutes, max(1, (m.width-label-35)/trendMinute))
	cells := minutes * trendMinute
	most := m.memory.most(cells)
	if most == 0 {
		return ""
	}
	return fmt.Sprintf("%5s %s  last %d min, at most %s", size(float64(m.latest.status.Backend.MemoryBytes)),
		good.Render(m.memory.draw(cells)), minutes, size(float64(most)))
}

func (m model) gate() []string {
	g := m.latest.status.Gate
	inside := fmt.Sprintf("%d of %d inside", g.Active, g.Limit)
	if g.Limit == 0 {
		inside = fmt.Sprintf("%d inside, no limit", g.Active)
	}
	facts := []string{strong.Render(inside), strong.Render(fmt.Sprintf("%d waiting", g.Queued))}
	if g.OldestWaitUsec != 0 {
		facts = append(facts, "oldest "+span(micros(g.OldestWaitUsec)))
	}
	served := fmt.Sprintf("%d served", g.Served)
	if r := m.rates; r.known {
		facts = append(facts, fmt.Sprintf("in %s/s", size(r.all.in)), fmt.Sprintf("out %s/s", size(r.all.out)))
		served += fmt.Sprintf(" (%.1f/s)", r.served)
	}
	return append(m.flow("gate", facts...), m.flow("so far",
		served, fmt.Sprintf("%d refused", g.Refused), fmt.Sprintf("%d denied", g.Denied),
		fmt.Sprintf("%d abandoned", g.Abandoned), fmt.Sprintf("%d timed out", g.TimedOut))...)
}

// flow writes facts behind a label, on as many lines as they take; on a low
// screen on one, where the last ones may be missing.
func (m model) flow(name string, facts ...string) []string {
	const gap = "  "
	lines := []string{faint.Render(fmt.Sprintf("%-*s", label, name))}
	room := m.width - label
	for _, fact := range facts {
		need := len(gap) + lipgloss.Width(fact)
		if last := len(lines) - 1; need <= room || room == m.width-label {
			lines[last] += gap + fact
			room -= need
			continue
		}
		lines = append(lines, strings.Repeat(" ", label)+gap+fact)
		room = m.width - label - need
	}
	if m.height < low {
		return lines[:1]
	}
	return lines
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
