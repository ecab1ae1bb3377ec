package inetd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// seeds gives a fuzz target the files of testdata.
func seeds(f *testing.F, pattern string) {
	names, err := filepath.Glob(filepath.Join("testdata", "*", "etc", pattern))
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds like %s: %v", pattern, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
}

// sound checks what holds for every table: an entry can be written down, and
// belongs to a line; an address belongs to one entry.
func sound(t *testing.T, table Table, lines int) {
	t.Helper()
	owned := map[string]bool{}
	for _, e := range table.Entries {
		if e.nowhere() || e.Line < 1 || e.Line > lines || e.Wait && len(e.Listen) > 1 {
			t.Errorf("got %+v", e)
		}
		if (e.Program != "") == (e.Builtin != "" || e.Redirect != "") || (e.Program != "") != (len(e.Args) > 0) {
			t.Errorf("it is not clear what serves %+v", e)
		}
		for _, a := range e.Listen {
			for _, c := range e.claims(a) {
				if owned[c] {
					t.Errorf("%s has two owners", c)
				}
				owned[c] = true
			}
		}
		written := strings.ReplaceAll(e.Socket(), "\n", "")
		for _, s := range e.Settings() {
			written += s.Value
		}
		if strings.ContainsAny(written, "\x00\r\n") || !utf8.ValidString(written) {
			t.Errorf("%q does not fit in a unit file", written)
		}
		if len(e.DenyFrom)+len(e.AllowFrom)+len(e.AccessTimes) > 0 && e.Wait {
			t.Errorf("nobody keeps the rules of %+v", e)
		}
	}
	for _, n := range table.Notes {
		if n.Why == "" || n.Line < 0 || n.Line > lines {
			t.Errorf("got %+v", n)
		}
	}
}

// Each line that is neither empty nor a comment is an entry or has a note, or
// says where others listen.
func FuzzInetd(f *testing.F) {
	seeds(f, "inetd.conf")
	f.Add("\x00\xff\n80 stream tcp nowait root /bin/x \"\n[::1]:\n::1:80")
	f.Fuzz(func(t *testing.T, text string) {
		table := reader.Inetd("conf", []byte(text))
		sound(t, table, strings.Count(text, "\n")+1)
		told := map[int]bool{}
		for _, e := range table.Entries {
			told[e.Line] = true
		}
		for _, n := range table.Notes {
			told[n.Line] = true
		}
		for _, l := range cutLines(text) {
			host := len(l.words) == 1 && strings.HasSuffix(l.words[0], ":")
			if !told[l.number] && !host {
				t.Errorf("nothing is told of line %d, %q", l.number, l.words)
			}
		}
	})
}

// Comments leave nothing; any other text leaves an entry or a note, unless it
// may switch services off, or has defaults and no service.
func FuzzXinetd(f *testing.F) {
	seeds(f, "xinetd.conf")
	seeds(f, filepath.Join("xinetd.d", "*"))
	f.Add("service a\n{\n}\n}\nservice \xff\n{\ndefaults\n{\ninclude /x")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		table := reader.Xinetd(tree("x", text), "/x")
		sound(t, table, lines)
		empty := true
		for s := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
			s = strings.Trim(strings.TrimSuffix(s, "\r"), blank)
			empty = empty && (s == "" || s[0] == '#')
		}
		if empty && len(table.Entries)+len(table.Notes) > 0 {
			t.Errorf("got %s and notes %s of nothing", summaries(table), notes(table))
		}
		if switches := strings.Contains(text, "able") || strings.Contains(text, "defaults"); !empty && !switches && len(table.Entries)+len(table.Notes) == 0 {
			t.Errorf("nothing is told of %q", text)
		}
	})
}

// large is an inetd.conf of n lines, one in ten of them wrong.
func large(n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "127.0.%d.%d:80\tstream\ttcp\tnowait.%d\tnobody\t/usr/sbin/tcpd\t/usr/sbin/in.fingerd -%d\n", i/250, i%250+1, i%10, i)
	}
	return []byte(b.String())
}

func TestLarge(t *testing.T) {
	table := reader.Inetd("conf", large(10_000))
	if len(table.Entries) != 10_000 || len(table.Notes) != 1_000 {
		t.Errorf("got %d entries and %d notes", len(table.Entries), len(table.Notes))
	}
}

// go test ./inetd -run '^$' -bench . -benchmem
func BenchmarkInetd(b *testing.B) {
	text := large(10_000)
	for b.Loop() {
		reader.Inetd("conf", text)
	}
}

func BenchmarkXinetd(b *testing.B) {
	var text strings.Builder
	for i := range 1_000 {
		fmt.Fprintf(&text, "service s%d\n{\ntype = UNLISTED\nprotocol = tcp\nport = %d\nwait = no\nuser = root\nserver = /bin/x\nonly_from = 10.0.0.0 192.0.2.{1,2}\n}\n", i, i+1)
	}
	fsys := tree("x", text.String())
	for b.Loop() {
		reader.Xinetd(fsys, "/x")
	}
}
