package activation

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// backlog is how many connections the kernel may hold for us; it cuts that to
// net.core.somaxconn. The packaged socket unit has the same.
const backlog = 4096

// Listen binds a listener by hand; a host's name may have several addresses,
// and each of them that this machine has is bound. It fails whole, and names
// the address.
func Listen(ctx context.Context, name sockaddr.Name) ([]Listener, error) {
	addrs, err := name.Resolve(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w", name, err)
	}
	return listenAll(addrs)
}

func listenAll(addrs []sockaddr.Addr) ([]Listener, error) {
	var all []Listener
	var missing error // the last address that this machine does not have
	for _, addr := range addrs {
		l, err := listen(addr)
		if err != nil {
			err = fmt.Errorf("cannot listen at %s: %w", addr, err)
		}
		switch {
		case err == nil:
			all = append(all, l)
		case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT):
			missing = err // localhost is ::1 too in /etc/hosts, even where IPv6 is off
		default:
			for i := range all {
				all[i].Close()
			}
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, missing
	}
	return all, nil
}

func listen(addr sockaddr.Addr) (Listener, error) {
	fd, err := unix.Socket(addr.Family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Listener{}, err
	}
	l, err := bind(fd, addr)
	if err != nil {
		unix.Close(fd)
	}
	return l, err
}

func bind(fd int, addr sockaddr.Addr) (Listener, error) {
	if addr.IsIP() {
		// The connections of a tiproxy that has just ended are in TIME_WAIT.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	}
	if addr.Family == unix.AF_INET6 {
		// :4000 means both families whatever net.ipv6.bindv6only says.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	err := unix.Bind(fd, addr.Sockaddr())
	if err == unix.EADDRINUSE && isStale(addr) {
		if err = os.Remove(addr.Path); err == nil {
			err = unix.Bind(fd, addr.Sockaddr())
		}
	}
	if err != nil {
		return Listener{}, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return Listener{}, err
	}
	l, err := examine(fd)
	if hasFile(addr) {
		l.file = fileAt(addr.Path)
	}
	return l, err
}

// hasFile tells whether an address is a file: a UNIX socket's that is not in
// the abstract namespace.
func hasFile(addr sockaddr.Addr) bool {
	return addr.Family == unix.AF_UNIX && addr.Path != "" && addr.Path[0] != '@'
}

// isStale tells whether an address is a socket's file that was left by a
// process that is gone: nobody listens behind it.
func isStale(addr sockaddr.Addr) bool {
	if !hasFile(addr) || fileAt(addr.Path) == (file{}) {
		return false
	}
	fd, err := sockaddr.Connect(context.Background(), addr)
	if err == nil {
		unix.Close(fd)
		return false
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

// file tells one socket's file from another.
type file struct{ device, inode uint64 }

// fileAt is the socket's file at path; zero if what is there is no socket.
func fileAt(path string) file {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return file{}
	}
	return file{uint64(st.Dev), st.Ino}
}
