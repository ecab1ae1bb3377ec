package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Error is one thing wrong in a configuration file.
type Error struct {
	File    string // as it was opened
	Line    int    // from 1; of a continued line the first
	Section string // that the line stands in, without brackets; "": before the first
	Key     string // without "="; "": the line has none
	Err     error  // what is wrong, naming section and key where there are any
}

// Error writes FILE:LINE: and what is wrong, as compilers do.
func (e *Error) Error() string {
	return e.File + ":" + strconv.Itoa(e.Line) + ": " + e.Err.Error()
}

// Unwrap gives what is wrong without its place.
func (e *Error) Unwrap() error { return e.Err }

// unknownSection tells of a section that is none, with the nearest that is one.
func unknownSection(name string) error {
	return fmt.Errorf("unknown section [%.60s]; %s", printable(name), suggestion(name, sections(), "[%s]"))
}

// unknownKey tells of a key that is none of its section, with where it belongs,
// or the nearest of its section, or the nearest of all.
func unknownKey(section, key string) error {
	if home := sectionOf(key); home != "" {
		return fmt.Errorf("%q belongs in [%s], not in [%s]", key+"=", home, section)
	}
	near := nearest(key, keys(section))
	if near == "" {
		near = nearest(key, keys(""))
	}
	if home := sectionOf(near); near != "" && home != section {
		return fmt.Errorf("unknown key %.60q in [%s]; did you mean %q in [%s]?", key+"=", section, near+"=", home)
	}
	return fmt.Errorf("unknown key %.60q in [%s]; %s", key+"=", section, suggestion(key, keys(section), "\"%s=\""))
}

// orphan tells of a key that stands before the first section.
func orphan(key string) error {
	home := sectionOf(nearest(key, keys("")))
	if home == "" {
		home = strings.Join(sections(), "], [")
	}
	return fmt.Errorf("%.60q stands before the first section; write [%s] above it", key+"=", home)
}

// suggestion names the one that was meant or, if none is near, all there are;
// format is how each is written.
func suggestion(word string, known []string, format string) string {
	if near := nearest(word, known); near != "" {
		return "did you mean " + fmt.Sprintf(format, near) + "?"
	}
	all := make([]string, len(known))
	for i, k := range known {
		all[i] = fmt.Sprintf(format, k)
	}
	return "there are " + strings.Join(all, ", ")
}

// printable is s as %q writes it, without the quotes.
func printable(s string) string { q := strconv.Quote(s); return q[1 : len(q)-1] }

// sections lists the known sections in order.
func sections() []string {
	var names []string
	for _, s := range settings {
		if len(names) == 0 || names[len(names)-1] != s.Section {
			names = append(names, s.Section)
		}
	}
	return names
}

// keys lists the keys of a section, or of all for "".
func keys(section string) []string {
	var names []string
	for _, s := range settings {
		if section == "" || s.Section == section {
			names = append(names, s.Key)
		}
	}
	return names
}

// sectionOf is the section of a known key, else "".
func sectionOf(key string) string {
	for _, s := range settings {
		if s.Key == key {
			return s.Section
		}
	}
	return ""
}

// nearest is the known word that takes the fewest edits to reach, upper and
// lower case being alike, or "" if more than half the word had to change.
func nearest(word string, known []string) string {
	best, fewest := "", len(word)/2+1
	for _, k := range known {
		if n := edits(strings.ToLower(word), strings.ToLower(k)); n < fewest {
			best, fewest = k, n
		}
	}
	return best
}

// edits counts the bytes to insert, delete or replace to make a into b
// (Levenshtein's distance).
func edits(a, b string) int {
	row := make([]int, len(b)+1) // row[j]: from what was read of a to b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
