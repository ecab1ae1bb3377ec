package supervisor

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEnvironment(t *testing.T) {
	hidden := []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC", "MAINPID"}
	for _, name := range hidden {
		t.Setenv(name, "ours")
	}
	t.Setenv("NOTIFY_SOCKET", "ours")
	t.Setenv("PORT", "theirs")
	env := map[string]string{}
	for _, line := range output(t, "env") {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	for _, name := range hidden {
		if value, is := env[name]; is {
			t.Errorf("%s=%s", name, value)
		}
	}
	if !strings.HasPrefix(env["NOTIFY_SOCKET"], "@tiproxy/notify/") || env["PORT"] != "theirs" || env["PATH"] == "" {
		t.Errorf("%v", env)
	}
}

func TestOnlyThreeFilesAreOpen(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // as one that was left to us
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lines := output(t, "ls", "/proc/self/fd")
	if got := strings.Join(lines, " "); got != "0 1 2 3" { // 3 is the folder that ls reads
		t.Errorf("open files: %s", got)
	}
}

// Few programs expect EAGAIN of their stdout.
func TestFilesBlock(t *testing.T) {
	lines := output(t, "grep", "-h", "flags:", "/proc/self/fdinfo/0", "/proc/self/fdinfo/1", "/proc/self/fdinfo/2")
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	for _, line := range lines {
		var flags int
		if _, err := fmt.Sscanf(line, "flags: %o", &flags); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("%q (%v)", line, err)
		}
	}
}

func TestSignalsAreAsTheyWere(t *testing.T) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range output(t, "grep", "^Sig[BI]", "/proc/self/status") {
		name, set, _ := strings.Cut(line, "\t")
		switch name {
		case "SigBlk:":
			if strings.Trim(set, "0") != "" {
				t.Errorf("blocked: %s", set)
			}
		case "SigIgn:":
			if !strings.Contains(string(own), line) {
				t.Errorf("ignored: %s; by us:\n%s", set, own)
			}
		}
	}
}

// Go raises its own soft limit at the start, which is not for programs that
// use select(2).
func TestLimitOfFilesIsTheOriginalOne(t *testing.T) {
	script := `ulimit -S -n 777; exec "$@"`
	supervisor := append([]string{"/bin/sh", "-c", script, "sh", os.Args[0]}, play("supervise=grep files /proc/self/limits")[1:]...)
	if got := outside(t, supervisor...).line(t); !strings.HasPrefix(got, "Max open files") || strings.Fields(got)[3] != "777" {
		t.Errorf("%s, want 777", got)
	}
}

// Nobody can shut the backend down once we are killed.
func TestBackendDiesWithUs(t *testing.T) {
	parent := outside(t, play("supervise=/proc/self/exe act pid=backend stay")...)
	_, text, _ := strings.Cut(parent.line(t), " ")
	pid := number(text)
	parent.end()
	soon(t, "the backend has ended", func() { awaitEnd(pid) })
	ours.reapOrphans() // it has come to us, and the reaper's goroutine may not have seen it yet
}

// The signal that has the backend die with us fires when the thread ends that
// forked it, and Go ends the threads of goroutines that die locked.
func TestBackendOutlivesOtherThreads(t *testing.T) {
	st := open(t, Config{Command: play("pid=awaits", "await", "say=still here", "stay"), Address: somewhere(), Ready: ReadyNone})
	st.acquire()
	pid := number(st.hears("awaits"))
	for range 100 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
		}()
		<-done
	}
	signalTo(t, pid, unix.SIGUSR1)
	st.hears("still here")
}
