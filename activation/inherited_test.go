package activation

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// What argv[1] makes the test binary do instead of testing.
const (
	inheritMode = "inherit" // print what Inherited answers
	leakMode    = "leak"    // print which sockets came through an exec
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == inheritMode:
		printInherited()
	case len(os.Args) > 1 && os.Args[1] == leakMode:
		printLeaks()
	default:
		os.Exit(m.Run())
	}
}

// printInherited is the process that systemd started. Its LISTEN_PID is set
// here, for only the process itself can know it beforehand.
func printInherited() {
	if os.Getenv("LISTEN_PID") == "self" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	listeners, err := Inherited()
	if err != nil {
		fmt.Println(err)
	}
	for _, l := range listeners {
		fmt.Printf("%q %v%s\n", l.Name, l.Addr, flaws(l))
	}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "LISTEN_") {
			fmt.Println("still in the environment:", v)
		}
	}
	fmt.Println(syscall.Exec("/proc/self/exe", []string{os.Args[0], leakMode}, os.Environ()))
}

// flaws tells what is wrong with an inherited listener, and whether it takes
// IPv4.
func flaws(l Listener) (text string) {
	if l.Datagram {
		text += " datagram"
	}
	if l.V6Only {
		text += " v6only"
	}
	if !l.Inherited {
		text += " not-inherited"
	}
	if flags, _ := unix.FcntlInt(uintptr(l.FD), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 {
		text += " blocks"
	}
	if nodelay, _ := unix.GetsockoptInt(l.FD, unix.IPPROTO_TCP, unix.TCP_NODELAY); l.Addr.IsIP() && !l.Datagram && nodelay == 0 {
		text += " delays"
	}
	return text
}

func printLeaks() {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if target, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(target, "socket:") {
			fmt.Println("went through exec: fd", fd.Name())
		}
	}
}

// passed is one file descriptor that systemd passes.
type passed struct {
	name string
	file *os.File // nil: the number is closed
}

// inheritIn has a process of its own inherit the files, under numbers from 3 on,
// and answers what it printed. env overrules the variables of systemd; an empty
// value leaves one out.
func inheritIn(t *testing.T, files []passed, env map[string]string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", inheritMode)
	var names []string
	for _, p := range files {
		names = append(names, p.name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, p.file)
	}
	all := map[string]string{
		"LISTEN_PID": "self", "LISTEN_FDS": strconv.Itoa(len(files)), "LISTEN_FDNAMES": strings.Join(names, ":"),
	}
	for name, value := range env {
		all[name] = value
	}
	cmd.Env = []string{"GORACE=atexit_sleep_ms=0"} // the race detector would wait for a second
	for name, value := range all {
		if value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// socket makes a bound socket, in blocking mode as systemd's are, and listens
// if kind is a stream. It answers the address as Inherited has to name it.
func socket(t *testing.T, kind int, sa unix.Sockaddr, options ...func(fd int) error) (*os.File, string) {
	t.Helper()
	family := map[string]int{
		"*unix.SockaddrInet4": unix.AF_INET, "*unix.SockaddrInet6": unix.AF_INET6,
		"*unix.SockaddrUnix": unix.AF_UNIX, "*unix.SockaddrVM": unix.AF_VSOCK,
	}[fmt.Sprintf("%T", sa)]
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "passed")
	t.Cleanup(func() { f.Close() })
	for _, set := range options {
		must(t, set(fd))
	}
	must(t, unix.Bind(fd, sa))
	if kind == unix.SOCK_STREAM {
		must(t, unix.Listen(fd, 8))
	}
	bound, err := unix.Getsockname(fd)
	must(t, err)
	switch sa := bound.(type) {
	case *unix.SockaddrInet4:
		return f, fmt.Sprintf("%v:%d", net.IP(sa.Addr[:]), sa.Port)
	case *unix.SockaddrInet6:
		return f, fmt.Sprintf("[%v]:%d", net.IP(sa.Addr[:]), sa.Port)
	case *unix.SockaddrVM:
		return f, fmt.Sprintf("vsock::%d", sa.Port)
	}
	return f, bound.(*unix.SockaddrUnix).Name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func v6only(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) }
func dual(fd int) error   { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) }

var loopback = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}

func TestInheritedListeners(t *testing.T) {
	tcp4, at4 := socket(t, unix.SOCK_STREAM, loopback)
	tcp6, at6 := socket(t, unix.SOCK_STREAM, &unix.SockaddrInet6{}, v6only)
	both, atBoth := socket(t, unix.SOCK_STREAM, &unix.SockaddrInet6{}, dual)
	path, atPath := socket(t, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "s")})
	abstract, atAbstract := socket(t, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: "@" + t.TempDir()})
	udp, atUDP := socket(t, unix.SOCK_DGRAM, loopback)
	log, atLog := socket(t, unix.SOCK_DGRAM, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "log")})
	all := []passed{{"web", tcp4}, {"web6", tcp6}, {"web", both}, {"local", path}, {"", abstract}}

	for _, tt := range []struct {
		name  string
		files []passed
		env   map[string]string
		want  []string
	}{
		{name: "none"},
		{
			name: "several with names", files: all,
			want: []string{`"web" ` + at4, `"web6" ` + at6 + " v6only", `"web" ` + atBoth, `"local" ` + atPath, `"" ` + atAbstract},
		},
		{
			name: "datagrams", files: []passed{{"dns", udp}, {"log", log}},
			want: []string{`"dns" ` + atUDP + " datagram", `"log" ` + atLog + " datagram"},
		},
		{
			name: "no names", files: all[:2], env: map[string]string{"LISTEN_FDNAMES": ""},
			want: []string{`"" ` + at4, `"" ` + at6 + " v6only"},
		},
		{
			name: "fewer names than sockets", files: all[:2], env: map[string]string{"LISTEN_FDNAMES": "web"},
			want: []string{`"web" ` + at4, `"" ` + at6 + " v6only"},
		},
		{name: "for another process", files: all[:1], env: map[string]string{"LISTEN_PID": "1"}},
		{name: "without a process", files: all[:1], env: map[string]string{"LISTEN_PID": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := inheritIn(t, tt.files, tt.env)
			if len(tt.want) == 0 && len(tt.files) > 0 {
				// What nobody took is open still; closing it is the business of whom it is for.
				got = strings.ReplaceAll(got, "went through exec: fd 3\n", "")
			}
			if want := lines(tt.want...); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// A kernel without VSOCK can pass none: then only the address is examined.
func TestInheritedVSOCK(t *testing.T) {
	if got, want := sockaddr.From(&unix.SockaddrVM{CID: 3, Port: 4000}).String(), "vsock:3:4000"; got != want {
		t.Errorf("the address is %s, want %s", got, want)
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Logf("this kernel makes no VSOCK sockets: %v", err)
		return
	}
	unix.Close(fd)
	f, at := socket(t, unix.SOCK_STREAM, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: unix.VMADDR_PORT_ANY})
	if got, want := inheritIn(t, []passed{{"vm", f}}, nil), lines(`"vm" `+at); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestInheritedRefusesWhatCannotBeServed(t *testing.T) {
	tcp, _ := socket(t, unix.SOCK_STREAM, loopback)
	packets, _ := socket(t, unix.SOCK_SEQPACKET, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "s")})
	regular, err := os.Create(filepath.Join(t.TempDir(), "regular"))
	must(t, err)
	defer regular.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	connection, other := os.NewFile(uintptr(pair[0]), "connection"), os.NewFile(uintptr(pair[1]), "other")
	defer connection.Close()
	defer other.Close()

	const (
		noStream = "it is neither a stream nor a datagram socket; write ListenStream= or ListenDatagram=, not ListenSequentialPacket="
		noListen = "it does not listen, it may be a connection; write Accept=no"
		noSocket = "it is not a socket (socket operation on non-socket); a ListenFIFO= or ListenSpecial= cannot be served"
	)
	bad := func(fd int, name, why string) string {
		return fmt.Sprintf("cannot use fd %d %q that systemd passed: %s", fd, name, why)
	}
	gap, gone := []passed{{"web", tcp}}, []string{} // wider than what Go's runtime opens
	for fd := 4; fd < 20; fd++ {
		gap, gone = append(gap, passed{"gone", nil}), append(gone, bad(fd, "gone", ""))
	}
	for _, tt := range []struct {
		name  string
		files []passed
		want  []string
	}{
		{"packets", []passed{{"dns", packets}}, []string{bad(3, "dns", noStream)}},
		{"connection", []passed{{"web", connection}}, []string{bad(3, "web", noListen)}},
		{"regular file", []passed{{"web", regular}}, []string{bad(3, "web", noSocket)}},
		{"closed", []passed{{"web", tcp}, {"gone", nil}}, []string{bad(4, "gone", "")}},
		{"closed, and the socket before must not slip into the gap", gap, gone},
		{"without a name", []passed{{"", packets}}, []string{bad(3, "LISTEN_FD_3", noStream)}},
		{
			"good and bad mixed",
			[]passed{{"a", tcp}, {"b", packets}, {"c", tcp}, {"d", regular}, {"e", connection}},
			[]string{bad(4, "b", noStream), bad(6, "d", noSocket), bad(7, "e", noListen)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Go's own runtime may have opened something under a closed number.
			got := regexp.MustCompile(`("gone" that systemd passed: ).*`).ReplaceAllString(inheritIn(t, tt.files, nil), "$1")
			if want := lines(tt.want...); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// lines is a text of so many lines.
func lines(all ...string) string {
	text := ""
	for _, l := range all {
		text += l + "\n"
	}
	return text
}
