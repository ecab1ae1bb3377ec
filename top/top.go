// Package top is a live screen of one tiproxy: how the backend does, who waits in
// line, who is inside, what happened last; and keys to act on it.
//
// It asks once a second while somebody looks, and not while the screen is paused.
// Each look decides what is shown:
//
//	look ──┬── an answer ────────────> all of that
//	       ├── it sleeps ────────────> asleep, since when
//	       └── no answer, or none ───> why
//	           that is understood
//
// so a tiproxy that is replaced, or falls asleep and wakes, is seen again within a
// second.
//
// Invariants:
//   - What is on the screen is a function of the model, and the model one of the
//     messages so far: neither looks at a clock, a terminal or tiproxy.
//   - No string of others reaches the terminal before it has become a [text], or
//     went through printable.
//   - No line is wider than the terminal, and there are not more of them than rows.
//   - A question is about what it names: whatever happens to the list meanwhile, the
//     session that y ends is the one that was asked about.
package top

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	tea "charm.land/bubbletea/v2"
)

// Tiproxy is the one that is looked at. Answers are JSON as its control socket
// gives them; a status may also be that of one which sleeps: {"state": "asleep"}
// with "since", if that is known. The methods are called one at a time or several
// at once, and return soon after their ctx has ended.
type Tiproxy interface {
	Status(ctx context.Context) (json.RawMessage, error)
	Queue(ctx context.Context) (json.RawMessage, error)
	Sessions(ctx context.Context) (json.RawMessage, error)
	Events(ctx context.Context) (json.RawMessage, error)

	Restart(ctx context.Context, now bool) error
	Drain(ctx context.Context) error
	Resume(ctx context.Context) error
	Kick(ctx context.Context, session uint64) error
}

// Screen is where a tiproxy is shown.
type Screen struct {
	In    io.Reader // the terminal's keys
	Out   io.Writer // the terminal
	Title string    // names the tiproxy
	ASCII bool      // the terminal knows no UTF-8
}

// Run shows t until the user quits or ctx ends, and leaves the terminal as it was.
// NO_COLOR and TERM are obeyed. It fails if the terminal does.
func (s Screen) Run(ctx context.Context, t Tiproxy) error {
	first := model{ctx: ctx, tiproxy: t, title: printable(s.Title), ascii: s.ASCII}
	_, err := tea.NewProgram(first, tea.WithContext(ctx),
		tea.WithInput(s.In), tea.WithOutput(s.Out), tea.WithoutSignalHandler()).Run()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("cannot show the screen: %w", err)
	}
	return nil
}
