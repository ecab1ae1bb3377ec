package supervisor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// notifyMax is the longest message that systemd accepts, too
	// (NOTIFY_BUFFER_MAX).
	notifyMax = 4096
	// caughtUp is what catchUp says to ourselves.
	caughtUp = "X_TIPROXY_CAUGHT_UP=1"
	// notifyFDs is how many fds a message may carry: systemd's bound for one
	// message is 253 (SCM_MAX_FD), and all of them must be closed.
	notifyFDs = 253
)

// notifySocket is where the child's sd_notify(3) messages arrive.
type notifySocket struct {
	conn *net.UnixConn
	name string // value of NOTIFY_SOCKET

	caughtUp chan struct{} // has an element once catchUp's datagram was read
	deaf     chan struct{} // closed when nothing is read any more
}

// listenNotify binds a name in the abstract namespace: nothing is left of it
// after a crash, and a child under another user can reach it.
func listenNotify() (*notifySocket, error) {
	name := "@tiproxy/notify/" + rand.Text()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		err = passCredentials(conn)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make the backend's notify socket: %w", err)
	}
	return &notifySocket{conn, name, make(chan struct{}, 1), make(chan struct{})}, nil
}

// passCredentials has each message carry its sender's pid (unix(7)).
func passCredentials(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1)
	})
	return errors.Join(err, optErr)
}

func (n *notifySocket) close() { n.conn.Close() }

// serve reads the child's messages until the socket is closed.
func (n *notifySocket) serve(c *child) {
	defer close(n.deaf)
	text := make([]byte, notifyMax+1)
	control := make([]byte, unix.CmsgSpace(4*notifyFDs)+unix.CmsgSpace(unix.SizeofUcred))
	for {
		size, controlSize, _, _, err := n.conn.ReadMsgUnix(text, control)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			c.s.emit(NotifyEvent{c.gen, fmt.Errorf("cannot read the backend's notify socket: %w", err)})
			return
		}
		sender, fds := senderOf(control[:controlSize])
		// We store no fds. Closing those of BARRIER=1 is the answer that its
		// sender waits for (sd_notify_barrier(3)), once the message was heard.
		if err := c.hear(sender, text[:size]); err != nil {
			c.s.emit(NotifyEvent{c.gen, err})
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

// hear acts on one message.
func (c *child) hear(sender unix.Ucred, text []byte) error {
	switch {
	case len(text) > notifyMax:
		return fmt.Errorf("message of more than %d bytes on the notify socket from process %d is ignored", notifyMax, sender.Pid)
	case int(sender.Pid) == os.Getpid() && string(text) == caughtUp:
		select {
		case c.notify.caughtUp <- struct{}{}:
		default: // nobody waits for it any more
		}
		return nil
	case !c.sent(sender):
		return fmt.Errorf("message on the notify socket from process %d is ignored: it is not one of the backend's", sender.Pid)
	case c.s.cfg.NotifyMain && int64(sender.Pid) != c.main.Load():
		return fmt.Errorf("message on the notify socket from process %d is ignored: it is not the backend's main process (NotifyAccess=main)", sender.Pid)
	}
	return c.obey(parseNotify(string(text)))
}

// obey acts on what a process of the tree said (sd_notify(3)).
func (c *child) obey(m map[string]string) error {
	badPID := c.obeyMainPID(m) // first: the rest may be about it
	if text, ok := m["STATUS"]; ok {
		c.s.send(saying{c.gen, text})
	}
	c.obeyReloading(m)
	for _, name := range []string{"ERRNO", "BUSERROR"} {
		if text, ok := m[name]; ok {
			excuse := name + "=" + text
			c.excuse.Store(&excuse)
		}
	}
	if m["READY"] == "1" && c.s.cfg.Ready == ReadyNotify {
		c.becomeReady()
	}
	if m["STOPPING"] == "1" {
		c.s.send(leaving{gen: c.gen})
	}
	return errors.Join(badPID, c.obeyTimes(m), c.obeyWatchdog(m))
}

// obeyMainPID makes another process of the tree the main one. Once its parent
// has ended it is our child, and its status is collected by wait.
func (c *child) obeyMainPID(m map[string]string) error {
	text, ok := m["MAINPID"]
	if !ok {
		return nil
	}
	pid, err := strconv.Atoi(text)
	if err != nil || !c.tree.contains(pid) {
		return fmt.Errorf("MAINPID=%.20q on the notify socket is ignored: it is not one of the backend's processes", text)
	}
	old := int(c.main.Swap(int64(pid)))
	if old == pid {
		return nil
	}
	ours.adopt(pid)
	if old != c.pid { // nobody waits for that one any more, and it may have ended already
		ours.forget(old)
		c.tree.reap()
	}
	c.s.send(succession{c.gen, pid})
	return nil
}

// obeyReloading tells of a reload, from RELOADING=1 to READY=1, unless the
// child has words of its own for it.
func (c *child) obeyReloading(m map[string]string) {
	was := c.reloading
	c.reloading = (was || m["RELOADING"] == "1") && m["READY"] != "1"
	if _, own := m["STATUS"]; own || c.reloading == was {
		return
	}
	text := ""
	if c.reloading {
		text = "reloading its configuration"
	}
	c.s.send(saying{c.gen, text})
}

// obeyTimes grants more time to start or to stop.
func (c *child) obeyTimes(m map[string]string) error {
	text, ok := m["EXTEND_TIMEOUT_USEC"]
	if !ok {
		return nil
	}
	by, err := parseUsec(text)
	if err != nil {
		return fmt.Errorf("EXTEND_TIMEOUT_USEC=%.20q on the notify socket is ignored: %w", text, err)
	}
	c.s.send(extend{c.gen, by})
	return nil
}

func (c *child) obeyWatchdog(m map[string]string) error {
	if text, ok := m["WATCHDOG_USEC"]; ok {
		every, err := parseUsec(text)
		if err != nil {
			return fmt.Errorf("WATCHDOG_USEC=%.20q on the notify socket is ignored: %w", text, err)
		}
		c.s.send(pulse{c.gen, every})
	}
	switch m["WATCHDOG"] {
	case "1":
		c.s.send(pulse{c.gen, 0})
	case "trigger":
		c.s.send(ill{ailing{c.gen}, errors.New("it reported a failure itself (WATCHDOG=trigger)")})
	}
	return nil
}

// parseUsec reads a positive number of microseconds.
func parseUsec(text string) (time.Duration, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || n > math.MaxInt64/1000 {
		return 0, errors.New("it is not a number of microseconds")
	}
	return time.Duration(n) * time.Microsecond, nil
}

// catchUp returns when what the child has sent until now was heard: a datagram
// of our own follows it. A daemon may say MAINPID= and end at once.
func (n *notifySocket) catchUp() {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(caughtUp)); err == nil {
		select {
		case <-n.caughtUp:
		case <-n.deaf:
		}
	}
}

// sent tells whether the sender belongs to the tree. One that has ended since
// cannot be asked where it came from; then its user must do.
func (c *child) sent(sender unix.Ucred) bool {
	pid := int(sender.Pid)
	return pid != 0 && (c.tree.contains(pid) || ended(pid) && runsAs(c.tree.members(), sender.Uid))
}

// parseNotify splits a message into its assignments. A line without '=' says
// nothing; of two with one name the later counts.
func parseNotify(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if ok && name != "" {
			m[name] = value
		}
	}
	return m
}

// senderOf reads who sent a message, and the fds that came with it. Pid 0 is
// a process that we cannot see; the kernel vouches for the rest.
func senderOf(control []byte) (sender unix.Ucred, fds []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return unix.Ucred{}, nil
	}
	for _, m := range messages {
		if rights, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, rights...)
		} else if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			sender = *cred
		}
	}
	return sender, fds
}
