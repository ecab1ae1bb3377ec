package supervisor

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// notifyMax is the longest message that systemd accepts, too
	// (NOTIFY_BUFFER_MAX).
	notifyMax = 4096
	// notifyFDs is how many fds a message may carry: systemd's bound for one
	// message is 253 (SCM_MAX_FD), and all of them must be closed.
	notifyFDs = 253
)

// serve reads the child's messages until the socket is closed.
func (n *notifySocket) serve(c *child) {
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
	case !c.sent(sender):
		return fmt.Errorf("message on the notify socket from process %d is ignored: it is not one of the backend's", sender.Pid)
	}
	m := parseNotify(string(text))
	if status, ok := m["STATUS"]; ok {
		c.s.send(saying{c.gen, status})
	}
	if m["READY"] == "1" && c.s.cfg.Ready == ReadyNotify {
		c.becomeReady()
	}
	return nil
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
