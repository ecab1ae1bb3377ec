package supervisor

import (
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// keep runs the command as a child of the launcher, which becomes its keeper
// and outlives all that comes of it:
//
//	tiproxy ── keeper ─┬─ command ── its children
//	                   └─ orphans of theirs, whatever session they are in
//
// Being their reaper (PR_SET_CHILD_SUBREAPER(2const)) it has everything beneath
// it, and nothing of this comes to tiproxy, which would take it for the
// backend's. When the command has ended, or at SIGTERM, the keeper kills the
// rest, and ends when nothing is left. It returns only if the command could not
// be executed.
func (o order) keep() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become the reaper of orphans: %w", err)
	}
	// A change of user has taken back what forker.start asked for.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil {
		return fmt.Errorf("cannot be told of our parent's end: %w", err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", os.DevNull, err)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM)
	command, err := syscall.ForkExec(o.path, o.argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return o.cannotExecute(err)
	}
	unix.Close(reportFD) // end of file: it was executed
	for fd := range unix.Stderr + 1 {
		_ = unix.Dup2(null, fd) // a client's socket, which must close with the command's
	}
	below := &tree{leader: os.Getpid(), main: new(atomic.Int64), reaper: true}
	go func() {
		<-told
		below.kill()
	}()
	status, options := 0, 0
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, options, nil)
		switch {
		case err == unix.ECHILD: // nobody is left
			os.Exit(status)
		case pid == command:
			if status = ws.ExitStatus(); ws.Signaled() {
				status = 128 + int(ws.Signal())
			}
			options = unix.WNOHANG
		case pid == 0 && err == nil: // it left somebody behind
			below.kill()
			options = 0
		}
	}
}
