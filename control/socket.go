package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is the listener and the file by which it is found.
type socket struct {
	*net.UnixListener
	path string
	file fs.FileInfo // as it was bound
}

func listen(path string) (*socket, error) {
	if strings.HasPrefix(path, "@") {
		return nil, fmt.Errorf("cannot listen on %s: anybody could connect to an abstract socket; give a path", path)
	}
	if path == Path("") {
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
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
	file, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot look at the control socket: %w", err)
	}
	return &socket{UnixListener: l, path: path, file: file}, nil
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
func (s *socket) remove() error {
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
