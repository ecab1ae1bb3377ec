package proxy

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// starvedRest is how long accepting rests when fds or memory are exhausted, if
// none is freed before: the listener stays readable, so going on would spin.
var starvedRest = time.Second

// waiterBit tells the ID of a waiting client from the index of a listener.
const waiterBit = 1 << 63

// rest is why accepting rests: those who come are kept in the kernel's backlog.
type rest int32

const (
	noRest      rest = iota
	restStarved      // fds or memory are exhausted; until one is freed, or a while has passed
	restSlowed       // Rules.Rate; until the next one may come
	restFull         // FarewellBacklog; until the line has room
	anyRest          // is never the reason; ends each of them
)

// front accepts, and watches those who have not reached the backend yet.
type front struct {
	p       *Proxy
	poll    *epoll.Poller
	rate    gate.Rate          // of meter; owned by the goroutine
	meter   *gate.Meter        // of Rules.Rate; owned by the goroutine
	waiters map[uint64]*client // by number; those who are watched; under Proxy.mu
	deaf    chan struct{}      // closed by the goroutine: nobody is accepted any more
	stopped chan struct{}      // closed by the goroutine when it ends
	idle    bool               // it went deaf of its own accord; valid once deaf is closed

	stopping atomic.Bool        // go deaf; written by stop
	ending   atomic.Bool        // end; written by end
	resting  atomic.Int32       // the rest, noRest while it accepts; written by the goroutine
	rested   atomic.Bool        // accept again; written by resume
	pings    chan chan struct{} // to be closed by the goroutine
}

func newFront(p *Proxy, poll *epoll.Poller) *front {
	return &front{
		p: p, poll: poll, meter: gate.NewMeter(gate.Rate{}),
		deaf: make(chan struct{}), stopped: make(chan struct{}), pings: make(chan chan struct{}, 1),
		waiters: map[uint64]*client{},
	}
}

// hear begins to accept, or begins again.
func (f *front) hear() error {
	for i := range f.p.doors {
		if err := f.poll.Add(f.p.doors[i].FD, uint64(i), epoll.In); err != nil {
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
				f.p.lookAfter(ev.ID&^waiterBit, ev.Events)
			} else if hears && f.mayAccept() {
				f.accept(&f.p.doors[ev.ID])
			}
		}
		if woken {
			f.answer()
		}
		if !hears || !woken {
			continue
		}
		if f.rested.Swap(false) && f.resting.Swap(int32(noRest)) != int32(noRest) {
			_ = f.hear() // it could be heard before
		}
		if f.stopping.Load() || f.resting.Load() == int32(noRest) && f.p.isIdle() {
			hears = false
			f.goDeaf()
		}
	}
}

// ping returns when the goroutine has answered, or with the cause of ctx's end.
func (f *front) ping(ctx context.Context) error {
	answer := make(chan struct{})
	select {
	case f.pings <- answer:
		f.poll.Wake()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-answer:
	case <-f.stopped:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// answer is the other side of ping.
func (f *front) answer() {
	select {
	case answer := <-f.pings:
		close(answer)
	default:
	}
}

// goDeaf stops accepting. Listeners are only taken out of the poll: what is in
// their backlog is systemd's, and wakes us again.
func (f *front) goDeaf() {
	f.unhear()
	f.idle = !f.stopping.Load()
	close(f.deaf)
}

func (f *front) unhear() {
	for i := range f.p.doors {
		_ = f.poll.Delete(f.p.doors[i].FD)
	}
}

// mayAccept tells whether there is a place for one more, and rests if not.
func (f *front) mayAccept() bool {
	if f.resting.Load() != int32(noRest) {
		return false
	}
	rules := f.p.rules.Load()
	if rules.WhenFull.Kind == FarewellBacklog && f.p.isFull() {
		f.rest(restFull)
		if !f.p.isFull() { // it has room since: nobody tells that twice
			f.resume(restFull)
		}
		return false
	}
	if f.rate != rules.Rate {
		f.rate, f.meter = rules.Rate, gate.NewMeter(rules.Rate)
	}
	if pause := f.meter.Wait(f.p.clock()); pause > 0 {
		f.rest(restSlowed)
		time.AfterFunc(pause, func() { f.resume(restSlowed) })
		return false
	}
	return true
}

// isFull tells whether the line has no place that those who have still to speak
// will not take.
func (p *Proxy) isFull() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gate.Places() <= p.speakers
}

// accept takes one client. The listeners are level-triggered: a backlog is
// told again by the next Wait, so that several listeners take turns.
func (f *front) accept(d *door) {
	fd, addr, err := sockaddr.Accept(d.FD)
	switch err {
	case nil:
		if f.p.welcome(fd, d, addr) {
			f.meter.Count(f.p.clock())
		}
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		f.rest(restStarved)
		f.p.cfg.Events(StarvedEvent{Listener: d.Name, Err: err})
		time.AfterFunc(starvedRest, func() { f.resume(restStarved) })
	}
	// Anything else is one connection's own trouble (accept(2), "Error
	// handling"), or nobody was there.
}

// rest stops accepting until resume ends it.
func (f *front) rest(why rest) {
	f.unhear()
	f.resting.Store(int32(why))
}

// resume ends a rest of that kind, if there is one.
func (f *front) resume(why rest) {
	if now := rest(f.resting.Load()); now != noRest && (now == why || why == anyRest) {
		f.rested.Store(true)
		f.poll.Wake()
	}
}

// watch has c looked after when its client speaks or hangs up; p.mu is held.
func (f *front) watch(c *client) error {
	if c.approach.watched {
		return nil
	}
	interest := uint32(epoll.RdHup | epoll.Edge)
	if c.stage != Waiting && c.stage != Entering { // it has to speak first
		interest |= epoll.In
	}
	c.approach.watched = true
	f.waiters[c.number] = c
	return f.poll.Add(int(c.fd), c.number|waiterBit, interest)
}

// unwatch ends that, before the relay watches the same fd, or it is closed;
// p.mu is held.
func (f *front) unwatch(c *client) {
	if c.approach.watched {
		c.approach.watched = false
		delete(f.waiters, c.number)
		_ = f.poll.Delete(int(c.fd))
	}
}
