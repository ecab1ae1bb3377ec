// Package epoll is epoll(7) with an eventfd to wake it, and a [Loop] of it, for
// those who own raw non-blocking fds.
//
// The Go runtime has a poller of its own, but a connection in it costs a
// goroutine, a pollDesc and a net.Conn; with thousands of quiet clients that
// is the memory of the whole program.
package epoll

import (
	"fmt"
	"sync"

	"github.com/tiproxy/tiproxy/internal/nowait"
	"golang.org/x/sys/unix"
)

// Interest of a relayed or waiting stream socket. Edge-triggered: each change
// is told once, so a quiet connection costs nothing.
const (
	In    = unix.EPOLLIN
	Out   = unix.EPOLLOUT
	RdHup = unix.EPOLLRDHUP
	Hup   = unix.EPOLLHUP
	Err   = unix.EPOLLERR
	Edge  = uint32(unix.EPOLLET & 0xffffffff)
	// One is for a file that several loops watch: only one of those that wait is
	// woken, the first to have watched it (epoll_ctl(2), EPOLLEXCLUSIVE).
	One    = uint32(unix.EPOLLEXCLUSIVE)
	wakeID = ^uint64(0)
)

// Event is one readiness report: the ID given to Add, and what happened.
type Event struct {
	ID     uint64
	Events uint32
}

// Poller is one epoll instance. Wait belongs to one goroutine; Add,
// Delete and Wake may be called from any.
type Poller struct {
	fd     int               // the epoll instance; written by New
	events []unix.EpollEvent // the kernel's answer, reused by each Wait

	mu   sync.Mutex // held over a use of wake, so that Close does not come in between
	wake int        // eventfd, level of the wake-ups not yet seen; -1: Close was called
}

// New makes a Poller whose Wait answers at most batch events at once. It fails
// when the process or the system is out of fds.
func New(batch int) (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make an epoll instance: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot make an eventfd: %w", err)
	}
	p := &Poller{fd: fd, wake: wake, events: make([]unix.EpollEvent, batch)}
	if err := p.Add(wake, wakeID, In|Edge); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Add begins to watch fd; its events will carry id.
func (p *Poller) Add(fd int, id uint64, events uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, id, events)
}

// Modify changes what is watched of fd, and the id.
func (p *Poller) Modify(fd int, id uint64, events uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, id, events)
}

// Delete ends the watch of fd. An event that Wait answered before may still be
// in its caller's hands.
func (p *Poller) Delete(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

func (p *Poller) control(op, fd int, id uint64, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	if err := nowait.EpollCtl(p.fd, op, fd, &ev); err != nil {
		return fmt.Errorf("cannot watch fd %d: %w", fd, err)
	}
	return nil
}

// Wait blocks until something happened, or for at most timeout milliseconds
// (-1: for ever, 0: not at all), and appends it to events. woken tells that
// Wake was called since the last Wait.
func (p *Poller) Wait(events []Event, timeout int) (_ []Event, woken bool, err error) {
	n, err := unix.EpollWait(p.fd, p.events, timeout)
	if err == unix.EINTR {
		return events, false, nil
	}
	if err != nil {
		return events, false, fmt.Errorf("cannot wait for events: %w", err)
	}
	events, woken = p.report(events, n)
	return events, woken, nil
}

// Look is a Wait for no time at all, past Go's scheduler: to tell that of each
// wait costs more than the look itself. A Poller that is broken is Wait's to
// report.
func (p *Poller) Look(events []Event) []Event {
	n, err := nowait.EpollWait(p.fd, p.events)
	if err != nil {
		return events
	}
	events, _ = p.report(events, n)
	return events
}

// report appends the first n of the kernel's answer to events.
func (p *Poller) report(events []Event, n int) (_ []Event, woken bool) {
	for _, ev := range p.events[:n] {
		id := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
		if id == wakeID {
			woken = true // edge-triggered: the counter need not be read
			continue
		}
		events = append(events, Event{ID: id, Events: ev.Events})
	}
	return events, woken
}

// Wake makes the present or the next Wait return. After Close it does nothing:
// the number of the eventfd may be another's by then.
func (p *Poller) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := [8]byte{1}
	for p.wake >= 0 {
		_, err := unix.Write(p.wake, one[:])
		if err == unix.EAGAIN { // 2^64-2 wake-ups unread: start the counter again
			var old [8]byte
			_, _ = unix.Read(p.wake, old[:])
			continue
		}
		if err != unix.EINTR {
			return
		}
	}
}

// Close ends the Poller; no Wait may be under way.
func (p *Poller) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.wake)
	p.wake = -1
	unix.Close(p.fd)
}
