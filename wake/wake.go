// Package wake has a backend run while somebody needs it that accepts its
// clients itself: what inetd calls wait.
//
//	asleep ── somebody has come ──▶ waking ── the backend runs ──▶ awake
//	   ▲  │                                                          │
//	   │  └── for IdleExit ──▶ Serve returns                         │
//	   └── nobody is connected, or the backend has ended ────────────┘
//
// The backend has the same sockets, and nothing is taken off them here. Each
// arrival is heard once (EPOLLET of epoll(7)); while the backend is awake the
// kernel is asked every Idle who is connected (sock_diag(7)). When nobody is, its
// lease goes back, and whoever keeps the backend lets Idle pass once more before
// it is stopped: so that happens after once to twice Idle without a connection.
// Asleep nothing ticks. Who is accepted in the moment of the stop is cut, as by
// any server that is stopped; who is not stays in the kernel's backlog, and wakes
// it again.
//
// Of datagrams nobody can see from outside whether they are still worked on: a
// backend that serves such a socket is awake until it ends by itself.
//
// Invariants:
//
//   - One goroutine does it all; it holds at most one lease.
//   - A backend that ends at once and leaves its socket readable is not started
//     more than once a second.
package wake

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/internal/sockdiag"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// Backend is who serves the sockets.
type Backend interface {
	// Acquire blocks until it runs, or ctx ends.
	Acquire(ctx context.Context) (Lease, error)
}

// Lease is the right to a running backend; it is not stopped meanwhile.
type Lease interface {
	Generation() uint64 // of the backend's process; they grow
	Connected()         // it has something to do: its end with status 0 is no failure
	Release()
}

// Listener is a socket of the backend's that we have, too.
type Listener struct {
	FD       int
	Addr     sockaddr.Addr // as it was bound
	V6Only   bool          // as in activation
	Datagram bool          // nobody connects to it
}

// Config is what a Waker is made of. Durations of math.MaxInt64 are "never".
type Config struct {
	Listeners []Listener
	Backend   Backend
	Idle      time.Duration // between two looks at who is connected; a second at least
	IdleExit  time.Duration // asleep, until Serve returns
	Trouble   func(error)   // is told when the kernel does not tell who is connected
}

const never = time.Duration(math.MaxInt64)

// restart is the least time between two starts if the first has left its socket
// as it was.
var restart = time.Second

// Waker waits at sockets. Serve may be called once.
type Waker struct {
	cfg  Config
	poll *epoll.Poller
	idle time.Duration // between two looks at who is connected; never: nobody looks; written by New and busy
	look func(bound sockaddr.Addr, v6only bool) (connections int, err error)
	gone atomic.Uint64 // the last generation that has ended; written by BackendGone

	awake atomic.Bool // see Awake; written by Serve
}

// New prepares a Waker. It fails when fds are exhausted.
func New(cfg Config) (*Waker, error) {
	poll, err := epoll.New(16)
	if err != nil {
		return nil, fmt.Errorf("cannot wait for clients: %w", err)
	}
	w := &Waker{cfg: cfg, poll: poll, idle: max(cfg.Idle, time.Second), look: sockdiag.Connections}
	for i, l := range cfg.Listeners {
		if l.Datagram {
			w.idle = never
		}
		if err := poll.Add(l.FD, uint64(i), epoll.In|epoll.Edge); err != nil {
			poll.Close()
			return nil, fmt.Errorf("cannot wait for clients at %s: %w", l.Addr, err)
		}
	}
	return w, nil
}

// BackendGone tells that a generation of the backend has ended, its whole tree.
func (w *Waker) BackendGone(generation uint64) {
	w.gone.Store(max(generation, w.gone.Load()))
	w.poll.Wake()
}

// Awake tells whether somebody is there for whom the backend is started, again
// and again if it fails, or runs. One that runs on after the last has gone is not.
func (w *Waker) Awake() bool { return w.awake.Load() }

// Serve wakes the backend for each client until nobody has come for IdleExit,
// or stop ends; idle tells which. The backend may still run then.
func (w *Waker) Serve(stop context.Context) (idle bool, err error) {
	defer w.poll.Close()
	defer context.AfterFunc(stop, w.poll.Wake)()
	for stop.Err() == nil {
		knocked, err := w.sleep(stop)
		if err != nil || !knocked {
			return stop.Err() == nil, err
		}
		w.awake.Store(true)
		lease, err := w.cfg.Backend.Acquire(stop)
		if err != nil {
			break // stop has ended
		}
		begun := time.Now()
		lease.Connected()
		if err := w.attend(stop, lease); err != nil {
			return false, err
		}
		if stop.Err() != nil {
			break // who keeps the backend stops it
		}
		lease.Release()
		if w.gone.Load() >= lease.Generation() && w.readable() {
			select {
			case <-time.After(time.Until(begun.Add(restart))):
			case <-stop.Done():
			}
		}
	}
	return false, nil
}

// sleep returns when a socket is readable, or nobody has come for IdleExit. What
// the last backend has left unread counts; it was told already, so it is looked at.
func (w *Waker) sleep(stop context.Context) (knocked bool, err error) {
	until := deadline(w.cfg.IdleExit)
	for stop.Err() == nil {
		if w.readable() {
			return true, nil
		}
		w.awake.Store(false)
		left := time.Until(until)
		if w.cfg.IdleExit != never && left <= 0 {
			return false, nil
		}
		// An arrival counts even if the backend, not stopped yet, has taken it.
		if arrived, err := w.wait(until); err != nil || arrived {
			return arrived, err
		}
	}
	return false, nil
}

// attend returns when the backend of a lease has ended, or nobody is connected
// to it, or stop ends.
func (w *Waker) attend(stop context.Context, lease Lease) error {
	for until := deadline(w.idle); stop.Err() == nil && w.gone.Load() < lease.Generation(); {
		arrived, err := w.wait(until)
		switch {
		case err != nil:
			return err
		case arrived:
			until = deadline(w.idle)
		case w.idle != never && !time.Now().Before(until):
			if !w.busy() {
				return nil
			}
			until = deadline(w.idle)
		}
	}
	return nil
}

// deadline is when something is due that shall last so long from now on.
func deadline(d time.Duration) time.Time {
	if d == never {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// wait returns when something happened or at a time, zero: never, and tells
// whether it was that somebody came.
func (w *Waker) wait(until time.Time) (arrived bool, err error) {
	timeout := -1
	if !until.IsZero() { // rounded up: too early would be asked again and again
		timeout = int(min(max(0, (time.Until(until)+time.Millisecond-1)/time.Millisecond), math.MaxInt32))
	}
	events, _, err := w.poll.Wait(nil, timeout)
	return len(events) > 0, err
}

// readable tells whether somebody waits at a socket, or a datagram does.
func (w *Waker) readable() bool {
	fds := make([]unix.PollFd, len(w.cfg.Listeners))
	for i, l := range w.cfg.Listeners {
		fds[i] = unix.PollFd{Fd: int32(l.FD), Events: unix.POLLIN}
	}
	n, err := unix.Poll(fds, 0)
	return n > 0 && err == nil
}

// busy tells whether somebody is connected, or is about to be. Where that cannot
// be seen the backend is taken to be busy for ever, which is told.
func (w *Waker) busy() bool {
	if w.readable() {
		return true
	}
	for _, l := range w.cfg.Listeners {
		n, err := w.look(l.Addr, l.V6Only)
		if err != nil {
			w.idle = never
			w.cfg.Trouble(fmt.Errorf("the backend will not be stopped for idleness: %w", err))
		}
		if n > 0 || err != nil {
			return true
		}
	}
	return false
}
