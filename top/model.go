package top

import (
	"context"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
)

// glance is how long tiproxy is left alone between two looks.
const glance = time.Second

// model is all that the screen depends on. Only Update makes another one of it.
type model struct {
	ctx     context.Context // of all requests; ends with the screen
	tiproxy Tiproxy         // for the commands alone, which run beside us
	title   string
	ascii   bool

	width, height int // of the terminal; 0: not told yet

	latest   look // zero: none yet, or the last one failed
	rates    rates
	memory   trend
	trouble  error     // why the last look failed; nil: it did not
	still    bool      // the screen is paused: nothing is asked
	help     bool      // the help is shown
	selected uint64    // the session that keys act on; 0: none
	question *question // waits for y or n; nil: there is none
	said     string    // about the last action; "": nothing, or a key was hit since
}

// question is asked before something that cannot be taken back.
type question struct {
	text string
	yes  action
}

// The messages, beside those of bubbletea.
type (
	tick   struct{} // it is time for another look
	looked look
	silent struct{ why error } // a look failed
	acted  struct {
		done string // what to say, unless
		err  error
	}
)

// Init implements [tea.Model].
func (m model) Init() tea.Cmd { return m.ask() }

// Update implements [tea.Model].
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		if m.still {
			return m, again()
		}
		return m, m.ask()
	case looked:
		if !m.still {
			m.see(look(msg))
		}
		return m, again()
	case silent:
		if !m.still {
			m.latest, m.rates, m.trouble = look{}, rates{}, msg.why
		}
		return m, again()
	case acted:
		m.said = msg.done
		if msg.err != nil {
			m.said = msg.err.Error()
		}
	case tea.KeyPressMsg:
		return m.press(msg.String())
	}
	return m, nil
}

// ask has a look at tiproxy.
func (m model) ask() tea.Cmd {
	return func() tea.Msg {
		l, err := take(m.ctx, m.tiproxy)
		if err != nil {
			return silent{err}
		}
		return looked(l)
	}
}

// again looks once more, later. Each look that has ended is followed by one.
func again() tea.Cmd {
	return tea.Tick(glance, func(time.Time) tea.Msg { return tick{} })
}

// see takes in what tiproxy answered.
func (m *model) see(l look) {
	m.selected = m.reselect(l.sessions)
	m.rates = ratesOf(m.latest, l)
	m.memory.add(l.at, l.status.Backend.MemoryBytes)
	m.latest, m.trouble = l, nil
}

// reselect is the session that is selected from now on: the same, or, if that has
// ended, the one that came into its place; 0: there is none.
func (m *model) reselect(sessions []session) uint64 {
	switch {
	case len(sessions) == 0:
		return 0
	case index(sessions, m.selected) >= 0:
		return m.selected
	}
	at := max(0, index(m.latest.sessions, m.selected))
	return sessions[min(at, len(sessions)-1)].Session
}

// index is where a session is in a list; -1: nowhere.
func index(sessions []session, number uint64) int {
	return slices.IndexFunc(sessions, func(s session) bool { return s.Session == number })
}
