package relay

import (
	"sync"

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
	// batch is how many events one epoll_wait may answer.
	batch = 128

	interest = epoll.In | epoll.Out | epoll.RdHup | unix.EPOLLPRI | epoll.Edge
)

// loop owns the fds of its sessions. Its goroutine alone reads, writes and
// closes them.
type loop struct {
	poll    *epoll.Poller
	opts    Options
	scratch []byte        // one read's bytes, empty between two of them
	pipes   pipePool      // pipes between two bulk flows
	again   []*Session    // had more to move when their turn was over
	stopped chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // guards what follows
	table  []place    // sessions by slot
	free   []uint32   // slots without a session
	orders []func()   // to be run on the loop
	ending bool       // stop was called: nothing new is taken
}

// place is one slot of the table.
type place struct {
	s   *Session // nil: free
	gen uint32   // counts the sessions that were here
}

func newLoop(o Options) (*loop, error) {
	poll, err := epoll.New(batch)
	if err != nil {
		return nil, err
	}
	return &loop{
		poll:    poll,
		opts:    o,
		scratch: make([]byte, bufferSize),
		stopped: make(chan struct{}),
	}, nil
}

// join takes a session in and has its sockets watched. The loop hears of it
// by the event that a writable socket raises as soon as it is added.
func (l *loop) join(s *Session) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return ErrCut
	}
	l.place(s)
	for side := A; side <= B; side++ {
		if err := l.poll.Add(int(s.fd[side]), s.id(side), interest); err != nil {
			l.vacate(s) // the caller closes the fds, which ends their watch
			return err
		}
	}
	return nil
}

// place gives s a slot; l.mu is held.
func (l *loop) place(s *Session) {
	if n := len(l.free); n > 0 {
		s.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		s.slot = uint32(len(l.table))
		l.table = append(l.table, place{})
	}
	p := &l.table[s.slot]
	p.s = s
	s.gen = p.gen
}

// vacate frees s's slot; l.mu is held.
func (l *loop) vacate(s *Session) {
	p := &l.table[s.slot]
	p.s = nil
	p.gen++
	l.free = append(l.free, s.slot)
}

// id is what epoll reports for one side: generation, slot, side.
func (s *Session) id(side Side) uint64 {
	return uint64(s.gen)<<32 | uint64(s.slot)<<1 | uint64(side)
}

// session finds whom an event is for; nil if it ended meanwhile.
func (l *loop) session(id uint64) *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.table[uint32(id)>>1]
	if p.gen != uint32(id>>32) {
		return nil
	}
	return p.s
}

// order has f run on the loop soon; not at all once the loop has ended.
func (l *loop) order(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return
	}
	l.orders = append(l.orders, f)
	l.poll.Wake()
}

// stop has the loop cut its sessions and end.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	l.poll.Wake()
}

func (l *loop) run() {
	defer close(l.stopped)
	defer l.close()
	var events []epoll.Event
	for {
		timeout := -1
		if len(l.again) > 0 {
			timeout = 0
		}
		var woken bool
		var err error
		events, woken, err = l.poll.Wait(events[:0], timeout)
		if err != nil {
			panic(err) // EBADF, EFAULT, EINVAL: the loop's own fd is broken
		}
		for _, ev := range events {
			if s := l.session(ev.ID); s != nil {
				s.event(Side(ev.ID&1), ev.Events)
			}
		}
		l.takeTurns()
		if woken && l.obey() {
			return
		}
	}
}

// takeTurns goes on with the sessions that had more to move than one turn.
func (l *loop) takeTurns() {
	waiting := l.again
	l.again = nil
	for _, s := range waiting {
		s.queue = false
		if !s.ended {
			s.pump()
		}
	}
}

// obey runs the orders and tells whether the loop is to end.
func (l *loop) obey() bool {
	l.mu.Lock()
	orders, ending := l.orders, l.ending
	l.orders = nil
	l.mu.Unlock()
	for _, f := range orders {
		f()
	}
	return ending
}

// close cuts what is left. No join or order comes after ending was set.
func (l *loop) close() {
	for i := range l.table {
		if s := l.table[i].s; s != nil {
			s.abort(ErrCut, A)
		}
	}
	l.pipes.close()
	l.poll.Close()
}
