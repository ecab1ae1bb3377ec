package peer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopTime is how long a process has between SIGTERM and SIGKILL.
const stopTime = 3 * time.Second

// Process is a program that runs, with all that it starts. It ends with the
// thread that started it, so start it from a locked one (PR_SET_PDEATHSIG).
type Process struct {
	Stdin  io.WriteCloser
	Stdout io.ReadCloser
	name   string
	cmd    *exec.Cmd
	errors string     // the file of its stderr
	ended  chan error // takes how it ended, nil for status 0; who takes it out puts it back
}

// Start starts a peer for s, as Run does. It serves as soon as it can be
// connected to.
func (p Peer) Start(dir string, cpus []int, s Setup) (*Process, error) {
	if p.config != nil {
		s.Config = filepath.Join(dir, "config")
		if err := os.WriteFile(s.Config, []byte(p.config(s)), 0o600); err != nil {
			return nil, err
		}
	}
	return Run(p.Name, dir, cpus, append([]string{p.Program}, p.args(s)...)...)
}

// Run starts a program in a process group of its own. Its stderr is kept in
// dir. cpus are those on which it may run; nil: all.
func Run(name, dir string, cpus []int, argv ...string) (*Process, error) {
	p := &Process{name: name, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan error, 1)}
	p.errors = filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".err")
	stderr, err := os.Create(p.errors)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	p.cmd.Stderr = stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.Stdin, p.Stdout = stdin, stdout
	if err := on(cpus, p.cmd.Start); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go func() {
		state, err := p.cmd.Process.Wait()
		if err == nil && !state.Success() {
			err = errors.New(state.String())
		}
		p.ended <- err
	}()
	return p, nil
}

// OneCPU answers the first of those that we may run on.
func OneCPU() ([]int, error) {
	var ours unix.CPUSet
	if err := unix.SchedGetaffinity(0, &ours); err != nil {
		return nil, fmt.Errorf("cannot tell on which CPUs we run: %w", err)
	}
	for cpu := 0; ; cpu++ {
		if ours.IsSet(cpu) {
			return []int{cpu}, nil
		}
	}
}

// on calls start with this thread bound to cpus: a child inherits that
// (sched_setaffinity(2)).
func on(cpus []int, start func() error) error {
	if cpus == nil {
		return start()
	}
	var before, now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("cannot tell on which CPUs we run: %w", err)
	}
	for _, cpu := range cpus {
		now.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &now); err != nil {
		return fmt.Errorf("cannot run on CPUs %v: %w", cpus, err)
	}
	return errors.Join(start(), unix.SchedSetaffinity(0, &before))
}

// Until waits until ready answers nil, and fails when the process has ended or
// that takes too long.
func (p *Process) Until(what string, ready func() error) error {
	for begin := time.Now(); ; {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case end := <-p.ended:
			p.ended <- end
			return fmt.Errorf("%s has ended (%v); its last words: %q", p.name, end, p.lastWords())
		case <-time.After(time.Millisecond):
		}
		if time.Since(begin) > 10*time.Second {
			return fmt.Errorf("%s took too long: %s: %w; its last words: %q", p.name, what, err, p.lastWords())
		}
	}
}

// lastWords are the last line of its stderr.
func (p *Process) lastWords() string {
	text, err := os.ReadFile(p.errors)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// Stop ends the process and what it started, and returns when it is gone.
func (p *Process) Stop() {
	p.signal(syscall.SIGTERM)
	select {
	case end := <-p.ended:
		p.ended <- end
	case <-time.After(stopTime):
	}
	p.signal(syscall.SIGKILL) // it, or those it left behind
	_ = p.Wait()
	p.Stdin.Close()
	p.Stdout.Close()
}

// Wait returns when the process has ended by itself, with an error unless its
// status was 0.
func (p *Process) Wait() error {
	end := <-p.ended
	p.ended <- end
	if end != nil {
		return fmt.Errorf("%s has ended with %w; its last words: %q", p.name, end, p.lastWords())
	}
	return nil
}

func (p *Process) signal(s syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, s) // ESRCH: nobody is left
}

// Tree is the process and what it has started.
func (p *Process) Tree() Tree { return Tree(p.cmd.Process.Pid) }
