package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Socket is a listening or datagram socket that the child serves itself. Ours
// stays open, so that somebody can wait at it for the next client.
type Socket struct {
	FD   int
	Name string // as in LISTEN_FDNAMES of sd_listen_fds(3); "": none
}

// checkSockets refuses what cannot be known of a child that serves our sockets:
// that somebody listens at them is so before it has even begun.
func (c *Config) checkSockets() error {
	if len(c.Sockets) == 0 {
		return nil
	}
	switch {
	case c.Ready == ReadyListen || c.Ready == ReadyConnect || c.Ready == ReadyFD:
		return fmt.Errorf("readiness %q is not for a backend that is given its sockets", c.Ready)
	case c.external() || c.Unit != "" || c.Auto || !c.Address.IsZero():
		return errors.New("sockets are for a command, which has no other address")
	case c.SocketStdin && len(c.Sockets) > 1:
		return fmt.Errorf("%d sockets cannot all be the backend's stdin", len(c.Sockets))
	}
	return nil
}

// socketVariables tell the child of its sockets; the launcher adds for whom.
func (c *Config) socketVariables() []string {
	if len(c.Sockets) == 0 || c.SocketStdin {
		return nil
	}
	names := make([]string, len(c.Sockets))
	for i, s := range c.Sockets {
		if names[i] = s.Name; s.Name == "" {
			names[i] = "unknown" // as systemd says
		}
	}
	return []string{"LISTEN_FDS=" + strconv.Itoa(len(names)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}
}

// execute forks the launcher, with the child's sockets or the pipe of its
// readiness beside its output.
func (c *child) execute(output *os.File) error {
	cfg := &c.s.cfg
	std := streams{out: output, err: output}
	var more []*os.File
	defer func() {
		for _, f := range more {
			f.Close()
		}
	}()
	for _, s := range cfg.Sockets {
		f, err := blocking(s.FD)
		if err != nil {
			return err
		}
		more = append(more, f)
	}
	switch {
	case cfg.SocketStdin:
		std.in, std.out = more[0], more[0]
	case len(more) > 0:
		c.order.first, c.order.given = unix.Stderr+1, len(more)
	case cfg.Ready == ReadyFD:
		ours, theirs, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("cannot make a pipe for the backend's readiness: %w", err)
		}
		c.ready, more = ours, []*os.File{theirs}
		c.order.first, c.order.given = cfg.ReadyFD, 1
	}
	var err error
	if c.proc, err = c.s.forker.start(c.order, c.env, std, more[:c.order.given]); err != nil && c.ready != nil {
		c.ready.Close()
	}
	return err
}
