// Package man writes the manual pages. Each is a text of Markdown in this folder,
// which leaves places for what the program itself knows best: its commands, flags,
// settings and events. Who calls fills them in, so that manual and program cannot
// drift apart.
//
//	tiproxy.8.md ──┐
//	               ├──▶ Markdown ──▶ man(7)
//	places ────────┘
//
// It reads the little of Markdown that manual pages need:
//
//	# SECTION, ## Subsection
//	paragraphs, and behind an empty line the next one
//	a line, and below it ": what it means": an item; two spaces before a line
//	  keep it in the item
//	``` before and behind what is shown as it is
//	`literal` and *placeholder*; a backslash before ` * < or \ takes their meaning away
//	<!-- NAME --> alone on a line: a place
//
// Why it is not left to a program for all of Markdown: the pages read best as
// lists with hanging heads, they shall please mandoc -Tlint, and the package for
// Debian needs no module more to build them.
//
// Invariants: a page has a text for each of its places, and a place for each
// text, or it is refused; equal input gives equal bytes.
package man

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

//go:embed *.md
var sources embed.FS

// Page is a manual page.
type Page struct {
	Name    string // "tiproxy.conf"
	Section string // "5"
}

// Pages are all of them.
func Pages() []Page {
	return []Page{{"tiproxy", "7"}, {"tiproxy", "8"}, {"tiproxy-inetd", "8"}, {"tiproxy.conf", "5"}}
}

// File is how its file is called.
func (p Page) File() string { return p.Name + "." + p.Section }

// Head is what every page says of the whole manual.
type Head struct {
	Date    time.Time // of the last change
	Version string    // of tiproxy
}

// Write is the page in man(7), with the texts, which are Markdown, at the places
// of their names.
func (p Page) Write(h Head, places map[string]string) (string, error) {
	source := p.File() + ".md"
	text, err := sources.ReadFile(source)
	if err != nil {
		return "", fmt.Errorf("cannot find the manual page: %w", err)
	}
	whole, err := fill(string(text), places)
	if err != nil {
		return "", fmt.Errorf("cannot make a manual page of man/%s: %w", source, err)
	}
	body, err := render(whole)
	if err != nil {
		return "", fmt.Errorf("cannot make a manual page of man/%s: %w", source, err)
	}
	return fmt.Sprintf(".\\\" Made of man/%s, and of what tiproxy knows of itself.\n.TH %s %s \"%s\" \"tiproxy %s\" \"tiproxy\"\n%s",
		source, strings.ToUpper(p.Name), p.Section, h.Date.UTC().Format(time.DateOnly), h.Version, body), nil
}

// fill puts the texts at their places.
func fill(source string, places map[string]string) (string, error) {
	left := maps.Clone(places)
	var out strings.Builder
	for line := range strings.Lines(source) {
		name, isPlace := placeOf(line)
		if !isPlace {
			out.WriteString(line)
			continue
		}
		text, known := left[name]
		if !known {
			return "", fmt.Errorf("nothing is known for the place <!-- %s -->, or it stands there twice", name)
		}
		delete(left, name)
		out.WriteString(strings.TrimSuffix(text, "\n") + "\n")
	}
	if len(left) > 0 {
		return "", fmt.Errorf("there is no place <!-- %s -->", slices.Min(slices.Collect(maps.Keys(left))))
	}
	return out.String(), nil
}

func placeOf(line string) (name string, is bool) {
	name, begins := strings.CutPrefix(strings.TrimSpace(line), "<!-- ")
	name, ends := strings.CutSuffix(name, " -->")
	return name, begins && ends
}

// Plain takes their meaning from the marks in a text, so that it stands in a page
// as it is.
func Plain(text string) string {
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "<", `\<`).Replace(text)
}
