// Package relay moves the bytes between the two sockets of a session.
//
// A few epoll loops, one for each CPU, own the raw non-blocking fds of all
// sessions. No goroutine, buffer or pipe belongs to a quiet session: it costs
// two fds and a few hundred bytes. A session begins on any loop. One that lasts goes
// to the first, which has them all while it can do with them alone; when it cannot,
// they go to others as well. Bulk flows are dealt out to all loops: there are more
// CPUs for those, and messages need not wait for them.
//
// A session has two directions, and each of them goes one way through
//
//	          bytes                     no bytes left, and shutdown(SHUT_WR)
//	          ┌──┐                      was passed on
//	          ▼  │   EOF from source              │
//	open ── flowing ─────────────────▶ draining ──┴──▶ shut
//	           │                          │
//	           └── error on either side ──┴──▶ the session is aborted
//
// and the session ends when both are shut. Invariants:
//
//   - A direction reads only when it holds nothing unwritten. So a slow reader
//     stops the fast writer, and a direction holds at most one buffer (64 kB)
//     or one pipe.
//   - A pipe is empty whenever it is taken from the pool or given back.
//   - A half-close travels: EOF becomes shutdown(SHUT_WR) on the other side
//     after the last byte, while the other direction goes on.
//   - A reset travels as a reset: SO_LINGER 0 on the other side before close.
//   - An ID that epoll reports carries the generation of its session, so an
//     event of a session that ended touches nobody else's.
//
// Bytes move by read and write through a buffer of the loop, and by splice(2)
// through a borrowed pipe while a flow is bulk.
package relay

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/internal/nowait"
	"golang.org/x/sys/unix"
)

// Why a session ended otherwise than by both sides closing. Result.Err is one
// of these or the error of a system call (syscall.ECONNRESET, ETIMEDOUT, …).
var (
	// ErrCut: Cut or Relay.Close ended the session.
	ErrCut = errors.New("session was cut")
	// ErrSilent: one side had closed, and no byte moved for Options.HalfClosed
	// or Options.Lingering.
	ErrSilent = errors.New("half-closed session was silent for too long")
	// ErrIdle: no byte moved either way for Terms.Idle.
	ErrIdle = errors.New("session was idle for too long")
	// ErrGone: B has closed its socket entirely, not only its own direction,
	// and all that it sent is delivered. That is seen of a UNIX socket, and
	// told by Session.Gone.
	ErrGone = errors.New("peer is gone")
)

// Side names one of the two sockets given to Join.
type Side uint8

// The sides in the order of Join's arguments. A is the one that came, B the
// one that serves it: a session lasts for as long as B may be busy with it.
const (
	A Side = iota
	B
)

func (s Side) other() Side { return s ^ 1 }

// Options of a Relay. The zero value is good.
type Options struct {
	// Loops is the number of event loops; 0: one for each CPU that Go uses.
	Loops int
	// HalfClosed is how long B may be silent after A has said all, before the
	// session is cut; 0: for ever. It may be computing the answer.
	HalfClosed time.Duration
	// Lingering is how long A may be silent after B has said all; 0: for ever.
	// Over TCP it cannot be seen whether B still listens; most do not.
	Lingering time.Duration
}

// Relay is a set of running loops. All its methods may be called from any
// goroutine.
type Relay struct {
	loops []*loop
	crew  crew          // how many of them have the sessions that last
	bulk  atomic.Uint32 // counts sessions that became bulk, to deal them out to all loops
	inUse chan struct{} // see Changes

	window atomic.Uint32 // counts the first loop's windows, from 2
}

// Result tells how a session ended.
type Result struct {
	FromA, FromB uint64 // bytes delivered to the other side
	Err          error  // nil: both sides closed in order
	From         Side   // where Err was seen; meaningless when Err is nil or ErrCut
	B            int    // B's socket with Terms.Keep, which is done's to close, or for a Join with Terms.Again; -1: it was closed
}

// New starts the loops. It fails when fds are exhausted.
func New(o Options) (*Relay, error) {
	n := o.Loops
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	r := &Relay{inUse: make(chan struct{}, 1)}
	r.window.Store(2)
	for at := range n {
		l, err := newLoop(r, at, o)
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("cannot start the relay: %w", err)
		}
		r.loops = append(r.loops, l)
	}
	r.muster()
	return r, nil
}

// Terms of one session. The zero value is good.
type Terms struct {
	Idle  time.Duration // the longest that no byte may move either way; 0: for ever
	Reset bool          // past Idle both sides get a reset, and not a FIN
	Keep  bool          // after an end in order B's socket is not closed, but given to done; not that of a session that went to another loop
	Again bool          // b is such a socket, connected anew, of a session with the same Loop
	Loop  int           // that begins to relay, by its place in Relay.Loops; a session that lasts may go on to another
}

// Join relays between the connected stream sockets a and b until both
// directions have ended, then closes both, or all but B's with Terms.Keep, and
// calls done once.
//
// Both must be non-blocking, and belong to the relay from now on, also when
// Join fails (then they are closed and done is not called). done runs on a
// loop: it must not block.
func (r *Relay) Join(a, b int, terms Terms, done func(Result)) (*Session, error) {
	// A byte sent as urgent would otherwise vanish from the stream (tcp(7)); telnet
	// and ftp send such. Other families refuse: fine.
	_ = nowait.SetInt(a, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	if !terms.Again {
		_ = nowait.SetInt(b, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	}
	l := r.loops[terms.Loop]
	s := &Session{fd: [2]int32{int32(a), int32(b)}, done: done, keep: terms.Keep, young: settleAfter}
	s.loop.Store(l)
	if terms.Idle > 0 {
		s.quiet = &silence{idle: terms}
	}
	if err := l.join(s, terms.Again); err != nil {
		closeReset(a)
		closeReset(b)
		return nil, fmt.Errorf("cannot relay: %w", err)
	}
	if terms.Idle > 0 {
		s.do(s.watchSilence) // else the first byte would start the clock
	}
	return s, nil
}

// Ping returns when each loop has answered, or with the cause of ctx's end.
func (r *Relay) Ping(ctx context.Context) error {
	for _, l := range r.loops {
		answer := make(chan struct{})
		l.Do(func() { close(answer) })
		select {
		case <-answer:
		case <-l.Stopped():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Loops are the event loops, for other files of the process: who accepts and
// connects where a session is relayed saves the way between two threads.
func (r *Relay) Loops() []*epoll.Loop {
	var all []*epoll.Loop
	for _, l := range r.loops {
		all = append(all, l.Loop)
	}
	return all
}

// InUse is how many loops may have something to do at a time: those that have the
// sessions which last, and others that were busy of late.
func (r *Relay) InUse() int {
	n := int(r.crew.now().active)
	for _, l := range r.loops[n:] {
		if l.isBusy() {
			n++
		}
	}
	return n
}

// Changes gets a value when InUse may have become another.
func (r *Relay) Changes() <-chan struct{} { return r.inUse }

func (r *Relay) tell() {
	select {
	case r.inUse <- struct{}{}:
	default: // there is one already
	}
}

// Sever has all sessions cut soon, with a reset; Join fails from now on.
func (r *Relay) Sever() {
	for _, l := range r.loops {
		l.sever()
	}
}

// Close cuts all sessions with a reset, calls their done, and ends the loops.
func (r *Relay) Close() {
	r.Sever()
	for _, l := range r.loops {
		l.Stop()
	}
	for _, l := range r.loops {
		<-l.Stopped()
	}
}

// Session is one pair of sockets under way.
type Session struct {
	loop  atomic.Pointer[loop] // written by Join, then by the loop that it leaves
	done  func(Result)         // set by Join; called once, by the loop
	dir   [2]direction         // dir[A] moves from A to B; owned by the loop
	quiet *silence             // nil: no clock has to run; written by Join, then owned by the loop
	moved [2]atomic.Uint64     // bytes delivered from A and from B; written by the loop
	fd    [2]int32             // the sockets; written by Join
	seat  epoll.Seat           // with the loop; written by join
	era   uint32               // of the crew in which it came to the loop; 0: it has only begun there; owned by the loop
	young uint8                // how often something is to move until it counts as one that lasts; owned by the loop
	stuck bool                 // a socket was full once; owned by the loop
	gone  bool                 // B has closed entirely; owned by the loop
	ended bool                 // done was called; owned by the loop
	queue bool                 // goOn is ordered; owned by the loop
	keep  bool                 // Terms.Keep, until it goes to another loop or is bulk; written by Join, then owned by the loop
	moves bool                 // has been given a loop as a bulk flow; owned by the loop
}

// Counts tells the bytes delivered so far from A to B and from B to A.
func (s *Session) Counts() (fromA, fromB uint64) {
	return s.moved[A].Load(), s.moved[B].Load()
}

// Gone tells that the process behind B is no more, so that nobody can read
// what A may still send. The session ends once all that B sent is delivered.
func (s *Session) Gone() {
	s.do(func() {
		if !s.ended {
			s.gone = true
			s.pump()
		}
	})
}

// Cut ends the session soon, with a FIN to both sides, or with a reset; its
// Result has ErrCut. A session that ended already is left alone.
func (s *Session) Cut(reset bool) {
	s.do(func() {
		if reset {
			s.abort(ErrCut, A)
		} else {
			s.finish(ErrCut, A)
		}
	})
}

// closeReset closes a socket so that its peer sees a reset instead of an
// orderly end (socket(7), SO_LINGER with zero seconds).
func closeReset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	nowait.Close(fd)
}
