package raw

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file do not tell Go's scheduler. A thread that does tell it
// has to ask for its processor again after each call, and has Go's monitor look after
// it every 20 µs while it is busy: that was one wake-up of a thread for every
// other session of the load, and the loop went from thread to thread.

// Read reads once; 0 and nil are the end, unix.EAGAIN: there is nothing yet.
func Read(fd int, p []byte) (int, error) { return transfer(unix.SYS_READ, fd, p) }

// Write writes once, as much as there is room for.
func Write(fd int, p []byte) (int, error) { return transfer(unix.SYS_WRITE, fd, p) }

func transfer(call uintptr, fd int, p []byte) (int, error) {
	return answer(unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))))
}

// Close closes a socket.
func Close(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func accept(listener int) (int, error) {
	return answer(unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0))
}

func connect(fd int, to *unix.RawSockaddrInet4) error {
	_, err := answer(unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to)))
	return err
}

func noDelay(fd int) error {
	on := int32(1)
	_, err := answer(unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY,
		uintptr(unsafe.Pointer(&on)), unsafe.Sizeof(on), 0))
	return err
}

func control(poll, op, fd int, ev *unix.EpollEvent) error {
	_, err := answer(unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(poll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(ev)), 0, 0))
	return err
}

// brief is how long a thread may wait without Go's knowledge: less than the 10 ms
// after which Go wants the processor back.
const brief = 5 * time.Millisecond

// await waits for events, at first without Go's knowledge: a thread that has work
// is back before that is over. So it takes that much longer when nothing happens.
func await(poll int, events []unix.EpollEvent, timeout int) (int, error) {
	n, err := answer(unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(brief.Milliseconds()), 0, 0))
	if n > 0 || err != nil && err != unix.EINTR {
		return n, err
	}
	for {
		if n, err = unix.EpollWait(poll, events, timeout); err != unix.EINTR {
			return n, err
		}
	}
}

// answer is what a call came to.
func answer(n, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
