package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/sockaddr"
)

// starvedRest is how long accepting rests when fds or memory are exhausted, if
// none is freed before: the listener stays readable, so going on would spin.
var starvedRest = time.Second

// rest is why accepting rests: those who come are kept in the kernel's backlog.
type rest int32

const (
	noRest      rest = iota
	restStarved      // fds or memory are exhausted; until one is freed, or a while has passed
	restSlowed       // Rules.Rate; until the next one may come
	restFull         // FarewellBacklog; until the line has room
	restUntold       // too many events are not told yet; until all are
	anyRest          // is never the reason; ends each of them
)

// front accepts, and watches those who have not reached the backend yet. Its
// listeners are heard on all loops of the relay. Of those that wait the first is
// woken, and who comes when it is busy is taken in by the next.
type front struct {
	p       *Proxy
	home    *epoll.Loop   // the first loop
	deaf    chan struct{} // closed when nobody is accepted any more
	resting atomic.Int32  // the rest, noRest while it accepts; read by anybody
	watches int           // clients that are watched; under Proxy.mu

	// mu is held from the accepting of a client until it stands in line, so that
	// the line is in the order of accepting. It comes before Proxy.mu, and guards
	// what follows.
	mu    sync.Mutex
	rate  gate.Rate   // of meter
	meter *gate.Meter // of Rules.Rate
	hears bool        // accepts, or rests; not any more once it is deaf
	idle  bool        // it went deaf of its own accord; valid once deaf is closed
}

func newFront(p *Proxy) *front {
	return &front{
		p: p, home: p.loops[0], meter: gate.NewMeter(gate.Rate{}),
		hears: true, deaf: make(chan struct{}),
	}
}

// begin begins to accept.
func (f *front) begin() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hear()
}

// hear begins to accept, or begins again; f.mu is held.
func (f *front) hear() error {
	for i := range f.p.doors {
		d := &f.p.doors[i]
		if d.seat == 0 {
			_ = d.loop().Enroll(d, &d.seat, 0) // without a file it cannot fail
		}
		if err := d.loop().Watch(d.seat, 0, d.FD, epoll.In|epoll.One); err != nil {
			return err
		}
	}
	return nil
}

// soon has do called on the home loop, with f.mu held.
func (f *front) soon(do func()) {
	f.home.Do(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		do()
	})
}

// stop has the front go deaf.
func (f *front) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.goDeaf(false)
}

// Ready implements epoll.Handler. The listeners are level-triggered: a backlog is
// told again by the next wait, so that several listeners take turns. So who finds
// another loop accepting does what else there is to do, once, before it waits for it.
func (d *door) Ready(uint8, uint32) {
	f := d.p.front
	if d.late {
		f.mu.Lock()
	} else if !f.mu.TryLock() {
		d.late = true
		return
	}
	d.late = false
	var after sequels
	if f.hears && f.mayAccept() {
		after = f.accept(d)
	}
	f.mu.Unlock()
	d.p.carryOut(after)
}

// leaveIfIdle goes deaf once nobody has been there for IdleExit. f.mu is held, as in
// the functions from here to accept.
func (f *front) leaveIfIdle() {
	if f.resting.Load() == int32(noRest) && f.p.isIdle() {
		f.goDeaf(true)
	}
}

// goDeaf stops accepting. Listeners are only taken out of the poll: what is in
// their backlog is systemd's, and wakes us again.
func (f *front) goDeaf(idle bool) {
	if !f.hears {
		return
	}
	f.unhear()
	for i := range f.p.doors {
		d := &f.p.doors[i]
		if d.seat != 0 {
			d.loop().Retire(d.seat)
		}
	}
	f.hears, f.idle = false, idle
	close(f.deaf)
}

func (f *front) unhear() {
	for i := range f.p.doors {
		f.p.doors[i].loop().Unwatch(f.p.doors[i].FD)
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
	if f.p.teller.isFull() {
		f.rest(restUntold)
		if !f.p.teller.isFull() { // it was faster
			f.resume(restUntold)
		}
		return false
	}
	if f.rate != rules.Rate {
		f.rate, f.meter = rules.Rate, gate.NewMeter(rules.Rate)
	}
	if f.rate == (gate.Rate{}) {
		return true
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

// accept takes one client, and answers what is to be done once f.mu is given back.
func (f *front) accept(d *door) (after sequels) {
	fd, addr, err := sockaddr.Accept(d.FD)
	switch {
	case err == nil:
		welcome := false
		if welcome, after = f.p.welcome(fd, d, addr); welcome && f.rate != (gate.Rate{}) {
			f.meter.Count(f.p.clock())
		}
	case isStarved(err):
		f.rest(restStarved)
		f.p.dropSpares()
		f.p.teller.tell(StarvedEvent{Listener: d.Name, Err: err})
		time.AfterFunc(starvedRest, func() { f.resume(restStarved) })
	}
	// Anything else is one connection's own trouble (accept(2), "Error
	// handling"), or nobody was there.
	return after
}

// rest stops accepting until resume ends it.
func (f *front) rest(why rest) {
	f.unhear()
	f.resting.Store(int32(why))
}

// resume ends a rest of that kind, if there is one. Anybody may call it.
func (f *front) resume(why rest) {
	if f.is(why) {
		f.soon(func() {
			if f.hears && f.is(why) {
				f.resting.Store(int32(noRest))
				_ = f.hear() // it could be heard before
				f.leaveIfIdle()
			}
		})
	}
}

// is tells whether accepting rests for that reason.
func (f *front) is(why rest) bool {
	now := rest(f.resting.Load())
	return now != noRest && (now == why || why == anyRest)
}

// watch has c looked after when its client speaks or hangs up; p.mu is held.
func (f *front) watch(c *client) error {
	a := c.way()
	if a.seat != 0 {
		return nil
	}
	interest := uint32(epoll.RdHup | epoll.Edge)
	if c.stage != Waiting && c.stage != Entering { // it has to speak first
		interest |= epoll.In
	}
	if err := c.loop().Enroll(c, &a.seat, interest, epoll.File{FD: int(c.fd)}); err != nil {
		return err
	}
	f.watches++
	return nil
}

// unwatch ends that, before the relay watches the same fd, or it is closed;
// p.mu is held.
func (f *front) unwatch(c *client) {
	if a := c.approach; a != nil && a.seat != 0 {
		c.loop().Retire(a.seat)
		c.loop().Unwatch(int(c.fd))
		a.seat = 0
		f.watches--
	}
}
