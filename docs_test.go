package main_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tiproxy/tiproxy/config"
)

// docs are README.md and what lies in docs.
func docs(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	files, err := filepath.Glob("docs/*.md")
	must(t, err)
	for _, file := range append(files, "README.md") {
		text, err := os.ReadFile(file)
		must(t, err)
		pages[file] = string(text)
	}
	return pages
}

func TestDocsLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	for file, text := range docs(t) {
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), link[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// columns are where the tables of a page name our settings, from 0.
var columns = map[string]int{
	"docs/from-systemd-socket-proxyd.md": 1, "docs/from-xinetd.md": 1, "docs/from-inetd.md": 1, "docs/from-haproxy.md": 1, "docs/from-tcplock.md": 1,
	"docs/from-on-demand.md": 1, "docs/troubles.md": 2, "docs/operation.md": 1,
}

// directives are systemd's, that the tables name as well.
var directives = []string{"KeepAlive", "KillMode", "ListenDatagram", "ListenStream", "NoDelay", "PrivateNetwork", "ReadWritePaths", "TimeoutStopSec"}

// What a table tells to set is a setting or a flag, and takes that value.
func TestDocsNameSettingsThatThereAre(t *testing.T) {
	t.Parallel()
	pages, known := docs(t), map[string]config.Setting{}
	for _, s := range config.Settings() {
		known[s.Key+"="], known["--"+s.Flag] = s, s
	}
	setting := regexp.MustCompile("`([A-Z][A-Za-z]+=|--[a-z-]+)(?: ?([^`]*))`")
	for page, column := range columns {
		found := 0
		for line := range strings.Lines(pages[page]) {
			cells := strings.Split(line, "|")
			if len(cells) < column+3 || cells[0] != "" {
				continue
			}
			for _, s := range setting.FindAllStringSubmatch(cells[column+1], -1) {
				found++
				name, value := s[1], s[2]
				switch is, isKnown := known[name]; {
				case slices.Contains(directives, strings.TrimSuffix(name, "=")), slices.Contains([]string{"--listen", "--bind", "--exec", "--control"}, name):
				case !isKnown:
					t.Errorf("%s: there is no %s, in %s", page, name, line)
				case value != "" && is.Flag != "":
					if err := config.Default().Set(is.Flag, value); err != nil {
						t.Errorf("%s: %v, in %s", page, err, line)
					}
				}
			}
		}
		if found < 5 {
			t.Errorf("%s: %d settings in column %d", page, found, column)
		}
	}
}

// What somebody searches for in docs/troubles.md is what tiproxy says.
func TestDocsRepeatWhatTiproxySays(t *testing.T) {
	t.Parallel()
	var sources strings.Builder
	must(t, filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && slices.Contains([]string{".git", "build", "vendor"}, path) {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			var text []byte
			text, err = os.ReadFile(path)
			sources.Write(text)
		}
		return err
	}))
	found := 0
	for line := range strings.Lines(docs(t)["docs/troubles.md"]) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || cells[0] != "" {
			continue
		}
		for _, said := range regexp.MustCompile("`([a-z][^`=]* [^`]*)`").FindAllStringSubmatch(cells[1], -1) {
			found++
			if !strings.Contains(sources.String(), said[1]) {
				t.Errorf("tiproxy never says %q", said[1])
			}
		}
	}
	if found < 15 {
		t.Errorf("%d messages were looked for", found)
	}
}

// Each configuration of a backend that somebody may copy is one that tiproxy
// check takes.
func TestDocsConfigureWhatWorks(t *testing.T) {
	t.Parallel()
	pages, found := docs(t), 0
	sources, err := filepath.Glob("man/*.md")
	must(t, err)
	for _, file := range sources {
		text, err := os.ReadFile(file)
		must(t, err)
		pages[file] = string(text)
	}
	block := regexp.MustCompile(`(?m)^ *\[Backend\]\n(?: *(?:\[\w+\]|\w+=.*)?\n)+`)
	for page, text := range pages {
		for _, conf := range block.FindAllString(text, -1) {
			found++
			file := filepath.Join(t.TempDir(), "tiproxy.conf")
			must(t, os.WriteFile(file, []byte(conf), 0o600))
			if _, stderr, status := steer(t, "", "check", file); status != 0 {
				t.Errorf("%s: status %d, %s\n%s", page, status, stderr, conf)
			}
		}
	}
	if found < 6 {
		t.Errorf("%d configurations were found", found)
	}
}

// example is the block of a page behind <!-- example -->, with free ports in the
// place of its own.
type example struct {
	text  string
	ports map[string]string // by those on the page
}

func exampleOf(t *testing.T, page string) example {
	t.Helper()
	block := regexp.MustCompile("(?s)<!-- example -->\n```(?:sh|ini)\n(.*?)```\n").FindStringSubmatch(docs(t)[page])
	if block == nil {
		t.Fatalf("%s has no example", page)
	}
	e := example{ports: map[string]string{}}
	e.text = regexp.MustCompile(`\b\d{4,5}\b`).ReplaceAllStringFunc(block[1], func(port string) string {
		if e.ports[port] == "" {
			e.ports[port] = freePort()
		}
		return e.ports[port]
	})
	return e
}

// at is the address where a port of the page is now.
func (e example) at(port string) string { return "127.0.0.1:" + e.ports[port] }

// command is that of the example, or of the service of its file, for somebody
// who has an ncat, which is fakecat.
func (e example) command(t *testing.T, u *unit) *exec.Cmd {
	t.Helper()
	dir := shortDir(t)
	ncat := "#!/bin/sh\nexec " + bin + "/fakecat \"$@\"\n"
	must(t, os.WriteFile(filepath.Join(dir, "ncat"), []byte(ncat), 0o700))
	var cmd *exec.Cmd
	if words := strings.Fields(e.text); u == nil {
		if words[0] != "tiproxy" || strings.Count(e.text, "\n") != 1 {
			t.Fatalf("the example is no command of tiproxy's: %s", e.text)
		}
		cmd = prepare(dir, "tiproxy", words[1:])
	} else {
		file := filepath.Join(dir, "example.conf")
		must(t, os.WriteFile(file, []byte(e.text), 0o600))
		cmd = u.command(dir, "-c", file)
	}
	cmd.Env = append(cmd.Env, "PATH="+dir+":"+bin)
	return cmd
}

// backend serves at a port of the page, as fakecat does.
func (e example) backend(t *testing.T, port string) {
	t.Helper()
	echoAt(t, e.at(port))
}

// The first client starts the server and is answered, and others with it.
func TestExampleOfSocketProxyd(t *testing.T) {
	t.Parallel()
	e, u := exampleOf(t, "docs/from-systemd-socket-proxyd.md"), newUnit(t)
	first := mustConnect(t, u.addr)
	p := launch(t, e.command(t, u))
	pid := first.mustTalk(t, "hello")
	if other := mustConnect(t, u.addr).mustTalk(t, "hello"); other != pid {
		t.Errorf("served by %d and %d, want one server for both", pid, other)
	}
	p.await(t, "the backend is ready")
}

// A second connection of one source is closed, as by xinetd.
func TestExampleOfXinetd(t *testing.T) {
	t.Parallel()
	e, u := exampleOf(t, "docs/from-xinetd.md"), newUnit(t)
	e.backend(t, "8100")
	p := launch(t, e.command(t, u))
	first := mustConnect(t, u.addr)
	first.mustTalk(t, "hello")
	mustConnect(t, u.addr).mustBeEnded(t)
	first.Close()
	p.await(t, "served ")
	mustConnect(t, u.addr).mustTalk(t, "hello")
}

// What the generator makes of the line is what the page says.
func TestExampleOfInetd(t *testing.T) {
	t.Parallel()
	const page = "docs/from-inetd.md"
	line := regexp.MustCompile(`(?m)^    (\S+ stream .*\n)`).FindStringSubmatch(docs(t)[page])
	if line == nil {
		t.Fatal("the page has no line of inetd.conf")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "inetd.conf")
	must(t, os.WriteFile(file, []byte(line[1]), 0o600))
	if _, stderr, status := steer(t, dir, "inetd", "generate", "--inetd", file, dir, dir, dir); status != 0 || stderr != "" {
		t.Fatalf("status %d, %s", status, stderr)
	}
	made, err := os.ReadFile(filepath.Join(dir, "tiproxy-inetd", "finger-79-tcp.conf"))
	must(t, err)
	if _, conf, _ := strings.Cut(string(made), "\n"); conf != exampleOf(t, page).text {
		t.Errorf("of the line comes\n%s", conf)
	}
}

// Those who come while one is inside wait, and are served in the order of their
// arrival.
func TestExamplesOfALine(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"docs/from-haproxy.md", "docs/from-tcplock.md"} {
		e := exampleOf(t, page)
		e.backend(t, "8100")
		p := launch(t, e.command(t, nil))
		p.await(t, "listening at")
		var line []*client
		for i := range 4 {
			c := mustConnect(t, e.at("9000"))
			_, err := c.Write([]byte("hello\n"))
			must(t, err)
			line = append(line, c)
			p.awaitStatus(t, "so many in line", func(s status) bool { return s.Gate.Active == 1 && s.Gate.Queued == i })
		}
		for i, c := range line {
			_, err := c.hear("hello")
			must(t, err)
			p.awaitStatus(t, "the others in line", func(s status) bool { return s.Gate.Active == 1 && s.Gate.Queued == len(line)-1-i })
			c.Close()
		}
	}
}

// One child for all clients, which is gone with its tiproxy.
func TestExampleOfTheOnDemandProxy(t *testing.T) {
	t.Parallel()
	e := exampleOf(t, "docs/from-on-demand.md")
	p := launch(t, e.command(t, nil))
	p.await(t, "listening at")
	one, other := mustConnect(t, e.at("4000")), mustConnect(t, e.at("4000"))
	pid := one.mustTalk(t, "hello")
	if second := other.mustTalk(t, "hello"); second != pid {
		t.Errorf("served by %d and %d, want one child for both", pid, second)
	}
	one.Close()
	other.Close()
	p.signal(t, syscall.SIGTERM)
	p.mustEnd(t)
	mustBeGone(t, pid)
}
