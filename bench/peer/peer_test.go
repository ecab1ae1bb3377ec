package peer

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shell runs a script that says a line when it is ready.
func shell(t *testing.T, cpus []int, script string) *Process {
	t.Helper()
	runtime.LockOSThread()
	p, err := Run("script", t.TempDir(), cpus, "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if _, err := bufio.NewReader(p.Stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTreeHasAllDescendants(t *testing.T) {
	p := shell(t, nil, `sh -c 'trap "" TERM; sleep 60 & echo; wait' & wait`)
	pids, err := p.Tree().Processes()
	if err != nil || len(pids) != 3 || pids[0] != int(p.Tree()) {
		t.Fatalf("the tree is %v, %v", pids, err)
	}
	m, err := p.Tree().Memory()
	if err != nil || m.PSS < 100<<10 || m.RSS < m.PSS {
		t.Errorf("its memory is %+v, %v", m, err)
	}
	if n, err := p.Tree().Files(); err != nil || n < 9 {
		t.Errorf("it has %d files, %v", n, err)
	}
	var children []unix.PollFd // readable when the process has ended (pidfd_open(2))
	for _, pid := range pids[1:] {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		children = append(children, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	p.Stop()
	for i := range children {
		if n, err := unix.Poll(children[i:i+1], 10_000); n != 1 {
			t.Errorf("process %d was left: %v", pids[1+i], err)
		}
	}
	if _, err := p.Tree().Processes(); err == nil {
		t.Error("it is gone, and can be measured")
	}
}

func TestCPUOfTheLivingAndOfTheDead(t *testing.T) {
	const burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; "
	living := shell(t, nil, burn+"echo; sleep 60")
	dead := shell(t, nil, "sh -c '"+burn+"'; echo; sleep 60")
	for name, p := range map[string]*Process{"living": living, "dead": dead} {
		if cpu, err := p.Tree().CPU(); err != nil || cpu < 10*time.Millisecond {
			t.Errorf("%s: %v, %v", name, cpu, err)
		}
	}
	if err := living.Tree().Settle(); err != nil {
		t.Error(err)
	}
}

func TestProcessesRunWhereTheyAreBound(t *testing.T) {
	one, err := OneCPU()
	if err != nil {
		t.Fatal(err)
	}
	p := shell(t, one, "echo; sleep 60")
	want := fmt.Sprintf("Cpus_allowed_list:\t%d\n", one[0])
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", int(p.Tree())))
	if err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%v, and its status is %s", err, text)
	}
	us, err := os.ReadFile("/proc/thread-self/status")
	if err != nil || runtime.NumCPU() > 1 && strings.Contains(string(us), want) {
		t.Errorf("we are bound, too: %v", err)
	}
}

func TestFrozen(t *testing.T) {
	p := shell(t, nil, "sleep 60 & echo; wait")
	if frozen, err := p.Tree().Frozen(); frozen || err != nil {
		t.Errorf("a running child is frozen: %v, %v", frozen, err)
	}
	pids, err := p.Tree().Processes()
	if err != nil || len(pids) != 2 {
		t.Fatal(pids, err)
	}
	if err := syscall.Kill(pids[1], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err = p.Until("frozen", func() error {
		frozen, err := p.Tree().Frozen()
		if err == nil && !frozen {
			err = errors.New("it runs")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEndOfAProcessIsToldWithItsLastWords(t *testing.T) {
	p := shell(t, nil, "echo; echo I have no socket >&2; exit 3")
	never := errors.New("never")
	if err := p.Until("ready", func() error { return never }); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	if err := shell(t, nil, "echo").Wait(); err != nil {
		t.Errorf("status 0: %v", err)
	}
}

func TestWakeups(t *testing.T) {
	p := shell(t, nil, "echo; read line; echo; sleep 60")
	before, err := p.Tree().Wakeups()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stdin.Write([]byte{'\n'}); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(p.Stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if after, err := p.Tree().Wakeups(); after <= before || err != nil {
		t.Errorf("%d wake-ups, %d before: %v", after, before, err)
	}
}

func TestMissingPeersAreNamedByTheirPackages(t *testing.T) {
	here := filepath.Join(t.TempDir(), "here")
	if err := os.WriteFile(here, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	there := []Peer{{Name: None}, {Package: "two", Program: here}, {Name: Tiproxy, Program: here}}
	if err := Missing(there); err != nil {
		t.Errorf("all are there: %v", err)
	}
	for want, p := range map[string]Peer{
		"recommends one three": {Package: "one", Program: "/nonexistent/one"},
		"recommends three":     {Package: "two", Program: here},
		"make build":           {Name: Tiproxy, Program: "/nonexistent/tiproxy"},
	} {
		err := Missing(append(there, p, Peer{Package: "three", Program: "/nonexistent/three"}))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// What a setup says must reach each peer.
func TestSetupReachesThePeers(t *testing.T) {
	s := Setup{Listen: "127.0.0.1:1001", Backend: "127.0.0.1:1002", AtOnce: 77}
	for _, p := range All("tiproxy")[1:] {
		text := strings.Join(p.args(s), " ")
		if p.config != nil {
			text += p.config(s)
		}
		want := []string{"1001", s.Backend}
		if p.Queues {
			want = append(want, "77")
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q is missing in %q", p.Name, w, text)
			}
		}
	}
}

func FuzzStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(own))
	f.Add("7 (a) b) (c) T 3 0 0 0 0 0 0 0 0 0 0 0 5 6 0 0")
	f.Add("7 () R")
	f.Add("x (y) R 3 0 0 0 0 0 0 0 0 0 0 0 5 6")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseStat(text)
		if err == nil && (s.state == 0 || !strings.Contains(text, ") ")) {
			t.Errorf("%q was read as %+v", text, s)
		}
	})
}

func TestStat(t *testing.T) {
	got, err := parseStat("7 (a) b) (c) T 3 0 0 0 0 0 0 0 0 0 0 0 5 6 0 0")
	if want := (stat{pid: 7, parent: 3, state: 'T', reaped: 110 * time.Millisecond}); got != want || err != nil {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
}
