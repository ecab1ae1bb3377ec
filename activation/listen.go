package activation

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tiproxy/tiproxy/internal/sockaddr"
	"golang.org/x/sys/unix"
)

// backlog is how many connections the kernel may hold for us; it cuts that to
// net.core.somaxconn. The packaged socket unit has the same.
const backlog = 4096

// Listen binds a listener by hand; a host's name may have several addresses,
// and each of them is bound. It fails whole, and names the address.
func Listen(ctx context.Context, name sockaddr.Name) ([]Listener, error) {
	addrs, err := name.Resolve(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w", name, err)
	}
	var all []Listener
	for _, addr := range addrs {
		l, err := listen(addr)
		if err != nil {
			for i := range all {
				all[i].Close()
			}
			return nil, fmt.Errorf("cannot listen at %s: %w", addr, err)
		}
		all = append(all, l)
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
	if err == unix.EADDRINUSE && addr.Family == unix.AF_UNIX && isStale(addr) {
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
	return examine(fd)
}

// isStale tells whether a socket's file was left by a process that is gone:
// nobody listens behind it.
func isStale(addr sockaddr.Addr) bool {
	info, err := os.Lstat(addr.Path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return false
	}
	fd, err := sockaddr.Connect(context.Background(), addr)
	if err == nil {
		unix.Close(fd)
		return false
	}
	return errors.Is(err, unix.ECONNREFUSED)
}
