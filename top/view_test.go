package top

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
)

var update = flag.Bool("update", false, "write the screens into testdata")

// situations are those that testdata has screens of.
var situations = []struct {
	name string
	of   func(t *testing.T, width, height int) model
}{
	{"busy", func(t *testing.T, width, height int) model { return watched(t, busy(), width, height) }},
	{"asked", func(t *testing.T, width, height int) model {
		return watched(t, busy(), width, height).hit(t, 'k')
	}},
	{"refused", func(t *testing.T, width, height int) model {
		f := busy()
		f.err = errors.New("cannot resume: there is a reason of many words, so many that one line of a terminal does not have the room for all of them, nor half of it, so that it takes three, or four where the terminal is a narrow one")
		return watched(t, f, width, height).hit(t, 'd')
	}},
	{"help", func(t *testing.T, width, height int) model { return watched(t, busy(), width, height).hit(t, '?') }},
	{"quiet", func(t *testing.T, width, height int) model {
		f := &fake{
			status: `{"version":"1.2","pid":4711,"state":"idle","gate":{"limit":0},"backend":{"state":"stopped"}}`,
			queue:  `{"waiting":[]}`, sessions: `{"sessions":[]}`, events: `{"events":[]}`,
		}
		m := model{ctx: t.Context(), tiproxy: f, title: "tiproxy", width: width, height: height}
		return m.told(t, looked(f.look(t, noon)))
	}},
	{"asleep", func(t *testing.T, width, height int) model {
		f := &fake{status: `{"state":"asleep","since":"2026-11-22T11:57:11Z"}`}
		return watched(t, busy(), width, height).told(t, looked(f.look(t, noon)))
	}},
	{"silent", func(t *testing.T, width, height int) model {
		return watched(t, busy(), width, height).told(t, silent{errors.New("cannot read the status: no tiproxy answers at /run/tiproxy/control.sock: is it \x1b[2Jrunning?")})
	}},
	{"paused", func(t *testing.T, width, height int) model { return watched(t, busy(), width, height).hit(t, 'p') }},
	{"ascii", func(t *testing.T, width, height int) model {
		m := watched(t, busy(), width, height)
		m.ascii = true
		return m
	}},
}

var sizes = []struct{ width, height int }{{80, 24}, {60, 15}, {160, 50}}

func TestScreens(t *testing.T) {
	for _, s := range situations {
		for _, size := range sizes {
			name := fmt.Sprintf("%s-%dx%d", s.name, size.width, size.height)
			t.Run(name, func(t *testing.T) {
				got := trimmed(s.of(t, size.width, size.height).shown())
				file := "testdata/" + name + ".txt"
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil || got != string(want) {
					t.Errorf("%v; got:\n%s\nwant:\n%s", err, got, want)
				}
			})
		}
	}
}

// trimmed is a screen as it is kept: without the blanks at the ends of its lines.
func trimmed(screen string) string {
	var out strings.Builder
	for line := range strings.Lines(screen + "\n") {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}

// A terminal may have any size, and what does not fit must not make it scroll.
func TestScreensFit(t *testing.T) {
	for _, s := range situations {
		for _, width := range []int{1, 2, 9, 20, 39, 60, 119, 120, 121, 300} {
			for _, height := range []int{1, 2, 3, 7, 12, 19, 20, 24, 100} {
				screen := s.of(t, width, height).screen()
				lines := strings.Split(screen, "\n")
				if len(lines) > height {
					t.Errorf("%s at %dx%d: %d lines", s.name, width, height, len(lines))
				}
				for _, line := range lines {
					if got := lipgloss.Width(line); got > width {
						t.Errorf("%s at %dx%d: a line of %d: %q", s.name, width, height, got, line)
					}
				}
			}
		}
	}
}

// Nothing that others say may be obeyed by the terminal: what is on the screen is
// letters, and colours of ours.
func TestNobodyElseWritesOnTheTerminal(t *testing.T) {
	for _, s := range situations {
		m := s.of(t, 160, 50)
		for _, r := range m.shown() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: %q is on the screen", s.name, r)
			}
		}
		for _, sequence := range strings.Split(m.screen(), "\x1b")[1:] {
			if end := strings.IndexFunc(sequence, unicode.IsLetter); end < 0 || sequence[0] != '[' || sequence[end] != 'm' {
				t.Errorf("%s: the screen has the sequence %.10q", s.name, sequence)
			}
		}
	}
}

func TestBeforeTheTerminalHasASize(t *testing.T) {
	if got := (model{}).screen(); got != "" {
		t.Errorf("got %q", got)
	}
	if got := (model{width: 80, height: 24}).shown(); !strings.Contains(got, "asking …") {
		t.Errorf("before the first answer:\n%s", got)
	}
}

func TestListsKeepToTheirRows(t *testing.T) {
	empty := busy()
	empty.queue, empty.sessions, empty.events = "{}", "{}", "{}"
	for _, f := range []*fake{busy(), empty} {
		m := watched(t, f, 80, 24)
		for rows := range 12 {
			for name, list := range map[string]func(width, rows int) []string{"line": m.line, "sessions": m.sessions, "events": m.events} {
				if got := len(list(80, rows)); got > rows {
					t.Errorf("%s: %d rows of %d", name, got, rows)
				}
			}
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct{ left, right, want string }{
		{"tiproxy", "12:00", "tiproxy  12:00"},
		{"tiproxy@a", "12:0", "tiproxy@a 12:0"},
		{"tiproxy@a", "12:00", "tiproxy@a"},
	} {
		if got := spread(c.left, c.right, 14); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		rows  int
		wants []int
		room  string
	}{
		{9, []int{10, 10, 10}, "[3 3 3]"},
		{10, []int{10, 10, 10}, "[4 3 3]"},
		{10, []int{1, 10, 10}, "[1 5 4]"},
		{10, []int{1, 2, 3}, "[1 2 3]"},
		{2, []int{10, 10, 10}, "[1 1 0]"},
		{-1, []int{10}, "[0]"},
	} {
		if got := fmt.Sprint(share(c.rows, c.wants...)); got != c.room {
			t.Errorf("%d rows among %v: %s, want %s", c.rows, c.wants, got, c.room)
		}
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		all, rows, selected, first, end int
	}{
		{5, 5, 4, 0, 5},
		{5, 4, 0, 0, 3},
		{5, 4, 4, 2, 5},
		{100, 11, 50, 45, 55},
		{100, 11, -1, 0, 10},
		{5, 1, 3, 3, 4},
		{5, 0, 3, 3, 3},
		{5, -1, 0, 0, 0},
	} {
		if got := windowOf(c.all, c.rows, c.selected); got != (window{c.first, c.end, c.all}) {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0.0s", 9990 * time.Millisecond: "9.9s", 59900 * time.Millisecond: "59s", 61 * time.Second: "1m01s",
		time.Hour + 59*time.Minute + 59*time.Second: "1h59m", 49 * time.Hour: "2d01h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[float64]string{
		0: "0", 999: "999", 1000: "1.0K", 10_190: "10K", 10_188: "9.9K", 1023_000: "999K", 1 << 20: "1.0M", 3 << 29: "1.5G", 1 << 63: "8.0E",
	} {
		if got := size(bytes); got != want {
			t.Errorf("%.0f: %s, want %s", bytes, got, want)
		}
	}
}

// FuzzScreen has anything at all answered.
func FuzzScreen(f *testing.F) {
	b := busy()
	f.Add(b.status, b.queue, b.sessions, b.events, 80, 24)
	f.Add(`{"state":"asleep"}`, ``, `{}`, `{"events":[{"level":"\u001b"}]}`, 1, 1)
	f.Add(`{"backend":{"memory_bytes":18446744073709551615}}`, `{"waiting":[{"client":"\u202e"}]}`, `{"sessions":[{"since_usec":-9223372036854775808}]}`, `{"events":[{}]}`, 200, 50)
	f.Fuzz(func(t *testing.T, status, queue, sessions, events string, width, height int) {
		l, err := take(t.Context(), &fake{status: status, queue: queue, sessions: sessions, events: events})
		m := model{width: width % 300, height: height % 100}
		if m.width < 1 || m.height < 1 {
			return
		}
		if err != nil {
			m = m.told(t, silent{err})
		} else {
			m = m.told(t, looked(l), looked(l))
		}
		for _, line := range strings.Split(m.screen(), "\n") {
			if got := lipgloss.Width(line); got > m.width {
				t.Errorf("at %dx%d a line of %d: %q", m.width, m.height, got, line)
			}
		}
		for _, r := range m.shown() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%q is on the screen", r)
			}
		}
	})
}
