package supervisor

import (
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// tree is the backend's main process and all that came from it, or that of a
// command of Run.
//
// In a cgroup of its own the kernel knows who belongs to it. Without one, it
// is the main process's session and descendants, and, if this process is the
// reaper, the orphans that came to us: a daemon that made a session of its own
// and lost its parent is among those.
type tree struct {
	leader int           // pid of the process that we started, which leads its session
	main   *atomic.Int64 // pid of the main process, as the child has it
	group  *cgroup       // nil: none
	reaper bool          // orphans of ours belong to it
	kept   bool          // the leader is a keeper, and no member
}

// members are the pids of the living processes of the tree.
func (t *tree) members() []int {
	if t.group != nil {
		return t.group.members()
	}
	ours.Lock()
	defer ours.Unlock()
	all, main := processes(), int(t.main.Load())
	belongs := map[int]bool{}
	for _, p := range all {
		child := p.parent == os.Getpid()
		named := child && (p.pid == t.leader || p.pid == main) // else the pid is somebody else's by now
		_, known := ours.pids[p.pid]
		orphan := child && t.reaper && !known
		if named || orphan || p.session == t.leader && p.pid != t.leader {
			belongs[p.pid] = true
		}
	}
	for grown := true; grown; { // /proc lists by pid, and children may have lower ones
		grown = false
		for _, p := range all {
			if belongs[p.parent] && !belongs[p.pid] {
				belongs[p.pid] = true
				grown = true
			}
		}
	}
	var pids []int
	for _, p := range all {
		if belongs[p.pid] && !p.zombie && !(t.kept && p.pid == t.leader) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// contains tells whether pid is a living member.
func (t *tree) contains(pid int) bool {
	return pid == int(t.main.Load()) || slices.Contains(t.members(), pid)
}

// terminate asks every member to end, as systemd does (KillMode=control-group):
// a shell that leads the tree would not pass the signal on.
func (t *tree) terminate(sig unix.Signal) {
	for _, pid := range t.members() {
		_ = unix.Kill(pid, sig)
		_ = unix.Kill(pid, unix.SIGCONT) // a stopped process could not answer
	}
}

// kill ends every member, until no new one is found: who forks while it is
// being killed leaves a child.
func (t *tree) kill() {
	if t.group != nil && t.group.kill() == nil {
		return
	}
	for {
		pids := t.members()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		awaitEnd(pids[0])
	}
}

// freeze stops all members where they are, and offers their memory back to the
// kernel where that can be asked for.
func (t *tree) freeze() error {
	if t.group != nil {
		return t.group.freeze()
	}
	stopped := map[int]bool{}
	for grown := true; grown; { // who forks while it is being stopped leaves a child that runs
		grown = false
		for _, pid := range t.members() {
			if !stopped[pid] {
				_ = unix.Kill(pid, unix.SIGSTOP)
				stopped[pid], grown = true, true
			}
		}
	}
	return nil
}

// thaw lets all members go on.
func (t *tree) thaw() error {
	if t.group != nil {
		return t.group.thaw()
	}
	for _, pid := range t.members() {
		_ = unix.Kill(pid, unix.SIGCONT)
	}
	return nil
}

// await returns when nobody is left, and removes the cgroup. A keeper is waited
// for by who started it: it is the last to end.
func (t *tree) await() {
	switch {
	case t.group != nil:
		t.group.await()
		t.group.remove()
	case !t.kept:
		for pids := t.members(); len(pids) > 0; pids = t.members() {
			awaitEnd(pids[0])
		}
	}
}

// reap collects what ended of the tree and came to us.
func (t *tree) reap() {
	if t.reaper {
		ours.reapOrphans()
	}
}

// memory is what the members use, in bytes.
func (t *tree) memory() int64 {
	if t.group != nil {
		if n := t.group.memory(); n > 0 {
			return n
		}
	}
	var sum int64
	for _, pid := range t.members() {
		sum += proportionalMemory(pid)
	}
	return sum
}

// awaitEnd blocks until a process has ended, whoever's child it is: its pidfd
// becomes readable then (pidfd_open(2)).
func awaitEnd(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if err != unix.ESRCH { // out of fds: look again soon
			time.Sleep(10 * time.Millisecond)
		}
		return
	}
	defer unix.Close(fd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return
		}
	}
}
