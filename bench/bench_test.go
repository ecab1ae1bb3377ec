package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/bench/peer"
	"github.com/tiproxy/tiproxy/bench/record"
	"github.com/tiproxy/tiproxy/bench/report"
)

// The backend and the load of a measurement are this program, started again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "backend" || os.Args[1] == "load") {
		main()
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // of those that are built with the race detector
	os.Exit(m.Run())
}

// build makes the tiproxy of this tree.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tiproxy")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// Every piece of work is done, with no proxy and with ours, and every figure
// that the report has a place for is measured.
func TestEveryWork(t *testing.T) {
	peers := peer.All(build(t))[:2]
	tiny := size{rounds: 1, seldom: 1, plan: plan{time: 30 * time.Millisecond, quiet: 40, line: 40, forks: 1, trials: 1, idle: 10 * time.Millisecond}}
	r, err := run(tiny, works, peers)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Samples {
		if s.Fault != "" {
			t.Errorf("%s with %s: %s", s.Work, s.Peer, s.Fault)
		}
	}
	var text strings.Builder
	if err := report.Text(&text, r); err != nil {
		t.Fatal(err)
	}
	column := -1
	for _, line := range strings.Split(text.String(), "\n") {
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case slices.Contains(cells, peer.Tiproxy):
			column = slices.Index(cells, peer.Tiproxy)
		case len(cells) > 1 && cells[column] == "–" && !strings.Contains(cells[1], "kernel"): // which only root may see
			t.Errorf("was not measured: %s", cells[1])
		}
	}
	if column < 0 {
		t.Errorf("no table in\n%s", text.String())
	}
}

func TestQuickRunCanBeReportedLater(t *testing.T) {
	folder := t.TempDir()
	// A backend that cannot be reached is a fault of the peer, and no end.
	broken := filepath.Join(folder, "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho cannot go on >&2\ntest \"$1\" = --version && echo 1"), 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"-tiproxy", broken, "-results", folder, "-revision", "abc", "-only", "^half-close$", "-peers", "^(no proxy|tiproxy)$", "-quick"}
	if err := command(args); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the results are %v, %v", files, err)
	}
	r, err := record.Load(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !r.Quick || r.Revision != "abc" || len(r.Samples) != 6 {
		t.Errorf("got %+v", r)
	}
	for _, s := range r.Samples {
		if (s.Peer == peer.Tiproxy) != strings.Contains(s.Fault, "cannot go on") {
			t.Errorf("%s has the fault %q", s.Peer, s.Fault)
		}
	}
	if err := command([]string{"report", "-format", "go", files[0]}); err != nil {
		t.Error(err)
	}
}

func TestWrongUseIsRefused(t *testing.T) {
	for args, want := range map[string]string{
		"dance":                                  "unknown command",
		"report":                                 "name a file",
		"report nothing.json":                    "nothing.json",
		"report -format x nothing.json":          "unknown format",
		"run -format x":                          "unknown format",
		"run -results . -only nothing-of-this":   "nothing has such a name",
		"run -results . -only (":                 "missing closing",
		"run -results . -tiproxy /nonexistent/x": "make build",
		"backend strange 127.0.0.1:1":            "unknown kind",
		"backend echo nowhere":                   "127.0.0.1:PORT",
		"load {":                                 "what to do",
		"run -results /nonexistent/there":        "/nonexistent/there",
	} {
		t.Run(args, func(t *testing.T) {
			if err := command(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
