package top

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

func TestTable(t *testing.T) {
	columns := []column{{head: "NR", right: true}, {head: "NAME", flexible: true}, {head: "FIRST", rank: 1}, {head: "SECOND", rank: 2}}
	for _, c := range []struct {
		name  string
		width int
		rows  [][]string
		want  string
	}{
		{"all", 40, [][]string{{"7", "ab", "c", "d"}, {"1234", "日本", "longest", ""}}, `
  NR  NAME  FIRST    SECOND
   7  ab    c        d     
1234  日本  longest        `},
		{"no room for the second", 26, [][]string{{"7", "ab", "c", "d"}, {"1234", "日本", "longest", ""}}, `
  NR  NAME  FIRST  
   7  ab    c      
1234  日本  longest`},
		{"nor for the first", 18, [][]string{{"7", "ab", "c", "d"}, {"1234", "日本", "longest", ""}}, `
  NR  NAME
   7  ab  
1234  日本`},
		{"nor for all of a name", 9, [][]string{{"7", "日本日本", "c", "d"}}, `
NR  NAME 
 7  日本…`},
		{"a long name has what the others leave", 48, [][]string{{"7", strings.Repeat("n", 60), "c", "d"}}, `
NR  NAME` + strings.Repeat(" ", 40) + `
 7  ` + strings.Repeat("n", 43) + `…`},
		{"a column without anything in it", 40, [][]string{{"7", "ab", "", "d"}}, `
NR  NAME  SECOND
 7  ab    d     `},
		{"no rows", 40, nil, `
NR  NAME  FIRST  SECOND`},
	} {
		table := table{columns: columns}
		for _, cells := range c.rows {
			table.add(neutral, cells...)
		}
		if got := "\n" + ansi.Strip(strings.Join(table.lines(c.width), "\n")); got != c.want {
			t.Errorf("%s: got %s\nwant %s", c.name, got, c.want)
		}
	}
}
