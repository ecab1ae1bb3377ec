package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestPath(t *testing.T) {
	for _, c := range []struct{ override, runtime, xdg, want string }{
		{"/a/b", "/run/x", "/run/user/1", "/a/b"},
		{"", "/run/x", "/run/user/1", "/run/x/control.sock"},
		{"", "/run/x:/run/y", "", "/run/x/control.sock"},
		{"", "", "/run/user/1", "/run/user/1/tiproxy/control.sock"},
		{"", "", "", "/run/tiproxy/control.sock"},
	} {
		t.Setenv("RUNTIME_DIRECTORY", c.runtime)
		t.Setenv("XDG_RUNTIME_DIR", c.xdg)
		if got := Path(c.override); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestOnlyTheOwnerMayConnect(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		l, err := bind(socketPath(t))
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Stat(l.Addr().String())
		l.Close()
		if err != nil || file.Mode().Perm() != 0o600 {
			t.Errorf("umask %#o: %v, %v; want mode 0600", umask, file.Mode(), err)
		}
	}
	if _, err := Bind("@tiproxy-control-test", ""); err == nil || !strings.Contains(err.Error(), "abstract") {
		t.Errorf("an abstract socket, open to all: %v", err)
	}
}

func TestDefaultDirectoryIsMade(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for range 2 { // made, and found
		s, err := Bind(Path(""), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := NewServer(s, nil).Close(); err != nil {
			t.Fatal(err)
		}
	}
	made, err := os.Stat(filepath.Join(dir, "tiproxy"))
	if err != nil || made.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v; want mode 0755", made.Mode(), err)
	}
	if _, err := Bind(filepath.Join(dir, "elsewhere", "control.sock"), ""); err == nil || !strings.Contains(err.Error(), "--control") {
		t.Errorf("a directory that nobody made: %v", err)
	}
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "missing"))
	if _, err := Bind(Path(""), ""); err == nil || !strings.Contains(err.Error(), "--control") {
		t.Errorf("a runtime directory that is missing: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	dead, err := bind(path)
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	serve(t, path, 1)
	if got, err := (Client{Path: path}).Status(t.Context()); err != nil || string(got) != "1\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	serve(t, path, "first")
	_, err := Bind(path, "")
	if err == nil {
		t.Fatal("a second server took the socket")
	}
	for _, want := range []string{path, fmt.Sprintf("process %d ", os.Getpid()), "--control"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if got, err := (Client{Path: path}).Status(t.Context()); err != nil || string(got) != "\"first\"\n" {
		t.Errorf("the first one no longer answers: %q, %v", got, err)
	}
}

func TestOtherFileIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Bind(path, ""); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file became %q, %v", text, err)
	}
}

func TestFind(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	for _, unit := range []string{"tiproxy", "tiproxy@mine"} {
		if err := os.Mkdir(filepath.Join(dir, unit), 0o700); err != nil {
			t.Fatal(err)
		}
		mustBind(t, filepath.Join(dir, unit, name))
	}
	for instance, want := range map[string]Client{
		"":                 {Path: dir + "/tiproxy/control.sock"},
		"mine":             {Path: dir + "/tiproxy@mine/control.sock"},
		"other":            {Path: "/run/tiproxy@other/control.sock", Unit: "tiproxy@other"},
		"inetd-www-80-tcp": {Path: "/run/tiproxy@inetd-www-80-tcp/control.sock", Unit: "tiproxy-inetd@www-80-tcp"},
	} {
		if got := Find(instance); got != want {
			t.Errorf("%q: %+v, want %+v", instance, got, want)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if got, want := Find(""), (Client{"/run/tiproxy/control.sock", "tiproxy"}); got != want {
		t.Errorf("without a directory of the user's: %+v, want %+v", got, want)
	}
	t.Setenv("RUNTIME_DIRECTORY", "/run/other")
	for instance, want := range map[string]Client{
		"":     {Path: "/run/other/control.sock"},
		"shop": {Path: "/run/tiproxy@shop/control.sock", Unit: "tiproxy@shop"},
	} {
		if got := Find(instance); got != want {
			t.Errorf("%q in a service: %+v, want %+v", instance, got, want)
		}
	}
}

// A group that we are in may be given to a file by anybody, chown(2).
func TestGroupMayConnect(t *testing.T) {
	ours, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	gid := append(ours, os.Getgid())[0]
	names := []string{strconv.Itoa(gid)}
	if g, err := user.LookupGroupId(names[0]); err == nil {
		names = append(names, g.Name)
	}
	for _, group := range names {
		path := socketPath(t)
		old := syscall.Umask(0o077)
		s, err := Bind(path, group)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Stat(path)
		if err != nil || file.Mode().Perm() != 0o660 || file.Sys().(*syscall.Stat_t).Gid != uint32(gid) {
			t.Errorf("%s: %v of group %d, %v; want mode 0660", group, file.Mode(), file.Sys().(*syscall.Stat_t).Gid, err)
		}
		NewServer(s, nil).Close()
	}
}

func TestGroupThatCannotBeGiven(t *testing.T) {
	path := socketPath(t)
	if _, err := Bind(path, "no such group"); err == nil || !strings.Contains(err.Error(), "ControlGroup=") {
		t.Errorf("an unknown group: %v", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if os.Getuid() == 0 {
		return // may give a file to any group
	}
	ours, err := os.Getgroups()
	if err != nil || slices.Contains(ours, 0) {
		t.Fatalf("groups %v, %v; want none of root's", ours, err)
	}
	if _, err := Bind(path, "0"); err == nil || !strings.Contains(err.Error(), "SupplementaryGroups=") {
		t.Errorf("a group that we are not in: %v", err)
	}
}

// passed is a listening socket as systemd passes one: a file descriptor of
// nobody's.
func passed(t *testing.T, network, addr string) (fd int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l, is := l.(*net.UnixListener); is {
		l.SetUnlinkOnClose(false)
	}
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if fd, err = syscall.Dup(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestInheritedSocket(t *testing.T) {
	path := socketPath(t)
	fd := passed(t, "unix", path)
	socket, err := Inherit(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Close(fd); err != syscall.EBADF {
		t.Errorf("the fd that was passed is still open (%v)", err)
	}
	s := NewServer(socket, &fake{status: 1})
	run(t, s)
	if got, err := (Client{Path: path}).Status(t.Context()); err != nil || string(got) != "1\n" {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("systemd's file was removed: %v", err)
	}
}

func TestInheritedSocketThatCannotBeUsed(t *testing.T) {
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": "@tiproxy-control-test-" + strconv.Itoa(os.Getpid())} {
		if _, err := Inherit(passed(t, network, addr)); err == nil || !strings.Contains(err.Error(), "anybody could connect") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Inherit(fd); !errors.Is(err, syscall.ENOTSOCK) {
		t.Errorf("a file: %v", err)
	}
}
