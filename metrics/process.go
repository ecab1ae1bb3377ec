package metrics

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// process is what the kernel says of tiproxy itself. A number that it does not
// tell, as when no fd is left to ask with, is NaN.
type process struct {
	cpu      float64 // seconds, user and system
	resident float64 // bytes
	virtual  float64 // bytes
	fds      float64 // open
	fdsMost  float64 // RLIMIT_NOFILE, soft
}

func lookAtProcess() process {
	resident, virtual := memory()
	return process{cpu: cpu(), resident: resident, virtual: virtual, fds: openFDs(), fdsMost: fdsMost()}
}

// cpu is the time spent by all threads, user and system (clock_gettime(2)).
func cpu() float64 {
	var spent unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &spent) != nil {
		return math.NaN()
	}
	return time.Duration(spent.Nano()).Seconds()
}

// memory is the second and the first number of /proc/self/statm, which counts
// pages (proc_pid_statm(5)).
func memory() (resident, virtual float64) {
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(text), &virtual, &resident)
	}
	if err != nil {
		return math.NaN(), math.NaN()
	}
	page := float64(os.Getpagesize())
	return resident * page, virtual * page
}

// openFDs counts /proc/self/fd, without the fd that it is read through. There
// are two for each session: not all names are held at once.
func openFDs() float64 {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return math.NaN()
	}
	defer dir.Close()
	for sum := -1; ; {
		names, err := dir.Readdirnames(1000)
		sum += len(names)
		switch {
		case errors.Is(err, io.EOF):
			return float64(sum)
		case err != nil:
			return math.NaN()
		}
	}
}

func fdsMost() float64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return math.NaN()
	}
	return float64(limit.Cur)
}
