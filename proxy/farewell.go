package proxy

import (
	"errors"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"golang.org/x/sys/unix"
)

// leftovers is how many bytes of a client that is sent away are read off, so
// that it sees an end and not a reset.
const leftovers = 64 << 10

// seeOff closes the socket of a client that was not served, for that reason.
func (r *Rules) seeOff(fd int, why error) {
	how := Farewell{}
	switch {
	case errors.Is(why, gate.ErrFull), errors.Is(why, gate.ErrSourceFull):
		how = r.WhenFull
	case errors.Is(why, ErrSessionTimeout):
		how = r.OnLate
	}
	switch how.Kind {
	case FarewellReset:
		// closed so, it sends a reset (socket(7), SO_LINGER with zero seconds)
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
		return
	case FarewellMessage:
		_, _ = unix.Write(fd, how.Text)
	}
	closeOrderly(fd)
}

// closeOrderly sends a FIN rather than a reset, which closing a socket with
// unread bytes would send: the client shall see an end, and what was said to
// it before.
func closeOrderly(fd int) {
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	buf := make([]byte, 4<<10)
	for total := 0; total < leftovers; {
		n, err := unix.Read(fd, buf)
		if n <= 0 || err != nil {
			break
		}
		total += n
	}
	unix.Close(fd)
}

const (
	// probes is how often a quiet client is asked before it is given up, in
	// probes parts of KeepAlive: it is found gone after twice that.
	probes = 5
	// longestKeepAlive is the kernel's limit (MAX_TCP_KEEPIDLE).
	longestKeepAlive = 32767 * time.Second
)

// keepAlive has the kernel ask quiet TCP clients whether they are still there
// (tcp(7)). Their sockets have it from their listener's.
func (p *Proxy) keepAlive(quiet time.Duration) {
	if quiet == never {
		return
	}
	idle := int(min(max(quiet, time.Second), longestKeepAlive) / time.Second)
	for i := range p.doors {
		d := &p.doors[i]
		if !d.Addr.IsIP() {
			continue
		}
		for option, value := range map[int]int{
			unix.TCP_KEEPIDLE: idle, unix.TCP_KEEPINTVL: max(idle/probes, 1), unix.TCP_KEEPCNT: probes,
		} {
			_ = unix.SetsockoptInt(d.FD, unix.IPPROTO_TCP, option, value)
		}
		_ = unix.SetsockoptInt(d.FD, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	}
}
