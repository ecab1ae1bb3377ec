package supervisor

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroup is a folder of the unified hierarchy (cgroups(7), version 2).
type cgroup struct {
	dir string
}

// hierarchies are where systemd mounts the unified one.
var hierarchies = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// delegatedCgroup is the cgroup that this process lives in, if systemd has
// delegated it to us (Delegate=yes); else nil: cgroups have one writer, and we
// must not become a second one (systemd's CGROUP_DELEGATION document).
func delegatedCgroup() *cgroup {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for _, mount := range hierarchies {
			if dir := filepath.Join(mount, path); isDelegated(dir) {
				return &cgroup{dir}
			}
		}
	}
	return nil
}

// isDelegated looks for systemd's mark; the trusted one is seen by root alone.
func isDelegated(dir string) bool {
	if !(&cgroup{dir}).exists() {
		return false
	}
	mark := make([]byte, 8)
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, name, mark); err == nil && string(mark[:n]) == "1" {
			return unix.Access(dir, unix.W_OK) == nil
		}
	}
	return false
}

// exists tells whether the folder is a cgroup.
func (c *cgroup) exists() bool {
	_, err := os.Stat(filepath.Join(c.dir, "cgroup.procs"))
	return err == nil
}

// make makes a cgroup for one child beneath c. One of that name can only be
// left from a tiproxy that was killed here; what lives in it is ended first.
func (c *cgroup) make(name string) (*cgroup, error) {
	child := &cgroup{filepath.Join(c.dir, name)}
	if err := os.Mkdir(child.dir, 0o755); os.IsExist(err) {
		_ = child.kill()
		child.await()
		child.remove()
		err = os.Mkdir(child.dir, 0o755)
		if err != nil {
			return nil, fmt.Errorf("cannot make a cgroup: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("cannot make a cgroup: %w", err)
	}
	return child, nil
}

// members are the pids in c and the cgroups beneath it.
func (c *cgroup) members() []int {
	var pids []int
	for _, dir := range c.folders() {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // removed meanwhile
		}
		for line := range bytes.Lines(text) {
			if pid, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// folders are c's own and those beneath, from the top.
func (c *cgroup) folders() []string {
	var dirs []string
	_ = filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}

// kill has the kernel end all members at once, forks under way included. It
// fails before Linux 5.14.
func (c *cgroup) kill() error {
	return os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0)
}

// await returns when no process lives in c or beneath. cgroup.events tells, by
// poll, when that changes; cgroup.procs would leave out one that is ending.
func (c *cgroup) await() {
	events, err := os.Open(filepath.Join(c.dir, "cgroup.events"))
	if err != nil {
		return // removed
	}
	defer events.Close()
	buf := make([]byte, 256)
	for {
		n, err := events.ReadAt(buf, 0)
		if n == 0 && err != nil || bytes.Contains(buf[:n], []byte("populated 0")) {
			return
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, -1)
	}
}

// remove removes the empty cgroup, with what the backend made beneath it.
func (c *cgroup) remove() {
	for _, dir := range slices.Backward(c.folders()) {
		_ = unix.Rmdir(dir) // os.Remove would try to unlink it first
	}
}

// freeze has the kernel stop all members, and then offers it their memory.
func (c *cgroup) freeze() error {
	if err := os.WriteFile(filepath.Join(c.dir, "cgroup.freeze"), []byte("1"), 0); err != nil {
		return fmt.Errorf("cannot freeze the backend: %w", err)
	}
	// There is no such file without the memory controller, and before Linux
	// 5.19; and it answers EAGAIN when less than that could be had.
	if used := c.memory(); used > 0 {
		_ = os.WriteFile(filepath.Join(c.dir, "memory.reclaim"), strconv.AppendInt(nil, used, 10), 0)
	}
	return nil
}

// thaw lets them go on.
func (c *cgroup) thaw() error {
	if err := os.WriteFile(filepath.Join(c.dir, "cgroup.freeze"), []byte("0"), 0); err != nil {
		return fmt.Errorf("cannot thaw the backend: %w", err)
	}
	return nil
}

// memory is memory.current, in bytes; 0 where the controller is not enabled.
func (c *cgroup) memory() int64 {
	text, err := os.ReadFile(filepath.Join(c.dir, "memory.current"))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	return n
}
