package config

import "strings"

// exampleWidth is the longest line of the example file in bytes, where words allow.
const exampleWidth = 80

const exampleHead = `# The settings of tiproxy.
#
# Every setting stands here with its default, commented out: remove the # and
# write what you want instead. Or leave this file as it is and put your lines,
# each under its [Section], into a file of your own beside it, in the folder of
# this file's name with .d behind it, such as tiproxy.conf.d/local.conf.
#
# The syntax is that of unit files, systemd.syntax(7); time spans are those of
# systemd.time(7): 500ms, 2min 30s, infinity, and a bare number is seconds.
# "tiproxy check" tells what is wrong. A backend needs two lines, for example:
#
#     [Backend]
#     Exec=/usr/bin/python3 -m http.server --bind 127.0.0.1 {port}
#     Address=auto
`

// Example is the text of a tiproxy.conf in which every setting stands with its
// meaning and its default, commented out, so that it says what an empty file says.
func Example() string {
	var b strings.Builder
	b.WriteString(exampleHead)
	section := ""
	for _, s := range settings {
		if s.Section != section {
			section = s.Section
			b.WriteString("\n[" + section + "]\n")
		}
		b.WriteString("\n" + wrap(s.Usage+".", "# ", exampleWidth))
		b.WriteString("#" + s.Key + "=" + s.Default + "\n")
	}
	return b.String()
}

// wrap breaks a text between its words into lines of at most width bytes, each
// with a prefix.
func wrap(text, prefix string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			b.WriteString(prefix)
			column = len(prefix)
		case column+1+len(word) > width:
			b.WriteString("\n" + prefix)
			column = len(prefix)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String() + "\n"
}
