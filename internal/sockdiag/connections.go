package sockdiag

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// States of net/tcp_states.h in which somebody may hold a connection. UNIX
// sockets have the first of them.
const (
	stateEstablished = 1
	stateFinWait1    = 4
	stateFinWait2    = 5
	stateCloseWait   = 8
)

// Connections counts the connections that came in by a stream listener, as it
// was bound, and are held by whoever has accepted them. Over TCP it counts those
// that nobody has accepted yet, too; of a UNIX socket they cannot be seen. One
// that was closed on this side is none any more, though its last bytes may be
// on their way. It fails as [Listeners] does.
func Connections(bound sockaddr.Addr, v6only bool) (int, error) {
	n, err := connectionsOf(bound, v6only)
	if err != nil {
		return 0, fmt.Errorf("cannot ask the kernel who is connected to %s: %w", bound, advise(err))
	}
	return n, nil
}

func connectionsOf(bound sockaddr.Addr, v6only bool) (int, error) {
	var request []byte
	var read readFunc
	switch {
	case bound.IsIP():
		states := uint32(1<<stateEstablished | 1<<stateFinWait1 | 1<<stateFinWait2 | 1<<stateCloseWait)
		request = tcpRequest(byte(bound.Family), bound.IP.Port(), states)
		read = func(body []byte) (Listener, bool, error) {
			local, held, err := parseConnection(body)
			return Listener{}, held && bound.Covers(local, v6only), err
		}
	case bound.Family == unix.AF_UNIX && bound.Path != "":
		name := bound.Path
		if abstract, is := strings.CutPrefix(name, "@"); is {
			name = "\x00" + abstract
		}
		request = unixRequest(1 << stateEstablished)
		read = func(body []byte) (Listener, bool, error) {
			s, err := parseUnix(body)
			return Listener{}, string(s.name) == name, err // accepted ones have their listener's
		}
	default:
		return 0, ErrUnsupported
	}
	c, err := dial()
	if err != nil {
		return 0, err
	}
	defer c.close()
	found, err := c.dump(request, read)
	return len(found), err
}

// parseConnection reads a struct inet_diag_msg. A connection that was shut down
// on this side, and that no file has, was closed.
func parseConnection(body []byte) (local sockaddr.Addr, held bool, err error) {
	local, inode, err := tcpSocket(body)
	if err != nil {
		return sockaddr.Addr{}, false, err
	}
	return local, inode != 0 || body[1] == stateEstablished || body[1] == stateCloseWait, nil
}
