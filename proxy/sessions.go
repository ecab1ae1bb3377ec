package proxy

import (
	"slices"
	"time"
)

// Session is a look at a client that has not ended.
type Session struct {
	Client      Client
	Stage       Stage
	Waited      time.Duration // until it was let in, or so far
	Inside      time.Duration // since it was let in; 0: it was not
	FromClient  uint64        // bytes that the backend got
	FromBackend uint64        // bytes that the client got
	Generation  uint64        // of its backend; 0: none yet, or it is not known
	PID         int           // of the program that serves it alone; 0: none does
}

// Sessions looks at all clients, in the order in which they came. The relay
// goes on meanwhile.
func (p *Proxy) Sessions() []Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Session, 0, p.count)
	for c := p.clients; c != nil; c = c.next { // the last one first
		if c.stage != Ended {
			all = append(all, p.look(c))
		}
	}
	slices.Reverse(all)
	return all
}

// Line looks at those who wait for their turn, the next one first.
func (p *Proxy) Line() []Session {
	waiters := p.gate.Line()
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Session, 0, len(waiters))
	for _, w := range waiters {
		if c := w.(*client); c.stage == Waiting {
			all = append(all, p.look(c))
		}
	}
	return all
}

// look makes a Session; p.mu is held.
func (p *Proxy) look(c *client) Session {
	now := p.clock()
	s := Session{Client: c.facts(), Stage: c.stage, Waited: now - c.arrived, Generation: c.generation()}
	if c.entered != 0 {
		s.Waited, s.Inside = c.entered-c.arrived, now-c.entered
	}
	if c.stage == Hosted {
		s.PID = c.approach.pid
	}
	if c.session != nil {
		s.FromClient, s.FromBackend = c.session.Counts()
	}
	return s
}

// Activity tells whether there are clients, since when it is so, and how long
// the one that waits for longest has waited; 0: nobody does.
func (p *Proxy) Activity() (busy bool, since time.Time, oldest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	for c := p.clients; c != nil; c = c.next {
		if c.stage == Waiting {
			oldest = max(oldest, now-c.arrived)
		}
	}
	return p.count > 0, p.began.Add(p.turned), oldest
}

// Denied counts the clients that the rules kept out.
func (p *Proxy) Denied() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.denied
}

// Kick ends the client with that number, with a reset if it was joined to the
// backend, or by ending its program, and tells whether there is one.
func (p *Proxy) Kick(number uint64) bool {
	p.mu.Lock()
	defer p.unlock()
	for c := p.clients; c != nil; c = c.next {
		if c.number != number || c.stage == Ended {
			continue
		}
		c.fate = kicked
		if c.session != nil {
			c.session.Cut(true)
		} else {
			p.dismiss(c, ErrKicked)
		}
		return true
	}
	return false
}
