package sockdiag

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// Numbers of linux/unix_diag.h that package unix lacks.
const (
	unixRequestSize = 24                 // struct unix_diag_req
	unixAnswerSize  = 16                 // struct unix_diag_msg
	unixShow        = 1<<0 | 1<<1 | 1<<6 // UDIAG_SHOW_NAME, _VFS, _UID
	unixName        = 0                  // UNIX_DIAG_NAME
	unixVFS         = 1                  // UNIX_DIAG_VFS
	unixUID         = 7                  // UNIX_DIAG_UID
)

// file tells a socket's file from all others, as far as unix_diag tells it. The
// zero file is that of an abstract socket: it has none.
type file struct {
	inode  uint32 // the lower half, where the file system has more
	device uint32 // the kernel's own dev_t, which has 20 bits for the minor
}

// unixSocket is what unix_diag says of one socket.
type unixSocket struct {
	stream bool   // not of type SOCK_SEQPACKET
	inode  uint32 // of the socket, not of its file
	uid    uint32
	name   []byte // as bound, an abstract one with its leading zero byte; points into the answer
	file   file
}

func unixListeners(path string) ([]Listener, error) {
	if path == "" {
		return nil, nil // nobody can connect to an unnamed socket
	}
	var at file
	if path[0] != '@' {
		var err error
		if at, err = fileAt(path); err != nil || at == (file{}) {
			return nil, err
		}
	}
	c, err := dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.dump(unixRequest(1<<stateListen), func(body []byte) (Listener, bool, error) {
		s, err := parseUnix(body)
		if err != nil || !s.stream || !s.reachedBy(path, at) {
			return Listener{}, false, err
		}
		return s.listener(), true, nil
	})
}

// fileAt answers what connect(2) would find at path, the zero file being nothing.
func fileAt(path string) (file, error) {
	var st unix.Stat_t
	switch err := unix.Stat(path, &st); err {
	case nil:
		return file{inode: uint32(st.Ino), device: unix.Major(st.Dev)<<20 | unix.Minor(st.Dev)}, nil
	case unix.ENOENT, unix.ENOTDIR:
		return file{}, nil
	default:
		return file{}, fmt.Errorf("cannot look at the socket's file: %w", err)
	}
}

// reachedBy tells whether a connection to path, where the file at is, reaches s.
// The file's inode decides. On btrfs and overlayfs stat(2) tells another device
// than the kernel's own; there the name has to be the same in its place.
func (s unixSocket) reachedBy(path string, at file) bool {
	if path[0] == '@' {
		return len(s.name) > 0 && s.name[0] == 0 && string(s.name[1:]) == path[1:]
	}
	return s.file.inode == at.inode && (s.file.device == at.device || string(s.name) == path)
}

func (s unixSocket) listener() Listener {
	name := string(s.name)
	if name != "" && name[0] == 0 {
		name = "@" + name[1:]
	}
	return Listener{Addr: sockaddr.Unix(name), Inode: uint64(s.inode), UID: s.uid}
}

// unixRequest asks for all UNIX sockets in some states: the kernel filters by
// nothing else.
func unixRequest(states uint32) []byte {
	request := make([]byte, unix.NLMSG_HDRLEN+unixRequestSize)
	putHeader(request)
	body := request[unix.NLMSG_HDRLEN:]
	body[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(body[4:], states)
	binary.NativeEndian.PutUint32(body[12:], unixShow)
	return request
}

// parseUnix reads a struct unix_diag_msg and what follows it.
func parseUnix(body []byte) (unixSocket, error) {
	if len(body) < unixAnswerSize || body[0] != unix.AF_UNIX || body[2] != stateListen && body[2] != stateEstablished {
		return unixSocket{}, errMalformed
	}
	s := unixSocket{stream: body[1] == unix.SOCK_STREAM, inode: binary.NativeEndian.Uint32(body[4:])}
	for attrs := body[unixAnswerSize:]; len(attrs) > 0; {
		var a attr
		var err error
		if a, attrs, err = nextAttr(attrs); err != nil {
			return unixSocket{}, err
		}
		switch {
		case a.kind == unixName && len(a.value) > 0 && a.value[0] != 0:
			s.name = bytes.TrimRight(a.value, "\x00") // a path comes with its closing zero
		case a.kind == unixName:
			s.name = a.value
		case a.kind == unixVFS && len(a.value) == 8:
			s.file.inode = binary.NativeEndian.Uint32(a.value)
			s.file.device = binary.NativeEndian.Uint32(a.value[4:])
		case a.kind == unixUID && len(a.value) == 4:
			s.uid = binary.NativeEndian.Uint32(a.value)
		}
	}
	return s, nil
}
