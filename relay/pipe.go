package relay

import "golang.org/x/sys/unix"

const (
	// pipeSize is what pipe(7) gives by default, and the least that pays.
	pipeSize = 64 << 10
	// pipeWanted is not faster, but takes half the CPU for the same bytes. An
	// unprivileged user has 64 MB in all (pipe-user-pages-soft); then it is
	// pipeSize again.
	pipeWanted = 1 << 20
	// spliceMost asks for more than a pipe holds: the kernel stops at its end.
	spliceMost = 1 << 20
	// idlePipes stay open between bulk flows, the others are closed.
	idlePipes = 4
	// lentPipes bounds the pipes of one loop: flows beyond copy.
	lentPipes = 128
)

// pipe is a kernel buffer that bytes go through without passing this process.
type pipe struct {
	r, w int
	n    int // bytes inside
}

// fill splices from a socket into the empty pipe; 0 is EOF.
func (p *pipe) fill(fd int) (int, error) {
	n, err := spliceRetry(fd, p.w, spliceMost)
	if n > 0 {
		p.n += n
	}
	return n, err
}

// drain splices from the pipe into a socket.
func (p *pipe) drain(fd int) (int, error) {
	n, err := spliceRetry(p.r, fd, p.n)
	if n > 0 {
		p.n -= n
	}
	return n, err
}

func spliceRetry(from, to, most int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// pipePool lends pipes to the flows of one loop; it belongs to its goroutine.
type pipePool struct {
	idle []*pipe // empty pipes
	lent int     // pipes with flows
}

// get lends an empty pipe, or answers nil: the flow must copy for now.
func (pp *pipePool) get() *pipe {
	if n := len(pp.idle); n > 0 {
		p := pp.idle[n-1]
		pp.idle = pp.idle[:n-1]
		pp.lent++
		return p
	}
	if pp.lent >= lentPipes {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	if _, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeWanted); err == nil {
		pp.lent++
		return p
	}
	// Past the user's share of pipe pages the kernel makes pipes of one or two
	// pages: slower than copying.
	if size, err := unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0); err != nil || size < pipeSize {
		p.close()
		return nil
	}
	pp.lent++
	return p
}

// put takes a pipe back. One that is not empty (its session was aborted)
// would give one client's bytes to another: it is closed.
func (pp *pipePool) put(p *pipe) {
	pp.lent--
	if p.n > 0 || len(pp.idle) >= idlePipes {
		p.close()
		return
	}
	pp.idle = append(pp.idle, p)
}

func (pp *pipePool) close() {
	for _, p := range pp.idle {
		p.close()
	}
	pp.idle = nil
}

// borrowPipe makes sure that the direction has a pipe, if it can have one.
func (s *Session) borrowPipe(d *direction) bool {
	if d.copying {
		return false
	}
	if d.pipe == nil {
		d.pipe = s.loop.Load().pipes.get()
	}
	return d.pipe != nil
}

// returnPipe gives back a pipe that is empty: only a stuck flow keeps one.
func (s *Session) returnPipe(d *direction) {
	if d.pipe != nil && d.pipe.n == 0 {
		s.loop.Load().pipes.put(d.pipe)
		d.pipe = nil
	}
}
