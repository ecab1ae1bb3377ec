package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// line is a service of inetd.conf.
func line(port string) string { return port + " stream tcp nowait root /bin/x\n" }

// Whatever the generator has not written as it would now is seen.
func TestCurrent(t *testing.T) {
	dir := t.TempDir()
	f := superserver{inetd: filepath.Join(dir, "inetd.conf")}
	out := filepath.Join(dir, "out")
	path := func(name string) string { return filepath.Join(out, name) }
	for what, change := range map[string]func() error{
		"":                func() error { return nil },
		"a comment":       func() error { return os.WriteFile(f.inetd, []byte(line("8001")+"# "+line("8002")), 0o600) },
		"more":            func() error { return os.WriteFile(f.inetd, []byte(line("8001")+line("8002")), 0o600) },
		"less":            func() error { return os.WriteFile(f.inetd, nil, 0o600) },
		"another program": func() error { return os.WriteFile(f.inetd, []byte(line("8001")[:20]+" root /bin/y\n"), 0o600) },
		"a wrong line":    func() error { return os.WriteFile(f.inetd, []byte(line("8001")+"nonsense\n"), 0o600) },
		"no link":         func() error { return os.Remove(path("tiproxy-inetd.target.wants/tiproxy-inetd@8001-tcp.socket")) },
		"another link": func() error {
			link := path("tiproxy-inetd.target.wants/tiproxy-inetd@8001-tcp.socket")
			return errors.Join(os.Remove(link), os.Symlink("/dev/null", link))
		},
		"a stale unit": func() error { return os.WriteFile(path("tiproxy-inetd@1-tcp.socket"), nil, 0o600) },
		"nothing":      func() error { return os.RemoveAll(out) },
	} {
		if err := errors.Join(os.RemoveAll(out), os.WriteFile(f.inetd, []byte(line("8001")), 0o600), f.generate(out, io.Discard), change()); err != nil {
			t.Fatal(err)
		}
		all, notes := f.units(os.DirFS("/"))
		if got := current(os.DirFS(out), all, notes); got != (what == "" || what == "a comment") {
			t.Errorf("after %q: current says %v", what, got)
		}
	}
}

// Each change is heard, whichever way it comes about, and also one that comes
// while the last one is being taken over.
func TestWatchMissesNoChange(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) error { return os.WriteFile(name, []byte(text), 0o600) }
	f := superserver{inetd: in("inetd.conf"), xinetd: in("xinetd.conf")}
	taken := filepath.Join(t.TempDir(), "taken") // where nobody watches
	steps := []struct {
		what   string
		change func() error
	}{
		{"the file comes", func() error { return write(f.inetd, line("8001")) }},
		{"it is written again", func() error { return write(f.inetd, line("8002")) }},
		{"another takes its place", func() error {
			return errors.Join(write(in("new"), line("8003")), os.Rename(in("new"), f.inetd))
		}},
		{"it goes", func() error { return os.Remove(f.inetd) }},
		{"a link that leads nowhere, and then what it leads to", func() error {
			deep := filepath.Join(elsewhere, "deep")
			return errors.Join(os.Symlink(filepath.Join(deep, "conf"), f.inetd), os.Mkdir(deep, 0o700), write(filepath.Join(deep, "conf"), line("8004")))
		}},
		{"it is written there", func() error { return write(filepath.Join(elsewhere, "deep", "conf"), line("8005")) }},
		{"a folder is named that is not there", func() error { return write(f.xinetd, "includedir "+in("more")+"\n") }},
		{"the folder comes with a file", func() error {
			return errors.Join(os.Mkdir(in("more"), 0o700),
				write(in("more/x"), "service x\n{\ntype = UNLISTED\nport = 8006\nprotocol = tcp\nwait = no\nuser = root\nserver = /bin/x\nflags = NOLIBWRAP\n}\n"))
		}},
		{"a wrong file in the folder", func() error { return write(in("more/y"), "nonsense\n") }},
		{"the folder goes", func() error { return os.RemoveAll(in("more")) }},
	}
	w, err := newVigil()
	if err != nil {
		t.Fatal(err)
	}
	turns, kept := make(chan int, len(steps)), make(chan error, 1)
	turn := 0 // written by act, read when keep has returned
	go func() {
		kept <- w.keep(f, taken, func() bool {
			err := write(taken, digest(f.units(os.DirFS("/")))+"\n")
			if turn == len(steps) {
				err = w.events.Close()
			} else if err == nil && turn%2 == 0 {
				err = steps[turn].change()
			} else {
				turns <- turn // for when this has returned, or a bit before
			}
			if err != nil {
				t.Error(err)
			}
			turn++
			return true
		})
	}()
	heard := 0
	for {
		select {
		case heard = <-turns:
			if err := steps[heard].change(); err != nil {
				t.Fatal(steps[heard].what, err)
			}
		case err := <-kept:
			if turn <= len(steps) {
				t.Error(err)
			}
			return
		case <-time.After(30 * time.Second):
			t.Fatalf("nothing was heard of this or the next: %s", steps[heard].what)
		}
	}
}
