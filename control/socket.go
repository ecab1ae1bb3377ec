package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is a control socket that listens.
type Socket struct {
	listener *net.UnixListener
	path     string      // of the file that we made; "": systemd made it
	file     fs.FileInfo // as it was bound; nil: as path
}

// Bind makes the control socket at path, for root and our own user, and for a
// group, by name or number, if that is not "". Its directory is made, mode 0755
// less the umask, if path is the default one, else it has to be there. What a
// tiproxy that died left behind is replaced; a process that answers there is an
// error that names it.
func Bind(path, group string) (*Socket, error) {
	if strings.HasPrefix(path, "@") {
		return nil, fmt.Errorf("cannot listen on %s: anybody could connect to an abstract socket; give a path", path)
	}
	if path == Path("") {
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("cannot make the control socket's directory: %w; choose another place with --control", err)
		}
	}
	l, err := bind(path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(path); err != nil {
			return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
		}
		l, err = bind(path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; choose another place with --control", path, cause(err))
	}
	l.SetUnlinkOnClose(false) // net would remove another's file too
	s := &Socket{listener: l, path: path}
	if s.file, err = os.Lstat(path); err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot look at the control socket: %w", err)
	}
	if err := s.share(group); err != nil {
		_ = s.remove()
		l.Close()
		return nil, err
	}
	return s, nil
}

// Inherit takes over a listening UNIX socket that systemd passed as fd, which is
// closed. Who may connect, and its file, are the business of its socket unit.
func Inherit(fd int) (*Socket, error) {
	f := os.NewFile(uintptr(fd), "control")
	defer f.Close()
	l, err := net.FileListener(f) // of a copy
	if err != nil {
		return nil, fmt.Errorf("cannot use fd %d as the control socket: %w", fd, cause(err))
	}
	unixListener, is := l.(*net.UnixListener) // it never removes a file that it did not make
	if !is || strings.HasPrefix(l.Addr().String(), "@") {
		l.Close()
		return nil, fmt.Errorf("cannot use %s as the control socket: anybody could connect; write a path as its ListenStream=", l.Addr())
	}
	return &Socket{listener: unixListener}, nil
}

// share lets a group connect. Until the file belongs to that group, no group
// may.
func (s *Socket) share(group string) error {
	if group == "" {
		return nil
	}
	gid, err := groupID(group)
	if err == nil {
		err = os.Lchown(s.path, -1, gid)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("cannot give the control socket to the group %s: %w; tiproxy must be in it, with SupplementaryGroups= of its service, or be root", group, cause(err))
	}
	if err == nil {
		err = os.Chmod(s.path, 0o660)
	}
	if err != nil {
		return fmt.Errorf("cannot give the control socket to the group %s: %w", group, cause(err))
	}
	return nil
}

// groupID finds a group by its name or number.
func groupID(group string) (int, error) {
	if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(gid), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, errors.New("there is no such group; correct ControlGroup=")
	}
	return strconv.Atoi(g.Gid)
}

// bind makes the socket's file with mode 0600: Linux takes the mode from the
// unbound socket. So the umask can take away from it, but never add.
func bind(path string) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		ctlErr := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(ctlErr, err)
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// removeStale removes the socket's file at path if nobody answers there.
func removeStale(path string) error {
	conn, err := net.Dial("unix", path)
	if err == nil {
		defer conn.Close()
		return fmt.Errorf("%s answers there; stop it, or choose another place with --control", peer(conn))
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return cause(err)
	}
	file, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if file.Mode().Type() != fs.ModeSocket { // the kernel refuses to connect to it all the same
		return errors.New("the file there is not a socket; remove it, or choose another place with --control")
	}
	return os.Remove(path)
}

// peer names who listens at the other end of conn.
func peer(conn net.Conn) string {
	var cred *unix.Ucred
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			cred, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		})
	}
	if err != nil || cred == nil || cred.Pid == 0 {
		return "another process" // of another pid namespace, for example
	}
	return fmt.Sprintf("process %d", cred.Pid)
}

// remove takes the socket's file away if it is still our own. While the socket is
// open the file's inode number cannot go to another file: so remove before Close.
func (s *Socket) remove() error {
	if s.path == "" {
		return nil
	}
	file, err := os.Lstat(s.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(file, s.file) {
		return nil
	}
	if err == nil {
		err = os.Remove(s.path)
	}
	if err != nil {
		return fmt.Errorf("cannot remove the control socket: %w", err)
	}
	return nil
}

// cause strips net's "dial unix PATH: connect:" from an error.
func cause(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno
	}
	return err
}
