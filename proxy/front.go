package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// starvedRest is how long accepting rests when fds or memory are exhausted, if
// none is freed before: the listener stays readable, so going on would spin.
var starvedRest = time.Second

// waiterBit tells the ID of a waiting client from the index of a listener.
const waiterBit = 1 << 63

// front accepts, and watches those who wait.
type front struct {
	p       *Proxy
	poll    *epoll.Poller
	deaf    chan struct{} // closed by the goroutine: nobody is accepted any more
	stopped chan struct{} // closed by the goroutine when it ends
	idle    bool          // it went deaf of its own accord; valid once deaf is closed

	stopping atomic.Bool // go deaf; written by stop
	ending   atomic.Bool // end; written by end
	rested   atomic.Bool // accept again after a rest; written by resume
	resting  atomic.Bool // accepting rests; written by the goroutine

	mu      sync.Mutex
	waiters map[uint64]*client // by number; those whose hanging up is watched
}

func newFront(p *Proxy, poll *epoll.Poller) *front {
	return &front{
		p: p, poll: poll,
		deaf: make(chan struct{}), stopped: make(chan struct{}),
		waiters: map[uint64]*client{},
	}
}

// hear begins to accept, or begins again.
func (f *front) hear() error {
	for i, l := range f.p.cfg.Listeners {
		if err := f.poll.Add(l.FD, uint64(i), epoll.In); err != nil {
			return err
		}
	}
	return nil
}

// stop has the front go deaf, and returns when it is.
func (f *front) stop() {
	f.stopping.Store(true)
	f.poll.Wake()
	<-f.deaf
}

// end ends the goroutine; nobody is waiting any more.
func (f *front) end() {
	f.ending.Store(true)
	f.poll.Wake()
	<-f.stopped
	f.poll.Close()
}

func (f *front) run() {
	defer close(f.stopped)
	var events []epoll.Event
	hears := true
	for !f.ending.Load() {
		var woken bool
		var err error
		if events, woken, err = f.poll.Wait(events[:0], -1); err != nil {
			panic(err) // the poller's own fd is broken
		}
		for _, ev := range events {
			if ev.ID&waiterBit != 0 {
				f.lookAfter(ev.ID&^waiterBit, ev.Events)
			} else if hears {
				f.accept(&f.p.cfg.Listeners[ev.ID])
			}
		}
		switch {
		case !hears || !woken:
		case f.stopping.Load() || f.p.isIdle():
			hears = false
			f.goDeaf()
		case f.rested.Swap(false) && f.resting.Swap(false):
			_ = f.hear() // it could be heard before
		}
	}
}

// goDeaf stops accepting. Listeners are only taken out of the poll: what is in
// their backlog is systemd's, and wakes us again.
func (f *front) goDeaf() {
	for _, l := range f.p.cfg.Listeners {
		_ = f.poll.Delete(l.FD)
	}
	f.idle = !f.stopping.Load()
	close(f.deaf)
}

// accept takes one client. The listeners are level-triggered: a backlog is
// told again by the next Wait, so that several listeners take turns.
func (f *front) accept(l *Listener) {
	fd, sa, err := unix.Accept4(l.FD, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch err {
	case nil:
		f.p.welcome(fd, l, sockaddr.From(sa))
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		f.rest(l, err)
	}
	// Anything else is one connection's own trouble (accept(2), "Error
	// handling"), or nobody was there.
}

// rest stops accepting for a while, or until an fd is freed.
func (f *front) rest(starved *Listener, err error) {
	for _, l := range f.p.cfg.Listeners {
		_ = f.poll.Delete(l.FD)
	}
	f.resting.Store(true)
	f.p.cfg.Events(StarvedEvent{Listener: starved.Name, Err: err})
	time.AfterFunc(starvedRest, f.resume)
}

// resume ends a rest, if there is one; every client's end calls it.
func (f *front) resume() {
	if f.resting.Load() {
		f.rested.Store(true)
		f.poll.Wake()
	}
}

// watch has c told when its client hangs up, and when it speaks if it has to
// speak first.
func (f *front) watch(c *client) error {
	interest := uint32(epoll.RdHup | epoll.Edge)
	if c.approach.spoke != nil {
		interest |= epoll.In
	}
	f.mu.Lock()
	f.waiters[c.number] = c
	f.mu.Unlock()
	return f.poll.Add(int(c.fd), c.number|waiterBit, interest)
}

// unwatch ends that, before the relay watches the same fd.
func (f *front) unwatch(c *client) {
	f.mu.Lock()
	delete(f.waiters, c.number)
	f.mu.Unlock()
	_ = f.poll.Delete(int(c.fd))
}

// lookAfter decides whether a waiting client has left. A reset has. A close
// and a half-close look the same, so the bytes decide: who sent something and
// said that it was all may wait for the answer (echo x | nc -N).
//
// Nothing is read for it and no error is fetched: that would eat what the
// relay has to pass on.
func (f *front) lookAfter(number uint64, events uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.waiters[number]
	switch {
	case c == nil: // it went on meanwhile
	case events&epoll.Err != 0:
		c.approach.leave(ErrReset)
	case unread(int(c.fd)) > 0:
		// The front deals the places out here, too: in the order of first bytes.
		if a := c.approach; a.spoke != nil && !a.heard {
			a.heard = true
			a.spoke <- f.p.lineUp(c)
		}
	case events&(epoll.RdHup|epoll.Hup) != 0:
		c.approach.leave(ErrHungUp)
	}
}

// unread is how many bytes a socket holds for us (FIONREAD, which Go calls TIOCINQ).
func unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
