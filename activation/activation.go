// Package activation owns the listening sockets, and what we tell systemd.
//
//	systemd ── LISTEN_FDS ──▶ Inherited ─┐
//	                                     ├──▶ []Listener ──▶ READY=1 … STOPPING=1
//	by hand ── --listen ────▶ Listen ────┘
//
// Invariants:
//
//   - A Listener is a plain fd and plain data; the fd is non-blocking and
//     closes on exec.
//   - An inherited listener is never shut down: systemd has the same socket
//     open, and its copy would die too. Close only closes.
//   - What systemd passed is taken whole or refused whole: a listener that we
//     passed over would wake us again and again.
//   - No file is removed but the socket that we bound there ourselves, or one
//     behind which nobody listens.
package activation

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/coreos/go-systemd/v22/journal"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// Listener is one listening stream socket, or a datagram socket.
type Listener struct {
	FD        int           // non-blocking; ours to close
	Name      string        // FileDescriptorName= of the socket unit; "" when bound by hand
	Addr      sockaddr.Addr // where it listens
	V6Only    bool          // an IPv6 wildcard that does not take IPv4
	Datagram  bool          // not a stream socket: nobody can be accepted at it
	Inherited bool          // systemd has it open too
	file      file          // of a UNIX listener that we bound ourselves; zero: there is none
}

// Close closes our fd. The socket's file that we made is removed, unless
// somebody has put another in its place.
func (l *Listener) Close() error {
	if l.file != (file{}) && fileAt(l.Addr.Path) == l.file {
		_ = os.Remove(l.Addr.Path) // before the close: until then no other file can have its number
	}
	return unix.Close(l.FD)
}

// Inherited answers the listeners that systemd passed (sd_listen_fds(3)), in
// its order; none if it passed none to this process. It may be called once:
// it takes the variables out of the environment.
//
// Every fd that is neither a listening stream socket nor a datagram socket is an
// error that names it.
func Inherited() ([]Listener, error) {
	files := activation.Files(true)
	var all []Listener
	var errs []error
	for _, f := range files {
		fd := int(f.Fd())
		l, err := inherit(f, firstFD+len(files))
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot use fd %d %q that systemd passed: %w", fd, f.Name(), err))
			continue
		}
		if f.Name() != "LISTEN_FD_"+strconv.Itoa(fd) { // go-systemd's word for "no name"
			l.Name = f.Name()
		}
		all = append(all, l)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

// firstFD is the first that systemd passes (SD_LISTEN_FDS_START of
// sd_listen_fds(3)); the others follow.
const firstFD = 3

// inherit checks one fd and takes it over under a number of our own, since f
// would close its one when it is collected. Ours is lowest or more: one among
// those passed would be taken for one of them, should that be closed.
func inherit(f *os.File, lowest int) (l Listener, err error) {
	defer func() {
		if err != nil {
			unusable = append(unusable, f)
		} else {
			f.Close()
		}
	}()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, lowest)
	if err != nil {
		return Listener{}, err
	}
	if l, err = examine(fd); err != nil {
		unix.Close(fd)
		return Listener{}, err
	}
	l.Inherited = true
	return l, nil
}

// unusable has the files with which Inherited failed. They stay open until we
// exit: where systemd's number was free, it may be Go's own runtime that has it
// now, and that dies of a file that is closed under it. Go closes a File that
// nobody holds.
var unusable []*os.File

// examine makes a Listener of a socket, if it is one.
func examine(fd int) (Listener, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return Listener{}, fmt.Errorf("it is not a socket (%w); a ListenFIFO= or ListenSpecial= cannot be served", err)
	}
	if kind != unix.SOCK_STREAM && kind != unix.SOCK_DGRAM {
		return Listener{}, errors.New("it is neither a stream nor a datagram socket; write ListenStream= or ListenDatagram=, not ListenSequentialPacket=")
	}
	datagram := kind == unix.SOCK_DGRAM
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); !datagram && (err != nil || listens == 0) {
		return Listener{}, errors.New("it does not listen, it may be a connection; write Accept=no")
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return Listener{}, err
	}
	l := Listener{FD: fd, Addr: sockaddr.From(sa), Datagram: datagram}
	if l.Addr.Family == 0 {
		return Listener{}, errors.New("its address family is unknown; TCP, UNIX and VSOCK can be served")
	}
	if l.Addr.IsIP() {
		v6only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		l.V6Only = err == nil && v6only != 0
		// Inherited by every connection: the relay must not wait for an
		// acknowledgement before it sends the next piece (tcp(7)).
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	return l, unix.SetNonblock(fd, true)
}

// Ready tells systemd that connections are accepted (READY=1). Without
// systemd it does nothing, as the two below.
func Ready() error { return notify(daemon.SdNotifyReady) }

// Stopping tells systemd that we are about to exit (STOPPING=1).
func Stopping() error { return notify(daemon.SdNotifyStopping) }

// Status sets the line that `systemctl status` shows (STATUS=).
func Status(text string) error { return notify("STATUS=" + text) }

// Alive tells systemd that we still work (WATCHDOG=1).
func Alive() error { return notify(daemon.SdNotifyWatchdog) }

// WatchdogInterval is how often systemd wants to hear that, at least; 0: it
// does not (sd_watchdog_enabled(3)).
func WatchdogInterval() time.Duration {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return interval
}

// StderrIsJournal tells whether what we write to stderr goes to the journal
// (JOURNAL_STREAM, systemd.exec(5)), which reads priorities and knows the time.
func StderrIsJournal() bool {
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}

func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("cannot notify systemd: %w", err)
	}
	return nil
}
