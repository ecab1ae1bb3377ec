package main_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/tiproxy/tiproxy/control"
)

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for shell, has := range map[string]string{
		"bash": "complete -o default -F __start_tiproxy tiproxy", "fish": "complete -c tiproxy", "zsh": "#compdef tiproxy",
	} {
		script, stderr, status := steer(t, "", "completion", shell)
		if status != 0 || !strings.Contains(script, has) {
			t.Errorf("%s: status %d, %s: %.200q has no %q", shell, status, stderr, script, has)
		}
		if shell != "bash" { // the others need not be here
			continue
		}
		cmd := exec.Command("bash", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	if _, stderr, status := steer(t, "", "completion", "dos"); status != 2 || !strings.Contains(stderr, `"dos"`) {
		t.Errorf("status %d, %q", status, stderr)
	}
}

// What the scripts ask tiproxy itself.
func TestCompletions(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	(&steered{
		sessions: []control.Session{{Session: 7, Client: "192.0.2.1:4242"}},
		waiting:  []control.Waiting{{Session: 9, Client: "192.0.2.2:4242"}},
	}).serve(t, dir, "tiproxy@shop")
	const noFiles, keepOrder, noSpace, extensions, folders = ":4", ":36", ":6", ":8", ":16"
	for _, c := range []struct {
		line, has, hasNot, directive string // what is wanted among the answers, and at their end
	}{
		{"sta", "status\tTell how", "manual", noFiles},
		{"kick shop ", "7\t192.0.2.1:4242, inside\n9\t192.0.2.2:4242, waiting\n", "shop", keepOrder},
		{"kick --control " + dir + "/tiproxy@shop/control.sock ", "7\t192.0.2.1:4242, inside\n9\t", "", keepOrder},
		{"kick nobody ", "", "\t", keepOrder},
		{"kick shop 7 ", "", "\t", noFiles},
		{"set shop Max", "MaxConnections=\tHow many", "Exec=", noSpace},
		{"set Max", "MaxPerSource=\t", "IdleStopSec=", noSpace},
		{"queue shop ", "", "\t", noFiles},
		{"restart --no", "--now\tat once", "", noFiles},
		{"check ", "conf\n", "", extensions},
		{"--config ", "conf\n", "", extensions},
		{"--workdir ", "", "\t", folders},
		{"completion ", "bash\nfish\nzsh\n", "", noFiles},
	} {
		before, word := cutLast(c.line)
		stdout, stderr, status := steer(t, dir, append(append([]string{"__complete"}, strings.Fields(before)...), word)...)
		if status != 0 || !strings.Contains(stdout, c.has) || c.hasNot != "" && strings.Contains(stdout, c.hasNot) || !strings.HasSuffix(stdout, c.directive+"\n") {
			t.Errorf("%q: status %d, %q, %s; want %q, not %q, %s", c.line, status, stdout, stderr, c.has, c.hasNot, c.directive)
		}
	}
}

// cutLast cuts a line before its last word, which may be empty.
func cutLast(line string) (before, word string) {
	at := strings.LastIndexByte(line, ' ')
	return line[:max(at, 0)], line[at+1:]
}
