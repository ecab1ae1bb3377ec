package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ProgramConfig says what is run for each client, and how.
type ProgramConfig struct {
	Command      []string // argv
	Path         string   // what is executed; a name without slash is looked up in PATH; "": Command[0]
	Dir          string   // its working directory; "": ours
	Surroundings Surroundings
	StopSignal   unix.Signal   // asks its processes to end; 0: SIGTERM
	StopTimeout  time.Duration // from that to SIGKILL; math.MaxInt64: never

	// SocketStderr: the client's socket is its stderr, too, as inetd has it, and
	// Output is told nothing.
	SocketStderr bool
	// Output is told each line that one of them writes to its stderr, as
	// [Run]'s. It may be called from several goroutines at once.
	Output func(pid int, line string)
}

// Program is a command that is run once for each client, with the client's
// socket as its stdin and stdout, and maybe its stderr: what inetd calls
// nowait. Its methods may be called from any goroutine.
//
//	Serve ── executed ──▶ begun ── the main process has ended ──▶ the rest is killed ──▶ returns
//	  │                     └── ctx ends: StopSignal, patience, SIGKILL ──┘
//	  └── cannot be executed ──▶ for a while, everybody hears that at once
//
// A client's program is over when its main process is. What this leaves behind,
// a daemon that still holds the socket as well, is killed, with inetd it would
// live on: whoever gives a slot to the next client must know that nothing of
// the last one runs. Each has a cgroup of its own where systemd has delegated
// ours to us, else a keeper (keeper.go).
type Program struct {
	cfg    ProgramConfig
	groups *cgroup // our delegated cgroup; nil: none
	forker *forker
	began  time.Time          // when it was made
	starts atomic.Uint64      // those that were executed; written by Serve
	hurry  context.Context    // ends when nobody is waited for any more
	rush   context.CancelFunc // ends hurry

	mu       sync.Mutex
	failures int       // in a row, of executing it; 0: it could be
	cause    error     // of the last one
	until    time.Time // it is not tried again before; zero: at once
}

// sessions counts the programs that were given a cgroup.
var sessions atomic.Uint64

// NewProgram prepares a Program; nothing is run yet.
func NewProgram(cfg ProgramConfig) *Program {
	if cfg.Path == "" {
		cfg.Path = cfg.Command[0]
	}
	if cfg.StopSignal == 0 {
		cfg.StopSignal = unix.SIGTERM
	}
	p := &Program{cfg: cfg, groups: delegatedCgroup(), forker: newForker(), began: time.Now()}
	p.hurry, p.rush = context.WithCancel(context.Background())
	return p
}

// Serve runs the program for one client, and returns when nothing of it is
// left. The socket is made blocking, as inetd gives it; fd stays the caller's,
// who closes it when begun is called, with the pid of the program (without a
// cgroup that of its keeper), or the client never sees an end. If begun was not
// called nobody has used the socket, and the error says why.
//
// environment makes the program's environment of that which the configuration
// gives it. When ctx ends the program is stopped; the error is the cause then,
// and else how it failed.
func (p *Program) Serve(ctx context.Context, fd int, environment func([]string) []string, begun func(pid int)) error {
	if err := p.resting(); err != nil {
		return err
	}
	executed := false
	err := p.run(ctx, fd, environment, func(pid int) {
		executed = true
		p.starts.Add(1)
		begun(pid)
	})
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if executed {
		p.settle(nil)
	} else if ctx.Err() == nil {
		p.settle(err)
	}
	return err
}

// resting answers why the program could not be executed a moment ago, if that
// is too short ago to be different now.
func (p *Program) resting() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.until) {
		return p.cause
	}
	return nil
}

// settle notes that the program could be executed, or why not. Many may run
// into the same fault at once: that counts as one.
func (p *Program) settle(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		p.failures, p.until = 0, time.Time{}
	case now.After(p.until):
		p.failures++
		p.cause, p.until = err, now.Add(backoff(p.failures, rand.Float64()))
	}
}

// run is Serve without its memory.
func (p *Program) run(ctx context.Context, fd int, environment func([]string) []string, begun func(pid int)) error {
	look, err := p.cfg.Surroundings.traits()
	if err != nil {
		return err
	}
	env, err := p.cfg.Surroundings.environment()
	if err != nil {
		return err
	}
	client, err := blocking(fd)
	if err != nil {
		return err
	}
	defer client.Close()
	e := errand{
		order:  order{traits: look, dir: p.cfg.Dir, path: p.cfg.Path, argv: p.cfg.Command},
		env:    environment(env),
		client: client,
		stderr: p.cfg.SocketStderr,
		tell:   p.cfg.Output,
	}
	t, err := e.house(p.groups, fmt.Sprintf("session-%d", sessions.Add(1)))
	if err != nil {
		return err
	}
	defer t.await()
	over, end := context.WithCancel(p.hurry)
	defer end()
	e.begun = func(leader *os.Process) {
		client.Close() // before begun, which may have its socket tell of the end
		t.leader = leader.Pid
		begun(leader.Pid)
	}
	e.stop = func(leader *os.Process) {
		t.terminate(p.cfg.StopSignal)
		patience := time.NewTimer(p.cfg.StopTimeout)
		defer patience.Stop()
		select {
		case <-patience.C:
		case <-over.Done():
		}
		e.kill(leader)
	}
	err = p.forker.run(ctx, e)
	if t.leader == 0 { // nobody has it: its owner goes on with a socket that does not block
		_ = unix.SetNonblock(fd, true)
	}
	return err
}

// blocking is a copy of a socket, which blocks from now on as fd itself does:
// that belongs to what both are open on (F_SETFL of fcntl(2)).
func blocking(fd int) (*os.File, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot copy a socket: %w", err)
	}
	if err := unix.SetNonblock(copied, false); err != nil {
		unix.Close(copied)
		return nil, fmt.Errorf("cannot have a socket block: %w", err)
	}
	return os.NewFile(uintptr(copied), "client"), nil
}

// Hurry ends the patience with programs that are being stopped, now and later.
func (p *Program) Hurry() { p.rush() }

// Close gives back what a Program has. Nobody may be served any more.
func (p *Program) Close() {
	p.rush()
	p.forker.stop()
}

// Status tells how many were executed so far.
func (p *Program) Status() Status {
	return Status{State: Stdio, Starts: p.starts.Load(), Since: p.began}
}
