package supervisor

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// freezing keeps a backend that is frozen as soon as nobody uses it, and
// counts in a file as long as one of its three processes runs.
func freezing(t *testing.T, cfg Config) (st *stage, count func() uint64) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "count")
	if err := os.WriteFile(file, make([]byte, 8), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Address = somewhere()
	cfg.Command = play("tick="+file, "fork=tick="+file+" stay", "daemon=tick="+file+" stay", "listen="+cfg.Address.String(), "greet=hello")
	cfg.Freeze = true
	if cfg.IdleStop == 0 {
		cfg.IdleStop = time.Nanosecond
	}
	if cfg.FreezeStop == 0 {
		cfg.FreezeStop = forever
	}
	return open(t, cfg), func() uint64 {
		text, err := os.ReadFile(file)
		if err != nil || len(text) != 8 {
			t.Fatalf("%q, %v", text, err)
		}
		return binary.NativeEndian.Uint64(text)
	}
}

// awaitFrozen waits until it was frozen, or thawed, so many times.
func (st *stage) awaitFrozen(frozen bool, times int) {
	st.t.Helper()
	await(st, func(FreezeEvent) bool {
		n := 0
		for _, e := range events[FreezeEvent](st) {
			if e.Frozen == frozen {
				n++
			}
		}
		return n >= times
	})
}

// standsStill tells whether no thread of the backend can run.
func (st *stage) standsStill() bool {
	st.status.Lock()
	defer st.status.Unlock()
	for _, pid := range st.status.tree.members() {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, thread := range threads {
			if stat, _ := os.ReadFile(thread); !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
	}
	return true
}

func TestNothingRunsWhileFrozen(t *testing.T) {
	st, count := freezing(t, Config{})
	for round := range 3 {
		lease := st.acquire()
		if lease.Generation() != 1 {
			t.Fatalf("a lease on generation %d", lease.Generation())
		}
		if hello, err := io.ReadAll(st.connect()); string(hello) != "hello" {
			t.Errorf("%q, %v", hello, err)
		}
		before := count()
		eventually(t, "it counts", func() bool { return count() > before+100 })
		lease.Release()
		st.awaitFrozen(true, round+1)
		if s := st.Status(); s.State != Frozen || s.PID == 0 || s.Starts != 1 {
			t.Errorf("%+v", s)
		}
		eventually(t, "all have taken the signal", st.standsStill)
		still := count()
		outside(t, play("say=a while has passed")...).line(t)
		if now := count(); now != still {
			t.Errorf("counted from %d to %d while it was frozen", still, now)
		}
	}
}

func TestFrozenForTooLong(t *testing.T) {
	st, _ := freezing(t, Config{FreezeStop: 50 * time.Millisecond})
	st.acquire().Release()
	exit := await(st, func(ExitEvent) bool { return true })
	if !exit.Wanted || exit.Retry != 0 || exit.Status != "signal: terminated" {
		t.Errorf("%+v", exit)
	}
	if got, want := st.order(), "Launch Ready Freeze Freeze Stop Exit"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestShutdownWhileFrozen(t *testing.T) {
	st, _ := freezing(t, Config{})
	st.acquire().Release()
	st.awaitFrozen(true, 1)
	st.shutsDown()
	if n := len(events[KillEvent](st)); n != 0 {
		t.Error("it had to be killed")
	}
}

func TestKilledWhileFrozen(t *testing.T) {
	st, _ := freezing(t, Config{})
	st.acquire().Release()
	st.awaitFrozen(true, 1)
	signalTo(t, st.Status().PID, unix.SIGKILL)
	await(st, func(ExitEvent) bool { return true })
	if lease := st.acquire(); lease.Generation() != 2 {
		t.Errorf("a lease on generation %d", lease.Generation())
	}
}

func TestFrozenBackendNeedNotPing(t *testing.T) {
	const limit = 300 * time.Millisecond
	st := open(t, Config{Command: play("notify=READY=1", "ping=10ms"), Address: somewhere(), Ready: ReadyNotify,
		Watchdog: limit, Freeze: true, IdleStop: time.Nanosecond, FreezeStop: 2 * limit})
	st.acquire().Release()
	st.awaitFrozen(true, 1)
	if reason := st.stopReason(1); reason != "nobody used it for 1ns" {
		t.Errorf("%q", reason)
	}
}

func TestTooOldWhileFrozen(t *testing.T) {
	st, _ := freezing(t, Config{RecycleAge: 200 * time.Millisecond})
	st.acquire().Release()
	await(st, func(ExitEvent) bool { return true })
	if s := st.Status(); s.State != Stopped || s.Starts != 1 {
		t.Errorf("nobody has asked since: %+v", s)
	}
}

func TestMinUptime(t *testing.T) {
	const shortest = 200 * time.Millisecond
	st := open(t, Config{Command: play("stay"), Address: somewhere(), Ready: ReadyNone, IdleStop: time.Nanosecond, MinUptime: shortest})
	st.acquire().Release()
	if exit := await(st, func(ExitEvent) bool { return true }); exit.Uptime < shortest {
		t.Errorf("stopped after %v", exit.Uptime)
	}
}

func TestPreload(t *testing.T) {
	st := open(t, Config{Command: play("stay"), Address: somewhere(), Ready: ReadyNone, Preload: true})
	st.awaitReady(1)
	if lease := st.acquire(); lease.Generation() != 1 {
		t.Errorf("a lease on generation %d", lease.Generation())
	}
}
