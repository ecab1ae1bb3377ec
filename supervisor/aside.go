package supervisor

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// runAside runs a command beside the child: as the same user, in its cgroup
// and with its environment, which also has MAINPID; what it writes is told as
// the child's output. When it ends, or ctx does, what is left of it in its
// process group is killed; what has left that is the child's from then on.
func (c *child) runAside(ctx context.Context, argv []string) error {
	c.errands.Lock()
	if c.gone.Err() != nil {
		c.errands.Unlock()
		return context.Cause(c.gone)
	}
	c.asides.Add(1)
	c.errands.Unlock()
	defer c.asides.Done()
	e := errand{
		order: c.order,
		env:   setAll(c.env, []string{fmt.Sprintf("MAINPID=%d", c.main.Load())}),
		tell:  c.tell,
		kill:  func(p *os.Process) { _ = unix.Kill(-p.Pid, unix.SIGKILL) },
	}
	e.order.path, e.order.argv, e.order.given = argv[0], argv, 0
	return c.s.forker.run(ctx, e)
}

// stopBy runs StopCommand, and has the rest of the tree end by the signal. A
// command that hangs ends with the child, which the owner's patience sees to.
func (c *child) stopBy(argv []string) {
	err := c.runAside(c.gone, argv)
	if err != nil && c.gone.Err() == nil {
		c.s.emit(NotifyEvent{c.gen, fmt.Errorf("cannot stop the backend by StopCommand=: %w", err)})
	}
	select {
	case <-c.told: // nothing of it is left, and what lives by now is another's
	default:
		c.tree.terminate(c.s.cfg.StopSignal)
	}
}

// checkAlive asks a ready child again and again whether it still answers. Two
// misses in a row are no accident.
func (c *child) checkAlive() {
	check := func() error {
		ctx, cancel := context.WithTimeout(c.gone, max(c.s.cfg.AliveInterval, connectPatience))
		defer cancel()
		if argv := c.s.cfg.AliveCommand; len(argv) > 0 {
			return c.runAside(ctx, argv)
		}
		return c.answers(ctx)
	}
	pause := time.NewTicker(c.s.cfg.AliveInterval)
	defer pause.Stop()
	for misses := 0; misses < 2; {
		select {
		case <-c.gone.Done():
			return
		case <-pause.C:
		}
		err := check()
		switch {
		case err == nil || c.frozen.Load():
			misses = 0
		default:
			misses++
			if misses == 2 {
				c.s.send(ill{ailing{c.gen}, fmt.Errorf("it did not answer twice in a row (Alive=): %w", err)})
			}
		}
	}
}

// answers connects to the child, and closes at once.
func (c *child) answers(ctx context.Context) (err error) {
	for _, addr := range c.addrs {
		if err = connectTo(ctx, addr); err == nil {
			return nil
		}
	}
	return err
}
