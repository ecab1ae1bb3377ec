package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/tiproxy/tiproxy/inetd"
	"github.com/tiproxy/tiproxy/inetd/units"
	"github.com/tiproxy/tiproxy/internal/unitstate"
	"golang.org/x/sys/unix"
)

// generated is where systemd has generators write, systemd.generator(7), and
// generatedHere what of it is ours.
const generated = "/run/systemd/generator"

var generatedHere = []string{"tiproxy-inetd@*.socket", "tiproxy-inetd/*", "tiproxy-inetd.target.wants/*"}

// noted is the file with what was noted. It stands beside the units so that who
// compares them hears of a line that is wrong, too.
func noted(notes []inetd.Note) units.File {
	var text strings.Builder
	for _, n := range notes {
		fmt.Fprintln(&text, n)
	}
	return units.File{Path: "tiproxy-inetd/notes", Text: text.String(), Private: true}
}

// current tells whether the generator would write into a folder what is there
// already.
func current(dir fs.FS, all []units.Unit, notes []inetd.Note) bool {
	note := noted(notes)
	missing := map[string]units.File{note.Path: note}
	for _, u := range all {
		for _, f := range u.Files {
			missing[f.Path] = f
		}
	}
	for _, pattern := range generatedHere {
		names, _ := fs.Glob(dir, pattern) // fails for a wrong pattern only
		for _, name := range names {
			f, wanted := missing[name]
			if !wanted || !stands(dir, f) {
				return false
			}
			delete(missing, name)
		}
	}
	return len(missing) == 0
}

// stands tells whether a file is as it is to be.
func stands(dir fs.FS, f units.File) bool {
	if f.Link != "" {
		link, err := fs.ReadLink(dir, f.Path)
		return err == nil && link == f.Link
	}
	text, err := fs.ReadFile(dir, f.Path)
	return err == nil && string(text) == f.Text
}

// digest tells units and notes from others.
func digest(all []units.Unit, notes []inetd.Note) string {
	sum := sha256.New()
	for _, u := range all {
		for _, f := range u.Files {
			fmt.Fprintf(sum, "%q %q %q\n", f.Path, f.Text, f.Link)
		}
	}
	fmt.Fprintf(sum, "%q", noted(notes).Text)
	return hex.EncodeToString(sum.Sum(nil))
}

// refresh has systemd run the generator, unless that would change nothing, and
// writes a digest of what the files call for. When they change meanwhile, it is
// that of before.
func (f superserver) refresh(ctx context.Context, out, stderr io.Writer) error {
	all, notes := f.units(os.DirFS("/"))
	if !current(os.DirFS(generated), all, notes) {
		if err := unitstate.ReadAgain(ctx); err != nil {
			return fmt.Errorf("cannot take over inetd.conf and xinetd.d: %w", err)
		}
		if !current(os.DirFS(generated), all, notes) {
			fmt.Fprintf(stderr, "%s is not as inetd.conf and xinetd.d call for: either they have changed meanwhile, and come next, or systemd does not run tiproxy-inetd-generator\n", generated)
		}
	}
	_, err := fmt.Fprintln(out, digest(all, notes))
	return err
}

// taken has the digest of what was taken over last, by packaging/inetd/take-over.
// What the generator has written will not do: anybody may have systemd run it,
// and that opens no socket.
const taken = "/run/tiproxy-inetd/taken"

// watch has tiproxy-inetd.service reloaded whenever the files call for something
// else than was taken over, and returns only when it cannot watch them. A reload that
// fails is tried again: systemd says why, or is just stopping all of this.
//
// It is a process that stays, and no path unit of systemd's (systemd.path(5)):
// those forget what happens to a path while their service is on its way, and
// while systemd reads its units again, which is what each change asks for.
func (f superserver) watch(ctx context.Context, stderr io.Writer) error {
	w, err := newVigil()
	if err != nil {
		return err
	}
	defer w.events.Close()
	return w.keep(f, taken, func() bool {
		err := unitstate.Reload(ctx, "tiproxy-inetd.service")
		if err != nil {
			fmt.Fprintf(stderr, "cannot take over inetd.conf and xinetd.d, trying again in %v: %v\n", retry, err)
		}
		return err == nil
	})
}

// retry is how long after a reload that failed another one is tried, unless the
// files change before.
const retry = 5 * time.Second

// quiet is how long nothing may change before the files are read: mv from another
// file system takes a file away before it writes it, and apt adds one service
// after the other. restless is how long that may take altogether.
const (
	quiet    = 100 * time.Millisecond
	restless = time.Second
)

// vigil hears what happens in folders, inotify(7). What it hears it does not
// look into: it is a reason to read the files, no more.
type vigil struct {
	fd     int          // the inotify instance
	events *os.File     // the same, to read from
	had    map[int]bool // its watches so far, by number, which the kernel does not give twice
}

func newVigil() (*vigil, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot watch inetd.conf and xinetd.d: %w; is fs.inotify.max_user_instances enough?", err)
	}
	return &vigil{fd, os.NewFile(uintptr(fd), "inotify"), map[int]bool{}}, nil
}

// keep calls act whenever the files call for something else than a file says was
// taken over, and again a while later if it answers false. It fails when events
// cannot be had.
//
// A change comes before the files are read, and counts, or after that, and then
// it has left an event: those before are taken away first.
func (w *vigil) keep(f superserver, taken string, act func() bool) error {
	for {
		all, notes, err := w.read(f)
		if err != nil {
			return err
		}
		var until time.Time
		last, _ := os.ReadFile(taken) // nothing was, if it cannot be read
		if strings.TrimSpace(string(last)) != digest(all, notes) && !act() {
			until = time.Now().Add(retry)
		}
		if err := w.wait(until); err != nil {
			return err
		}
	}
}

// read makes the units, and watches every folder on the way to a file that was
// looked for, be it there or not. Where that is new, it was not heard what
// happened before, and so the files are read again.
func (w *vigil) read(f superserver) (all []units.Unit, notes []inetd.Note, err error) {
	for again := true; again; {
		again = false
		root := looked{os.DirFS("/"), map[string]bool{}}
		all, notes = f.units(root)
		for name := range root.at {
			fresh, err := w.add("/"+name, maxLinks)
			if err != nil {
				return nil, nil, err
			}
			again = again || fresh
		}
	}
	return all, notes, nil
}

// maxLinks bounds how many links are followed on the way to one file, as the
// kernel does, path_resolution(7).
const maxLinks = 40

// changes is what may happen in a folder that makes a file another one.
const changes = unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF

// add watches the folders on the way to a file, those behind links as well. One
// that is not there will come up in the one above.
func (w *vigil) add(name string, links int) (fresh bool, err error) {
	for ; name != "/"; name = path.Dir(name) {
		number, err := unix.InotifyAddWatch(w.fd, name, changes|unix.IN_ONLYDIR)
		switch {
		case err == nil:
			fresh = fresh || !w.had[number]
			w.had[number] = true
		case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP):
			return fresh, fmt.Errorf("cannot watch %s: %w; is fs.inotify.max_user_watches enough?", name, err)
		}
		target, err := os.Readlink(name)
		if err != nil || links == 0 {
			continue // it is no link
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		behind, err := w.add(path.Clean(target), links-1)
		if err != nil {
			return fresh, err
		}
		fresh = fresh || behind
	}
	return fresh, nil
}

// wait returns when something has happened, and then nothing for a moment; or at
// a time, unless that is zero.
func (w *vigil) wait(until time.Time) error {
	room := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	var end time.Time // zero: nothing has happened yet
	for ; end.IsZero() || time.Now().Before(end); until = time.Now().Add(quiet) {
		if err := w.events.SetReadDeadline(until); err != nil {
			return err
		}
		if _, err := w.events.Read(room); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return fmt.Errorf("cannot watch inetd.conf and xinetd.d: %w", err)
		}
		if end.IsZero() {
			end = time.Now().Add(restless)
		}
	}
	return nil
}

// looked is a file system that notes which of its files somebody looked for.
type looked struct {
	fs.FS
	at map[string]bool // written by whoever looks, by name
}

func (l looked) Open(name string) (fs.File, error) {
	l.at[name] = true
	return l.FS.Open(name)
}

// Stat is there so that nobody opens a pipe to see what it is.
func (l looked) Stat(name string) (fs.FileInfo, error) {
	l.at[name] = true
	return fs.Stat(l.FS, name)
}

func (l looked) Lstat(name string) (fs.FileInfo, error) {
	l.at[name] = true
	return fs.Lstat(l.FS, name)
}

func (l looked) ReadLink(name string) (string, error) {
	l.at[name] = true
	return fs.ReadLink(l.FS, name)
}
