package relay

import (
	"slices"

	"github.com/tiproxy/tiproxy/internal/epoll"
	"github.com/tiproxy/tiproxy/internal/nowait"
	"golang.org/x/sys/unix"
)

// direction is one way through a session. All fields belong to the loop.
type direction struct {
	rest     *rest // read and not yet written; nil: nothing
	pipe     *pipe // borrowed, holds pipe.n unwritten bytes; nil: none
	full     uint8 // see count; bulkAfter: the flow is bulk
	copying  bool  // splice is not possible between these sockets
	readable bool  // the source may have bytes or EOF
	blocked  bool  // the sink took less than it was given
	drain    bool  // no further edge will come: read until EOF or EAGAIN
	eof      bool  // the source has ended
	shut     bool  // the sink was told so
}

// rest is bytes that the sink did not take at once. Few directions have any.
type rest struct{ bytes []byte }

// event takes in what epoll said of one side and moves what can be moved.
func (s *Session) event(side Side, events uint32) {
	from, to := &s.dir[side], &s.dir[side.other()]
	if events&(epoll.In|epoll.RdHup|epoll.Hup|epoll.Err|unix.EPOLLPRI) != 0 {
		from.readable = true
	}
	if events&(epoll.RdHup|epoll.Hup|epoll.Err|unix.EPOLLPRI) != 0 {
		// After EOF or an error comes no other edge; and a read stops short
		// at the urgent mark although there are bytes behind it.
		from.drain = true
	}
	if events&(epoll.Out|epoll.Hup|epoll.Err) != 0 {
		to.blocked = false
	}
	if events&epoll.Hup != 0 && side == B {
		s.gone = true
	}
	if events&epoll.Err != 0 && (from.eof || from.holds()) {
		// Nobody will read from this side soon, so nobody would see it.
		s.abort(socketError(s.fd[side]), side)
		return
	}
	s.pump()
}

// Begin moves what A has said by now, rather than when the loop comes round to
// it. It is called on that loop, right after Join.
func (s *Session) Begin() {
	if !s.ended {
		s.dir[A].readable = true
		s.pump()
	}
}

// pump moves what can be moved both ways, and ends the session when that is
// all there will be.
func (s *Session) pump() {
	more := false
	for side := A; side <= B; side++ {
		again, err := s.flow(side)
		if err != nil {
			s.abort(err.err, err.side)
			return
		}
		more = more || again
	}
	a, b := &s.dir[A], &s.dir[B]
	switch {
	case a.shut && b.shut:
		s.finish(nil, A)
	case b.shut && s.gone:
		s.finish(ErrGone, B)
	}
	if s.ended {
		return
	}
	if s.quiet != nil || a.shut != b.shut {
		s.watchSilence()
	}
	switch l := s.loop.Load(); {
	case more:
		if !s.queue && !(s.isBulk() && s.move()) && !s.ended {
			s.queue = true
			l.Do(s.goOn)
		}
	case s.young > 1:
		s.young--
	case s.young == 1:
		s.settle()
	default:
		if now := l.relay.crew.now(); now.era != s.era {
			s.follow(now)
		}
	}
}

// goTo takes a session to another loop, and tells whether it has left this one:
// then the other may have it in its hands by now.
func (s *Session) goTo(to *loop) bool {
	from := s.loop.Load()
	if to == from {
		return false
	}
	s.keep = false // that would be for the loop that it began on
	hasClock := s.quiet != nil
	from.leave(s)
	s.loop.Store(to)
	if to.join(s, false) == nil {
		if hasClock {
			s.do(s.watchSilence)
		}
		return true
	}
	s.loop.Store(from)
	if err := from.join(s, false); err != nil {
		s.abort(err, A)
	}
	return false
}

// do has f run on the session's loop, wherever it is by then; not at all once
// that has ended.
func (s *Session) do(f func()) {
	l := s.loop.Load()
	l.Do(func() {
		if s.loop.Load() == l {
			f()
		} else {
			s.do(f)
		}
	})
}

// goOn is the next turn of a session that had more to move than one.
func (s *Session) goOn() {
	s.queue = false
	if !s.ended {
		s.pump()
	}
}

// failure is an error and the side whose socket answered it.
type failure struct {
	err  error
	side Side
}

// flow moves the bytes from one side to the other until one of them blocks or
// ends (again is false), or the turn is over (again is true).
func (s *Session) flow(from Side) (again bool, _ *failure) {
	d := &s.dir[from]
	defer s.returnPipe(d)
	for budget := turn; ; {
		switch {
		case d.holds():
			if d.blocked {
				return false, nil
			}
			n, err := s.drain(d, from)
			if err != nil {
				return false, &failure{err, from.other()}
			}
			budget -= n
		case d.eof:
			return false, s.passEOF(d, from)
		case !d.readable:
			return false, nil
		case budget <= 0:
			return true, nil
		case d.full >= bulkAfter && !s.moves:
			return true, nil // pump sees to it
		case d.full >= bulkAfter && s.borrowPipe(d):
			if err := s.fillPipe(d, from); err != nil {
				return false, &failure{err, from}
			}
		default:
			n, err := s.copy(d, from)
			if err != nil {
				return false, err
			}
			budget -= n
		}
	}
}

func (d *direction) holds() bool {
	return d.rest != nil || d.pipe != nil && d.pipe.n > 0
}

// passEOF tells the sink that no more bytes will come, once.
func (s *Session) passEOF(d *direction, from Side) *failure {
	if d.shut {
		return nil
	}
	d.shut = true
	if s.dir[from.other()].shut {
		return nil // both are about to be closed, which says the same
	}
	err := nowait.Shutdown(int(s.fd[from.other()]), unix.SHUT_WR)
	if err != nil && err != unix.ENOTCONN { // ENOTCONN: it is gone already
		return &failure{err, from.other()}
	}
	return nil
}

// copy reads once from the source, into the loop's scratch, and writes that. It
// answers how much the sink took; what it did not take is the direction's rest.
func (s *Session) copy(d *direction, from Side) (int, *failure) {
	scratch := s.loop.Load().scratch
	n, err := nowait.Recv(int(s.fd[from]), scratch)
	switch {
	case err == unix.EAGAIN:
		d.readable = false
		return 0, nil
	case err != nil:
		return 0, &failure{err, from}
	case n == 0:
		d.eof = true
		return 0, nil
	case n < len(scratch):
		d.readable = d.drain // a short read: nothing is left (epoll(7))
	}
	d.count(n == len(scratch))
	sent, err := s.send(d, from, scratch[:n])
	if err != nil {
		return 0, &failure{err, from.other()}
	}
	if sent < n {
		d.rest = &rest{slices.Clone(scratch[sent:n])} // the scratch is the next session's
	}
	return sent, nil
}

func (s *Session) fillPipe(d *direction, from Side) error {
	n, err := d.pipe.fill(int(s.fd[from]))
	switch {
	case err == unix.EAGAIN:
		d.readable = false
		return nil
	case err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP:
		d.copying, d.full = true, 0 // this kind of socket cannot splice
		return nil
	case err != nil:
		return err
	case n == 0:
		d.eof = true
	case n < bufferSize/4:
		d.full = 0 // the flood is over
	}
	return nil
}

// drain writes what the direction holds and tells how much the sink took.
func (s *Session) drain(d *direction, from Side) (int, error) {
	if d.pipe != nil && d.pipe.n > 0 {
		n, err := d.pipe.drain(int(s.fd[from.other()]))
		return s.took(d, from, n, err)
	}
	n, err := s.send(d, from, d.rest.bytes)
	if d.rest.bytes = d.rest.bytes[n:]; len(d.rest.bytes) == 0 {
		d.rest = nil
	}
	return n, err
}

func (s *Session) send(d *direction, from Side, p []byte) (int, error) {
	n, err := nowait.Send(int(s.fd[from.other()]), p)
	return s.took(d, from, n, err)
}

// took notes how much the sink took: a full one is no failure.
func (s *Session) took(d *direction, from Side, n int, err error) (int, error) {
	if err == unix.EAGAIN {
		d.blocked = true
		if s.stuck {
			return 0, nil
		}
		return 0, s.stick()
	}
	if err != nil {
		return 0, err
	}
	s.moved[from].Add(uint64(n))
	return n, nil
}

// finish ends the session with a FIN to both sides.
func (s *Session) finish(err error, from Side) { s.end(err, from, nowait.Close) }

// abort ends the session with a reset to both sides: the one that failed
// will not mind, the other must not take it for an orderly end.
func (s *Session) abort(err error, from Side) { s.end(err, from, closeReset) }

func (s *Session) end(err error, from Side, closeFD func(int)) {
	if s.ended {
		return
	}
	s.ended = true
	s.loop.Load().vigil.end(s)
	for side := A; side <= B; side++ {
		d := &s.dir[side]
		if d.pipe != nil {
			s.loop.Load().pipes.put(d.pipe)
		}
		*d = direction{}
	}
	if s.seat != 0 {
		s.loop.Load().Retire(s.seat)
	}
	r := Result{FromA: s.moved[A].Load(), FromB: s.moved[B].Load(), Err: err, From: from, B: -1}
	closeFD(int(s.fd[A])) // takes it out of epoll too: nobody else has it open
	if s.keep && err == nil {
		r.B = int(s.fd[B])
	} else {
		closeFD(int(s.fd[B]))
	}
	s.done(r)
}

// socketError fetches the pending error of a socket.
func socketError(fd int32) error {
	n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n == 0 {
		return unix.ECONNRESET
	}
	return unix.Errno(n)
}
