package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// wordSpace is what separates words outside of quotes.
const wordSpace = " \t\n\r"

// simpleEscapes are the escapes of one letter, systemd.syntax(7).
var simpleEscapes = map[byte]byte{
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
	's': ' ', '\\': '\\', '"': '"', '\'': '\'',
}

// numericEscapes are the escapes by number: how many digits follow, and of what
// base. Octal ones have no letter.
var numericEscapes = map[byte]struct{ digits, base int }{
	'x': {2, 16}, 'u': {4, 16}, 'U': {8, 16},
}

// split cuts a command line into words by the rules of systemd.syntax(7),
// QUOTING: space separates, "…" and '…' hold together, and a backslash begins a
// C escape within quotes and without. As in systemd's own parser a quote may
// open within a word. Variables and specifiers stay as they are. An empty line
// has no words.
func split(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false // a word has begun, though it may be empty so far
	var quote byte  // that is open; 0: none
	for s != "" {
		c := s[0]
		switch {
		case c == '\\':
			text, rest, err := unescape(s)
			if err != nil {
				return nil, err
			}
			word.WriteString(text)
			inWord, s = true, rest
			continue
		case quote == 0 && strings.IndexByte(wordSpace, c) >= 0:
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote != 0 && c == quote:
			quote = 0
		default:
			word.WriteByte(c)
			inWord = true
		}
		s = s[1:]
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is open at the end of the line", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// unescape reads the escape that s begins with and returns what follows it.
func unescape(s string) (text, rest string, err error) {
	if len(s) == 1 {
		return "", "", errors.New(`a backslash ends the line; write \\ for a backslash`)
	}
	if c, ok := simpleEscapes[s[1]]; ok {
		return string(c), s[2:], nil
	}
	form, ok := numericEscapes[s[1]]
	start := 2
	if '0' <= s[1] && s[1] <= '7' {
		form.digits, form.base, ok, start = 3, 8, true, 1
	}
	if !ok {
		r, _ := utf8.DecodeRuneInString(s[1:])
		return "", "", fmt.Errorf(`unknown escape \%c; write \\ for a backslash`, r)
	}
	end := min(start+form.digits, len(s))
	n, err := strconv.ParseUint(s[start:end], form.base, 32)
	switch unicode := s[1] == 'u' || s[1] == 'U'; {
	case err != nil || end-start < form.digits:
		return "", "", fmt.Errorf("%q wants %d digits", s[:end], form.digits)
	case n == 0:
		return "", "", fmt.Errorf("%q is NUL, which no argument can hold", s[:end])
	case unicode && n <= utf8.MaxRune && utf8.ValidRune(rune(n)):
		return string(rune(n)), s[end:], nil
	case unicode || n > 0xff:
		return "", "", fmt.Errorf("%q is no character", s[:end])
	}
	return string([]byte{byte(n)}), s[end:], nil
}
