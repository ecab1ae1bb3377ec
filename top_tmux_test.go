//go:build tmux

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests of `tiproxy top` in a real terminal, which tmux plays.

// pane is a terminal with a shell in it.
type pane struct {
	t   *testing.T
	dir string // of the shell, and of the socket of a tmux of its own
}

// open makes a terminal of 80 columns and 24 rows, for somebody who runs a
// tiproxy in dir; vars are added to his environment.
func open(t *testing.T, dir string, vars ...string) *pane {
	t.Helper()
	p := &pane{t, dir}
	config := filepath.Join(dir, "tmux.conf")
	must(t, os.WriteFile(config, []byte("set -g status off\nset -g default-terminal screen-256color\nset -g default-shell /bin/sh\n"), 0o600))
	path := "PATH=" + bin + ":" + os.Getenv("PATH")
	shell := "exec env -i TERM=screen-256color LC_ALL=C.UTF-8 PS1='$ ' XDG_RUNTIME_DIR=. " + path + " " + strings.Join(vars, " ") + " sh"
	p.tmux("-f", config, "new-session", "-d", "-x", "80", "-y", "24", "-c", dir, shell)
	t.Cleanup(func() { p.tmux("kill-server") })
	return p
}

func (p *pane) tmux(args ...string) string {
	p.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-u", "-S", filepath.Join(p.dir, "tmux")}, args...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// press types keys, as tmux names them.
func (p *pane) press(keys ...string) {
	p.t.Helper()
	p.tmux(append([]string{"send-keys"}, keys...)...)
}

// enter types a command for the shell.
func (p *pane) enter(command string) {
	p.t.Helper()
	p.tmux("send-keys", "-l", command)
	p.press("Enter")
}

// await waits until the screen matches, and answers the groups.
func (p *pane) await(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	for deadline := time.Now().Add(patience); ; {
		screen := p.tmux("capture-pane", "-p", "-J")
		if groups := re.FindStringSubmatch(screen); groups != nil {
			return groups
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("after %v the screen has nothing like %q:\n%s", patience, pattern, screen)
		}
	}
}

// top starts `tiproxy top`, and answers how to see that the terminal is then as
// it was before.
func (p *pane) top() (mustBeLeft func()) {
	p.t.Helper()
	p.enter("clear; stty -g >before; echo this is the shell; sh -c 'echo $$ >pid; exec tiproxy top'; echo it ended with $?; stty -g >after")
	p.await(`^q quit`)
	return func() {
		p.t.Helper()
		p.await(`^it ended with 0\n\$ *$`)
		screen := p.tmux("capture-pane", "-p")
		if !strings.Contains(screen, "\nthis is the shell\nit ended") && !strings.HasPrefix(screen, "this is the shell\nit ended") {
			p.t.Errorf("the screen is not as it was:\n%s", screen)
		}
		if state := p.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{keypad_cursor_flag} #{keypad_flag}"); state != "0 1 0 0\n" {
			p.t.Errorf("alternate screen, cursor, cursor keys and keypad are %q", state)
		}
		if before, after := p.read("before"), p.read("after"); before != after {
			p.t.Errorf("the terminal's modes were %s and are %s", before, after)
		}
	}
}

func (p *pane) read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	must(p.t, err)
	return strings.TrimSpace(string(text))
}

func TestTopInATerminal(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "--connections 1", "-l", "-k")
	screen := open(t, p.cmd.Dir)
	mustBeLeft := screen.top()
	screen.await(`nobody is inside`)

	inside := mustConnect(t, addr)
	inside.mustTalk(t, "hello")
	number := screen.await(`^ *>(\d+) +` + regexp.QuoteMeta(inside.LocalAddr().String()) + ` .*relaying`)[1]
	next := mustConnect(t, addr)
	screen.await(`^ +1 +` + regexp.QuoteMeta(next.LocalAddr().String()))
	screen.await(`1 of 1 inside  1 waiting`)

	screen.press("k")
	screen.await(`^End session ` + number + ` of \S+\? y/n`)
	screen.press("y")
	screen.await(`^session ` + number + ` is ended`)
	inside.mustBeEnded(t)
	next.mustTalk(t, "my turn")
	screen.await(`^ *>\d+ +` + regexp.QuoteMeta(next.LocalAddr().String()))

	for _, size := range []struct{ width, height int }{{160, 50}, {60, 15}, {80, 24}} {
		screen.tmux("resize-window", "-x", strconv.Itoa(size.width), "-y", strconv.Itoa(size.height))
		screen.await(fmt.Sprintf(`\A(.*\n){%d}q quit.*\n\z`, size.height-1))
		screen.await(fmt.Sprintf(`\A.{%d}\d\d:\d\d:\d\d$`, size.width-len("15:04:05")))
	}
	screen.press("d")
	screen.await(`nobody is let in until it is resumed`)
	screen.await(`d resume`)
	screen.press("d")
	screen.await(`d drain`)
	screen.press("q")
	mustBeLeft()
}

func TestTopLeavesTheTerminalAsItWas(t *testing.T) {
	t.Parallel()
	p, _ := run(t, "", "-l", "-k")
	screen := open(t, p.cmd.Dir)
	signals := func(s syscall.Signal) func() {
		return func() {
			pid, err := strconv.Atoi(screen.read("pid"))
			must(t, err)
			must(t, syscall.Kill(pid, s))
		}
	}
	for name, end := range map[string]func(){
		"q":       func() { screen.press("q") },
		"Ctrl-C":  func() { screen.press("C-c") },
		"SIGINT":  signals(syscall.SIGINT),
		"SIGTERM": signals(syscall.SIGTERM),
		"SIGHUP":  signals(syscall.SIGHUP),
	} {
		mustBeLeft := screen.top()
		screen.await(`nobody is inside`)
		end()
		mustBeLeft()
		if t.Failed() {
			t.Fatalf("so it is after %s", name)
		}
	}
}

func TestTopOutlivesItsTiproxy(t *testing.T) {
	t.Parallel()
	p, _ := run(t, "", "-l", "-k")
	screen := open(t, p.cmd.Dir)
	mustBeLeft := screen.top()
	screen.await(`nobody is inside`)
	p.signal(t, syscall.SIGTERM)
	p.mustEnd(t)
	screen.await(`No answer: .* no tiproxy answers at`)
	launch(t, prepare(p.cmd.Dir, "tiproxy", []string{"--listen", "127.0.0.1:0", "--dest", "auto", "--", "fakecat", "-l", "-p", "{port}"}))
	screen.await(`nobody is inside`)
	screen.press("q")
	mustBeLeft()
}

// What cannot be shown on a screen is said where it stays.
func TestTopHasNoScreen(t *testing.T) {
	t.Parallel()
	screen := open(t, shortDir(t))
	for _, c := range []struct{ command, want string }{
		{"TERM=dumb tiproxy top", `terminal of TERM=dumb; try tiproxy status --watch\nit ended with 2`},
		{"tiproxy top 2>&1 >/dev/null", `not both a terminal; try tiproxy status --watch\nit ended with 2`},
		{"tiproxy top </dev/null", `not both a terminal; try tiproxy status --watch\nit ended with 2`},
		{"tiproxy top --control ./nobody", `no tiproxy answers at ./nobody: .*\nit ended with 1`},
	} {
		screen.enter("clear; " + c.command + "; echo it ended with $?")
		screen.await("(?s)" + c.want)
	}
}

func TestTopObeysTheTerminal(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "", "-l", "-k")
	mustConnect(t, addr).mustTalk(t, "hello")
	for _, c := range []struct {
		variable string
		coloured bool
	}{
		{"A=b", true},
		{"NO_COLOR=1", false},
		{"LC_ALL=C", true},
	} {
		screen := open(t, shortDir(t), c.variable, "XDG_RUNTIME_DIR="+p.cmd.Dir)
		screen.top()
		screen.await(`relaying`)
		colours := screen.tmux("capture-pane", "-p", "-e")
		if got := regexp.MustCompile(`\x1b\[[0-9;]*3[0-7]m`).MatchString(colours); got != c.coloured {
			t.Errorf("with %s, colours: %t\n%q", c.variable, got, colours)
		}
		if ascii := !strings.Contains(colours, "·"); ascii != (c.variable == "LC_ALL=C") {
			t.Errorf("with %s, ASCII: %t", c.variable, ascii)
		}
	}
}
