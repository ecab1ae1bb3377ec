package config

import (
	"strings"
	"unicode"
)

// line is one logical line of a file in unit-file syntax.
type line struct {
	number int    // of its first line in the file, from 1
	text   string // without leading space; "\\\n" where the next line continues it
}

// logicalLines cuts a text by the rules of systemd.syntax(7): empty lines and
// those that begin with # or ; are no lines, and one that ends in a backslash
// goes on in the next, with comments between them left out. A backslash that is
// itself escaped continues nothing. A line may end in CR LF.
func logicalLines(text string) []line {
	var lines []line
	open := false // the last line is to be continued
	number := 0
	for s := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		number++
		s = strings.TrimLeftFunc(strings.TrimSuffix(s, "\r"), unicode.IsSpace)
		switch {
		case strings.HasPrefix(s, "#"), strings.HasPrefix(s, ";"):
			continue
		case open:
			lines[len(lines)-1].text += "\n" + s
		case s == "":
			continue
		default:
			lines = append(lines, line{number, s})
		}
		backslashes := len(s) - len(strings.TrimRight(s, `\`))
		open = backslashes%2 == 1
	}
	return lines
}

// joined is the value of a line that was continued, each backslash replaced by
// a space.
func joined(value string) string {
	return strings.TrimSpace(strings.ReplaceAll(value, "\\\n", " "))
}
