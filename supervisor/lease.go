package supervisor

import (
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

// place is where leases lead to.
type place struct {
	addrs []sockaddr.Addr
	child *child // nil: the backend is external
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

// Connected notes that the backend took a connection. One that ends with
// status 0 after it served somebody has not failed.
func (l *Lease) Connected() {
	if l.at.child != nil {
		l.at.child.served.Store(true)
	}
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
	if l.released.CompareAndSwap(false, true) && l.at.child != nil {
		l.s.send(released{l.at.child.gen})
	}
}
