package sockdiag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// netlinkMessage builds a message with its padding, as the kernel lays it out.
func netlinkMessage(kind, flags uint16, seq uint32, body []byte) []byte {
	b := native.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, 0)
	return pad(append(b, body...))
}

func attribute(kind uint16, value ...byte) []byte {
	b := native.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	b = native.AppendUint16(b, kind)
	return pad(append(b, value...))
}

func pad(b []byte) []byte { return append(b, make([]byte, (4-len(b)%4)%4)...) }

// tcpAnswer is a struct inet_diag_msg: a listener at 127.0.0.1:80 of user 7.
func tcpAnswer(inode uint32, attrs ...[]byte) []byte {
	b := make([]byte, tcpAnswerSize)
	b[0], b[1] = unix.AF_INET, stateListen
	binary.BigEndian.PutUint16(b[4:], 80)
	copy(b[8:], []byte{127, 0, 0, 1})
	native.PutUint32(b[64:], 7)
	native.PutUint32(b[68:], inode)
	return append(b, slices.Concat(attrs...)...)
}

// unixAnswer is a struct unix_diag_msg: a stream listener.
func unixAnswer(inode uint32, attrs ...[]byte) []byte {
	b := []byte{unix.AF_UNIX, unix.SOCK_STREAM, stateListen, 0}
	b = native.AppendUint32(b, inode)
	b = append(b, make([]byte, 8)...)
	return append(b, slices.Concat(attrs...)...)
}

func errnoBody(errno unix.Errno) []byte { return native.AppendUint32(nil, -uint32(errno)) }

func TestMessageEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		kind uint16
		body []byte
		end  bool
		err  error
	}{
		{"answer", unix.SOCK_DIAG_BY_FAMILY, nil, false, nil},
		{"noop", unix.NLMSG_NOOP, nil, false, nil},
		{"done", unix.NLMSG_DONE, errnoBody(0), true, nil},
		{"done, failed", unix.NLMSG_DONE, errnoBody(unix.EPERM), true, unix.EPERM},
		{"done without its code", unix.NLMSG_DONE, nil, true, errMalformed},
		{"error", unix.NLMSG_ERROR, errnoBody(unix.ENOENT), true, unix.ENOENT},
		{"error without its code", unix.NLMSG_ERROR, []byte{1, 2}, true, errMalformed},
		{"overrun", unix.NLMSG_OVERRUN, nil, true, unix.ENOBUFS},
	} {
		end, err := message{kind: c.kind, body: c.body}.end()
		if end != c.end || err != c.err {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, end, err, c.end, c.err)
		}
	}
}

func TestCutMessage(t *testing.T) {
	whole := netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, 0, 1, []byte("body"))
	for n := range whole {
		if _, _, err := nextMessage(whole[:n]); err != errMalformed {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	m, rest, err := nextMessage(append(slices.Clone(whole), "next"...))
	if err != nil || string(m.body) != "body" || string(rest) != "next" {
		t.Errorf("whole: %+v, rest %q, %v", m, rest, err)
	}
}

func TestParseTCP(t *testing.T) {
	l, err := parseTCP(tcpAnswer(9, attribute(1, 1, 2, 3), attribute(tcpV6Only, 1)))
	if want := (Listener{Addr: tcp("127.0.0.1", 80), V6Only: true, Inode: 9, UID: 7}); err != nil || l != want {
		t.Errorf("got %+v, %v; want %+v", l, err, want)
	}
	for name, body := range map[string][]byte{
		"empty":            nil,
		"cut":              tcpAnswer(9)[:tcpAnswerSize-1],
		"cut attribute":    append(tcpAnswer(9), 8, 0, 11),
		"long attribute":   tcpAnswer(9, []byte{9, 0, 11, 0, 1, 0, 0, 0}),
		"short attribute":  tcpAnswer(9, []byte{3, 0, 11, 0}),
		"not listening":    append([]byte{unix.AF_INET, 1}, tcpAnswer(9)[2:]...),
		"of another world": append([]byte{unix.AF_UNIX}, tcpAnswer(9)[1:]...),
	} {
		if _, err := parseTCP(body); err != errMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseUnix(t *testing.T) {
	vfs := native.AppendUint32(native.AppendUint32(nil, 5), 6)
	uid := native.AppendUint32(nil, 7)
	s, err := parseUnix(unixAnswer(9, attribute(unixName, []byte("/s\x00")...), attribute(unixVFS, vfs...), attribute(unixUID, uid...)))
	if err != nil || !s.stream || s.inode != 9 || s.uid != 7 || string(s.name) != "/s" || s.file != (file{inode: 5, device: 6}) {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err = parseUnix(unixAnswer(9, attribute(unixName, []byte("\x00a\x00")...))); err != nil || string(s.name) != "\x00a\x00" {
		t.Errorf("an abstract name was changed: %q, %v", s.name, err)
	}
	if _, err := parseUnix(unixAnswer(9)[:unixAnswerSize-1]); err != errMalformed {
		t.Errorf("cut: %v", err)
	}
	if _, err := parseUnix(append(unixAnswer(9), 1)); err != errMalformed {
		t.Errorf("cut attribute: %v", err)
	}
}

func TestReachedBy(t *testing.T) {
	at := file{inode: 5, device: 6}
	for _, c := range []struct {
		why  string
		s    unixSocket
		path string
		want bool
	}{
		{"same file, same name", unixSocket{name: []byte("/s"), file: at}, "/s", true},
		{"same file, other name", unixSocket{name: []byte("s"), file: at}, "/s", true},
		{"btrfs and overlayfs: stat tells another device", unixSocket{name: []byte("/s"), file: file{5, 99}}, "/s", true},
		{"another file system's same number", unixSocket{name: []byte("/x"), file: file{5, 99}}, "/s", false},
		{"replaced file", unixSocket{name: []byte("/s"), file: file{4, 6}}, "/s", false},
		{"abstract", unixSocket{name: []byte("\x00s")}, "@s", true},
		{"a file with an @", unixSocket{name: []byte("@s"), file: at}, "@s", false},
		{"autobound", unixSocket{}, "@s", false},
	} {
		if got := c.s.reachedBy(c.path, at); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

// kernel plays the other end: it has its answers ready before it is asked.
func kernel(t *testing.T, answers ...[]byte) *conn {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(fds[0])
	t.Cleanup(c.close)
	t.Cleanup(func() { unix.Close(fds[1]) })
	for _, a := range answers {
		if _, err := unix.Write(fds[1], a); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func answer(seq uint32, inode uint32, flags uint16) []byte {
	return netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, flags, seq, tcpAnswer(inode))
}

func done(seq uint32, flags uint16) []byte {
	return netlinkMessage(unix.NLMSG_DONE, flags, seq, errnoBody(0))
}

func TestDump(t *testing.T) {
	const intr = unix.NLM_F_DUMP_INTR
	var changing [][]byte
	for try := range uint32(dumpTries) {
		changing = append(changing, answer(try+1, 1, intr), done(try+1, 0))
	}
	for _, c := range []struct {
		name    string
		answers [][]byte
		want    []uint64
		err     string
	}{
		{"nobody", [][]byte{done(1, 0)}, nil, ""},
		{"two in one datagram", [][]byte{slices.Concat(answer(1, 1, 0), answer(1, 2, 0)), done(1, 0)}, []uint64{1, 2}, ""},
		{"end in the same datagram", [][]byte{slices.Concat(answer(1, 1, 0), done(1, 0))}, []uint64{1}, ""},
		{"late answer to another question", [][]byte{answer(0, 1, 0), done(0, 0), answer(1, 2, 0), done(1, 0)}, []uint64{2}, ""},
		{"changed while read", [][]byte{answer(1, 1, intr), answer(1, 2, 0), done(1, 0), answer(2, 3, 0), done(2, 0)}, []uint64{3}, ""},
		{"changed at the end", [][]byte{answer(1, 1, 0), done(1, intr), answer(2, 3, 0), done(2, 0)}, []uint64{3}, ""},
		{"changing for ever", changing, nil, "changed under each"},
		{"refused", [][]byte{netlinkMessage(unix.NLMSG_ERROR, 0, 1, errnoBody(unix.EPERM))}, nil, unix.EPERM.Error()},
		{"cut", [][]byte{answer(1, 1, 0)[:40], done(1, 0)}, nil, errMalformed.Error()},
		{"larger than the buffer", [][]byte{bytes.Repeat(answer(1, 1, 0), bufferSize/len(answer(1, 1, 0))+1)}, nil, "was cut"},
	} {
		t.Run(c.name, func(t *testing.T) {
			listeners, err := kernel(t, c.answers...).dump(tcpRequest(unix.AF_INET, 80, 1<<stateListen), func(body []byte) (Listener, bool, error) {
				l, err := parseTCP(body)
				return l, true, err
			})
			var got []uint64
			for _, l := range listeners {
				got = append(got, l.Inode)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("inodes %v, want %v", got, c.want)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestSilentKernelIsNotWaitedForForEver(t *testing.T) {
	c := kernel(t)
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 1000}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.dump(unixRequest(1<<stateListen), nil); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("error %v", err)
	}
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	timeout, err := unix.GetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO)
	if err != nil || timeout.Sec != answerTimeout {
		t.Errorf("the kernel's socket has the timeout is %+v, %v", timeout, err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(slices.Concat(answer(1, 1, 0), done(1, 0)))
	f.Add(netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, 0, 1, unixAnswer(9, attribute(unixName, []byte("\x00abstract")...))))
	f.Add(netlinkMessage(unix.NLMSG_ERROR, 0, 1, errnoBody(unix.ENOENT)))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for len(datagram) > 0 {
			m, rest, err := nextMessage(datagram)
			if err != nil {
				return
			}
			if len(rest) >= len(datagram) {
				t.Fatal("no message was taken off")
			}
			datagram = rest
			m.end()
			if l, err := parseTCP(m.body); err == nil && !l.Addr.IsIP() {
				t.Errorf("no address of TCP: %+v", l)
			}
			if local, _, err := parseConnection(m.body); err == nil && !local.IsIP() {
				t.Errorf("no address of TCP: %s", local)
			}
			if s, err := parseUnix(m.body); err == nil {
				s.reachedBy("@s", file{})
				s.listener()
			} else if !errors.Is(err, errMalformed) {
				t.Error(err)
			}
		}
	})
}
