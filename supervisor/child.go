package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

const (
	// lineMax is the longest piece of output that is told at once, in bytes.
	lineMax = 16 << 10
	// outputPatience is for the last output of a tree that is gone: it lies in
	// the pipe, 64 kB at most.
	outputPatience = time.Second
)

// child is one generation of the backend: a process that we started, or a unit
// of systemd's, which has no proc, notify, output, ready or told. Its fields
// are written before its goroutines start; what changes later is atomic.
type child struct {
	s      *Supervisor
	gen    uint64
	unit   unit     // name of the unit; "": a process of ours
	argv   []string // the command; of a unit, its name
	order  order    // how it was launched; others are launched beside it the same way
	env    []string // its environment
	place           // where it is to listen, for its leases
	proc   *os.Process
	pid    int
	tree   *tree
	notify *notifySocket
	output *os.File      // our end of its stdout and stderr; closed by relayOutput
	ready  *os.File      // where it writes a newline when it is ready (ReadyFD); nil: nowhere
	told   chan struct{} // closed when all of its output was told

	main       atomic.Int64           // pid of the main process: pid, until another one is named; written by launch and by hear (MAINPID=)
	reloading  bool                   // between RELOADING=1 and READY=1; of hear alone
	excuse     atomic.Pointer[string] // why it is about to fail, in its own words (ERRNO=, BUSERROR=); nil: it said nothing; written by hear
	served     atomic.Bool            // it took a connection; written by Lease.Connected
	frozen     atomic.Bool            // it stands still; written by the owner
	terminated atomic.Bool            // it was told to end; written by the owner
	obstacle   atomic.Pointer[error]  // what the last probe found in the way; nil: nothing; written by watch
	gone       context.Context        // ends when the main process has ended
	leave      context.CancelFunc     // ends gone
	errands    sync.Mutex             // held by who begins a command beside it, so that none begins once gone has ended
	asides     sync.WaitGroup         // commands beside it under way; grows only while gone has not ended
}

// launchChild starts a child. It may take as long as the resolver does, or
// systemd with a unit; ctx ends when that is not wanted any more.
func (s *Supervisor) launchChild(ctx context.Context, gen uint64) (*child, error) {
	c := &child{s: s, gen: gen, unit: unit(s.cfg.Unit), told: make(chan struct{})}
	c.place.child = c
	c.gone, c.leave = context.WithCancel(context.Background())
	if err := c.chooseAddress(ctx); err != nil {
		return nil, err
	}
	launch := c.launchProcess
	if c.unit != "" {
		launch = c.launchUnit
	}
	if err := launch(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// launchProcess starts a process of ours, which takes no time worth ending.
func (c *child) launchProcess(context.Context) error {
	if err := c.checkFree(); err != nil {
		return err
	}
	name := c.s.cfg.Path
	if name == "" {
		name = c.argv[0]
	}
	path, err := executable(name)
	if err != nil {
		return err
	}
	return c.launch(path)
}

// follow has the goroutines of a launched child begin; the owner knows the
// child by now, which they will speak of.
func (c *child) follow() {
	go c.watch()
	if c.unit != "" {
		go c.waitUnit()
		return
	}
	go c.wait()
	go c.relayOutput()
	go c.notify.serve(c)
}

// chooseAddress settles where this generation listens and what its command is.
func (c *child) chooseAddress(ctx context.Context) error {
	cfg := &c.s.cfg
	ctx, cancel := context.WithTimeout(ctx, min(cfg.StartTimeout, time.Minute))
	defer cancel()
	c.argv = append([]string(nil), cfg.Command...)
	if len(cfg.Sockets) > 0 {
		return nil // that is where
	}
	if !cfg.Auto {
		addrs, err := cfg.Address.Resolve(ctx)
		c.addrs = addrs
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("cannot find a free port for the backend: %w", err)
	}
	defer l.Close()
	ap := netip.MustParseAddrPort(l.Addr().String())
	c.addrs = []sockaddr.Addr{sockaddr.TCP(ap)}
	for i, arg := range c.argv {
		c.argv[i] = strings.ReplaceAll(arg, "{port}", strconv.Itoa(int(ap.Port())))
	}
	return nil
}

// executable finds the command as execvp(3) does: a name with a slash is a
// path (from the child's working directory, if relative), else PATH is searched.
func executable(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	found, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("cannot execute %s: there is no such command in PATH (%s)", name, os.Getenv("PATH"))
	case err != nil:
		return "", fmt.Errorf("cannot execute %s: %w", name, err)
	}
	return filepath.Abs(found)
}

// backends counts those that were given a cgroup.
var backends atomic.Uint64

// launch forks the launcher and waits until it has executed the command.
func (c *child) launch(path string) (err error) {
	var group *cgroup
	if c.s.groups != nil {
		if group, err = c.s.groups.make(fmt.Sprintf("backend-%d", backends.Add(1))); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				group.remove()
			}
		}()
	}
	look, err := c.s.cfg.Surroundings.traits()
	if err != nil {
		return err
	}
	if c.notify, err = listenNotify(); err != nil {
		return err
	}
	if c.env, err = c.environment(); err != nil {
		c.notify.close()
		return err
	}
	output, theirs, err := os.Pipe()
	if err != nil {
		c.notify.close()
		return fmt.Errorf("cannot make a pipe for the backend's output: %w", err)
	}
	c.order = order{traits: look, dir: c.s.cfg.Dir, path: path, argv: c.argv}
	// In a cgroup systemd ends the child if we are killed; and the signal of
	// a thread's death would be in the way of replacing this process in place.
	c.order.traits.dieWithUs = group == nil
	if group != nil {
		c.order.cgroup = group.dir
	}
	err = c.execute(theirs)
	theirs.Close()
	if err != nil {
		output.Close()
		c.notify.close()
		return err
	}
	c.output = output
	c.pid = c.proc.Pid
	c.main.Store(int64(c.pid))
	c.tree = &tree{leader: c.pid, main: &c.main, group: group, reaper: c.s.cfg.Reap}
	return nil
}

// wait follows the child to its end, and its tree with it. The rest of a tree
// whose main process ended unasked is of no use to anybody.
func (c *child) wait() {
	status, ok := c.awaitMain()
	c.errands.Lock()
	c.leave()
	c.errands.Unlock()
	if !c.terminated.Load() {
		c.tree.kill()
	}
	c.asides.Wait() // they are killed, too; what they left comes to us, as the tree's
	c.tree.await()
	c.notify.close()
	<-c.notify.deaf
	ours.forget(int(c.main.Load()))
	c.tree.reap()
	// All who could write are gone, so end of file is at hand; should somebody
	// outside have got hold of the pipe, that is not worth waiting for. The last
	// words are told before the end: they often say why it came.
	_ = c.output.SetReadDeadline(time.Now().Add(outputPatience))
	<-c.told
	if excuse := c.excuse.Load(); excuse != nil {
		status += ", " + *excuse
	}
	c.s.send(ending{child: c, status: status, ok: ok})
}

// awaitMain returns when the main process has ended, which may be another one
// by now: a daemon that goes to the background says so with MAINPID=.
func (c *child) awaitMain() (status string, ok bool) {
	state, err := c.proc.Wait()
	ours.forget(c.pid)
	if err != nil {
		return "unknown: " + err.Error(), false
	}
	main := c.pid
	for c.notify.catchUp(); main != int(c.main.Load()); c.notify.catchUp() {
		main = int(c.main.Load())
		awaitEnd(main)
	}
	if main == c.pid {
		return state.String(), state.Success()
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(main, &ws, unix.WNOHANG, nil); err != nil {
		return "unknown: the main process was not our child", false
	}
	switch {
	case ws.Signaled():
		return "signal: " + ws.Signal().String(), false
	default:
		return "exit status " + strconv.Itoa(ws.ExitStatus()), ws.ExitStatus() == 0
	}
}

// terminate asks the tree to end.
func (c *child) terminate() {
	c.terminated.Store(true)
	switch argv := c.s.cfg.StopCommand; {
	case c.unit != "":
		go c.stopUnit()
	case len(argv) > 0:
		go c.stopBy(argv)
	default:
		c.tree.terminate(c.s.cfg.StopSignal)
	}
}

// kill ends the tree; wait will see it.
func (c *child) kill() {
	if c.unit != "" {
		go c.killUnit()
		return
	}
	go c.tree.kill()
}

// relayOutput tells the child's output line by line. A line may be what says
// that it is ready.
func (c *child) relayOutput() {
	defer close(c.told)
	awaited := c.s.cfg.Ready == ReadyLog // the line that says it
	eachLine(c.output, func(line string) {
		c.tell(c.pid, line)
		if awaited && c.s.cfg.ReadyLog.MatchString(line) {
			awaited = false
			c.becomeReady()
		}
	})
}

// tell tells a line that the child wrote, or a command beside it.
func (c *child) tell(pid int, line string) {
	c.s.emit(OutputEvent{c.gen, pid, line})
}
