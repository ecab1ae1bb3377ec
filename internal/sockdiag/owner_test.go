package sockdiag

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// childEnv makes the test binary a backend: its value says of which kind.
const childEnv = "SOCKDIAG_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "undumpable":
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			panic(err)
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
}

// child starts a backend, and ends it with the test.
func child(t *testing.T, kind string) (*exec.Cmd, []uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+kind)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // its end is the end of the child, should we crash
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := sockaddr.TCP(netip.MustParseAddrPort(strings.TrimSpace(line)))
	inodes := inodesAt(t, addr)
	if len(inodes) != 1 {
		t.Fatalf("%d listeners at the child's address, want 1", len(inodes))
	}
	return cmd, inodes
}

func TestOwnerIsTheChild(t *testing.T) {
	cmd, inodes := child(t, "plain")
	pids := []int{os.Getpid(), cmd.Process.Pid}
	if pid, err := Owner(inodes, pids); pid != cmd.Process.Pid || err != nil {
		t.Errorf("owner %d, %v; want %d", pid, err, cmd.Process.Pid)
	}
	if pid, err := Owner(inodes, pids[:1]); pid != 0 || err != nil {
		t.Errorf("without the child: owner %d, %v; want nobody", pid, err)
	}
	pid, comm := AnyOwner(inodes)
	if want, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)); pid != cmd.Process.Pid || comm+"\n" != string(want) {
		t.Errorf("any owner %d %q, want %d %q", pid, comm, cmd.Process.Pid, want)
	}
}

func TestOwnerOfNothing(t *testing.T) {
	if pid, err := Owner(nil, []int{os.Getpid()}); pid != 0 || err != nil {
		t.Errorf("owner %d, %v", pid, err)
	}
	if pid, comm := AnyOwner([]uint64{1<<64 - 1}); pid != 0 || comm != "" {
		t.Errorf("any owner %d %q", pid, comm)
	}
}

func TestOwnerThatHasEnded(t *testing.T) {
	cmd, inodes := child(t, "plain")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo // a zombie until Wait
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	unprivileged(t, nobody, func() {
		if pid, err := Owner(inodes, []int{cmd.Process.Pid}); pid != 0 || err != nil {
			t.Errorf("zombie: owner %d, %v", pid, err)
		}
	})
	cmd.Wait()
	if pid, err := Owner(inodes, []int{cmd.Process.Pid}); pid != 0 || err != nil {
		t.Errorf("gone: owner %d, %v", pid, err)
	}
}

func TestOwnerThatMayNotBeSeen(t *testing.T) {
	hidden, inodes := child(t, "undumpable")
	seen, seenInodes := child(t, "plain")
	for _, uid := range []int{os.Geteuid(), nobody} { // root may list the files, but not look at them
		unprivileged(t, uid, func() {
			pid, err := Owner(inodes, []int{hidden.Process.Pid, os.Getpid()})
			if pid != 0 || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), fmt.Sprint(hidden.Process.Pid)) {
				t.Errorf("uid %d: owner %d, %v; want 0 and a permission error with pid %d", uid, pid, err, hidden.Process.Pid)
			}
		})
	}
	pid, err := Owner(seenInodes, []int{hidden.Process.Pid, seen.Process.Pid})
	if pid != seen.Process.Pid || err != nil {
		t.Errorf("one that may not be seen hid another: owner %d, %v; want %d", pid, err, seen.Process.Pid)
	}
}

const nobody = 65534

// unprivileged runs f on a thread without capabilities that sees files as uid
// does; only root can be another. The thread ends with it.
func unprivileged(t *testing.T, uid int, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		unix.Setfsuid(uid)
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		err := unix.Capset(&header, &none[0])
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestSocketInode(t *testing.T) {
	for _, c := range []struct {
		link  string
		inode uint64
		ok    bool
	}{
		{"socket:[1]", 1, true},
		{"socket:[18446744073709551615]", 1<<64 - 1, true},
		{"socket:[]", 0, false},
		{"socket:[1", 0, false},
		{"socket:[x]", 0, false},
		{"pipe:[1]", 0, false},
		{"/socket:[1]", 0, false},
		{"", 0, false},
	} {
		if inode, ok := socketInode([]byte(c.link)); inode != c.inode || ok != c.ok {
			t.Errorf("%q: %d, %v", c.link, inode, ok)
		}
	}
}
