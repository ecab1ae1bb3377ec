package sockaddr

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Connect connects a stream socket to a and answers its fd, which is
// non-blocking. It fails with the kernel's error, or with the cause of ctx's
// end; EAGAIN is a UNIX listener whose backlog is full, and worth another try.
func Connect(ctx context.Context, a Addr) (fd int, err error) {
	fd, err = unix.Socket(a.Family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot make a socket: %w", err)
	}
	if a.IsIP() {
		// A request and its answer must not wait for each other's
		// acknowledgement (tcp(7), TCP_NODELAY).
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	err = unix.Connect(fd, a.Sockaddr())
	switch {
	case err != unix.EINPROGRESS && err != unix.EINTR: // UNIX: connected, or not
	case isSettled(uintptr(fd)): // over loopback the handshake is done by now
		err = pendingError(fd)
	default:
		fd, err = finish(ctx, fd)
	}
	if err == nil && a.IsIP() && isSelf(fd) {
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
func isSettled(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
	return n > 0 && err == nil
}

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

// isSelf tells whether a socket is connected to itself, which happens when a
// dead port in the ephemeral range is tried again and again (TCP's
// simultaneous open).
func isSelf(fd int) bool {
	local, err1 := unix.Getsockname(fd)
	remote, err2 := unix.Getpeername(fd)
	return err1 == nil && err2 == nil && From(local) == From(remote)
}
