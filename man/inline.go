package man

import (
	"errors"
	"fmt"
	"strings"
)

var errOpen = errors.New("a ` or * is open at the end")

// inline turns the marks within a paragraph into fonts: what is typed as it is
// stands in bold, what stands for something else in italics, man-pages(7).
func inline(text string) (string, error) {
	var out strings.Builder
	for text != "" {
		mark := strings.IndexAny(text, "\\`*")
		if mark < 0 {
			mark = len(text)
		}
		out.WriteString(plain(text[:mark]))
		text = text[mark:]
		if text == "" {
			break
		}
		if text[0] == '\\' {
			if len(text) == 1 || !strings.Contains("\\`*<", text[1:2]) {
				return "", errors.New("nothing that has a meaning stands behind a backslash")
			}
			out.WriteString(plain(text[1:2]))
			text = text[2:]
			continue
		}
		inside, rest, closed := strings.Cut(text[1:], text[:1])
		if !closed {
			return "", errOpen
		}
		font := "B"
		if text[0] == '*' {
			font = "I"
		}
		out.WriteString(`\f` + font + whole(literal(inside)) + `\fR`)
		text = rest
	}
	return out.String(), nil
}

// whole keeps roff from hyphenating the words.
func whole(text string) string {
	return `\%` + strings.ReplaceAll(text, " ", ` \%`)
}

// plain is prose as roff reads it: a dash between words is one.
func plain(text string) string {
	return escape(strings.ReplaceAll(text, " - ", " \x00 "), prose)
}

// literal is what somebody may type or copy, so that each character stays what it
// is, groff_char(7).
func literal(text string) string { return escape(text, typed) }

var (
	prose = map[rune]string{'\\': `\e`, '~': `\(ti`, '^': `\(ha`, '`': `\(ga`, 0: `\-`}
	typed = map[rune]string{'\\': `\e`, '~': `\(ti`, '^': `\(ha`, '`': `\(ga`, '\'': `\(aq`, '-': `\-`, '"': `\(dq`}
)

// escape writes a text with the escapes of a table; what is not ASCII is written
// as its number, which needs no locale.
func escape(text string, table map[rune]string) string {
	var out strings.Builder
	for _, r := range text {
		switch escaped, is := table[r]; {
		case is:
			out.WriteString(escaped)
		case r > 0x7e:
			fmt.Fprintf(&out, `\[u%04X]`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
