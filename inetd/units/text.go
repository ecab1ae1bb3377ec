package units

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tiproxy/tiproxy/inetd"
)

// lineMax is the longest line that tiproxy reads of its configuration, in bytes.
const lineMax = 2047

// socketText is the socket unit, systemd.socket(5). For what is said of every
// socket see packaging/systemd/tiproxy.socket.
func socketText(e inetd.Entry, name string) (string, error) {
	if err := checkValue(e.Path); err != nil {
		return "", fmt.Errorf("cannot write the path of its socket into a file: %w", err)
	}
	var b strings.Builder
	b.WriteString(head(e) + "[Unit]\n")
	fmt.Fprintf(&b, "Description=%s, as inetd had it\n", noSpecifier(fmt.Sprintf("%.60q", e.Name)))
	b.WriteString("Documentation=man:tiproxy-inetd(8)\n")
	if isPlain(e.File) {
		fmt.Fprintf(&b, "SourcePath=%s\n", noSpecifier(e.File))
	}
	b.WriteString("PartOf=tiproxy-inetd.target\n\n")
	b.WriteString(e.Socket())
	fmt.Fprintf(&b, "FileDescriptorName=%s\n", name)
	b.WriteString("Accept=no\nBacklog=4096\nTriggerLimitIntervalSec=2s\nTriggerLimitBurst=200\n")
	return b.String(), nil
}

// confText is the configuration of the tiproxy behind the socket,
// tiproxy.conf(5).
func confText(e inetd.Entry) (string, error) {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(head(e), "\n"))
	section := ""
	for _, s := range e.Settings() {
		lines, err := assign(s)
		if err != nil {
			return "", fmt.Errorf("cannot write %s= into a file: %w", s.Key, err)
		}
		if in := s.Section; in != section {
			section = in
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		b.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return b.String(), nil
}

// head says to a reader of a file where it comes from.
func head(e inetd.Entry) string {
	return fmt.Sprintf("# Made of %q, line %d, whenever systemd is reloaded. Change that line.\n", e.File, e.Line)
}

// assign is the lines that set a key: more than one where a list is long.
func assign(s inetd.Setting) (lines []string, err error) {
	values := []string{s.Value}
	if s.Section == "Access" {
		values = fold(s.Value, lineMax-len(s.Key)-1)
	}
	for _, value := range values {
		line := s.Key + "=" + value
		if err := checkValue(value); err != nil {
			return nil, err
		}
		if len(line) > lineMax {
			return nil, fmt.Errorf("it is a line of %d bytes, and %d are the most: put the command into a script", len(line), lineMax)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// checkValue refuses a value that would be read as another one: systemd.syntax(7)
// takes the space around a value away, and a backslash at the end of a line joins
// it with the next.
func checkValue(value string) error {
	switch {
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%.60q is no line of plain text", value)
	case strings.TrimSpace(value) != value || strings.HasSuffix(value, `\`):
		return fmt.Errorf("%.60q begins or ends with something that a file does not keep there", value)
	}
	return nil
}

// fold cuts words with single blanks between them into lines of at most so many
// bytes each, if the words are shorter than that.
func fold(words string, most int) []string {
	var lines []string
	for len(words) > most {
		cut := strings.LastIndexByte(words[:most+1], ' ')
		if cut < 0 {
			break
		}
		lines, words = append(lines, words[:cut]), words[cut+1:]
	}
	return append(lines, words)
}

// isPlain tells whether systemd reads a path as it stands.
func isPlain(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' })
}

// noSpecifier writes a text of which systemd is to replace nothing,
// systemd.unit(5), SPECIFIERS.
func noSpecifier(text string) string { return strings.ReplaceAll(text, "%", "%%") }
