package top

import (
	"context"
	"fmt"
	"slices"

	tea "charm.land/bubbletea/v2"
)

// key is what a key does; the footer and the help tell of it.
type key struct {
	names []string // as bubbletea calls them
	sign  string   // as people do
	label func(model) string
	help  string
	do    func(model) (model, tea.Cmd)
}

// keys are in the order of the footer, which may be too short for the last ones.
var keys = []key{
	{[]string{"q", "ctrl+c"}, "q", always("quit"), "quit, as Ctrl-C does", quit},
	{[]string{"?"}, "?", always("help"), "this help; any key leaves it", showHelp},
	{[]string{"up"}, "↑", always("up"), "select the session above", func(m model) (model, tea.Cmd) { return m.move(-1), nil }},
	{[]string{"down"}, "↓", always("down"), "select the session below", func(m model) (model, tea.Cmd) { return m.move(+1), nil }},
	{[]string{"k"}, "k", always("kick"), "end the selected session (asks first)", kick},
	{[]string{"r"}, "r", always("restart"), "replace the backend once those inside are done", restart},
	{[]string{"R"}, "R", always("now"), "replace it now, cutting those inside (asks first)", restartNow},
	{[]string{"d"}, "d", drainLabel, "drain: let nobody in any more; again: resume", drainOrResume},
	{[]string{"p"}, "p", pauseLabel, "stop the screen; again: go on", pause},
}

func always(label string) func(model) string { return func(model) string { return label } }

// press obeys a key. One that leaves the help, or says no, does nothing else;
// Ctrl-C always quits.
func (m model) press(name string) (tea.Model, tea.Cmd) {
	m.said = ""
	asked := m.question
	switch {
	case name == "ctrl+c":
		return quit(m)
	case asked != nil:
		m.question = nil
		if name != "y" && name != "Y" {
			return m, nil
		}
		return m.begin(asked.yes)
	case m.help:
		m.help = false
		return m, nil
	}
	for _, k := range keys {
		if slices.Contains(k.names, name) {
			return k.do(m)
		}
	}
	return m, nil
}

// action is something that tiproxy is to do.
type action struct {
	doing, done string // what to say before and after
	do          func(context.Context, Tiproxy) error
}

// begin has tiproxy do it; the answer comes as a message.
func (m model) begin(a action) (model, tea.Cmd) {
	m.said = a.doing + " …"
	return m, func() tea.Msg { return acted{a.done, a.do(m.ctx, m.tiproxy)} }
}

func quit(m model) (model, tea.Cmd) { return m, tea.Quit }

func showHelp(m model) (model, tea.Cmd) {
	m.help = true
	return m, nil
}

// move selects the session so many places further down.
func (m model) move(by int) model {
	all := m.latest.sessions
	if len(all) > 0 {
		to := index(all, m.selected) + by
		m.selected = all[min(max(0, to), len(all)-1)].Session
	}
	return m
}

func kick(m model) (model, tea.Cmd) {
	at := index(m.latest.sessions, m.selected)
	if at < 0 {
		m.said = "nobody is inside"
		return m, nil
	}
	s := m.latest.sessions[at]
	m.question = &question{
		fmt.Sprintf("End session %d of %s?", s.Session, s.Client),
		action{
			fmt.Sprintf("ending session %d", s.Session), fmt.Sprintf("session %d is ended", s.Session),
			func(ctx context.Context, t Tiproxy) error { return t.Kick(ctx, s.Session) },
		},
	}
	return m, nil
}

func restart(m model) (model, tea.Cmd) {
	return m.begin(action{
		"asking for another backend", "the backend will be replaced once those inside are done",
		func(ctx context.Context, t Tiproxy) error { return t.Restart(ctx, false) },
	})
}

func restartNow(m model) (model, tea.Cmd) {
	m.question = &question{
		fmt.Sprintf("Replace the backend now, and cut the %d inside?", m.latest.status.Gate.Active),
		action{
			"asking for another backend now", "the backend is being replaced",
			func(ctx context.Context, t Tiproxy) error { return t.Restart(ctx, true) },
		},
	}
	return m, nil
}

func drainOrResume(m model) (model, tea.Cmd) {
	if m.latest.status.State == paused {
		return m.begin(action{
			"resuming", "clients are let in again",
			func(ctx context.Context, t Tiproxy) error { return t.Resume(ctx) },
		})
	}
	return m.begin(action{
		"draining", "nobody is let in until it is resumed",
		func(ctx context.Context, t Tiproxy) error { return t.Drain(ctx) },
	})
}

func drainLabel(m model) string {
	if m.latest.status.State == paused {
		return "resume"
	}
	return "drain"
}

func pause(m model) (model, tea.Cmd) {
	m.still = !m.still
	return m, nil
}

func pauseLabel(m model) string {
	if m.still {
		return "go on"
	}
	return "pause"
}
