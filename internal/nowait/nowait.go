// Package nowait makes system calls that never wait, without telling the Go
// scheduler.
//
// The scheduler has to hear of calls that may block, so that somebody else gets
// the CPU; that costs about as much as a small call itself, and now and then a
// thread is woken for it. A non-blocking socket does not block. Nothing here may
// be used on a file that does.
package nowait

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Recv receives once from a socket; 0 and nil are the end. read(2) would do the
// same by a longer way through the kernel.
func Recv(fd int, p []byte) (int, error) { return transfer(unix.SYS_RECVFROM, fd, p, 0) }

// Send sends once, as much as there is room for.
func Send(fd int, p []byte) (int, error) { return transfer(unix.SYS_SENDTO, fd, p, unix.MSG_NOSIGNAL) }

// transfer makes a call that a signal may interrupt.
func transfer(call uintptr, fd int, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}

// Shutdown ends one direction of a socket, or both (shutdown(2)).
func Shutdown(fd, how int) error { return done(unix.SYS_SHUTDOWN, uintptr(fd), uintptr(how), 0) }

// Close closes a file. A socket must not linger (SO_LINGER, socket(7)).
func Close(fd int) { _ = done(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func done(call, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(call, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// SetInt sets an option of a socket (setsockopt(2)).
func SetInt(fd, level, option, value int) error {
	v := int32(value)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// TCPState is how far a TCP connection has come, by the kernel's numbers
// (BPF_TCP_CLOSE and so on, with which tcp(7)'s TCP_INFO begins); 0: the socket is
// not TCP's.
func TCPState(fd int) int {
	var info [4]uint8
	size := uint32(len(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size == 0 {
		return 0
	}
	return int(info[0])
}

// Disconnect takes a TCP socket back to where it can be connected again
// (connect(2), AF_UNSPEC).
func Disconnect(fd int) error {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	return done(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
}

// Poll looks whether one of the events has happened to a file, and answers those
// that have, errors and hang-ups always among them (poll(2)); 0: none, or it
// cannot be known.
func Poll(fd int, events int16) int16 {
	p := unix.PollFd{Fd: int32(fd), Events: events}
	var none unix.Timespec
	_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&none)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return p.Revents
}

// EpollCtl changes what an epoll instance watches (epoll_ctl(2)).
func EpollCtl(instance, op, fd int, event *unix.EpollEvent) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(instance), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(event)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// EpollWait looks what has happened to the files that an epoll instance watches
// (epoll_wait(2)). It answers how many events it has put into the room for them.
func EpollWait(instance int, room []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(instance), uintptr(unsafe.Pointer(unsafe.SliceData(room))),
		uintptr(len(room)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
