package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// glance is how often watch looks, while a person does.
const glance = time.Second

// view is what is seen at one glance.
type view struct {
	text    string
	meaning string // changes only with what matters in the text
}

// watch writes what look sees, and again whenever its meaning has changed, until
// ctx ends. On a terminal the new takes the place of the old, and tells how long
// things have lasted; elsewhere look gets a zero now, for that alone is no change.
//
// An error ends it only at first. Later it stands where the text was, for a
// tiproxy that is restarted is silent for a moment.
func watch(ctx context.Context, out io.Writer, look func(ctx context.Context, now time.Time) (view, error)) error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	terminal := terminalOf(out)
	var shown view // zero: nothing yet
	for {
		seen, err := look(ctx, terminal.now())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && shown == view{}:
			return err
		case err != nil:
			seen = view{err.Error() + "\n", err.Error()}
		}
		if seen.meaning != shown.meaning {
			if _, err := io.WriteString(out, terminal.over(shown.text)+seen.text); err != nil {
				return err
			}
			shown = seen
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// terminal is one that shows what watch writes. Its modes are never changed, so
// there is nothing to set right at the end.
type terminal struct{ fd int }

// terminalOf is the terminal that out is; nil: it is none.
func terminalOf(out io.Writer) *terminal {
	f, is := out.(*os.File)
	if !is {
		return nil
	}
	t := &terminal{int(f.Fd())}
	if t.width() == 0 {
		return nil
	}
	return t
}

// width is the number of columns; 0: it is no terminal.
func (t *terminal) width() int {
	size, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return max(int(size.Col), 1)
}

// now is the time, for whoever sees it pass; zero without a terminal.
func (t *terminal) now() time.Time {
	if t == nil {
		return time.Time{}
	}
	return time.Now()
}

// over answers what makes the next text take the place of this one: up so many
// rows, and all erased from there on (CUU and ED of console_codes(4)).
func (t *terminal) over(text string) string {
	if t == nil || text == "" {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", rows(text, t.width()))
}

// rows counts the rows that lines take on a terminal of that width.
func rows(text string, width int) (n int) {
	for line := range strings.Lines(text) {
		length := utf8.RuneCountInString(strings.TrimSuffix(line, "\n"))
		n += max(1, (length+width-1)/width)
	}
	return n
}
