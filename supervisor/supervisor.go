// Package supervisor keeps one backend: it starts it when somebody asks, knows
// when it is ready, stops it when nobody has used it for a while, restarts it
// with growing pauses when it fails, and leaves nothing of it. The backend is a
// process that it starts itself, or a unit that it has systemd start (unit.go).
// Instead of one backend for all it can run a program for each client
// (program.go), and commands beside them (errand.go).
//
//	Stopped  ── asked ─────────────▶ Starting
//	Starting ── ready ─────────────▶ Ready
//	         ── failed, or ended ──▶ Backoff
//	         ── took too long ─────▶ Stopping, then Backoff
//	Ready    ── idle ──────────────▶ Stopping, or Frozen
//	         ── to be recycled ────▶ Draining; Stopping at once if nobody uses it
//	         ── ended, status 0 ───▶ Stopped
//	         ── crashed ───────────▶ Backoff
//	         ── fell silent ───────▶ Stopping, then Backoff
//	Frozen   ── asked ─────────────▶ Ready
//	         ── for long enough ───▶ Stopping
//	Draining ── nobody uses it, or its grace is over ──▶ Stopping, then Starting
//	Stopping ── SIGTERM, patience, SIGKILL, ended ─────▶ Stopped; Starting if somebody waits
//	Backoff  ── the pause is over ─▶ Starting if somebody waits, else Stopped
//
// Invariants:
//
//   - One goroutine owns the state. It decides by a pure function of state and
//     input (machine.go), and carries the decision out (owner.go).
//   - At most one child lives. The next one is started only after the last
//     process of the tree before it is gone.
//   - Every input of a child or timer carries its generation or number; a
//     stale one does nothing.
//   - Everybody who asks is answered: with a lease, when the caller's context
//     ends, or with ErrShutdown.
//   - After Shutdown nothing is started.
//
// Importing this package makes the program its own launcher: see launcher.go.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// ErrShutdown answers those who ask for a backend after Shutdown.
var ErrShutdown = errors.New("the backend is being shut down for good")

// forever is the duration of "never".
const forever = time.Duration(math.MaxInt64)

// Readiness is how a started backend is known to be ready.
type Readiness string

// The ways to be ready.
const (
	// ReadyListen asks the kernel (sock_diag(7)) whether a process of the
	// backend listens at the address. It costs the backend no connection.
	ReadyListen Readiness = "listen"
	// ReadyNotify waits for READY=1 of sd_notify(3).
	ReadyNotify Readiness = "notify"
	// ReadyConnect connects to the address, and closes at once. Not for a
	// backend that serves one client and ends.
	ReadyConnect Readiness = "connect"
	// ReadyExec runs ReadyCommand until it succeeds.
	ReadyExec Readiness = "exec"
	// ReadyLog waits for a line of its output that matches ReadyLog.
	ReadyLog Readiness = "log"
	// ReadyFD waits for a newline on a pipe that it finds as fd Config.ReadyFD
	// (the notification fd of s6).
	ReadyFD Readiness = "fd"
	// ReadyNone takes it as ready as soon as it runs.
	ReadyNone Readiness = "none"
)

// Config says what to keep, and how. Durations of 0 are taken as they are,
// math.MaxInt64 is "never".
type Config struct {
	Command []string      // argv
	Path    string        // what is executed; a name without slash is looked up in PATH; "": Command[0]
	Unit    string        // instead: a service of systemd's, started and stopped over D-Bus; "" and no Command: the backend is not ours (External)
	Dir     string        // its working directory; "": ours
	Address sockaddr.Name // where it listens
	Auto    bool          // instead: a free TCP port of 127.0.0.1, as $PORT and as {port} in Command

	// Sockets are what it serves instead of an address of its own: it finds
	// them as if systemd had passed them (sd_listen_fds(3)), or the only one as
	// its stdin and stdout. They are made to block, as there.
	Sockets     []Socket
	SocketStdin bool

	Surroundings Surroundings

	Ready         Readiness      // "": ReadyListen
	ReadyCommand  []string       // of ReadyExec
	ReadyLog      *regexp.Regexp // of ReadyLog
	ReadyFD       int            // of ReadyFD, from 3 to ReadyFDMost
	ReadyDelay    time.Duration  // more patience after any of them
	ProbeInterval time.Duration  // longest pause between two probes; 0: 500 ms
	StartTimeout  time.Duration  // from the start until it is ready
	IdleStop      time.Duration  // without a lease, until it is stopped
	StopTimeout   time.Duration  // from StopSignal or StopCommand to SIGKILL
	StopSignal    unix.Signal    // to the tree; 0: SIGTERM
	StopCommand   []string       // run before that, with MAINPID in its environment; nil: none
	MinUptime     time.Duration  // not stopped for idleness before it was ready for so long; 0: no such limit
	Preload       bool           // start it with the Supervisor, before anybody asks

	// A child is recycled, that is stopped and started anew, between two
	// leases. Those who ask meanwhile wait; leases that are out have
	// RecycleGrace to come back.
	RecycleConnections int           // after that many leases; 0: never
	RecycleAge         time.Duration // so long after it was ready; 0: never
	RecycleMemory      int64         // when its tree uses more bytes than that, seen when a lease comes back; 0: never
	RecycleJitter      int           // percent by which the first two are shortened at random
	RecycleGrace       time.Duration // never: for ever

	Freeze     bool          // instead of stopping it for idleness, stop its processes where they are
	FreezeStop time.Duration // frozen for so long, it is stopped

	Watchdog      time.Duration // from READY on, it must send WATCHDOG=1 at least that often; 0: no watchdog
	AliveInterval time.Duration // asked so often whether it still answers; two misses replace it; 0: never
	AliveCommand  []string      // answers by success; nil: a connection to the address does

	NotifyMain bool // hear sd_notify only of the main process, not of all of the tree

	// Reap makes this process the reaper of orphans (PR_SET_CHILD_SUBREAPER)
	// and takes every orphan that comes to it for one of the backend's. Set it
	// unless this program starts other children of its own.
	Reap bool

	// Events is told what happens, in order, one at a time; nil: nobody. It
	// must not call the Supervisor.
	Events func(Event)
}

// Supervisor keeps one backend. All its methods may be called from any
// goroutine.
type Supervisor struct {
	cfg    Config
	inbox  *inbox                // inputs of the machine, and requests; read by the owner
	shared atomic.Pointer[place] // of a child that is ready, whose leases may be shared; nil: none; written by the owner
	done   chan struct{}         // closed when the owner has ended
	forker *forker               // starts the children
	groups *cgroup               // our delegated cgroup; nil: none
	events sync.Mutex            // serialises cfg.Events: output comes from other goroutines
	status struct {              // what Status answers
		sync.Mutex
		Status
		tree  *tree  // of the running child; nil: none
		place *place // of the child that was launched last; nil: none was
	}
}

// Status is a look at the backend.
type Status struct {
	State      State
	PID        int       // 0: no child
	Generation uint64    // of the last start; 0: there was none
	Starts     uint64    // children started so far
	Leases     int       // that the present child was used for
	Since      time.Time // when State began
	Ready      time.Time // when the child was ready; zero: it is not yet, or there is none
	LastExit   string    // how the last child ended; "": none has yet
	Text       string    // what the child said of itself (STATUS= of sd_notify)
}

// New starts the owner, but no child. It fails if cfg contradicts itself or
// the process cannot be made a reaper.
func New(cfg Config) (*Supervisor, error) {
	if err := cfg.fill(); err != nil {
		return nil, fmt.Errorf("cannot supervise: %w", err)
	}
	s := &Supervisor{cfg: cfg, inbox: newInbox(), done: make(chan struct{})}
	s.status.State, s.status.Since = Stopped, time.Now()
	if s.cfg.external() {
		s.status.State = External
		if addr := cfg.Address.Addr(); addr.Family != 0 {
			s.shared.Store(&place{addrs: []sockaddr.Addr{addr}})
		}
		close(s.done)
		return s, nil
	}
	if cfg.Reap {
		if err := becomeReaper(); err != nil {
			return nil, err
		}
	}
	s.groups = delegatedCgroup()
	s.forker = newForker()
	go newOwner(s).run()
	return s, nil
}

// fill checks cfg and puts defaults in.
func (c *Config) fill() error {
	if c.Ready == "" {
		c.Ready = ReadyListen
	}
	if c.ProbeInterval <= 0 {
		c.ProbeInterval = 500 * time.Millisecond
	}
	if c.Events == nil {
		c.Events = func(Event) {}
	}
	if c.StopSignal == 0 {
		c.StopSignal = unix.SIGTERM
	}
	if err := errors.Join(c.checkReady(), c.checkUnit(), c.checkSockets()); err != nil {
		return err
	}
	if c.Address.IsZero() && !c.Auto && len(c.Sockets) == 0 {
		return errors.New("no address of the backend")
	}
	if c.Auto && len(c.Command) == 0 {
		return errors.New("a free port needs a command to be told to")
	}
	return nil
}

// external tells whether the backend is somebody else's to start.
func (c *Config) external() bool { return len(c.Command) == 0 && c.Unit == "" }

// checkUnit refuses what we could only do to a process of ours.
func (c *Config) checkUnit() error {
	if c.Unit == "" {
		return nil
	}
	switch c.Ready {
	case ReadyListen, ReadyConnect, ReadyNone:
	default:
		return fmt.Errorf("readiness %q is not for a unit: systemd itself knows when it is started", c.Ready)
	}
	if len(c.Command) > 0 || len(c.StopCommand) > 0 || len(c.AliveCommand) > 0 || c.Freeze {
		return errors.New("a unit has its own commands, and is not ours to freeze")
	}
	return nil
}

// Acquire answers a lease on a ready backend, and has it started if need be.
// It blocks through failed starts and their pauses until ctx ends: then it
// fails with the cause of that.
func (s *Supervisor) Acquire(ctx context.Context) (*Lease, error) {
	if s.cfg.external() {
		addrs, err := s.cfg.Address.Resolve(ctx)
		if err != nil {
			return nil, err
		}
		return &Lease{s: s, at: &place{addrs: addrs}}, nil
	}
	if ctx.Err() != nil { // nothing is started for somebody who has left
		return nil, context.Cause(ctx)
	}
	a := &asker{answer: make(chan *Lease, 1)}
	if !s.send(a) {
		return nil, ErrShutdown
	}
	select {
	case lease := <-a.answer:
		if lease == nil {
			return nil, ErrShutdown
		}
		return lease, nil
	case <-s.done:
		return nil, ErrShutdown
	case <-ctx.Done():
		s.send(leaver{a})
		// The answer may have been given before the owner heard of the leaving.
		select {
		case lease := <-a.answer:
			if lease != nil {
				lease.Release()
			}
		default:
		}
		return nil, context.Cause(ctx)
	}
}

// TryAcquire answers a lease at once if somebody else has one on the same
// backend, or if that is external and needs no resolving; else nil, and Acquire
// has to be asked.
func (s *Supervisor) TryAcquire() *Lease {
	if at := s.shared.Load(); at != nil && at.share() {
		return &Lease{s: s, at: at}
	}
	return nil
}

// Shutdown stops the backend and starts none any more. It returns when nothing
// of it is left, or when ctx ends: then what is left is killed.
func (s *Supervisor) Shutdown(ctx context.Context) {
	if !s.send(shutter{}) {
		return
	}
	select {
	case <-s.done:
		return
	case <-ctx.Done():
		s.send(hurry{})
		<-s.done
	}
}

// Recycle has the child that runs replaced once nobody uses it; without one, or
// while one is being started, nothing happens. The reason is told in events.
func (s *Supervisor) Recycle(reason string) { s.send(replacement{reason}) }

// Ping returns when the goroutine that owns the backend's state has answered,
// or with the cause of ctx's end.
func (s *Supervisor) Ping(ctx context.Context) error {
	answer := make(ping)
	if !s.send(answer) {
		return nil
	}
	select {
	case <-answer:
	case <-s.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Status tells how the backend does.
func (s *Supervisor) Status() Status {
	s.status.Lock()
	defer s.status.Unlock()
	now := s.status.Status
	now.Leases += s.status.place.lent()
	return now
}

// Memory tells how many bytes the child's tree uses; 0: unknown, or no child.
// Without a cgroup that counts, the kernel has to look at all its pages, which
// takes a moment.
func (s *Supervisor) Memory() int64 {
	if t := s.tree(); t != nil {
		return t.memory()
	}
	return 0
}

// MemoryCounted is Memory where it costs nothing; else 0.
func (s *Supervisor) MemoryCounted() int64 {
	if t := s.tree(); t != nil && t.group != nil {
		return t.group.memory()
	}
	return 0
}

// tree is that of the running child; nil: none.
func (s *Supervisor) tree() *tree {
	s.status.Lock()
	defer s.status.Unlock()
	return s.status.tree
}

// send hands the owner something, and answers false once it has ended.
func (s *Supervisor) send(in any) bool { return s.inbox.put(in) }

// emit tells Events what happened.
func (s *Supervisor) emit(e Event) {
	s.events.Lock()
	defer s.events.Unlock()
	s.cfg.Events(e)
}
