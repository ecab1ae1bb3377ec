package relay

// bulkAfter is what direction.full comes to with two full reads in a row, or three
// with a short one after each: that is more than any request or answer that a copy
// moves faster than a pipe.
const bulkAfter = 4

// count follows how the reads of a direction are filled. A sender who waits until
// its window is open again may send one and a half of them each time, for ever.
func (d *direction) count(full bool) {
	if full {
		d.full = min(d.full+2, bulkAfter)
	} else if d.full > 0 {
		d.full--
	}
}

// isBulk tells whether one of its flows is.
func (s *Session) isBulk() bool { return s.dir[A].full >= bulkAfter || s.dir[B].full >= bulkAfter }

// move prepares a session for bulk, once: it takes it to the loop whose turn it is, and
// tells whether it has left this one. It has no pipe yet, which would belong to the loop.
func (s *Session) move() bool {
	if s.moves {
		return false
	}
	s.moves, s.keep = true, false
	s.settle()
	return s.goTo(s.loop.Load().relay.forBulk())
}

// forBulk is the loop for the next bulk flow.
func (r *Relay) forBulk() *loop { return r.loops[int(r.bulk.Add(1))%len(r.loops)] }
