package main_test

import (
	"strings"
	"testing"
)

func TestTopWithoutTerminal(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	new(steered).serve(t, dir, "tiproxy")
	stdout, stderr, status := steer(t, dir, "top")
	if status != 2 || stdout != "" || !strings.Contains(stderr, "not both a terminal; try tiproxy status --watch\n") {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
}
