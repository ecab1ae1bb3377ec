package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The one test from within: instances are looked for in /etc, which is nobody's
// to write to.
func TestInstancesAreThoseWithAFile(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"tiproxy.conf", "shop.conf", "a.b.conf", "shop.conf.dpkg-old", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tiproxy.conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	inetd := t.TempDir()
	if err := os.WriteFile(filepath.Join(inetd, "www-80-tcp.conf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := instances(dir, inetd), []string{"a.b", "shop", "inetd-www-80-tcp"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := instances("/nonexistent", "/nonexistent"); got != nil {
		t.Errorf("got %q of no folder", got)
	}
}
