package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcherName as argv[0] makes a program that imports this package the
// launcher of one child: it enters the child's cgroup and executes the command
// over itself. What has to happen between fork and exec, and Go's fork cannot
// do, happens there in plain Go, and not in a fork hook. To start it takes some
// milliseconds, which is why simple orders do without (forker.start).
const launcherName = "tiproxy-launcher"

// The launcher's own fds, beside 0, 1 and 2.
const (
	// reportFD is where it says why it cannot execute the command. It closes
	// on exec: end of file means that it could.
	reportFD = 3
	// givenFD is the first of those that the command gets beside 0, 1 and 2: its
	// sockets, or the pipe of its readiness.
	givenFD = 4
)

// order is what the launcher is told.
type order struct {
	cgroup string   // folder of the cgroup to enter; "": stay
	traits traits   // whose process it is to be, and its limits
	dir    string   // working directory; "": stay
	path   string   // the executable; from dir, if relative
	argv   []string // its arguments, from argv[0]

	given int  // how many files the command gets beside 0, 1 and 2
	first int  // number under which it finds the first of them; the others follow
	kept  bool // the launcher stays above it as its keeper
}

// streams are the first three files of a command.
type streams struct {
	in       *os.File // nil: /dev/null
	out, err *os.File
}

// orderHead is how many of the launcher's arguments stand before the command's.
const orderHead = 8

// args are the launcher's arguments. They are bytes, as file names are, and
// need not be UTF-8.
func (o order) args() []string {
	return append([]string{launcherName, o.cgroup, o.traits.String(), strconv.Itoa(o.given), strconv.Itoa(o.first), strconv.FormatBool(o.kept), o.dir, o.path}, o.argv...)
}

// init runs on the process's first thread, and it must be this one that
// executes the command: it has the parent-death signal.
func init() {
	if len(os.Args) > orderHead && os.Args[0] == launcherName {
		given, _ := strconv.Atoi(os.Args[3])
		first, _ := strconv.Atoi(os.Args[4])
		runLauncher(order{
			cgroup: os.Args[1], traits: parseTraits(os.Args[2]), given: given, first: first, kept: os.Args[5] == "true",
			dir: os.Args[6], path: os.Args[7], argv: os.Args[orderHead:],
		})
	}
}

// runLauncher ends by becoming the command, or with a report.
func runLauncher(o order) {
	syscall.CloseOnExec(reportFD)
	report := reportFD
	var err error
	if o.given > 0 {
		report, err = o.give()
	}
	if err == nil {
		err = o.carryOut()
	}
	fmt.Fprint(os.NewFile(uintptr(report), "report"), err)
	os.Exit(127)
}

// give has the command find its files under their numbers, and moves the
// report's fd out of their way. Only then: the fd table begins with 64 entries,
// and to let it grow in a process with threads takes the kernel 10 ms.
func (o order) give() (report int, err error) {
	above := max(o.first, givenFD) + o.given // what is there is in nobody's way
	report, err = unix.FcntlInt(reportFD, unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return reportFD, fmt.Errorf("cannot give the command its files: %w", err)
	}
	copies := make([]int, o.given)
	for i := range copies {
		if copies[i], err = unix.FcntlInt(uintptr(givenFD+i), unix.F_DUPFD_CLOEXEC, above); err != nil {
			return report, fmt.Errorf("cannot give the command its fd %d: %w", o.first+i, err)
		}
		syscall.CloseOnExec(givenFD + i)
	}
	for i, fd := range copies {
		if err := unix.Dup3(fd, o.first+i, 0); err != nil {
			return report, fmt.Errorf("cannot give the command its fd %d: %w", o.first+i, err)
		}
	}
	return report, nil
}

// carryOut returns only if it failed.
func (o order) carryOut() error {
	if o.cgroup != "" {
		if err := os.WriteFile(o.cgroup+"/cgroup.procs", []byte("0"), 0); err != nil {
			return fmt.Errorf("cannot enter the command's cgroup: %w", err)
		}
	}
	if err := o.traits.take(); err != nil {
		return err
	}
	if o.dir != "" { // as the child's user: it must be able to go there
		if err := os.Chdir(o.dir); err != nil {
			return fmt.Errorf("cannot enter the working directory: %w", err)
		}
	}
	if o.kept {
		return o.keep()
	}
	env := os.Environ()
	if slices.ContainsFunc(env, isWatchdog) { // for whom: the pid stays through exec (sd_watchdog_enabled(3))
		env = append(env, "WATCHDOG_PID="+strconv.Itoa(os.Getpid()))
	}
	if os.Getenv("LISTEN_FDS") != "" && o.given > 0 { // likewise (sd_listen_fds(3))
		env = append(env, "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	}
	return o.cannotExecute(syscall.Exec(o.path, o.argv, env))
}

// isWatchdog finds WATCHDOG_USEC=, beside which the command's own pid has to stand.
func isWatchdog(variable string) bool { return strings.HasPrefix(variable, "WATCHDOG_USEC=") }

// cannotExecute says what the kernel's refusal means.
func (o order) cannotExecute(err error) error {
	name := o.path
	if dir, dirErr := os.Getwd(); dirErr == nil && !filepath.IsAbs(name) {
		name += " in " + dir
	}
	if _, statErr := os.Stat(o.path); statErr == nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot execute %s: its interpreter (the #! line, or the dynamic loader) does not exist", name)
	}
	return fmt.Errorf("cannot execute %s: %w", name, err)
}
