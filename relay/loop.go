package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"golang.org/x/sys/unix"
)

const (
	// bufferSize is one read. Larger reads gain nothing over loopback, and a
	// stuck direction may hold this much.
	bufferSize = 64 << 10
	// turn is how many bytes one direction may move before the loop looks
	// after the others: about half a millisecond of one CPU.
	turn = 1 << 20

	interest = epoll.In | epoll.RdHup | unix.EPOLLPRI | epoll.Edge
)

// loop owns the fds of its sessions. Its goroutine alone reads, writes and
// closes them.
type loop struct {
	*epoll.Loop
	relay   *Relay // whose loop it is
	at      uint32 // its place in Relay.loops
	opts    Options
	scratch []byte   // one read's bytes, empty between two of them
	pipes   pipePool // pipes between two bulk flows
	vigil   vigil    // sessions that must not be silent for too long

	aside time.Time     // when toil was called last; owned by the goroutine
	busy  atomic.Uint32 // the last of Relay.window in which it was; 0: none; written by toil

	mu     sync.Mutex // guards what follows
	severs bool       // sever was called: nothing new is taken
}

func newLoop(r *Relay, at int, o Options) (l *loop, err error) {
	l = &loop{relay: r, at: uint32(at), opts: o, scratch: make([]byte, bufferSize)}
	l.vigil.loop = l
	aside := l.toil
	if at == 0 {
		aside = r.watchCrew
	}
	l.Loop, err = epoll.NewLoop(aside)
	return l, err
}

// busyWithin is the longest that a busy loop takes from one toil to the next.
const busyWithin = 20 * time.Millisecond

// toil is what each loop but the first does aside: it takes note that it is busy.
func (l *loop) toil() {
	now := time.Now()
	last := l.aside
	l.aside = now
	if window := l.relay.window.Load(); now.Sub(last) < busyWithin && l.busy.Load() != window {
		was := l.isBusy()
		l.busy.Store(window)
		if !was {
			l.relay.tell()
		}
	}
}

// isBusy tells whether the loop was busy in this window, or in the last one. Of the
// first one nobody takes note.
func (l *loop) isBusy() bool { return l.relay.window.Load()-l.busy.Load() < 2 }

// join takes a session in and has its sockets watched. What they hold by then
// the loop hears at once. again: it watches B's already, for a session before.
func (l *loop) join(s *Session, again bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.severs {
		return ErrCut
	}
	return l.Enroll((*sides)(s), &s.seat, s.interest(), epoll.File{FD: int(s.fd[A])}, epoll.File{FD: int(s.fd[B]), Again: again})
}

// interest is what the loop wants to hear of the session's sockets: that one is
// writable only since one was not. Most never have a full one, and every new
// connection would be told twice that it is writable.
func (s *Session) interest() uint32 {
	if s.stuck {
		return interest | epoll.Out
	}
	return interest
}

// stick has the loop hear from now on when a socket becomes writable; one that has
// become so meanwhile is told at once (epoll_ctl(2), EPOLL_CTL_MOD).
func (s *Session) stick() error {
	s.stuck = true
	for side, fd := range s.fd {
		if err := s.loop.Load().Rewatch(s.seat, uint8(side), int(fd), s.interest()); err != nil {
			return err
		}
	}
	return nil
}

// leave is the end of join: no event of the session comes any more.
func (l *loop) leave(s *Session) {
	l.vigil.leave(s)
	l.Retire(s.seat)
	s.seat = 0
	for _, fd := range s.fd {
		l.Unwatch(int(fd))
	}
}

// sides is a Session as its loop sees it.
type sides Session

// Ready implements epoll.Handler.
func (s *sides) Ready(side uint8, events uint32) { (*Session)(s).event(Side(side), events) }

// sever has the loop cut its sessions soon. No join comes after severs was set.
func (l *loop) sever() {
	l.mu.Lock()
	l.severs = true
	l.mu.Unlock()
	l.Do(func() {
		l.Each(func(h epoll.Handler) {
			if s, is := h.(*sides); is {
				(*Session)(s).abort(ErrCut, A)
			}
		})
		l.pipes.close()
	})
}
