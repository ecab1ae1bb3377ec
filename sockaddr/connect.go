package sockaddr

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync"

	"github.com/tiproxy/tiproxy/internal/nowait"
	"golang.org/x/sys/unix"
)

// Connect connects a stream socket to a and answers its fd, which is
// non-blocking. It fails with the kernel's error, or with the cause of ctx's
// end; EAGAIN is a UNIX listener whose backlog is full, and worth another try.
func Connect(ctx context.Context, a Addr) (fd int, err error) {
	fd, connected, err := begin(a)
	if err == nil && !connected {
		return Finish(ctx, fd, a)
	}
	return fd, err
}

// begin is the part of Connect that takes no waiting. Over loopback, and to a
// UNIX socket, that is all: connected tells so, else Finish does the rest.
func begin(a Addr) (fd int, connected bool, err error) {
	fd, err = unix.Socket(a.Family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, false, fmt.Errorf("cannot make a socket: %w", err)
	}
	if a.IsIP() {
		// A request and its answer must not wait for each other's
		// acknowledgement (tcp(7), TCP_NODELAY).
		_ = nowait.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	return beginWith(fd, a)
}

// beginWith is begin once there is a socket.
func beginWith(fd int, a Addr) (_ int, connected bool, err error) {
	err = unix.Connect(fd, a.Sockaddr())
	if err == unix.EINPROGRESS || err == unix.EINTR { // else UNIX: connected, or not
		switch state(fd) {
		case unix.POLLOUT:
			err = nil
		case 0:
			return fd, false, nil
		default:
			err = pendingError(fd)
		}
	}
	fd, err = checked(fd, a, err)
	return fd, err == nil, err
}

// Finish waits for what Spares.Begin has begun. It answers another fd, and closes the
// one that it was given, in any case.
func Finish(ctx context.Context, fd int, a Addr) (int, error) {
	fd, err := finish(ctx, fd)
	return checked(fd, a, err)
}

// checked answers a socket whose connect has come to its end, or closes it.
func checked(fd int, a Addr, err error) (int, error) {
	if err == nil && mayBeSelf(a) && isSelf(fd) {
		err = unix.ECONNREFUSED
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("cannot connect to %s: %w", a, err)
	}
	return fd, nil
}

// finish waits for a connect under way, in Go's own poller: only distant
// backends come here. It answers a new fd, for that poller keeps the old.
func finish(ctx context.Context, fd int) (int, error) {
	f := os.NewFile(uintptr(fd), "connecting")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	waitErr := raw.Write(isSettled)
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	if waitErr != nil {
		return -1, waitErr
	}
	connected := -1
	if ctlErr := raw.Control(func(fd uintptr) { connected, err = outcome(fd) }); ctlErr != nil {
		return -1, ctlErr
	}
	return connected, err
}

// isSettled tells whether a connect has come to its end, good or bad.
func isSettled(fd uintptr) bool { return state(int(fd)) != 0 }

// state is what poll(2) says of a connecting socket: 0 while it is under way,
// POLLOUT alone when it succeeded, more when it failed.
func state(fd int) int16 { return nowait.Poll(fd, unix.POLLOUT) }

// outcome answers a second fd of a socket whose connect has come to its end.
func outcome(fd uintptr) (int, error) {
	if err := pendingError(int(fd)); err != nil {
		return -1, err
	}
	return unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
}

// pendingError is how the connect ended.
func pendingError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}

// mayBeSelf tells whether a socket that connects to a could be given a's own
// port: only then is it worth asking.
func mayBeSelf(a Addr) bool {
	if !a.IsIP() {
		return false
	}
	ports := ephemeral()
	return a.IP.Port() >= ports.first && a.IP.Port() <= ports.last
}

type portRange struct{ first, last uint16 }

// ephemeral are the ports that the kernel gives to sockets which connect
// (ip(7), ip_local_port_range), as they were when it was first asked; all, if
// it does not tell.
var ephemeral = sync.OnceValue(func() portRange {
	r := portRange{0, math.MaxUint16}
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(text), &r.first, &r.last)
	}
	if err != nil {
		return portRange{0, math.MaxUint16}
	}
	return r
})

// isSelf tells whether a socket is connected to itself, which happens when a
// dead port in the ephemeral range is tried again and again (TCP's
// simultaneous open).
func isSelf(fd int) bool {
	local, err1 := unix.Getsockname(fd)
	remote, err2 := unix.Getpeername(fd)
	return err1 == nil && err2 == nil && From(local) == From(remote)
}
