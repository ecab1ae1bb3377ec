package access

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of a UNIX socket, as it was when it
// connected. Ids are seen from our own user namespace: whoever has none there is
// 65534, which is also the user nobody.
type Peer struct {
	PID      int32 // 0: it lives in a PID namespace that we do not see
	UID, GID uint32
	Groups   []uint32 // supplementary ones
}

// PeerOf asks the kernel who is at the other end of a connected UNIX socket,
// SO_PEERCRED of unix(7) and SO_PEERGROUPS, which came with Linux 4.13. It fails
// with ENODATA for a socket of another kind, or one that is not connected.
func PeerOf(fd int) (Peer, error) {
	groups, err := peerGroups(fd)
	if err != nil {
		return Peer{}, fmt.Errorf("cannot ask for the groups of a UNIX client (SO_PEERGROUPS): %w", err)
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("cannot ask for the user of a UNIX client (SO_PEERCRED): %w", err)
	}
	return Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid, Groups: groups}, nil
}

// peerGroups reads SO_PEERGROUPS, for which x/sys has no function. The kernel
// answers ERANGE and the size it needs if there are more groups than room; the
// groups of a connected socket do not change, so the second call has enough.
func peerGroups(fd int) ([]uint32, error) {
	const each = uint32(unsafe.Sizeof(uint32(0)))
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups)) * each
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/each], nil
		case unix.ERANGE:
			groups = make([]uint32, size/each)
		default:
			return nil, errno
		}
	}
}
