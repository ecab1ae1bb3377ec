package units

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"

	"github.com/tiproxy/tiproxy/inetd"
)

// tree is files by their names below the root.
type tree map[string]string

func (t tree) fs() fs.FS {
	all := fstest.MapFS{}
	for name, text := range t {
		all[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return all
}

// seeds gives a fuzz target the files that package inetd is tested with.
func seeds(f *testing.F, pattern string) {
	names, err := filepath.Glob(filepath.Join("..", "testdata", "*", "etc", pattern))
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

// sound checks what holds for all units: files stay in their folder and are no
// one else's, and texts say what they are to say.
func sound(t *testing.T, table inetd.Table) {
	t.Helper()
	units, notes := Make(table, wrapped)
	refused := 0
	for _, n := range notes {
		if n.Refused {
			refused++
		}
	}
	for _, n := range table.Notes {
		if n.Refused {
			refused--
		}
	}
	if len(units)+refused != len(table.Entries) {
		t.Errorf("%d units and %d refused of %d entries", len(units), refused, len(table.Entries))
	}
	owned := map[string]bool{}
	for _, u := range units {
		if len(u.Name) > nameMax || strings.Map(unitRune, u.Name) != u.Name || u.Name == "" {
			t.Errorf("the name is %q", u.Name)
		}
		for _, f := range u.Files {
			if !filepath.IsLocal(f.Path) || path.Clean(f.Path) != f.Path || owned[f.Path] {
				t.Errorf("%q is outside of the folder, or has two owners", f.Path)
			}
			owned[f.Path] = true
			if (f.Text == "") == (f.Link == "") {
				t.Errorf("it is not clear what %+v is", f)
			}
			for line := range strings.SplitSeq(f.Text, "\n") {
				if strings.ContainsFunc(line, unicode.IsControl) || strings.HasSuffix(line, `\`) {
					t.Errorf("%s has the line %q", f.Path, line)
				}
				if key, _, ok := strings.Cut(line, "="); line != "" && line[0] != '#' && line[0] != '[' && (!ok || strings.ContainsAny(key, " %")) {
					t.Errorf("%s has the line %q", f.Path, line)
				}
			}
		}
		if link := u.Files[2]; path.Join(path.Dir(link.Path), link.Link) != u.Files[0].Path {
			t.Errorf("%+v does not lead to the socket", link)
		}
	}
}

func FuzzInetd(f *testing.F) {
	seeds(f, "inetd.conf")
	f.Add("\x00\xff\n80 stream tcp nowait root /bin/x \\\n[::1]:\n::1:80\n/../../%i\\ stream unix nowait root /x\n/ä\u0085 dgram unix wait root /x \u00a0\n")
	f.Fuzz(func(t *testing.T, text string) { sound(t, reader.Inetd("/etc/a%b\\ \n", []byte(text))) })
}

func FuzzXinetd(f *testing.F) {
	seeds(f, "xinetd.conf")
	seeds(f, filepath.Join("xinetd.d", "*"))
	f.Add("service x\n{\nid = ../../../etc/passwd\ntype = UNLISTED\nport = 1\nprotocol = tcp\nwait = no\nuser = root\nserver = /x\nserver_args = \\\n}\n")
	f.Fuzz(func(t *testing.T, text string) { sound(t, reader.Xinetd(tree{"x": text}.fs(), "/x")) })
}
