// Package raw is non-blocking TCP sockets and epoll(7) without Go's own poller,
// for one thread that serves many connections. Load and backend share the CPUs
// with the proxy that is measured, so they make as few system calls as can be.
package raw

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Backlog is how many connections may wait to be accepted: as many as the
// kernel allows by default (net.core.somaxconn).
const Backlog = 4096

// Listen binds a non-blocking listener at an IPv4 address.
func Listen(address string) (int, error) {
	at, err := resolve(address)
	if err != nil {
		return -1, err
	}
	fd, err := socket()
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	if err == nil {
		err = unix.Listen(fd, Backlog)
	}
	if err != nil {
		Close(fd)
		return -1, fmt.Errorf("cannot listen at %s: %w", address, err)
	}
	return fd, nil
}

// Accept takes one connection; unix.EAGAIN: nobody is there.
func Accept(listener int) (int, error) {
	fd, err := accept(listener)
	if err != nil {
		return -1, err
	}
	if err := noDelay(fd); err != nil { // it was reset already
		Close(fd)
		return -1, err
	}
	return fd, nil
}

// Target is an address to connect to, resolved once.
type Target struct{ sa unix.RawSockaddrInet4 }

// NewTarget resolves an IPv4 address with its port.
func NewTarget(address string) (Target, error) {
	to, err := resolve(address)
	if err != nil {
		return Target{}, err
	}
	sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
	// The kernel reads it in network order (ip(7)).
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], to.Port())
	return Target{sa}, nil
}

// Connect begins a connection: it can be written to at once or, when a write
// answers EAGAIN, when Poll says so.
func Connect(to Target) (int, error) {
	fd, err := socket()
	if err != nil {
		return -1, err
	}
	if err = noDelay(fd); err == nil {
		err = connect(fd, &to.sa)
	}
	if err != nil && err != unix.EINPROGRESS {
		Close(fd)
		return -1, fmt.Errorf("cannot connect: %w", err)
	}
	return fd, nil
}

func resolve(address string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().Is4() {
		return a, fmt.Errorf("cannot use the address %q: it is not 127.0.0.1:PORT or the like", address)
	}
	return a, nil
}

func socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

// Poll is a level-triggered epoll instance for one goroutine, which has a thread
// to itself from NewPoll to Close.
type Poll struct {
	fd     int
	events []unix.EpollEvent
}

// NewPoll makes a Poll.
func NewPoll() (*Poll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make an epoll instance: %w", err)
	}
	runtime.LockOSThread()
	return &Poll{fd, make([]unix.EpollEvent, 256)}, nil
}

// Add watches fd for being readable; its events carry id.
func (p *Poll) Add(fd int, id uint32) error { return p.set(unix.EPOLL_CTL_ADD, fd, id, unix.EPOLLIN) }

// AddWritable watches fd for being writable instead, until WatchReadable.
func (p *Poll) AddWritable(fd int, id uint32) error {
	return p.set(unix.EPOLL_CTL_ADD, fd, id, unix.EPOLLOUT)
}

// WatchReadable goes on from writable to readable.
func (p *Poll) WatchReadable(fd int, id uint32) error {
	return p.set(unix.EPOLL_CTL_MOD, fd, id, unix.EPOLLIN)
}

func (p *Poll) set(op, fd int, id, events uint32) error {
	err := control(p.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(id)})
	return os.NewSyscallError("epoll_ctl", err)
}

// Wait calls each with the ids of those ready. It answers how many there were:
// none when nothing has happened for timeout milliseconds (-1: wait for ever).
func (p *Poll) Wait(timeout int, each func(id uint32)) (int, error) {
	n, err := await(p.fd, p.events, timeout)
	if err != nil {
		return 0, fmt.Errorf("cannot wait for events: %w", err)
	}
	for _, ev := range p.events[:n] {
		each(uint32(ev.Fd))
	}
	return n, nil
}

// Close ends the Poll.
func (p *Poll) Close() {
	Close(p.fd)
	runtime.UnlockOSThread()
}
