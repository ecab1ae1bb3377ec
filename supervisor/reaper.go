package supervisor

import (
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// ours are the children that are no orphans of any backend.
var ours = &children{pids: map[int]bool{}}

// children is a set of pids that cannot change while orphans are looked for:
// a child that was forked but is not yet known would be taken for one.
type children struct {
	sync.Mutex
	pids map[int]bool // true: started and waited for by this package; false: here before it
}

// start forks with fork and takes the child into the set.
func (c *children) start(fork func() (*os.Process, error)) (*os.Process, error) {
	c.Lock()
	defer c.Unlock()
	p, err := fork()
	if err == nil {
		c.pids[p.Pid] = true
	}
	return p, err
}

// inherit takes in the children that a program before us in this process has
// left to us by exec(2).
func (c *children) inherit() {
	c.Lock()
	defer c.Unlock()
	for _, p := range processes() {
		if _, known := c.pids[p.pid]; p.parent == os.Getpid() && !known {
			c.pids[p.pid] = false
		}
	}
}

// adopt takes in an orphan that is waited for from now on.
func (c *children) adopt(pid int) {
	c.Lock()
	defer c.Unlock()
	c.pids[pid] = true
}

// forget takes a child out that was waited for.
func (c *children) forget(pid int) {
	c.Lock()
	defer c.Unlock()
	delete(c.pids, pid)
}

// reaping is done once for the process, however many supervisors it has.
var reaping struct {
	sync.Once
	err error // why orphans do not come to us; nil: they do
}

// becomeReaper has orphans of our descendants come to us instead of to init,
// and collects them when they end: no zombie is left, and a daemon that left
// its parent can still be found and killed with the tree.
func becomeReaper() error {
	reaping.Do(func() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			reaping.err = fmt.Errorf("cannot become the reaper of orphans: %w", err)
			return
		}
		ours.inherit()
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, unix.SIGCHLD)
		go func() {
			for range ended {
				ours.reapOrphans()
			}
		}()
	})
	return reaping.err
}

// reapOrphans collects the zombies among our children that nobody waits for.
func (c *children) reapOrphans() {
	c.Lock()
	defer c.Unlock()
	for _, p := range processes() {
		if p.parent == os.Getpid() && p.zombie && !c.pids[p.pid] {
			_, _ = unix.Wait4(p.pid, nil, unix.WNOHANG, nil)
			delete(c.pids, p.pid)
		}
	}
}
