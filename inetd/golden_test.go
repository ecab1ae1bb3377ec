package inetd

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/*/want anew: go test ./inetd -run Golden -update")

// ports are the services of the tests.
func ports(name, protocol string) (uint16, bool) {
	port, ok := map[string]uint16{
		"ftp/tcp": 21, "ssh/tcp": 22, "telnet/tcp": 23, "time/tcp": 37, "time/udp": 37, "tftp/udp": 69,
		"finger/tcp": 79, "http/tcp": 80, "www/tcp": 80, "pop3/tcp": 110, "auth/tcp": 113, "ident/tcp": 113,
		"daytime/tcp": 13, "daytime/udp": 13, "echo/tcp": 7, "echo/udp": 7, "discard/tcp": 9, "discard/udp": 9,
		"chargen/tcp": 19, "talk/udp": 517, "ntalk/udp": 518, "tcpmux/tcp": 1,
	}[name+"/"+protocol]
	return port, ok
}

// The inetd.conf of debian is what update-inetd 4.53 wrote at the calls of the
// maintainer scripts of micro-httpd, fingerd, inetutils-telnetd, proftpd-core,
// inetutils-talkd, talkd, solid-pop3d, uucp, nullidentd and rusersd.
func TestGolden(t *testing.T) {
	for _, name := range []string{"debian", "xinetd", "both"} {
		dir := filepath.Join("testdata", name)
		got := describe(readAll(t, os.DirFS(dir)))
		want := filepath.Join(dir, "want")
		if *update {
			if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(want)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(text) {
			t.Errorf("%s is not what is read; got\n%s", want, got)
		}
	}
}

// readAll reads what there is below root, as a generator would.
func readAll(t *testing.T, root fs.FS) Table {
	var tables []Table
	if _, err := fs.Stat(root, "etc/xinetd.conf"); err == nil {
		tables = append(tables, reader.Xinetd(root, "/etc/xinetd.conf"))
	}
	if text, err := fs.ReadFile(root, "etc/inetd.conf"); err == nil {
		tables = append(tables, reader.Inetd("/etc/inetd.conf", text))
	}
	if len(tables) == 0 {
		t.Fatal("there is nothing to read")
	}
	return Merge(tables...)
}

// describe writes a table as the files that would be made of it, and its notes.
func describe(table Table) string {
	var b strings.Builder
	for _, e := range table.Entries {
		fmt.Fprintf(&b, "# %s: %s", e.place(), e.Name)
		if e.Builtin != "" {
			fmt.Fprintf(&b, ", built in: %s", e.Builtin)
		}
		if e.Libwrap != "" {
			fmt.Fprintf(&b, ", in hosts.allow: %s", e.Libwrap)
		}
		b.WriteString("\n" + e.Socket())
		section := ""
		for _, s := range e.Settings() {
			if s.Section != section {
				section = s.Section
				fmt.Fprintf(&b, "[%s]\n", section)
			}
			fmt.Fprintf(&b, "%s=%s\n", s.Key, s.Value)
		}
		b.WriteString("\n")
	}
	for _, n := range table.Notes {
		b.WriteString(n.String() + "\n")
	}
	return b.String()
}
