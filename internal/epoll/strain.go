package epoll

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Strain is what a thread, and the machine, have had to do so far.
type Strain struct {
	Thread int           // the thread's number (gettid(2))
	Busy   time.Duration // that it ran, or could have run and waited for a CPU
	Idle   time.Duration // of all CPUs together, by steps of 10 ms; 0: it cannot be known (ProcSubset=pid)
}

// ReadStrain tells it of the calling thread. It fails on kernels without
// statistics of their scheduler (Documentation/scheduler/sched-stats.rst).
func ReadStrain() (Strain, error) {
	s := Strain{Thread: unix.Gettid()}
	ran, waited, err := readPair("/proc/thread-self/schedstat")
	if err != nil {
		return s, err
	}
	s.Busy = time.Duration(ran + waited) // ns
	if _, idle, err := readPair("/proc/uptime"); err == nil {
		s.Idle = time.Duration(idle * float64(time.Second))
	}
	return s, nil
}

// readPair reads the first two numbers of a file of one line.
func readPair(path string) (a, b float64, _ error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("cannot open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var line [128]byte
	n, err := unix.Read(fd, line[:])
	if err != nil {
		return 0, 0, fmt.Errorf("cannot read %s: %w", path, err)
	}
	words := bytes.Fields(line[:n])
	if len(words) < 2 {
		return 0, 0, fmt.Errorf("cannot read %s: it says %q", path, line[:n])
	}
	if a, err = strconv.ParseFloat(string(words[0]), 64); err == nil {
		b, err = strconv.ParseFloat(string(words[1]), 64)
	}
	return a, b, err
}
