package inetd

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// blank is what separates words.
const blank = " \t"

// line is a line of inetd.conf with what goes on with it.
type line struct {
	number int // of its first line in the file, from 1
	words  []string
	err    error // why the words cannot be had
}

// cutLines cuts an inetd.conf: empty lines and those that begin with # are none.
// A line may end in CR LF.
func cutLines(text string) []line {
	var lines []line
	open := false // the last line may go on
	number := 0
	for s := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		number++
		s = strings.TrimSuffix(s, "\r")
		words, err := cutWords(s)
		indented := s != "" && strings.IndexByte(blank, s[0]) >= 0
		switch {
		case indented && open:
			last := &lines[len(lines)-1]
			last.words = append(last.words, words...)
			last.err = errors.Join(last.err, err)
		case strings.HasPrefix(strings.TrimLeft(s, blank), "#"):
			open = false
		case len(words) == 0 && err == nil:
			open = false
		default:
			lines = append(lines, line{number, words, err})
			open = true
		}
	}
	return lines
}

// cutWords cuts a line into words.
func cutWords(s string) ([]string, error) {
	if strings.HasPrefix(s, "#") {
		return nil, nil
	}
	if err := checkText(s); err != nil {
		return nil, err
	}
	return fields(s), nil
}

// fields cuts at blanks.
func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(blank, r) })
}

// checkText wants what a person writes: neither control characters nor bytes
// that are no UTF-8 may reach a unit file.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("it is no text in UTF-8")
	}
	for _, r := range s {
		if r < ' ' && r != '\t' || r == 0x7f {
			return fmt.Errorf("it has the control character %U, which no text has", r)
		}
	}
	return nil
}
