package inetd

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestBlocks(t *testing.T) {
	for _, tt := range []struct{ name, text, want, note string }{
		{"as it should be", "# x\nservice a\n{\n # x\n\twait = no\n only_from += 1 2 3\n}\n\ndefaults\n{\n}\n",
			"a: wait=[no] only_from+=[1 2 3]; : ", ""},
		{"no blank after the operator, CR LF, a mark before all", "\ufeffservice a\r\n{\r\na =b c\r\nd -=\r\n}\r\n", "a: a=[b c] d-=[]", ""},
		{"a brace on the same line", "service a {\nwait = no\n}\nservice b\n{\n}", "b: ", `/x:1: cannot take over service "a": "{" has to stand`},
		{"the same of defaults", "defaults {\na = 1\n}\nservice b\n{\n}", ": ; b: ", `/x:1: cannot take the defaults: "{" has to stand`},
		{"an include after a stray line", "x\ninclude /y\ny = 1\n}\n", "y: ", "/x:1: cannot understand the line: \"x\" begins nothing; want service NAME, defaults, include FILE or includedir FOLDER\n/x:3: cannot understand the line"},
		{"no brace", "service a\nwait = no\n}\nservice b\n{\n}", "b: ", `/x:2: cannot take over service "a": a { on a line of its own`},
		{"no end", "service a\n{\nwait = no\nservice b\n{\n}", "b: ", `/x:1: cannot take over service "a": the block has no }`},
		{"no end of the file's last", "service a\n{\nwait = no\n", "", `/x:1: cannot take over service "a": the block has no }`},
		{"no blank before the operator", "service a\n{\nwait= no\nuser = x\n}\nservice b\n{\n}", "b: ", `/x:3: cannot take over service "a": "wait= no" is no attribute`},
		{"an attribute called service", "service a\n{\nservice = x\n}", "a: service=[x]", ""},
		{"outside", "wait = no\nuser = x\nservice b\n{\n}", "b: ", `/x:1: cannot understand the line: "wait" begins nothing`},
		{"no name", "service\n{\n}\nservice b\n{\n}", "b: ", `"service" begins nothing`},
		{"binary within", "service a\n{\n\x00\n}\nservice b\n{\n}", "b: ", `/x:3: cannot take over service "a": it has the control character U+0000`},
		{"binary outside", "\xff\xfe\nservice b\n{\n}", "b: ", `/x:1: cannot understand the line: it is no text in UTF-8`},
		{"defaults without an end", "defaults\n{\na = 1\nservice b\n{\n}", ": a=[1]; b: ", `/x:1: cannot take the defaults: the block has no }`},
		{"defaults twice", "defaults\n{\na = 1\n}\ndefaults\n{\na = 2\n}", ": a=[1]", `/x:5: cannot take these defaults`},
	} {
		x := &xfiles{fsys: tree("x", tt.text, "y", "service y\n{\n}\n"), seen: map[string]bool{}}
		x.includeFile(request{name: "/x", by: "/x"})
		var got []string
		for _, b := range x.blocks {
			var assignments []string
			for _, a := range b.assignments {
				assignments = append(assignments, fmt.Sprintf("%s%s%v", a.name, a.op, a.values))
			}
			got = append(got, b.service+": "+strings.Join(assignments, " "))
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, s, tt.want)
		}
		if n := notes(Table{Notes: x.notes}); (n == "") != (tt.note == "") || !strings.Contains(n, tt.note) || strings.Count(n, "\n") != strings.Count(tt.note, "\n") {
			t.Errorf("%s: got notes %q, want one with %q", tt.name, n, tt.note)
		}
	}
}

func TestInclude(t *testing.T) {
	service := func(name string) string {
		return "service " + name + "\n{\ntype = UNLISTED\nprotocol = tcp\nport = 1" + fmt.Sprint(len(name)) + "\nwait = no\nuser = root\nserver = /bin/x\n}\n"
	}
	fsys := tree(
		"etc/conf", "include /etc/one\nincludedir /etc/many\ninclude /etc/missing\ninclude etc/one\ninclude /etc/one\nincludedir /etc/none\ninclude /etc/many\n",
		"etc/one", "include /etc/conf\n"+service("a"),
		"etc/many/b", service("bb"),
		"etc/many/a", service("aaa"),
		"etc/many/c.dpkg-dist", service("cccc"),
		"etc/many/d~", service("ddddd"),
		"etc/many/sub/x", service("eeeeee"),
	)
	table := reader.Xinetd(fsys, "/etc/conf")
	var names []string
	for _, e := range table.Entries {
		names = append(names, e.File+":"+e.Name)
	}
	if got := strings.Join(names, " "); got != "/etc/one:a /etc/many/a:aaa /etc/many/b:bb" {
		t.Errorf("got %s", got)
	}
	want := `/etc/conf:2: cannot read "/etc/many/sub": it is no regular file
/etc/conf:3: cannot read "/etc/missing": file does not exist
/etc/conf:4: cannot read "etc/one": want an absolute path
/etc/conf:5: cannot read "/etc/one": it was read before
/etc/conf:6: cannot read "/etc/none": file does not exist
/etc/conf:7: cannot read "/etc/many": it was read before
/etc/one:1: cannot read "/etc/conf": it was read before`
	if got := notes(table); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if table := reader.Xinetd(fsys, "/etc/many"); len(table.Entries) != 2 {
		t.Errorf("a folder by itself: got %s", summaries(table))
	}
	if table := reader.Xinetd(fsys, "/etc/nowhere"); notes(table) != `/etc/nowhere: cannot read "/etc/nowhere": file does not exist` {
		t.Errorf("got %s", notes(table))
	}
}

// locked has one file that nobody may read.
type locked struct{ fs.FS }

func (f locked) Open(name string) (fs.File, error) {
	if name == "etc/locked" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.FS.Open(name)
}

func TestUnreadable(t *testing.T) {
	fsys := locked{fstest.MapFS{
		"etc/conf":   {Data: []byte("include /etc/locked\n")},
		"etc/locked": {Data: []byte("x")},
	}}
	want := `/etc/conf:1: cannot read "/etc/locked": permission denied`
	if got := notes(reader.Xinetd(fsys, "/etc/conf")); got != want {
		t.Errorf("got %s", got)
	}
}
