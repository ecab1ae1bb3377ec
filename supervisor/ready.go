package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tiproxy/tiproxy/internal/sockdiag"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

const (
	// probeFirst is the pause between the first looks whether the backend
	// listens. Half a pause, on average, is what a start costs above what the backend
	// itself needs; a look takes 40 µs.
	probeFirst = 250 * time.Microsecond
	// probeEarly makes the pause a sixteenth of the time waited so far, until it
	// is probeShortest.
	probeEarly    = 16
	probeShortest = time.Millisecond
	// probeShare then makes it a hundredth of that time: a backend that takes a
	// minute is not asked a thousand times a second.
	probeShare = 100
	// execShortest is that for a command, which costs milliseconds itself.
	execShortest = 50 * time.Millisecond
	// execPatience bounds one such command; it is killed then.
	execPatience = 10 * time.Second
	// connectPatience bounds one probe by connect; a full backlog would drop
	// it without an answer.
	connectPatience = time.Second
)

// watch finds out when the child is ready, and tells the owner.
func (c *child) watch() {
	switch c.s.cfg.Ready {
	case ReadyNone:
		c.becomeReady()
	case ReadyListen:
		c.probe(probeFirst, c.listens)
	case ReadyConnect:
		c.probe(probeShortest, c.accepts)
	case ReadyExec:
		c.probe(execShortest, c.succeeds)
	case ReadyFD:
		c.awaitNewline()
	case ReadyNotify, ReadyLog: // hear and tellLines will see it
	}
}

// becomeReady tells the owner, after ReadyDelay. It may be called again.
func (c *child) becomeReady() {
	if delay := c.s.cfg.ReadyDelay; delay > 0 {
		time.AfterFunc(delay, func() { c.s.send(isReady{c.gen}) })
		return
	}
	c.s.send(isReady{c.gen})
}

// awaitNewline reads the notification fd, as s6 does: a newline means ready,
// its end without one means nothing.
func (c *child) awaitNewline() {
	defer c.ready.Close()
	stop := context.AfterFunc(c.gone, func() { _ = c.ready.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, 512)
	for {
		n, err := c.ready.Read(buf)
		if bytes.IndexByte(buf[:n], '\n') >= 0 {
			c.becomeReady()
			return
		}
		if err != nil {
			return
		}
	}
}

// succeeds runs the command of ReadyExec once.
func (c *child) succeeds() (bool, error) {
	ctx, cancel := context.WithTimeout(c.gone, execPatience)
	defer cancel()
	err := c.runAside(ctx, c.s.cfg.ReadyCommand)
	return err == nil, err
}

// probe asks again and again, with growing pauses, until the answer is yes or
// the child has ended.
func (c *child) probe(shortest time.Duration, ready func() (bool, error)) {
	began := time.Now()
	stranger := false
	for c.gone.Err() == nil {
		ok, err := ready()
		if ok {
			c.becomeReady()
			return
		}
		c.obstacle.Store(&err)
		if _, is := errors.AsType[*strangerError](err); is && !stranger {
			stranger = true
			c.s.emit(StrangerEvent{c.gen, err})
		}
		c.doze(max(probePause(time.Since(began), c.s.cfg.ProbeInterval), shortest))
	}
}

// doze waits for a pause, or until the child has ended. Go's clocks go in whole
// milliseconds while nothing else runs, so that short pauses are the kernel's.
func (c *child) doze(pause time.Duration) {
	if pause < 2*time.Millisecond {
		rest := unix.NsecToTimespec(int64(pause))
		_ = unix.Nanosleep(&rest, nil) // a signal may end it sooner
		return
	}
	select {
	case <-c.gone.Done():
	case <-time.After(pause):
	}
}

// probePause is the pause after the backend was waited for so long.
func probePause(waited, longest time.Duration) time.Duration {
	early := min(max(waited/probeEarly, probeFirst), probeShortest)
	return min(max(waited/probeShare, early), longest)
}

// listens asks the kernel whether a process of the tree listens at one of the
// addresses. The error says what is there instead.
func (c *child) listens() (bool, error) {
	for _, addr := range c.addrs {
		held, stranger, err := c.holder(addr)
		if held || err != nil {
			return held, err
		}
		if stranger != nil {
			return false, stranger
		}
	}
	return false, fmt.Errorf("no process of the backend listens at %s", join(c.addrs))
}

// accepts connects, unless the kernel sees a stranger's listener there: an
// address it sees none at all at may be on another machine.
func (c *child) accepts() (bool, error) {
	var last error
	for _, addr := range c.addrs {
		if err := c.noStranger(addr); err != nil {
			return false, err
		}
		if last = connectTo(c.gone, addr); last == nil {
			// A stranger may have come after the look.
			err := c.noStranger(addr)
			return err == nil, err
		}
	}
	return false, last
}

// noStranger fails if the kernel sees a stranger's listener at addr, and not
// if it cannot be asked.
func (c *child) noStranger(addr sockaddr.Addr) error {
	_, stranger, err := c.holder(addr)
	switch {
	case stranger != nil:
		return stranger
	case errors.Is(err, sockdiag.ErrUnsupported):
		return nil
	}
	return err
}

func connectTo(ctx context.Context, addr sockaddr.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	fd, err := sockaddr.Connect(ctx, addr)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// strangerError says that an address is held by somebody else.
type strangerError struct {
	addr sockaddr.Addr
	pid  int // 0: it cannot be seen
	comm string
}

func (e *strangerError) Error() string {
	who := "another process, which cannot be seen from here"
	if e.pid == os.Getpid() {
		who = "tiproxy itself"
	} else if e.pid != 0 {
		who = fmt.Sprintf("another process: pid %d (%s)", e.pid, e.comm)
	}
	return fmt.Sprintf("%s is held by %s; end that, or change Address= (--dest)", e.addr, who)
}

// holder looks who listens at addr: a process of the tree, a stranger, or
// nobody.
func (c *child) holder(addr sockaddr.Addr) (held bool, stranger *strangerError, err error) {
	listeners, err := sockdiag.Listeners(addr)
	if err != nil || len(listeners) == 0 {
		return false, nil, err
	}
	inodes := inodesOf(listeners)
	// Most often it is the main process; the others are found by going through /proc.
	if pid, _ := sockdiag.Owner(inodes, []int{int(c.main.Load())}); pid != 0 {
		return true, nil, nil
	}
	members := c.tree.members()
	pid, err := sockdiag.Owner(inodes, members)
	switch {
	case pid != 0:
		return true, nil, nil
	case errors.Is(err, fs.ErrPermission):
		// A child that changed its user hides its files from us; then the
		// user of the socket must do.
		same := func(l sockdiag.Listener) bool { return runsAs(members, l.UID) }
		return slices.ContainsFunc(listeners, same), nil, nil
	case err != nil:
		return false, nil, err
	}
	return false, findStranger(addr, inodes), nil
}

func inodesOf(listeners []sockdiag.Listener) []uint64 {
	inodes := make([]uint64, len(listeners))
	for i, l := range listeners {
		inodes[i] = l.Inode
	}
	return inodes
}

func findStranger(addr sockaddr.Addr, inodes []uint64) *strangerError {
	pid, comm := sockdiag.AnyOwner(inodes)
	return &strangerError{addr, pid, comm}
}

// checkFree looks, before the child is started, whether somebody holds its
// address: it would be served in the backend's place.
func (c *child) checkFree() error {
	for _, addr := range c.addrs {
		listeners, err := sockdiag.Listeners(addr)
		if errors.Is(err, sockdiag.ErrUnsupported) {
			continue
		}
		if err != nil {
			return err
		}
		if len(listeners) > 0 {
			return findStranger(addr, inodesOf(listeners))
		}
	}
	return nil
}

// notReady says why the child was not ready in time.
func (c *child) notReady(limit time.Duration) error {
	switch err := c.obstacle.Load(); {
	case err != nil:
		return fmt.Errorf("it was not ready within %v (StartTimeoutSec=, --start): %w", limit, *err)
	case c.s.cfg.Ready == ReadyNotify:
		return fmt.Errorf("it was not ready within %v (StartTimeoutSec=, --start): it did not send READY=1; if it does not speak sd_notify, use Ready=listen", limit)
	}
	return fmt.Errorf("it was not ready within %v (StartTimeoutSec=, --start)", limit)
}

// diedUnready says why a start failed whose child ended by itself.
func (c *child) diedUnready(status string) error {
	if status == "exit status 0" {
		return errors.New("it ended with status 0 before it was ready; if it goes to the background, tell it to stay in the foreground")
	}
	return fmt.Errorf("it ended before it was ready: %s", status)
}

func join(addrs []sockaddr.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, " or ")
}

// ReadyFDMost is the highest number that ReadyFD may be.
const ReadyFDMost = 255

func (c *Config) checkReady() error {
	switch c.Ready {
	case ReadyListen, ReadyNotify, ReadyConnect, ReadyNone:
		return nil
	case ReadyExec:
		if len(c.ReadyCommand) > 0 {
			return nil
		}
	case ReadyLog:
		if c.ReadyLog != nil {
			return nil
		}
	case ReadyFD:
		if c.ReadyFD > unix.Stderr && c.ReadyFD <= ReadyFDMost {
			return nil
		}
	}
	return fmt.Errorf("unknown or incomplete readiness %q", c.Ready)
}
