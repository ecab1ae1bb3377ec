package sockdiag

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Owner finds the first of pids that has one of the sockets open, and answers 0
// when none has. A process that has ended, or that /proc hides (ProtectProc=),
// holds nothing. When none is found and the open files of one may not be seen,
// the error says so and is an [fs.ErrPermission]: proc(5) shows them to the same
// user, if the process may be dumped and has no capabilities beyond ours, and to
// CAP_SYS_PTRACE.
func Owner(inodes []uint64, pids []int) (pid int, err error) {
	for _, pid := range pids {
		held, lookErr := holds(pid, inodes)
		if held {
			return pid, nil
		}
		if lookErr != nil {
			err = fmt.Errorf("cannot see the open files of process %d: %w", pid, lookErr)
		}
	}
	return 0, err
}

// AnyOwner looks through all processes that we may see for one that has one of
// the sockets open; pid 0 when there is none. It is slow, and for messages only.
func AnyOwner(inodes []uint64) (pid int, comm string) {
	for _, pid := range processes() {
		if held, _ := holds(pid, inodes); held {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			return pid, string(bytes.TrimSpace(name))
		}
	}
	return 0, ""
}

// processes lists the pids in /proc, the lowest first.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// holds tells whether a file descriptor of pid is one of the sockets. Its error
// is that something could not be looked at, not that the process has ended.
func holds(pid int, inodes []uint64) (bool, error) {
	held, err := searchFiles(fmt.Sprintf("/proc/%d/fd", pid), inodes)
	if err != nil && ended(pid) {
		return false, nil
	}
	return held, err
}

func searchFiles(path string, inodes []uint64) (bool, error) {
	dir, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return false, err
	}
	fd := int(dir.Fd())
	var link [64]byte // a socket's is shorter; another's may be cut
	for _, name := range names {
		n, linkErr := unix.Readlinkat(fd, name, link[:])
		if linkErr != nil && linkErr != unix.ENOENT { // closed since it was listed
			err = linkErr
			continue
		}
		if inode, ok := socketInode(link[:max(n, 0)]); ok && slices.Contains(inodes, inode) {
			return true, nil
		}
	}
	return false, err
}

// ended tells whether pid is no more, or a zombie: of that only root may list the
// files, though there are none.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
	}
	_, state, _ := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(" "))
	return bytes.HasPrefix(state, []byte("Z")) || bytes.HasPrefix(state, []byte("X"))
}

// socketInode reads "socket:[INODE]", what a link in /proc/PID/fd says for a
// socket (proc(5)).
func socketInode(link []byte) (uint64, bool) {
	digits, ok := bytes.CutPrefix(link, []byte("socket:["))
	if !ok {
		return 0, false
	}
	digits, ok = bytes.CutSuffix(digits, []byte("]"))
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(digits), 10, 64)
	return inode, err == nil
}
