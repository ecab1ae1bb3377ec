package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rule forbids some packages to import others. Packages of ours are named by
// their folder, and the one at the root "main".
type rule struct {
	who  []string // the importers; "*": all of ours
	not  []string // except these
	what []string // what they must not import; "ours": all of ours; a name stands for what is below it too
	but  []string // except these
	why  string
}

var (
	everybody = []string{"*"}
	ours      = []string{"ours"}
	logger    = "github.com/sirupsen/logrus"
	systemd   = "github.com/coreos/go-systemd/v22"
	bus       = "github.com/godbus/dbus"
	proxyhdr  = "github.com/pires/go-proxyproto"
	syscalls  = "golang.org/x/sys"
	public    = []string{"activation", "gate", "relay", "sockaddr", "supervisor"}
)

// rules is the table of docs/design.md, as far as imports can show it.
var rules = []rule{
	{who: everybody, not: []string{"main", "observe"}, what: []string{logger, "log"},
		why: "others return errors or tell events: one place decides what becomes of them, and nothing is said twice"},
	{who: everybody, not: []string{"main", "bench"}, what: []string{"github.com/spf13", "flag"},
		why: "only the command line knows flags: what they say arrives as a Config"},
	{who: everybody, not: []string{"activation", "config", "internal/unitstate", "observe", "supervisor"}, what: []string{systemd, bus},
		why: "what systemd gives and is told goes through activation; config reads the syntax of its unit files"},
	{who: []string{"observe"}, what: []string{systemd, bus}, but: []string{systemd + "/journal"},
		why: "it sends entries to the journal, and tells systemd nothing else"},
	{who: []string{"supervisor"}, what: []string{systemd}, but: []string{systemd + "/dbus"},
		why: "it has systemd start and stop a unit, and hears nothing else of it"},
	{who: []string{"activation", "config"}, what: []string{systemd + "/dbus", bus},
		why: "only the supervisor acts on units"},
	{who: []string{"internal/unitstate"}, what: []string{systemd, bus}, but: []string{systemd + "/dbus"},
		why: "it asks systemd how units are, and to read them again, for commands of the program"},
	{who: []string{"activation"}, what: []string{systemd + "/unit"},
		why: "configuration is config's"},
	{who: []string{"config"}, what: []string{systemd}, but: []string{systemd + "/unit"},
		why: "it reads text, and talks to nobody"},
	{who: everybody, not: []string{"control", "demo"}, what: []string{"net/http"},
		why: "HTTP is for the control socket and the demo: clients' bytes are never looked into"},
	{who: everybody, not: []string{"top"}, what: []string{"charm.land", "github.com/charmbracelet"},
		why: "one package draws a screen: the others write lines"},
	{who: everybody, not: []string{"internal/proxyhdr"}, what: []string{proxyhdr},
		why: "one place knows the bytes of PROXY headers: it is stricter, and reads from nobody"},
	{who: everybody, not: []string{"supervisor", "bench"}, what: []string{"os/exec"},
		why: "one launcher starts every child"},

	{who: public, what: ours, but: []string{"internal", "sockaddr"},
		why: "a stranger can take one of them without its siblings, and without the program"},
	{who: []string{"gate"}, what: []string{"internal", "sockaddr", "net", "os", "syscall", syscalls},
		why: "order and admission are pure: a turn knows no socket, no process and no system call"},
	{who: []string{"relay"}, what: []string{"sockaddr", "internal/sockdiag", "net", "os"}, but: []string{"net/netip"},
		why: "it moves bytes between two sockets, and does not know who they are, just whether on this machine"},
	{who: []string{"activation"}, what: []string{"internal/sockdiag", "internal/epoll", "net"},
		why: "it hands listeners over, and accepts nobody"},

	{who: []string{"proxy"}, what: ours, but: []string{"access", "gate", "relay", "sockaddr", "internal"},
		why: "it says in interfaces of its own what it wants of a backend, and is told settings as plain values"},
	{who: []string{"wake"}, what: ours, but: []string{"sockaddr", "internal"},
		why: "as proxy: it is another way to meet clients, and knows no more of the backend"},
	{who: []string{"config"}, what: ours, but: []string{"access", "sockaddr"},
		why: "settings are plain data: who uses them is main's business"},
	{who: []string{"access"}, what: []string{"ours", "net", "os"}, but: []string{"net/netip", "os/user"},
		why: "text and facts in, a decision out: who has the socket does what follows"},
	{who: []string{"control"}, what: ours,
		why: "the status is whatever JSON it is given: it carries it, and decides nothing"},
	{who: []string{"metrics", "observe"}, what: ours, but: []string{"access", "gate", "hook", "proxy", "supervisor"},
		why: "it hears those to whom something happens, and reaches into nothing"},
	{who: []string{"top"}, what: []string{"ours", "os", "net", "syscall", syscalls},
		why: "it is given a terminal and answers: where tiproxy is, and how it is asked, is the command's business"},
	{who: []string{"hook"}, what: ours,
		why: "it is given how a command is run, and told the facts: it knows neither backend nor clients"},
	{who: []string{"inetd"}, what: []string{"ours", "os", "net", "syscall", syscalls}, but: []string{"net/netip", "inetd"},
		why: "text in, values and texts out: who asks gives it the files, the names of services and the sockets"},
	{who: []string{"man"}, what: []string{"ours", "os"},
		why: "text in, text out: what its pages tell of the program is given to it"},
	{who: []string{"demo"}, what: ours,
		why: "it is a backend and its clients: it meets tiproxy only over sockets, as theirs do"},
	{who: []string{"bench"}, what: ours, but: []string{"bench"},
		why: "it runs tiproxy as anybody does: what measures does not change with what is measured"},
	{who: everybody, not: []string{"bench"}, what: []string{"bench"},
		why: "the program does not know that it is measured"},
	{who: []string{"internal"}, what: ours, but: []string{"internal", "sockaddr"},
		why: "the foundation does not know what stands on it"},
}

// packages are all of ours: a new one has to be put under the rules.
var packages = []string{
	"main", "access", "activation", "config", "control", "demo", "gate", "hook", "inetd", "inetd/builtin", "inetd/units", "man", "metrics", "observe", "proxy", "relay", "sockaddr", "supervisor", "top", "wake",
	"internal/epoll", "internal/nowait", "internal/proxyhdr", "internal/sockdiag", "internal/unitstate",
	"bench", "bench/backend", "bench/chart", "bench/load", "bench/peer", "bench/raw", "bench/record", "bench/report", "bench/wire",
}

const module = "github.com/tiproxy/tiproxy"

func TestNobodyImportsWhatHeMustNotKnow(t *testing.T) {
	for _, b := range breaches(importsOf(t, ".")) {
		t.Error(b)
	}
}

// Breaches that are made up must be found, or the test above shows nothing.
func TestForbiddenImportsAreFound(t *testing.T) {
	for _, tt := range []struct {
		who, what string
		want      string // a part of why; "": it is allowed
	}{
		{"gate", logger, "nothing is said twice"},
		{"observe", logger, ""},
		{"observe", systemd + "/journal", ""},
		{"observe", systemd + "/daemon", "tells systemd nothing else"},
		{"gate", "net/netip", "order and admission are pure"},
		{"gate", module + "/relay", "without its siblings"},
		{"supervisor", module + "/internal/sockdiag", ""},
		{"proxy", module + "/supervisor", "interfaces of its own"},
		{"proxy", module + "/gate", ""},
		{"proxy", "os/exec", "one launcher"},
		{"proxy", proxyhdr, "bytes of PROXY headers"},
		{"config", systemd + "/daemon", "talks to nobody"},
		{"config", systemd + "/unit", ""},
		{"supervisor", systemd + "/dbus", ""},
		{"supervisor", systemd + "/daemon", "start and stop a unit"},
		{"activation", systemd + "/dbus", "only the supervisor"},
		{"internal/unitstate", systemd + "/dbus", ""},
		{"internal/unitstate", systemd + "/daemon", "asks systemd how units are"},
		{"proxy", bus + "/v5", "goes through activation"},
		{"config", module + "/internal/epoll", "plain data"},
		{"access", module + "/sockaddr", "a decision out"},
		{"access", "net/netip", ""},
		{"control", module, "carries it"},
		{"internal/epoll", module + "/relay", "the foundation"},
		{"main", "github.com/spf13/cobra", ""},
		{"demo", "github.com/spf13/cobra", "knows flags"},
		{"hook", module + "/supervisor", "it is given how"},
		{"top", module + "/control", "the command's business"},
		{"control", "charm.land/lipgloss/v2", "draws a screen"},
		{"bench/load", module + "/relay", "what is measured"},
		{"relay", module + "/bench/raw", "it is measured"},
		{"relay", "net", "whether on this machine"},
		{"relay", "net/netip", ""},
		{"inetd", "os", "text in, values"},
		{"inetd/units", "os", "text in, values"},
		{"inetd/units", module + "/inetd", ""},
		{"inetd/units", module + "/config", "text in, values"},
		{"inetd", "net/netip", ""},
		{"gate", "nethack.org/net", ""}, // only begins like a forbidden one
		{"util", "fmt", "is not in the list of packages"},
	} {
		got := strings.Join(breaches(map[string][]string{tt.who: {tt.what}}), "\n")
		if found := got != ""; found != (tt.want != "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s imports %s: got %q, want %q", tt.who, tt.what, got, tt.want)
		}
	}
}

func TestRulesAreAboutPackagesThatExist(t *testing.T) {
	known := importsOf(t, ".")
	for _, p := range packages {
		if known[p] == nil {
			t.Errorf("the list of packages has %s, which is gone", p)
		}
	}
	for _, r := range rules {
		for _, p := range slices.Concat(r.who, r.not) {
			if !slices.Contains(packages, p) && p != "*" && p != "internal" {
				t.Errorf("a rule is about %s, which is gone (%s)", p, r.why)
			}
		}
	}
}

// main.go is read by everybody who wants to know how the parts fit.
func TestMainIsShort(t *testing.T) {
	const most = 150
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n >= most {
		t.Errorf("main.go has %d lines, want less than %d: what it does belongs in a package", n, most)
	}
}

// breaches answers what is imported against the rules.
func breaches(imports map[string][]string) (found []string) {
	for who, all := range imports {
		if !slices.Contains(packages, who) {
			found = append(found, fmt.Sprintf("%s is not in the list of packages: put it under the rules of deps_test.go", who))
		}
		for _, what := range all {
			for _, r := range rules {
				if r.forbids(who, what) {
					found = append(found, fmt.Sprintf("%s imports %s: %s", who, what, r.why))
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

func (r rule) forbids(who, what string) bool {
	return within(who, r.who) && !within(who, r.not) && within(what, r.what) && !within(what, r.but)
}

// within tells whether a package or an import path is one of names or below
// one of them.
func within(name string, names []string) bool {
	short, isOurs := strings.CutPrefix(name, module)
	if isOurs {
		name = strings.TrimPrefix(short, "/")
	}
	for _, n := range names {
		switch {
		case n == "*", n == "ours" && isOurs, name == n, strings.HasPrefix(name, n+"/"):
			return true
		}
	}
	return false
}

// importsOf answers for each of our packages below dir what it imports; its
// tests may import what they like.
func importsOf(t *testing.T, dir string) map[string][]string {
	imports := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if name := e.Name(); path != dir && (name[0] == '.' || name == "testdata" || name == "vendor") {
			return fs.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		if none := (*build.NoGoError)(nil); errors.As(err, &none) {
			return nil
		}
		name := filepath.ToSlash(path)
		if path == dir {
			name = "main"
		}
		imports[name] = append([]string{}, p.Imports...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}
