package supervisor

import (
	"sync"
	"sync/atomic"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// Lease is the right to connect to a ready backend. The backend is not
// stopped for idleness while there is one.
type Lease struct {
	s        *Supervisor
	at       *place // shared by the leases of a generation
	released atomic.Bool
}

// place is where leases lead to. Who asks while somebody else has a lease on it
// gets one at once, which the owner never hears of: to the machine all of them
// are used for as long as one is.
//
//	leases out = granted by the owner + shared;  shared > 0 only if granted > 0
type place struct {
	addrs []sockaddr.Addr
	child *child // nil: the backend is external

	mu       sync.Mutex
	granted  int // leases that the owner has granted, and that are not released
	shared   int // leases beside them
	sharings int // leases that were shared so far
	taken    int // connections that it took, up to two
}

// lent is how many leases were shared so far; nil is no place.
func (p *place) lent() int {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sharings
}

// grant counts a lease of the owner's.
func (p *place) grant() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.granted++
}

// share tells whether there may be one more lease without the owner's doing.
func (p *place) share() bool {
	if p.child == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.granted == 0 {
		return false
	}
	p.shared++
	p.sharings++
	return true
}

// giveBack counts a lease out, and tells whether it was one of the owner's.
func (p *place) giveBack() (granted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared > 0 {
		p.shared--
		return false
	}
	p.granted--
	return true
}

// Addresses tells where to connect, the first to be tried first. They are
// shared: not to be changed.
func (l *Lease) Addresses() []sockaddr.Addr { return l.at.addrs }

// Generation tells which start of the backend the lease is on; 0: external.
func (l *Lease) Generation() uint64 {
	if l.at.child == nil {
		return 0
	}
	return l.at.child.gen
}

// Proven tells whether to connect is enough. A backend that has taken one
// connection may be one that takes no other, and be on its way to its end while
// its listener still lives: until it has taken a second one, whoever connects
// should see that he is accepted.
func (l *Lease) Proven() bool {
	l.at.mu.Lock()
	defer l.at.mu.Unlock()
	return l.at.child == nil || l.at.taken != 1
}

// Connected notes that the backend took a connection. One that ends with
// status 0 after it served somebody has not failed.
func (l *Lease) Connected() {
	if l.at.child == nil {
		return
	}
	l.at.child.served.Store(true)
	l.at.mu.Lock()
	defer l.at.mu.Unlock()
	l.at.taken = min(l.at.taken+1, 2)
}

// Suspect tells that the backend reset the connection. If that is because it
// is dying, nobody is sent to it any more: its listener may live for a moment
// longer than its connections.
func (l *Lease) Suspect() {
	if c := l.at.child; c != nil {
		l.s.send(suspicion{c.gen})
	}
}

// Recycle has the child of this lease replaced once its leases are back. The
// reason is told in events.
func (l *Lease) Recycle(reason string) {
	if c := l.at.child; c != nil {
		l.s.send(worn{recycle{c.gen}, reason})
	}
}

// Release gives the lease back; a second call does nothing.
func (l *Lease) Release() {
	if l.released.CompareAndSwap(false, true) && l.at.child != nil && l.at.giveBack() {
		l.s.send(released{l.at.child.gen})
	}
}
