package supervisor

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTreeIsGoneAfterTheStop(t *testing.T) {
	at := somewhere()
	st := open(t, Config{
		Command: play("fork=deaf pid=child stay", "daemon=deaf pid=daemon stay", "listen="+at.String(), "stay"),
		Address: at, IdleStop: time.Nanosecond, StopTimeout: 50 * time.Millisecond,
	})
	lease := st.acquire()
	pids := []int{st.Status().PID, number(st.hears("child")), number(st.hears("daemon"))}
	lease.Release()
	await(st, func(ExitEvent) bool { return true })
	for i, pid := range pids {
		if unix.Kill(pid, 0) != unix.ESRCH {
			t.Errorf("process %d of %v is left", i, pids)
		}
	}
	if n := len(events[KillEvent](st)); n != 1 {
		t.Errorf("%d kills, want 1", n)
	}
}

// With the main process dead the rest would hold the port, and the pipe of the
// output, which must not delay the news.
func TestTreeIsKilledWhenTheMainProcessDies(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("fork=deaf pid=child stay", "daemon=deaf pid=daemon stay", "listen="+at.String(), "stay"), Address: at})
	st.acquire()
	pids := []int{number(st.hears("child")), number(st.hears("daemon"))}
	killed := time.Now()
	signalTo(t, st.Status().PID, unix.SIGKILL)
	await(st, func(ExitEvent) bool { return true })
	if took := time.Since(killed); took > time.Second {
		t.Errorf("the end was noticed after %v", took)
	}
	for _, pid := range pids {
		if unix.Kill(pid, 0) != unix.ESRCH {
			t.Errorf("process %d is left", pid)
		}
	}
}

// A process may end its first thread and go on; /proc shows a zombie then.
func TestBackendWithoutItsFirstThreadIsStopped(t *testing.T) {
	st := open(t, Config{Command: play("headless"), Address: somewhere(), Ready: ReadyNone, IdleStop: time.Nanosecond})
	lease := st.acquire()
	stat := "/proc/" + strconv.Itoa(st.Status().PID) + "/stat"
	eventually(t, "the first thread has ended", func() bool {
		text, _ := os.ReadFile(stat)
		return strings.Contains(string(text), ") Z ")
	})
	lease.Release()
	exit := await(st, func(ExitEvent) bool { return true })
	if exit.Status != "signal: terminated" {
		t.Errorf("%+v", exit)
	}
}

// A stopped process cannot answer SIGTERM.
func TestStoppedBackendIsContinuedToEnd(t *testing.T) {
	st := open(t, Config{Command: play("stay"), Address: somewhere(), Ready: ReadyNone, IdleStop: time.Nanosecond})
	lease := st.acquire()
	signalTo(t, st.Status().PID, unix.SIGSTOP)
	lease.Release()
	await(st, func(ExitEvent) bool { return true })
}

func TestNothingGrows(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("daemon=stay", "listen="+at.String(), "notify=STATUS=up", "stay"), Address: at, IdleStop: time.Nanosecond})
	round := func(gen uint64) {
		st.acquire().Release()
		await(st, func(e ExitEvent) bool { return e.Generation == gen })
	}
	round(1)
	fds, goroutines, children := openFiles(t), runtime.NumGoroutine(), ours.number()
	for gen := range uint64(30) {
		round(gen + 2)
	}
	if n := ours.number(); n != children {
		t.Errorf("%d children are known, %d before", n, children)
	}
	eventually(t, "no fd and no goroutine is left", func() bool {
		return openFiles(t) <= fds && runtime.NumGoroutine() <= goroutines
	})
	st.leavesNothing()
}

func TestShutdownLeavesNoGoroutine(t *testing.T) {
	at := somewhere()
	open(t, Config{Command: play("stay"), Address: at}) // the process is a reaper from now on
	fds, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 3 {
		st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at})
		st.acquire()
		st.Shutdown(t.Context())
		st = open(t, Config{Command: play("say=starts", "stay"), Address: at})
		st.begin()
		st.hears("starts")
		st.Shutdown(t.Context())
	}
	eventually(t, "no fd and no goroutine is left", func() bool {
		return openFiles(t) <= fds && runtime.NumGoroutine() <= goroutines
	})
}

func (c *children) number() int {
	c.Lock()
	defer c.Unlock()
	return len(c.pids)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A parent that ends while the processes are read has handed its children on.
func TestChildOfWhoHasEndedMeanwhileHasAnotherParent(t *testing.T) {
	for name, tt := range map[string]struct {
		list []process
		now  map[int][]int // what a process's parent is, from one reading to the next; the last one stays
		want []int         // the parents
	}{
		"all are there":              {[]process{{pid: 1}, {pid: 7, parent: 9}, {pid: 9, parent: 1}}, nil, []int{0, 9, 1}},
		"its parent has ended":       {[]process{{pid: 1}, {pid: 7, parent: 9}}, map[int][]int{7: {1}}, []int{0, 1}},
		"and the next one, too":      {[]process{{pid: 1}, {pid: 7, parent: 9}}, map[int][]int{7: {8, 1}}, []int{0, 1}},
		"it has ended itself":        {[]process{{pid: 1}, {pid: 7, parent: 9}}, nil, []int{0, 9}},
		"its parent may not be seen": {[]process{{pid: 7, parent: 9}}, map[int][]int{7: {9}}, []int{9}},
	} {
		rehome(tt.list, func(pid int) (process, bool) {
			parents := tt.now[pid]
			if len(parents) == 0 {
				return process{}, false
			}
			if len(parents) > 1 {
				tt.now[pid] = parents[1:]
			}
			return process{pid: pid, parent: parents[0]}, true
		})
		var got []int
		for _, p := range tt.list {
			got = append(got, p.parent)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: parents %v, want %v", name, got, tt.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	const rest = " 1 7 9 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 "
	for _, tt := range []struct {
		stat string
		want process
		ok   bool
	}{
		{"5 (sh) S" + rest + "1 0", process{pid: 5, parent: 1, session: 9}, true},
		{"5 (a ) Z 2 (b) R" + rest + "1 0", process{pid: 5, parent: 1, session: 9}, true},
		{"5 (sh) Z" + rest + "1 0", process{pid: 5, parent: 1, session: 9, zombie: true}, true},
		{"5 (sh) Z" + rest + "3 0", process{pid: 5, parent: 1, session: 9}, true},
		{"5 (sh) S 1 7 x 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1", process{}, false},
		{"5 (sh) S 1 7 9", process{}, false},
		{"5 sh", process{}, false},
		{"", process{}, false},
	} {
		got, ok := parseStat(5, []byte(tt.stat))
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q: %+v, %v", tt.stat, got, ok)
		}
	}
}

// Whatever a process calls itself, its parent is read right.
func FuzzStat(f *testing.F) {
	f.Add([]byte("sh"), 1, 9, 1)
	f.Add([]byte("a ) Z 2 (b"), 7, 8, 3)
	f.Add([]byte("5 (sh) S 1 7"), -1, 0, 0)
	f.Fuzz(func(t *testing.T, comm []byte, parent, session, threads int) {
		parseStat(5, comm) // must not panic
		stat := fmt.Sprintf("5 (%s) Z %d 7 %d 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 %d 0", comm, parent, session, threads)
		want := process{pid: 5, parent: parent, session: session, zombie: threads <= 1}
		if got, ok := parseStat(5, []byte(stat)); !ok || got != want {
			t.Errorf("%q: %+v, %v", stat, got, ok)
		}
	})
}
