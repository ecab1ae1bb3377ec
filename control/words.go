package control

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// size writes a number of bytes with the largest unit that leaves at least one.
func size(bytes uint64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/(1<<10), 0
	for ; value >= 1<<10; value /= 1 << 10 {
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

// span writes how long something lasted, in one unit. Nothing lasts less than
// no time, though a clock was set back meanwhile.
func span(d time.Duration) string {
	d = max(d, 0)
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < day:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d < 2*day:
		return "1 day"
	}
	return fmt.Sprintf("%d days", d/day)
}

// since writes when something began, in local time, and how long ago that is,
// with a blank before it; nothing for a zero time, and no span for a zero now.
func since(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	switch {
	case t.IsZero():
		return ""
	case now.IsZero():
		return t.Format(" since 2006-01-02 15:04:05")
	case t.Format(time.DateOnly) != now.Format(time.DateOnly):
		return t.Format(" since 2006-01-02 15:04:05") + " (" + span(now.Sub(t)) + ")"
	}
	return t.Format(" since 15:04:05") + " (" + span(now.Sub(t)) + ")"
}

// micros is a number of µs, as the answers have them.
func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// printable takes out what a terminal would obey: a client's address, or what
// the backend says, can be anything.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
