package access

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pair answers the two ends of a UNIX socket, at both of which is the calling
// thread.
func pair(t *testing.T) (a, b int, err error) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	}
	return fds[0], fds[1], err
}

func checkPeer(t *testing.T, fd, uid, gid int, groups []int) {
	t.Helper()
	p, err := PeerOf(fd)
	if err != nil {
		t.Error(err)
		return
	}
	var got []int
	for _, g := range p.Groups {
		got = append(got, int(g))
	}
	slices.Sort(got)
	groups = slices.Sorted(slices.Values(groups))
	if int(p.PID) != os.Getpid() || int(p.UID) != uid || int(p.GID) != gid || !slices.Equal(got, groups) {
		t.Errorf("got %+v, want process %d, user %d, group %d, groups %v", p, os.Getpid(), uid, gid, groups)
	}
}

func TestPeerOf(t *testing.T) {
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	a, b, err := pair(t)
	if err != nil {
		t.Fatal(err)
	}
	checkPeer(t, a, os.Geteuid(), os.Getegid(), groups)
	checkPeer(t, b, os.Geteuid(), os.Getegid(), groups)
}

// Only root can become another user: one without supplementary groups, and some
// around the number that is asked for at first.
func TestPeerOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	const uid, gid = 65533, 65532
	for _, n := range []int{0, 1, 32, 33, 1000} {
		groups := make([]int, n)
		for i := range groups {
			groups[i] = 70_000 + i
		}
		var fd int
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			if err = become(uid, gid, groups); err == nil {
				fd, _, err = pair(t)
			}
		}()
		<-done
		if err != nil {
			t.Fatal(err)
		}
		checkPeer(t, fd, uid, gid, groups)
	}
}

// become gives the calling thread, and no other, another user and groups. The
// functions of package unix would change all threads.
func become(uid, gid uintptr, groups []int) error {
	ids := make([]uint32, len(groups)+1) // one more, so that there is a first
	for i, g := range groups {
		ids[i] = uint32(g)
	}
	_, _, err1 := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&ids[0])), 0)
	_, _, err2 := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid)
	_, _, err3 := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid)
	if err1 != 0 || err2 != 0 || err3 != 0 {
		return fmt.Errorf("cannot become user %d: setgroups %w, setresgid %w, setresuid %w", uid, err1, err2, err3)
	}
	return nil
}

func TestPeerOfFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tcp, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	alone, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(alone)
	for _, tt := range []struct {
		name string
		fd   int
		want error
	}{
		{"TCP", int(tcp.Fd()), unix.ENODATA},
		{"not connected", alone, unix.ENODATA},
		{"no fd", -1, unix.EBADF},
	} {
		if p, err := PeerOf(tt.fd); !errors.Is(err, tt.want) || p.PID != 0 {
			t.Errorf("%s: got %+v, %v; want %v", tt.name, p, err, tt.want)
		}
	}
}
