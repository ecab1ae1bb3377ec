package supervisor

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// forker starts processes on a thread that lives as long as it does: the
// parent-death signal of a child fires when the thread that forked it ends
// (PR_SET_PDEATHSIG(2const)), and Go ends threads as it likes.
type forker struct {
	jobs chan func()
	quit chan struct{} // closed by stop
}

func newForker() *forker {
	f := &forker{jobs: make(chan func()), quit: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		for {
			select {
			case job := <-f.jobs:
				job()
			case <-f.quit:
				return
			}
		}
	}()
	return f
}

// stop ends the thread; nothing is started any more. No child may be alive.
func (f *forker) stop() { close(f.quit) }

// do runs job on the thread; false if there is none any more.
func (f *forker) do(job func()) bool {
	done := make(chan struct{})
	select {
	case f.jobs <- func() { defer close(done); job() }:
		<-done
		return true
	case <-f.quit:
		return false
	}
}

// start executes the command of an order: by fork and exec alone if these can
// carry it out, else by the launcher in between; this one, too, where they
// failed, for it can say of what. It answers once the command was executed; if
// that failed whoever was forked has been reaped. given are the files of
// order.given.
func (f *forker) start(o order, env []string, std streams, given []*os.File) (*os.Process, error) {
	if std.in == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		std.in = null
	}
	files := []*os.File{std.in, std.out, std.err}
	if o.simple(env) && o.near() {
		if p, err := f.execute(o, env, files); err == nil || err == ErrShutdown {
			return p, err
		}
	}
	return f.launch(o, env, append(files, given...))
}

// sys is what a command and its launcher are forked with: a session of its own,
// and what it, or its keeper, gets at our end.
func (o order) sys() *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true}
	switch {
	case o.kept: // the keeper ends what is beneath it
		sys.Pdeathsig = unix.SIGTERM
	case o.traits.dieWithUs:
		sys.Pdeathsig = unix.SIGKILL
	}
	return sys
}

// simple tells whether there is nothing in an order that a process has to do
// to itself between fork and exec.
func (o order) simple(env []string) bool {
	t := o.traits
	return !o.kept && o.given == 0 && t.umask < 0 && t.nice == nil && t.oom == nil && t.files == nil &&
		!slices.ContainsFunc(env, isWatchdog)
}

// near tells whether the command is at hand: a file whose beginning is in
// memory now. Until exec has read it, neither the thread that forked runs on
// (CLONE_VFORK of clone(2)) nor can Go collect garbage, so a slow disk would
// halt the sessions of everybody.
func (o order) near() bool {
	path := o.path
	if o.dir != "" {
		if _, err := os.Stat(o.dir); err != nil {
			return false
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(o.dir, path)
		}
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	_, err = file.Read(make([]byte, 4096))
	return err == nil
}

// execute executes the command of a simple order, with its first three files.
func (f *forker) execute(o order, env []string, files []*os.File) (*os.Process, error) {
	sys := o.sys()
	sys.Credential = o.traits.credential()
	if o.cgroup != "" {
		// To be born there (Linux 5.7) takes no lock on all processes of the
		// machine, as entering does. RestrictNamespaces= forbids it.
		group, err := os.Open(o.cgroup)
		if err != nil {
			return nil, err
		}
		defer group.Close()
		sys.UseCgroupFD, sys.CgroupFD = true, int(group.Fd())
	}
	return f.fork(o.path, o.argv, &os.ProcAttr{Dir: o.dir, Env: env, Files: files, Sys: sys})
}

// launch has the launcher execute the command. Behind the first three files are
// those of order.given.
func (f *forker) launch(o order, env []string, files []*os.File) (*os.Process, error) {
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer report.Close()
	files = slices.Insert(files, reportFD, reportEnd)
	p, err := f.fork("/proc/self/exe", o.args(), &os.ProcAttr{Env: env, Files: files, Sys: o.sys()})
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

// fork starts a program on the thread. From then on no fd of this process
// outlives exec that has not been passed on: neither what whoever started us
// left open nor what a library did. Before Linux 5.11 it does.
func (f *forker) fork(path string, argv []string, attr *os.ProcAttr) (p *os.Process, err error) {
	alive := f.do(func() {
		_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
		p, err = ours.start(func() (*os.Process, error) {
			return os.StartProcess(path, argv, attr)
		})
	})
	if !alive {
		return nil, ErrShutdown
	}
	return p, err
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
