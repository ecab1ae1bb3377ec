package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// process is what /proc/PID/stat says of a process (proc_pid_stat(5)).
type process struct {
	pid, parent, session int
	zombie               bool // ended, and not yet waited for
}

// processes lists all that /proc shows.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	list := make([]process, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			list = append(list, p)
		}
	}
	rehome(list, readProcess)
	return list
}

// readProcess reads one process; false: it has ended.
func readProcess(pid int) (process, bool) {
	stat, err := readStat(pid)
	if err != nil {
		return process{}, false
	}
	return parseStat(pid, stat)
}

// rehome reads those once more whose parent is not in the list. It has ended since
// they were read: a child may have the lower pid, and be read first. Where it is the
// same as before it is hidden from us (hidepid= in proc(5)).
func rehome(list []process, read func(pid int) (process, bool)) {
	known := map[int]bool{0: true} // of the first process, and of who is the kernel's
	for _, p := range list {
		known[p.pid] = true
	}
	for i := range list {
		for p := &list[i]; !known[p.parent]; {
			now, ok := read(p.pid)
			if !ok || now.parent == p.parent {
				break
			}
			*p = now
		}
	}
}

// readStat is what /proc says of a process; it fails for one that has ended, or is
// hidden from us.
func readStat(pid int) ([]byte, error) { return os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) }

// parseStat reads the fields behind the command's name, which may itself
// contain spaces and parentheses.
func parseStat(pid int, stat []byte) (process, bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return process{}, false
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 18 {
		return process{}, false
	}
	parent, err1 := strconv.Atoi(string(fields[1]))
	session, err2 := strconv.Atoi(string(fields[3]))
	threads, err3 := strconv.Atoi(string(fields[17]))
	state := fields[0][0]
	// A process whose first thread has ended before the others looks like a
	// zombie, but for their number.
	zombie := (state == 'Z' || state == 'X') && threads <= 1
	return process{pid, parent, session, zombie}, errors.Join(err1, err2, err3) == nil
}

// ended tells whether a process is no more, or a zombie, or hidden from us.
func ended(pid int) bool {
	stat, err := readStat(pid)
	if err != nil {
		return true
	}
	p, ok := parseStat(pid, stat)
	return ok && p.zombie
}

// exiting is the kernel's PF_EXITING (linux/sched.h), in the flags of
// /proc/PID/stat: set before the process's files are closed.
const exiting = 0x4

// dying tells whether a process is on its way out, or gone. It tells so before
// anybody can see that its sockets are closed, and so before its end is told.
func dying(pid int) bool {
	stat, err := readStat(pid)
	if err != nil {
		return true
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	return err == nil && flags&exiting != 0
}

// runsAs tells whether one of the processes is the user's.
func runsAs(pids []int, uid uint32) bool {
	for _, pid := range pids {
		info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		if err == nil && info.Sys().(*syscall.Stat_t).Uid == uid {
			return true
		}
	}
	return false
}

// proportionalMemory is what a process uses: its own pages, and its share of
// those it has in common with others. Where that may not be seen, its resident
// pages; 0 if it has ended.
func proportionalMemory(pid int) int64 {
	if kb, ok := readField(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:"); ok {
		return kb << 10
	}
	kb, _ := readField(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
	return kb << 10
}

// readField finds a line such as "Pss:   123 kB" and answers its number.
func readField(file, name string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			fields := bytes.Fields(rest)
			if len(fields) == 0 {
				return 0, false
			}
			n, err := strconv.ParseInt(string(fields[0]), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
