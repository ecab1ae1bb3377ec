// Package hook runs an administrator's commands at certain moments: before a
// connection is let through, and when something has happened to a session or
// to the backend.
//
// It decides when a command runs and for how long, and what it is told in its
// environment; how a process is started and killed is given to it (Config.Run).
//
//	Before ────────────────────▶ runs at once ──▶ RunEvent, and its error
//	Fire ──▶ queue of 64 ──▶ runs, one by one ──▶ RunEvent
//	     └── is full ───────────────────────────▶ DropEvent
//
// Invariants:
//
//   - Fire never blocks; Before blocks no longer than its command runs.
//   - Commands that are fired run one after another, in the order of firing, on
//     a goroutine that exists only while there is one to run.
//   - No command runs longer than Config.Limit, or on when Close has returned,
//     but for one that the kernel does not let be killed: nobody waits for it.
package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Kind is a moment at which a command runs, named like its key in the section
// [Hooks] of tiproxy.conf.
type Kind string

// The kinds. All but the first are fired, when it has happened.
const (
	BeforeNext Kind = "BeforeNext" // a connection is about to be let through
	OnTimeout  Kind = "OnTimeout"  // a session was ended by SessionTimeoutSec=
	OnStart    Kind = "OnStart"    // the backend was started
	OnReady    Kind = "OnReady"    // it is ready
	OnStop     Kind = "OnStop"     // it has ended as it was told
	OnCrash    Kind = "OnCrash"    // it has ended unasked
)

// queueMost is how many may be fired and wait. Somebody whose hooks are slower
// than what they are about for so long wants to know it.
const queueMost = 64

// killPatience is for a command to be gone after it was killed. One that became
// another user, or hangs in the kernel, may outlive it.
const killPatience = 5 * time.Second

// ErrClosed: Close was called.
var ErrClosed = errors.New("tiproxy is stopping")

var (
	errLate       = errors.New("HookTimeoutSec= is over") // ends a command at its limit
	errUnkillable = errors.New("could not be killed and is left behind")
)

// Event is something to be told of the hooks: one of the types below.
type Event interface{ hookEvent() }

// RunEvent: a command has ended, or could not be run.
type RunEvent struct {
	Kind  Kind
	Err   error // nil: it succeeded
	After time.Duration
}

// OutputEvent: a line that a command wrote, as Config.Run tells it.
type OutputEvent struct {
	Kind Kind
	Line string
}

// DropEvent: so many were fired when the queue was full, and will not run.
type DropEvent struct{ Number int }

func (RunEvent) hookEvent()    {}
func (OutputEvent) hookEvent() {}
func (DropEvent) hookEvent()   {}

// Config says what to run.
type Config struct {
	Commands map[Kind][]string // argv; a kind without: nothing runs then
	Limit    time.Duration     // the longest that one may run (HookTimeoutSec=); 0: no limit

	// Run runs a command to its end and tells each line that it writes. When
	// ctx ends it kills it with all that came of it, and answers an error that
	// wraps ctx's cause. It starts nothing if ctx has ended already.
	Run func(ctx context.Context, argv, env []string, output func(line string)) error

	// Events is told what happens, one at a time; nil: nobody. It must not call
	// the Set, but for Fire.
	Events func(Event)
}

// Set is the hooks of one tiproxy. All its methods may be called from any
// goroutine.
type Set struct {
	cfg    Config
	life   context.Context         // ends when nothing may run any more
	kill   context.CancelCauseFunc // ends life; called by Close
	events sync.Mutex              // serialises cfg.Events

	mu      sync.Mutex
	queue   []firing       // fired and not begun, the first first; written by Fire and next
	serving bool           // serve is on its way; written by Fire and next
	dropped int            // fired since the last DropEvent and not queued; written by Fire and next
	closed  bool           // nothing is begun or queued any more; written by Close
	runs    sync.WaitGroup // serve, and every Before under way; grows only while not closed
}

// firing is one call of Fire.
type firing struct {
	kind  Kind
	facts Facts
}

// New makes a Set; nothing runs yet.
func New(cfg Config) *Set {
	if cfg.Events == nil {
		cfg.Events = func(Event) {}
	}
	s := &Set{cfg: cfg}
	s.life, s.kill = context.WithCancelCause(context.Background())
	return s
}

// Before runs the command of BeforeNext and waits for it; without one it
// answers nil at once. Several may run at a time.
//
// It fails if the command does, if it was killed at its limit or because ctx
// ended, and with ErrClosed. The error names the command, and wraps the cause
// of ctx's end if there was one.
func (s *Set) Before(ctx context.Context, facts Facts) error {
	if !s.has(BeforeNext) {
		return nil
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.runs.Add(1)
	s.mu.Unlock()
	defer s.runs.Done()
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	defer context.AfterFunc(s.life, func() { kill(ErrClosed) })()
	return s.told(ctx, firing{BeforeNext, facts})
}

// Fire has the command of a kind run when those fired before it have ended,
// and does not wait for it. Its end is told as a RunEvent. After Close, and
// without a command, it does nothing.
func (s *Set) Fire(kind Kind, facts Facts) {
	if !s.has(kind) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case len(s.queue) == queueMost:
		s.dropped++
	default:
		s.queue = append(s.queue, firing{kind, facts})
		if !s.serving {
			s.serving = true
			s.runs.Go(s.serve)
		}
	}
}

// Close returns when what was fired has run, and every Before has returned.
// When ctx ends first, what runs is killed, and what waits is told as failed.
func (s *Set) Close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	defer context.AfterFunc(ctx, func() { s.kill(ErrClosed) })()
	s.runs.Wait()
}

func (s *Set) has(kind Kind) bool { return len(s.cfg.Commands[kind]) > 0 }

// serve runs what was fired until nothing is left.
func (s *Set) serve() {
	for {
		f, dropped, more := s.next()
		if dropped > 0 {
			s.tell(DropEvent{dropped})
		}
		if !more {
			return
		}
		_ = s.told(s.life, f)
	}
}

// told is run, and the RunEvent of it.
func (s *Set) told(ctx context.Context, f firing) error {
	began := time.Now()
	err := s.run(ctx, f)
	s.tell(RunEvent{f.kind, err, time.Since(began)})
	return err
}

// next takes the first out of the queue, and the number of those that did not
// get into it. With more false, serve is over.
func (s *Set) next() (f firing, dropped int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped, s.dropped = s.dropped, 0
	if len(s.queue) == 0 {
		s.serving, s.queue = false, nil
		return f, dropped, false
	}
	f, s.queue = s.queue[0], s.queue[1:]
	return f, dropped, true
}

// run runs one command, within its limit.
func (s *Set) run(ctx context.Context, f firing) error {
	if limit := s.cfg.Limit; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errLate)
		defer cancel()
	}
	argv := s.cfg.Commands[f.kind]
	env := f.facts.environment(f.kind, os.Environ())
	ended := make(chan error, 1)
	go func() {
		ended <- s.cfg.Run(ctx, argv, env, func(line string) { s.tell(OutputEvent{f.kind, line}) })
	}()
	err := await(ctx, ended)
	switch {
	case err == errUnkillable:
		return fmt.Errorf("the hook %s=%s %w (%w)", f.kind, argv[0], err, context.Cause(ctx))
	case errors.Is(err, errLate):
		return fmt.Errorf("%s=%s took longer than HookTimeoutSec=%v and was killed", f.kind, argv[0], s.cfg.Limit)
	case err != nil:
		return fmt.Errorf("the hook %s= failed: %w", f.kind, err)
	}
	return nil
}

// await answers how a command ended. It gives up one that outlives ctx for long:
// whoever waits for it must not hang with it.
func await(ctx context.Context, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(killPatience):
		return errUnkillable
	}
}

func (s *Set) tell(e Event) {
	s.events.Lock()
	defer s.events.Unlock()
	s.cfg.Events(e)
}
