package peer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is a process and its descendants, by the pid of the first.
type Tree int

// stat is what proc_pid_stat(5) says of a process.
type stat struct {
	pid, parent int
	state       byte
	reaped      time.Duration // CPU of children that have ended
}

// tick is the unit of times in /proc/PID/stat: USER_HZ, the same on all that
// Go runs on.
const tick = 10 * time.Millisecond

// Processes answers the pids of the tree, the first one included.
func (t Tree) Processes() ([]int, error) {
	stats, err := t.stats()
	pids := make([]int, len(stats))
	for i, s := range stats {
		pids[i] = s.pid
	}
	return pids, err
}

// Frozen tells whether all descendants stand still, by a signal.
func (t Tree) Frozen() (bool, error) {
	stats, err := t.stats()
	if err != nil {
		return false, err
	}
	for _, s := range stats {
		if s.pid != int(t) && s.state != 'T' {
			return false, nil
		}
	}
	return len(stats) > 1, nil
}

func (t Tree) stats() ([]stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]stat{}
	var tree []stat
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended meanwhile
		}
		s, err := parseStat(string(text))
		if err != nil {
			return nil, err
		}
		children[s.parent] = append(children[s.parent], s)
		if s.pid == int(t) {
			tree = []stat{s}
		}
	}
	if tree == nil {
		return nil, fmt.Errorf("cannot measure process %d: it is gone", int(t))
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree, nil
}

// parseStat reads a line of proc_pid_stat(5).
func parseStat(text string) (stat, error) {
	pid, rest, _ := strings.Cut(text, " (")
	_, rest, ok := cutLast(rest, ") ") // the name may have anything in it
	f := strings.Fields(rest)
	if !ok || len(f) < 15 {
		return stat{}, fmt.Errorf("cannot read the status of a process: %q", text)
	}
	s := stat{state: f[0][0]}
	var ticks [2]int64 // cutime and cstime
	if _, err := fmt.Sscan(strings.Join([]string{pid, f[1], f[13], f[14]}, " "), &s.pid, &s.parent, &ticks[0], &ticks[1]); err != nil {
		return stat{}, fmt.Errorf("cannot read the status of a process: %q: %w", text, err)
	}
	s.reaped = time.Duration(ticks[0]+ticks[1]) * tick
	return s, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// CPU is the time that the tree has used: that of each process to the
// nanosecond, that of children which have ended and were waited for to the
// tick of /proc.
func (t Tree) CPU() (time.Duration, error) {
	stats, err := t.stats()
	var sum time.Duration
	for _, s := range stats {
		var now unix.Timespec
		// The CPU clock of a process: clock_getcpuclockid(3).
		if err := unix.ClockGettime(int32(^s.pid<<3|2), &now); err == nil {
			sum += time.Duration(now.Nano())
		}
		sum += s.reaped
	}
	return sum, err
}

// Settle returns when the tree has come to rest: its work is done as well as
// that of its clients.
func (t Tree) Settle() error {
	const rest, most = 20 * time.Millisecond, 50
	last := time.Duration(-1)
	for range most {
		now, err := t.CPU()
		if err != nil {
			return err
		}
		if now-last < rest/100 {
			break
		}
		last = now
		time.Sleep(rest)
	}
	return nil
}

// Memory in bytes.
type Memory struct {
	RSS int64 // resident; pages of several processes count for each
	PSS int64 // proportional: a page of n processes counts 1/n for each
}

// Memory sums up the tree's.
func (t Tree) Memory() (m Memory, err error) {
	pids, err := t.Processes()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return m, fmt.Errorf("cannot tell the memory of process %d: %w", pid, err)
		}
		m.RSS += field(text, "Rss:") << 10
		m.PSS += field(text, "Pss:") << 10
	}
	return m, err
}

// Files is how many file descriptors are open in the tree.
func (t Tree) Files() (n int64, err error) {
	pids, err := t.Processes()
	for _, pid := range pids {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return n, fmt.Errorf("cannot tell the open files of process %d: %w", pid, err)
		}
		n += int64(len(fds))
	}
	return n, err
}

// Wakeups is how often a thread of the tree has slept and was woken.
func (t Tree) Wakeups() (n int64, err error) {
	pids, err := t.Processes()
	for _, pid := range pids {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			return n, err
		}
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil { // else the thread has ended
				n += field(text, "\nvoluntary_ctxt_switches:")
			}
		}
	}
	return n, err
}

// KernelMemory is what the kernel's own objects take on the whole machine, in
// bytes: sockets, files, stacks, page tables. Only root may see it; ok tells.
func KernelMemory() (bytes int64, ok bool) {
	slabs, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0, false
	}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	bytes = (field(info, "KernelStack:") + field(info, "PageTables:")) << 10
	for _, line := range strings.Split(string(slabs), "\n")[1:] { // slabinfo(5)
		var name string
		var active, all, size int64
		if _, err := fmt.Sscan(line, &name, &active, &all, &size); err == nil {
			bytes += active * size
		}
	}
	return bytes, true
}

// field finds the number behind a name in a file of /proc; 0: it has none.
func field(text []byte, name string) int64 {
	_, rest, _ := bytes.Cut(text, []byte(name))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
