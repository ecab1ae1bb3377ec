package top

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	wide  = 120 // columns from which on the line stands beside the sessions
	low   = 20  // rows of a terminal, below which a label above the lists has one
	label = 9   // columns of such a label
	notes = 3   // rows that the answer to an action may take
)

// The styles. Whoever chose a background chose the sixteen colours to go with it;
// yellow and blue are often the exception. Without colours nothing is lost that
// is not said in words.
var (
	strong  = lipgloss.NewStyle().Bold(true)
	faint   = lipgloss.NewStyle().Faint(true)
	good    = lipgloss.NewStyle().Foreground(lipgloss.Green)
	doubt   = lipgloss.NewStyle().Foreground(lipgloss.Magenta)
	bad     = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
	chosen  = lipgloss.NewStyle().Reverse(true)
	neutral = lipgloss.NewStyle()
)

// View implements [tea.Model].
func (m model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	return v
}

// screen is what fills the terminal: the header at its top, the footer at its
// bottom.
func (m model) screen() string {
	foot := m.foot()
	rows := max(0, m.height-len(foot))
	lines := append(m.head(), m.body(rows-1)...)
	for len(lines) < rows {
		lines = append(lines, "")
	}
	lines = append(lines[:rows], foot...)
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	text := strings.Join(lines[:min(len(lines), m.height)], "\n")
	if m.ascii {
		return plain(text)
	}
	return text
}

// head is the line that says which tiproxy this is, and what it does.
func (m model) head() []string {
	s := m.latest.status
	left := strong.Render(m.title)
	if s.PID != 0 {
		left += fmt.Sprintf(" %s · pid %d", s.Version, s.PID)
	}
	var right string
	switch {
	case m.still:
		right = chosen.Render(" SCREEN PAUSED ")
	case s.State != "" && s.State != asleep:
		right = stateStyle(s.State).Render(string(s.State))
		if !s.Since.IsZero() {
			right += " for " + span(m.latest.at.Sub(s.Since))
		}
	}
	if !m.latest.at.IsZero() {
		right += "  " + m.latest.at.Format("15:04:05")
	}
	return []string{spread(left, right, m.width)}
}

// body is what stands between the header and the footer.
func (m model) body(rows int) []string {
	switch {
	case m.help:
		return helpText()
	case m.trouble != nil:
		return m.message(bad.Render("No answer:") + " " + printable(m.trouble.Error()) + "\n" + faint.Render("It is asked again every second."))
	case m.latest.at.IsZero():
		return m.message("asking …")
	case m.latest.status.State == asleep:
		return m.message(m.sleep())
	}
	parts := append(m.backend(), m.gate()...)
	return append(parts, m.lists(rows-len(parts))...)
}

// message is a text with room around it.
func (m model) message(text string) []string {
	wrapped := ansi.Wrap(text, max(1, m.width-4), "")
	return strings.Split("\n"+lipgloss.NewStyle().PaddingLeft(2).Render(wrapped), "\n")
}

func (m model) sleep() string {
	since := m.latest.status.Since
	if since.IsZero() {
		return strong.Render("asleep") + ": the next client wakes it"
	}
	return fmt.Sprintf("%s since %s (%s): the next client wakes it", strong.Render("asleep"),
		since.In(m.latest.at.Location()).Format("2006-01-02 15:04:05"), span(m.latest.at.Sub(since)))
}

func helpText() []string {
	lines := []string{""}
	for _, k := range keys {
		lines = append(lines, "  "+strong.Render(k.sign)+"  "+k.help)
	}
	return append(lines, "",
		"  IN: bytes from a client. OUT: bytes to it. K is 1024.",
		"  The curve is the backend's memory, 10 s a letter.")
}

// foot is the last line: the question, or the keys; above it what became of the
// last action.
func (m model) foot() []string {
	if m.question != nil {
		return []string{strong.Render(ansi.Truncate(m.question.text, max(0, m.width-len(" y/n ")), "…")) + " y/n "}
	}
	var labels []string
	for _, k := range keys {
		labels = append(labels, strong.Render(k.sign)+" "+k.label(m))
	}
	line := strings.Join(labels, "  ")
	if m.said == "" {
		return []string{line}
	}
	said := strings.Split(ansi.Wrap(printable(m.said), m.width, ""), "\n")
	return append(said[:min(len(said), notes)], line)
}

// spread puts two texts at the two ends of a line, or the left one alone where
// there is no room for both.
func spread(left, right string, width int) string {
	gap := width - lipgloss.Width(left) - lipgloss.Width(right)
	if gap < 1 {
		return left
	}
	return left + strings.Repeat(" ", gap) + right
}
