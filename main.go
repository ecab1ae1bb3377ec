// tiproxy stands between clients and one backend that cannot look after
// itself: see README.md, and docs/design.md for how it is built.
//
// The command line is in command.go, and the parts are put together in
// service.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker.
var version = "devel"

// Exit statuses; 78 is EX_CONFIG of sysexits.h, which systemd knows by name.
const (
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78
)

// exitError is an error with the exit status that it is worth.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitWith(status int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{status, err}
}

// signals answers two contexts: the first SIGTERM or SIGINT ends stop, the
// second one now.
func signals() (stop, now context.Context) {
	stop, stopNow := context.WithCancel(context.Background())
	now, nowNow := context.WithCancel(context.Background())
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ch
		stopNow()
		<-ch
		nowNow()
	}()
	return stop, now
}

// garbage is how much of the heap may be garbage, in percent of what is live, unless
// the environment says so. Who serves has it otherwise, see ballast.
const garbage = 40

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	err := command().Execute()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "tiproxy: %v\n", err)
	var failure *exitError
	if errors.As(err, &failure) {
		os.Exit(failure.status)
	}
	fmt.Fprintln(os.Stderr, "See 'tiproxy --help'.")
	os.Exit(exitUsage) // cobra's own errors are about the command line
}
