package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/inetd"
	"github.com/tiproxy/tiproxy/inetd/builtin"
	"github.com/tiproxy/tiproxy/inetd/units"
	"golang.org/x/sys/unix"
)

// inetdCommand is for those who had inetd; tiproxy-inetd(8) tells all of it.
func inetdCommand() *cobra.Command {
	var f superserver
	cmd := &cobra.Command{
		Use:   "inetd COMMAND",
		Short: "Take over the services of inetd and xinetd",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.inetd, "inetd", "", "read `FILE`, and of the machine's own only what --xinetd says")
	flags.StringVar(&f.xinetd, "xinetd", "", "read `FILE` or folder, and of the machine's own only what --inetd says")
	cmd.AddCommand(
		&cobra.Command{
			Use:   "check",
			Short: "Tell what becomes of each service, and exit with 0, or 78 if one does not come",
			Args:  cobra.NoArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return f.check(cmd.OutOrStdout()) },
		},
		&cobra.Command{
			Use:   "generate NORMAL-DIR EARLY-DIR LATE-DIR",
			Short: "Write the units and configurations of the services, as a generator of systemd's",
			Args:  cobra.ExactArgs(3),
			RunE: func(cmd *cobra.Command, dirs []string) error {
				return exitWith(exitFailed, f.generate(dirs[0], cmd.ErrOrStderr()))
			},
		},
		&cobra.Command{
			Use:   "refresh",
			Short: "Have systemd make the units anew if the files call for others, and write a digest of them",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return exitWith(exitFailed, f.refresh(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()))
			},
		},
		&cobra.Command{
			Use:   "watch",
			Short: "Stay, and have tiproxy-inetd.service reloaded when the files call for others than it has taken over",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return exitWith(exitFailed, f.watch(cmd.Context(), cmd.ErrOrStderr()))
			},
		},
	)
	return cmd
}

// superserver is where inetd and xinetd have their files. Both empty, the
// default: where Debian has them, if they are there.
type superserver struct{ inetd, xinetd string }

// units makes the units of what the files say.
func (f superserver) units(root fs.FS) ([]units.Unit, []inetd.Note) {
	return units.Make(f.read(root), hostOf(root))
}

// read reads the files. What cannot be read is a note.
func (f superserver) read(root fs.FS) inetd.Table {
	var tables []inetd.Table
	if f == (superserver{}) {
		tables = append(tables, inetd.Table{Notes: unread(root)})
		f.inetd = firstOf(root, "/etc/inetd.conf")
		f.xinetd = firstOf(root, "/etc/xinetd.conf", "/etc/xinetd.d")
	}
	r := inetd.Reader{Service: listedIn(root)}
	if f.xinetd != "" {
		tables = append(tables, r.Xinetd(root, absolute(f.xinetd)))
	}
	if f.inetd != "" {
		name := absolute(f.inetd)
		text, err := readRegular(root, name)
		if err != nil {
			tables = append(tables, inetd.Table{Notes: []inetd.Note{{File: name, Why: fmt.Sprintf("cannot read it: %v", cause(err)), Refused: true}}})
		} else {
			tables = append(tables, r.Inetd(name, text))
		}
	}
	return inetd.Merge(tables...)
}

// unread notes the files of inetutils-inetd's that no other inetd has.
func unread(root fs.FS) []inetd.Note {
	if files, _ := fs.ReadDir(root, "etc/inetd.d"); len(files) == 0 {
		return nil
	}
	return []inetd.Note{{File: "/etc/inetd.d", Refused: true,
		Why: "inetutils-inetd alone reads this folder: write its lines into /etc/inetd.conf, and there tcp4 and udp4 for its tcp and udp"}}
}

// firstOf is the first of some paths at which there is something, be it a link
// that leads nowhere; "": none.
func firstOf(root fs.FS, paths ...string) string {
	at := slices.IndexFunc(paths, func(path string) bool {
		_, err := fs.Lstat(root, path[1:])
		return !errors.Is(err, fs.ErrNotExist)
	})
	if at < 0 {
		return ""
	}
	return paths[at]
}

// absolute fails where there is no working directory, and then the path cannot
// be read either, and that is told.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// readRegular reads a file, and no pipe that would keep the machine from booting.
func readRegular(root fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(root, strings.TrimPrefix(name, "/"))
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	if err != nil {
		return nil, err
	}
	return fs.ReadFile(root, strings.TrimPrefix(name, "/"))
}

// cause is an error without the path, where that is named already.
func cause(err error) error {
	if failure := (*fs.PathError)(nil); errors.As(err, &failure) {
		return failure.Err
	}
	return err
}

// check tells what becomes of each entry, and then all that was noted. It looks
// at users and programs, too: they may come later, so no unit depends on them.
func (f superserver) check(out io.Writer) error {
	all, notes := f.units(os.DirFS("/"))
	var lines []string
	for _, u := range all {
		e := u.Entry
		lines = append(lines, fmt.Sprintf("%s:%d: service %.60q: %s listens at %s: %s", e.File, e.Line, e.Name, u.Socket(), listening(e), serving(e)))
		for _, n := range missingOf(e) {
			lines = append(lines, n.String())
		}
	}
	refused := 0
	for _, n := range notes {
		lines = append(lines, n.String())
		if n.Refused {
			refused++
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return exitWith(exitFailed, err)
		}
	}
	if refused > 0 {
		return exitWith(exitConfig, fmt.Errorf("cannot take over everything: %d of the lines above say why", refused))
	}
	return nil
}

// listening is where an entry listens, for people.
func listening(e inetd.Entry) string {
	if e.Path != "" {
		return e.Path
	}
	var places []string
	for _, a := range e.Listen {
		places = append(places, a.String())
	}
	return strings.Join(places, " and ")
}

// serving is what serves the clients of an entry, for people.
func serving(e inetd.Entry) string {
	switch {
	case e.Redirect != "":
		return "relayed to " + e.Redirect
	case e.Builtin != "":
		return e.Builtin + " of tiproxy's own"
	case e.Wait:
		return e.Program + " as " + e.User + ", which gets the socket"
	}
	return e.Program + " as " + e.User + ", for each client"
}

// missingOf is notes about what an entry names and the machine does not have.
func missingOf(e inetd.Entry) (notes []inetd.Note) {
	note := func(what string, err error) {
		if err != nil {
			notes = append(notes, inetd.Note{File: e.File, Line: e.Line, Service: e.Name, What: what, Why: fmt.Sprintf("%v; nobody is served until that is there", err)})
		}
	}
	if e.Program == "" {
		return nil
	}
	_, err := os.Stat(e.Program)
	if err != nil {
		err = fmt.Errorf("cannot find %.60q: %w", e.Program, cause(err))
	}
	note("server program", err)
	_, err = access.LookupUsers([]string{e.User})
	note("user", err)
	if e.Group != "" {
		_, err = access.LookupGroups([]string{e.Group})
		note("group", err)
	}
	return notes
}

// generate writes the units into the folder of ordinary ones, and what was noted
// beside them. It fails only for what cannot be written: the rest is there all
// the same.
func (f superserver) generate(dir string, stderr io.Writer) error {
	all, notes := f.units(os.DirFS("/"))
	errs := []error{warn(stderr, notes)}
	for _, u := range all {
		for _, file := range u.Files {
			if err := write(dir, file); err != nil {
				errs = append(errs, fmt.Errorf("cannot write a unit for %s:%d: %w", u.Entry.File, u.Entry.Line, err))
				break
			}
		}
	}
	if err := write(dir, noted(notes)); err != nil {
		errs = append(errs, fmt.Errorf("cannot write what was noted: %w", err))
	}
	return errors.Join(errs...)
}

// write writes one file, and makes the folder around it when it is missing.
func write(dir string, f units.File) error {
	path := filepath.Join(dir, filepath.FromSlash(f.Path))
	err := put(path, f)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return put(path, f)
}

// put makes a file, which is new: systemd empties the folder. It opens it
// past package os, which takes four calls more to learn that there is nothing to
// wait for in a file: with 10,000 services a machine that boots would wait.
func put(path string, f units.File) error {
	if f.Link != "" {
		return os.Symlink(f.Link, path)
	}
	mode := uint32(0o644)
	if f.Private {
		mode = 0o600
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, mode)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	_, err = file.WriteString(f.Text)
	return errors.Join(err, file.Close())
}

// warnMax is how many notes go to the kernel's log, which has little room;
// warnLen is how long each may be, in bytes, for its lines are bounded.
const (
	warnMax = 50
	warnLen = 800
)

// warn tells the notes where a generator can, systemd.generator(7): in the
// kernel's log, for the journal may not run yet. By hand, and where there is no
// such log, as in a container, it is stderr.
func warn(stderr io.Writer, notes []inetd.Note) error {
	if os.Getenv("SYSTEMD_SCOPE") != "" {
		if kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
			return errors.Join(tell(kmsg, "<4>tiproxy-inetd: ", warnMax, notes), kmsg.Close())
		}
	}
	return tell(stderr, "", len(notes), notes)
}

// tell writes at most so many notes, each with one write: that is one entry of
// the kernel's log.
func tell(out io.Writer, prefix string, most int, notes []inetd.Note) error {
	for i, n := range notes {
		text := n.String()
		if i == most {
			text = fmt.Sprintf("%d more; tiproxy inetd check tells them", len(notes)-most)
		}
		if _, err := fmt.Fprintf(out, "%s%s\n", prefix, text[:min(len(text), warnLen)]); err != nil || i == most {
			return err
		}
	}
	return nil
}

// builtinIdle is how long a built-in service for datagrams waits for the next
// one, before it ends and tiproxy watches the socket.
const builtinIdle = 30 * time.Second

// inetdBuiltinCommand is what serves the clients of a built-in service. Its stdin
// is a connection, or a socket for datagrams.
func inetdBuiltinCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "inetd-builtin NAME",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return exitWith(exitFailed, serveBuiltin(args[0])) },
	}
}

func serveBuiltin(name string) error {
	kind, err := unix.GetsockoptInt(int(os.Stdin.Fd()), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("cannot serve %s: stdin has to be a socket, as inetd gives it: %w", name, err)
	}
	if kind != unix.SOCK_DGRAM {
		return builtin.Serve(name, os.Stdin)
	}
	socket, err := net.FilePacketConn(os.Stdin)
	if err != nil {
		return fmt.Errorf("cannot serve %s: %w", name, err)
	}
	udp, ok := socket.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("cannot serve %s: its datagrams are not those of UDP, but of %s", name, socket.LocalAddr().Network())
	}
	own := udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return builtin.ServePackets(name, udp, own, builtinIdle)
}
