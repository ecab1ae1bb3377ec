package supervisor

import "sync"

// inbox is what waits for the owner, in order. Whoever puts something in waits
// for nobody: a session's end is told from an event loop.
type inbox struct {
	work chan struct{} // has one when something was put into an empty queue

	mu     sync.Mutex
	queue  []any // the first one first
	closed bool  // the owner has ended
}

func newInbox() *inbox { return &inbox{work: make(chan struct{}, 1)} }

// put answers false once the owner has ended.
func (b *inbox) put(in any) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.queue = append(b.queue, in)
	if len(b.queue) == 1 {
		b.work <- struct{}{} // there is room: take has taken the one before with its queue
	}
	return true
}

// take blocks until there is something, and answers all of it.
func (b *inbox) take() []any {
	<-b.work
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.queue
	b.queue = nil
	return all
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
