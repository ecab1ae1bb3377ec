package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// noon is when the tests take place.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fake is a tiproxy that answers what it is given, and remembers what it was told.
type fake struct {
	status, queue, sessions, events string // JSON; "": an error

	mu   sync.Mutex // protects what follows
	told []string
	err  error // of all that it is told
}

func (f *fake) Status(context.Context) (json.RawMessage, error)   { return f.answer(f.status) }
func (f *fake) Queue(context.Context) (json.RawMessage, error)    { return f.answer(f.queue) }
func (f *fake) Sessions(context.Context) (json.RawMessage, error) { return f.answer(f.sessions) }
func (f *fake) Events(context.Context) (json.RawMessage, error)   { return f.answer(f.events) }

func (f *fake) Restart(_ context.Context, now bool) error { return f.do("restart %t", now) }
func (f *fake) Drain(context.Context) error               { return f.do("drain") }
func (f *fake) Resume(context.Context) error              { return f.do("resume") }
func (f *fake) Kick(_ context.Context, n uint64) error    { return f.do("kick %d", n) }

func (f *fake) answer(text string) (json.RawMessage, error) {
	if text == "" {
		return nil, errors.New("no tiproxy answers at /run/tiproxy/control.sock: is it running?")
	}
	return json.RawMessage(text), nil
}

func (f *fake) do(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, fmt.Sprintf(format, args...))
	return f.err
}

// busy is a tiproxy with seven clients in line, five inside and nine events.
// Each has one who tries to write on the terminal.
func busy() *fake {
	var queue, sessions, events []string
	for i := range 7 {
		queue = append(queue, fmt.Sprintf(`{"position":%d,"session":%d,"client":"192.0.2.%d:40000","source":"192.0.2.%[3]d","listener":"web","waited_usec":%d}`,
			i+1, 26+i, 10+i, (7-i)*2_345_678))
	}
	for i := range 5 {
		sessions = append(sessions, fmt.Sprintf(`{"session":%d,"client":"198.51.100.%d:5%d","listener":"web","state":"relaying","since_usec":%d,"waited_usec":1200000,"in":%d,"out":%d,"generation":3}`,
			21+i, i+1, 1000+i, (6-i)*101_000_000, 2048*i, 5_000_000*i))
	}
	for i := range 9 {
		level := []string{"info", "info", "warning", "error"}[i%4]
		events = append(events, fmt.Sprintf(`{"time":"%s","level":"%s","event":"client-served","text":"client 192.0.2.%d served for 1.5 s, 12 bytes in, 400 bytes out; this is line %d"}`,
			noon.Add(time.Duration(i-9)*time.Second).Format(time.RFC3339Nano), level, i, i))
	}
	queue[1] = strings.Replace(queue[1], "192.0.2.11:40000", `/run/\u001b[2J\u202eшёл/日本.sock`, 1)
	sessions[4] = strings.Replace(strings.Replace(sessions[4], "198.51.100.5:51004", `/home/\u0007some\u009bwhere`+strings.Repeat("/deep", 20), 1), "relaying", "connecting", 1)
	events[8] = strings.Replace(events[8], "client 192.0.2.8", `said \u001b]0;title\u0007\r\n`, 1)
	return &fake{
		status: `{"version":"1.2","pid":4711,"state":"serving","since":"2026-11-22T11:47:55Z","listeners":[{"name":"web","address":"127.0.0.1:4000"}],
			"gate":{"limit":5,"active":5,"queued":7,"oldest_wait_usec":16419746,"served":1203,"refused":4,"denied":1,"abandoned":2,"timed_out":6},
			"backend":{"state":"ready","generation":3,"pid":4712,"up_usec":725000000,"served":17,"starts":3,"memory_bytes":222298112,"text":"loading \u001b[31mred","last_exit":"exit status 1"}}`,
		queue:    `{"waiting":[` + strings.Join(queue, ",") + `]}`,
		sessions: `{"sessions":[` + strings.Join(sessions, ",") + `]}`,
		events:   `{"events":[` + strings.Join(events, ",") + `]}`,
	}
}

// look answers what f says, at some moment.
func (f *fake) look(t *testing.T, at time.Time) look {
	t.Helper()
	l, err := take(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	l.at = at
	return l
}

// watched is a model that has looked at f for five minutes.
func watched(t *testing.T, f *fake, width, height int) model {
	t.Helper()
	m := model{ctx: t.Context(), tiproxy: f, title: "tiproxy@shop", width: width, height: height}
	for i := range 30 {
		m.memory.add(noon.Add(time.Duration(i-30)*trendCell), uint64(i%10*30<<20))
	}
	l := f.look(t, noon)
	before := l
	before.at = noon.Add(-2 * time.Second)
	before.status.Gate.Served -= 3
	before.sessions = append([]session{}, l.sessions...)
	for i := range before.sessions {
		before.sessions[i].In -= min(before.sessions[i].In, 1000)
		before.sessions[i].Out /= 2
	}
	m = m.told(t, looked(before))
	return m.told(t, looked(l))
}

// told is the model after messages, whose commands are not run.
func (m model) told(t *testing.T, messages ...tea.Msg) model {
	t.Helper()
	for _, msg := range messages {
		next, _ := m.Update(msg)
		m = next.(model)
	}
	return m
}

// hit is the model after a key, and after what it began, which is run, too.
func (m model) hit(t *testing.T, k rune) model {
	t.Helper()
	next, cmd := m.Update(press(k))
	m = next.(model)
	if cmd == nil {
		return m
	}
	return m.told(t, cmd())
}

func press(k rune) tea.KeyPressMsg {
	if k == tea.KeyUp || k == tea.KeyDown {
		return tea.KeyPressMsg{Code: k}
	}
	return tea.KeyPressMsg{Code: k, Text: string(k)}
}

// shown is the screen without its colours.
func (m model) shown() string { return ansi.Strip(m.screen()) }
