package top

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

func TestKeysAct(t *testing.T) {
	const up, down = tea.KeyUp, tea.KeyDown
	for _, c := range []struct {
		keys  []rune
		told  string // what tiproxy was told
		shown string // at the bottom; "": the keys alone
	}{
		{[]rune{'k'}, "[]", "End session 21 of 198.51.100.1:51000? y/n"},
		{[]rune{'k', 'y'}, "[kick 21]", "session 21 is ended"},
		{[]rune{down, down, 'k', 'Y'}, "[kick 23]", "session 23 is ended"},
		{[]rune{down, down, down, down, down, down, up, 'k', 'y'}, "[kick 24]", "session 24 is ended"},
		{[]rune{up, 'k', 'y'}, "[kick 21]", "session 21 is ended"},
		{[]rune{'k', 'n'}, "[]", ""},
		{[]rune{'k', 'r'}, "[]", ""}, // whatever is no yes is a no, and nothing else
		{[]rune{'k', 'n', 'y'}, "[]", ""},
		{[]rune{'r'}, "[restart false]", "replaced once those inside are done"},
		{[]rune{'R'}, "[]", "Replace the backend now, and cut the 5 inside? y/n"},
		{[]rune{'R', 'y'}, "[restart true]", "the backend is being replaced"},
		{[]rune{'R', 'n'}, "[]", ""},
		{[]rune{'d'}, "[drain]", "nobody is let in until it is resumed"},
		{[]rune{'?', 'k', 'y'}, "[]", ""}, // k only leaves the help
		{[]rune{'r', 'x'}, "[restart false]", ""},
	} {
		f := busy()
		m := watched(t, f, 80, 24)
		for _, k := range c.keys {
			m = m.hit(t, k)
		}
		if got := fmt.Sprint(f.told); got != c.told {
			t.Errorf("%q: it was told %s, want %s", c.keys, got, c.told)
		}
		if bottom := m.foot(); !strings.Contains(ansi.Strip(strings.Join(bottom, "\n")), cmp.Or(c.shown, "q quit")) || len(bottom) > 1 && c.shown == "" {
			t.Errorf("%q: the bottom is %q, want %q", c.keys, bottom, c.shown)
		}
	}
}

func lastLines(m model, n int) string {
	lines := strings.Split(m.shown(), "\n")
	return strings.Join(lines[len(lines)-n:], "\n")
}

// Until the answer comes, the footer says what is going on.
func TestAnActionTakesTime(t *testing.T) {
	m := watched(t, busy(), 80, 24)
	next, cmd := m.Update(press('r'))
	if got := lastLines(next.(model), 2); !strings.Contains(got, "asking for another backend …") {
		t.Errorf("the bottom is\n%s", got)
	}
	if cmd == nil {
		t.Error("nothing is done")
	}
}

func TestWhatWasRefusedIsSaid(t *testing.T) {
	f := busy()
	f.err = errors.New("cannot kick session 21: there is no \x1b[2Jsession 21")
	m := watched(t, f, 80, 24).hit(t, 'k').hit(t, 'y')
	if got := lastLines(m, 2); !strings.Contains(got, "cannot kick session 21: there is no ?[2Jsession 21") {
		t.Errorf("the bottom is\n%s", got)
	}
}

func TestKickWithNobodyInside(t *testing.T) {
	f := busy()
	f.sessions = `{"sessions":[]}`
	m := watched(t, f, 80, 24).hit(t, tea.KeyDown).hit(t, 'k')
	if got := lastLines(m, 2); !strings.Contains(got, "nobody is inside") || m.question != nil {
		t.Errorf("the bottom is\n%s", got)
	}
}

func TestResume(t *testing.T) {
	f := busy()
	f.status = strings.Replace(f.status, `"serving"`, `"paused"`, 1)
	m := watched(t, f, 80, 24)
	if got := lastLines(m, 1); !strings.Contains(got, "d resume") {
		t.Errorf("the footer is %s", got)
	}
	m = m.hit(t, 'd')
	if got := lastLines(m, 2); fmt.Sprint(f.told) != "[resume]" || !strings.Contains(got, "clients are let in again") {
		t.Errorf("it was told %s, the bottom is\n%s", f.told, got)
	}
}

func TestQuit(t *testing.T) {
	ctrlC := tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
	for _, c := range []struct {
		name   string
		before string
		key    tea.KeyPressMsg
		quits  bool
	}{
		{"q", "", press('q'), true},
		{"Ctrl-C", "", ctrlC, true},
		{"Ctrl-C in a question", "k", ctrlC, true},
		{"Ctrl-C in the help", "?", ctrlC, true},
		{"q in a question", "k", press('q'), false},
		{"q in the help", "?", press('q'), false},
	} {
		m := watched(t, busy(), 80, 24)
		for _, k := range c.before {
			m = m.hit(t, k)
		}
		_, cmd := m.Update(c.key)
		quits := cmd != nil && cmd() == tea.QuitMsg{}
		if quits != c.quits {
			t.Errorf("%s: quits %t, want %t", c.name, quits, c.quits)
		}
	}
}

// The question is about the session that it names, whatever happens meanwhile.
func TestTheOneInQuestionIsKicked(t *testing.T) {
	f := busy()
	m := watched(t, f, 80, 24).hit(t, 'k')
	l := f.look(t, noon.Add(glance))
	l.sessions = l.sessions[1:]
	m = m.told(t, looked(l))
	if m.selected != 22 {
		t.Fatalf("selected is %d", m.selected)
	}
	if m.hit(t, 'y'); fmt.Sprint(f.told) != "[kick 21]" {
		t.Errorf("it was told %s", f.told)
	}
}

func TestSelectionStaysWithItsSession(t *testing.T) {
	f := busy()
	all := f.look(t, noon).sessions
	with := func(numbers ...uint64) (list []session) {
		for _, s := range all {
			if slices.Contains(numbers, s.Session) {
				list = append(list, s)
			}
		}
		return list
	}
	m := watched(t, f, 80, 24).hit(t, tea.KeyDown) // 22 of 21 to 25
	for _, step := range []struct {
		sessions []session
		selected uint64
	}{
		{with(22, 23, 24), 22},     // it moves up with it
		{with(21, 22, 23, 24), 22}, // and down
		{with(21, 23, 24), 23},     // the next one takes its place
		{with(21), 21},             // the last one, if none came after it
		{nil, 0},
		{with(24, 25), 24},
	} {
		l := f.look(t, noon)
		l.sessions = step.sessions
		if m = m.told(t, looked(l)); m.selected != step.selected {
			t.Fatalf("%v: selected is %d, want %d", step.sessions, m.selected, step.selected)
		}
	}
}

func TestSelectedIsOnTheScreen(t *testing.T) {
	var list []string
	for i := range 200 {
		list = append(list, fmt.Sprintf(`{"session":%d,"client":"192.0.2.1:4"}`, i+1))
	}
	f := busy()
	f.sessions = `{"sessions":[` + strings.Join(list, ",") + `]}`
	m := watched(t, f, 80, 24)
	for i := range 200 {
		if want := fmt.Sprintf(">%d ", i+1); !strings.Contains(m.shown(), want) {
			t.Fatalf("%q is not on the screen:\n%s", want, m.shown())
		}
		m = m.hit(t, tea.KeyDown)
	}
}

// The footer and the help are made of the table that press goes by.
func TestHelpTellsOfAllKeys(t *testing.T) {
	help := strings.Join(helpText(), "\n")
	for _, k := range keys {
		if !strings.Contains(ansi.Strip(help), k.sign+"  "+k.help) {
			t.Errorf("the help does not have %s", k.sign)
		}
	}
}
