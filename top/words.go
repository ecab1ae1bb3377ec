package top

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
)

// A screen of 80 columns has no room for the words of status and sessions: here
// spans and sizes take 6 columns.

// span writes how long something lasted, in one unit or two.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0s" // our clock and its own may differ
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}

// micros is a number of µs, as the answers have them.
func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// size writes a number of bytes, K for 1024 and so on.
func size(bytes float64) string {
	unit := 0
	for ; bytes >= 1000; bytes /= 1 << 10 { // 1000 K would take a column more than 1.0 M
		unit++
	}
	switch {
	case unit == 0:
		return fmt.Sprintf("%.0f", bytes)
	case bytes < 9.95:
		return fmt.Sprintf("%.1f%c", bytes, " KMGTPE"[unit])
	}
	return fmt.Sprintf("%.0f%c", bytes, " KMGTPE"[unit])
}

// printable takes out what a terminal would obey: a client's address, or what
// the backend says, can be anything.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// plain puts letters of ASCII in place of all others, in as many columns.
func plain(screen string) string {
	var out strings.Builder
	for _, r := range screen {
		switch {
		case r < unicode.MaxASCII:
			out.WriteRune(r)
		case ascii[r] != 0:
			out.WriteByte(ascii[r])
		default:
			out.WriteString(strings.Repeat("?", lipgloss.Width(string(r))))
		}
	}
	return out.String()
}

// ascii are the letters of ours that stand for others.
var ascii = map[rune]byte{
	'…': '~', '·': '-', '↑': '^', '↓': 'v',
	'▁': '_', '▂': '.', '▃': ',', '▄': '-', '▅': '=', '▆': '+', '▇': '*', '█': '#',
}
