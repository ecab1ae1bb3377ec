package supervisor

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// socketsOf are listeners that do not block us, as those of activation.
func socketsOf(t *testing.T, names ...string) (all []Socket, inodes []string) {
	t.Helper()
	for _, name := range names {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Listen(fd, 1); err != nil {
			t.Fatal(err)
		}
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			t.Fatal(err)
		}
		all, inodes = append(all, Socket{fd, name}), append(inodes, link)
	}
	return all, inodes
}

func TestSocketsAreGivenAsBySystemd(t *testing.T) {
	sockets, inodes := socketsOf(t, "web", "", "local")
	const script = `[ $LISTEN_PID = $$ ] && echo "told $LISTEN_FDS $LISTEN_FDNAMES"; for fd in /proc/$$/fd/*; do echo "fd ${fd##*/} $(readlink $fd)"; done`
	st := open(t, Config{Command: []string{"/bin/sh", "-c", script}, Sockets: sockets, Ready: ReadyNone})
	st.begin()
	if got := st.hears("told"); got != "3 web:unknown:local" {
		t.Errorf("it is told of %q", got)
	}
	await(st, always[ExitEvent])
	given := map[string]string{}
	for _, e := range events[OutputEvent](st) {
		if number, link, is := strings.Cut(strings.TrimPrefix(e.Line, "fd "), " "); is && strings.HasPrefix(e.Line, "fd ") {
			given[number] = link
		}
	}
	if got := []string{given["3"], given["4"], given["5"]}; !slices.Equal(got, inodes) {
		t.Errorf("it finds %q, want %q", got, inodes)
	}
	for number, link := range given {
		if strings.HasPrefix(link, "socket:") && !slices.Contains([]string{"3", "4", "5"}, number) {
			t.Errorf("there is a socket at %s, too", number)
		}
	}
	for _, s := range sockets {
		if flags, err := unix.FcntlInt(uintptr(s.FD), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("socket %q does not block: %#x, %v", s.Name, flags, err)
		}
	}
}

func TestSocketAsStdin(t *testing.T) {
	sockets, inodes := socketsOf(t, "web")
	const script = `echo "told $LISTEN_FDS|$(readlink /proc/$$/fd/0)|$(readlink /proc/$$/fd/1)|$(ls -l /proc/$$/fd | grep -c socket:)" >&2`
	st := open(t, Config{Command: []string{"/bin/sh", "-c", script}, Sockets: sockets, SocketStdin: true, Ready: ReadyNone})
	st.begin()
	if got, want := st.hears("told"), "|"+inodes[0]+"|"+inodes[0]+"|2"; got != want {
		t.Errorf("it finds %q, want %q", got, want)
	}
}

// What runs beside a child is not given its sockets.
func TestSocketsAreNotForCommandsBeside(t *testing.T) {
	sockets, _ := socketsOf(t, "web")
	st := open(t, Config{Command: play("say=up", "stay"), Sockets: sockets, Ready: ReadyExec,
		ReadyCommand: []string{"/bin/sh", "-c", `echo "beside $LISTEN_PID|$(ls -l /proc/$$/fd | grep -c socket:)"`}})
	st.acquire()
	if got := st.hears("beside"); got != "|0" {
		t.Errorf("beside it there is %q", got)
	}
}

// A child that has ended leaves the sockets to the next one, with who waits there.
func TestSocketsOutliveAChild(t *testing.T) {
	sockets, _ := socketsOf(t, "web")
	st := open(t, Config{Command: play("exit=0"), Sockets: sockets, Ready: ReadyNone})
	st.begin()
	await(st, always[ExitEvent])
	sa, err := unix.Getsockname(sockets[0].FD)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestSocketsThatMakeNoSense(t *testing.T) {
	two := []Socket{{3, "a"}, {4, "b"}}
	command := []string{"true"}
	for want, cfg := range map[string]Config{
		`readiness "listen" is not for`:         {Command: command, Sockets: two},
		`readiness "connect" is not for`:        {Command: command, Sockets: two, Ready: ReadyConnect},
		`readiness "fd" is not for`:             {Command: command, Sockets: two, Ready: ReadyFD, ReadyFD: 3},
		"2 sockets cannot all be":               {Command: command, Sockets: two, SocketStdin: true, Ready: ReadyNone},
		"sockets are for a command, which has ": {Command: command, Sockets: two, Ready: ReadyNone, Address: somewhere()},
		"sockets are for a command, which ":     {Sockets: two, Ready: ReadyNone},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The report of the launcher is out of the way of what it gives.
func TestCommandThatCannotBeExecutedWithItsFile(t *testing.T) {
	for fd := 3; fd < 12; fd++ {
		st := open(t, Config{Command: []string{"/no/such/command"}, Address: somewhere(), Ready: ReadyFD, ReadyFD: fd})
		st.begin()
		if e := await(st, always[FailEvent]); !strings.Contains(e.Err.Error(), "cannot execute /no/such/command") {
			t.Errorf("with fd %d: %v", fd, e.Err)
		}
	}
}
