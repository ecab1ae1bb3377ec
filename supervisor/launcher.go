package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcherName as argv[0] makes a program that imports this package the
// launcher of one child: it enters the child's cgroup and executes the command
// over itself. What has to happen between fork and exec happens there, in
// plain Go, and not in a fork hook; clone3 with a cgroup is no way out, since
// RestrictNamespaces= forbids it.
const launcherName = "tiproxy-launcher"

// reportFD is where the launcher says why it cannot execute the command. It
// closes on exec: end of file means that it could.
const reportFD = 3

// order is what the launcher is told, as JSON in argv[1].
type order struct {
	Path   string   // the executable
	Argv   []string // its arguments, from argv[0]
	Dir    string   // working directory; "": stay
	Cgroup string   // folder of the cgroup to enter; "": stay
}

func init() {
	if len(os.Args) == 2 && os.Args[0] == launcherName {
		runLauncher(os.Args[1])
	}
}

// runLauncher ends by becoming the command, or with a report.
func runLauncher(arg string) {
	// A command that execs must not inherit the report's pipe.
	syscall.CloseOnExec(reportFD)
	var o order
	err := json.Unmarshal([]byte(arg), &o)
	if err == nil {
		err = o.carryOut()
	}
	fmt.Fprint(os.NewFile(reportFD, "report"), err)
	os.Exit(127)
}

// carryOut returns only if it failed.
func (o order) carryOut() error {
	if o.Cgroup != "" {
		if err := os.WriteFile(o.Cgroup+"/cgroup.procs", []byte("0"), 0); err != nil {
			return fmt.Errorf("cannot enter the backend's cgroup: %w", err)
		}
	}
	if o.Dir != "" {
		if err := os.Chdir(o.Dir); err != nil {
			return fmt.Errorf("cannot enter the working directory: %w", err)
		}
	}
	err := syscall.Exec(o.Path, o.Argv, os.Environ())
	return fmt.Errorf("cannot execute %s: %w", o.Path, err)
}

// forker starts processes on a thread that lives as long as it does: the
// parent-death signal of a child fires when the thread that forked it ends
// (PR_SET_PDEATHSIG(2const)), and Go ends threads as it likes.
type forker struct {
	jobs chan func()
}

func newForker() *forker {
	f := &forker{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		for job := range f.jobs {
			job()
		}
	}()
	return f
}

// stop ends the thread. No child may be alive.
func (f *forker) stop() { close(f.jobs) }

// start forks the launcher with an order. It answers once the command was
// executed; if that failed the launcher has been reaped.
func (f *forker) start(o order, env []string, output *os.File, dieWithUs bool) (*os.Process, error) {
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer report.Close()
	attr := &os.ProcAttr{
		Env:   env,
		Files: []*os.File{null, output, output, reportEnd},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if dieWithUs {
		attr.Sys.Pdeathsig = unix.SIGKILL
	}
	var p *os.Process
	done := make(chan struct{})
	f.jobs <- func() {
		defer close(done)
		p, err = ours.start(func() (*os.Process, error) {
			return os.StartProcess("/proc/self/exe", []string{launcherName, string(arg)}, attr)
		})
	}
	<-done
	reportEnd.Close()
	if err != nil {
		return nil, err
	}
	if text := readReport(report); text != "" {
		_, _ = p.Wait()
		ours.forget(p.Pid)
		return nil, fmt.Errorf("%s", text)
	}
	return p, nil
}

func readReport(report *os.File) string {
	var text strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := report.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			return text.String()
		}
	}
}
