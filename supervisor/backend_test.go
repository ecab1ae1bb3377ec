package supervisor

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// actor as argv[1] makes the test binary a backend, or a part of one, that
// takes the steps in the rest of its arguments: "listen=@name", "stay". The
// value of a step that starts an actor is that one's steps, between spaces;
// within those, commas stand for spaces.
const actor = "act"

// play is a command for an actor.
func play(steps ...string) []string {
	return append([]string{"/proc/self/exe", actor}, steps...)
}

// steps are what an actor can do.
var steps map[string]func(value string)

func init() {
	steps = map[string]func(string){
		"say":       func(text string) { fmt.Println(text) },
		"pid":       func(name string) { fmt.Println(name, os.Getpid()) },
		"write":     writeHex,
		"flood":     flood,
		"close":     func(string) { os.Stdout.Close(); os.Stderr.Close() },
		"await":     func(string) { <-awaited },
		"deaf":      func(string) { signal.Ignore(unix.SIGTERM) },
		"listen":    listenAt,
		"port":      func(string) { listenAt("127.0.0.1:" + os.Getenv("PORT")) },
		"count":     countClients,
		"greet":     greet,
		"notify":    func(text string) { notify([]byte(text)) },
		"bulk":      func(size string) { notify(bytes.Repeat([]byte("X=1\n"), number(size)/4)) },
		"barrier":   barrier,
		"ping":      pings,
		"named":     nameMain,
		"slow":      func(pause string) { time.Sleep(duration(pause)) },
		"catch":     func(string) { signal.Notify(awaited, unix.SIGTERM) },
		"eat":       eat,
		"tick":      tick,
		"run":       func(steps string) { must(startActor(steps, nil).Wait()) },
		"fork":      func(steps string) { startActor(steps, nil) },
		"daemon":    func(steps string) { startActor("orphan="+strings.ReplaceAll(steps, " ", ","), nil).Wait() },
		"orphan":    func(steps string) { startActor(steps, &syscall.SysProcAttr{Setsid: true}) },
		"headless":  func(string) { go unix.Pause(); syscall.Syscall(unix.SYS_EXIT, 0, 0, 0) },
		"supervise": supervise,
		"errand":    errandOf,
		"exit":      func(status string) { os.Exit(number(status)) },
		"stay":      func(string) { unix.Pause() },
	}
	if len(os.Args) > 1 && os.Args[1] == actor {
		runtime.LockOSThread() // so that "headless" ends the first thread
	}
}

// awaited is SIGUSR1, which tests send to have an actor go on.
var awaited = make(chan os.Signal, 1)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == actor {
		log.SetFlags(0)
		signal.Notify(awaited, unix.SIGUSR1)
		for _, step := range os.Args[2:] {
			verb, value, _ := strings.Cut(step, "=")
			if steps[verb] == nil {
				log.Fatalf("no step is called %q", verb)
			}
			steps[verb](value)
		}
		os.Exit(0)
	}
	// With -race an actor would sleep for a second before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(m.Run())
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	must(err)
	return n
}

func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	must(err)
	return d
}

func writeHex(text string) {
	data, err := hex.DecodeString(text)
	must(err)
	os.Stdout.Write(data)
}

// flood writes a line of so many bytes.
func flood(size string) {
	os.Stdout.Write(append(bytes.Repeat([]byte("x"), number(size)), '\n'))
}

// theirs is the listener of the last "listen".
var theirs net.Listener

func listenAt(addr string) {
	network := "tcp"
	if addr[0] == '@' {
		network = "unix"
	}
	var err error
	theirs, err = net.Listen(network, addr)
	must(err)
	fmt.Println("listens at", theirs.Addr())
}

// countClients waits for SIGUSR1 and says how many connections have come.
func countClients(string) {
	<-awaited
	f, err := theirs.(interface{ File() (*os.File, error) }).File()
	must(err)
	fd := int(f.Fd())
	must(unix.SetNonblock(fd, true))
	clients := 0
	for ; ; clients++ {
		if _, _, err := unix.Accept(fd); err != nil {
			break
		}
	}
	fmt.Println("clients:", clients)
}

// greet answers each connection with a text, and ends it.
func greet(text string) {
	for {
		conn, err := theirs.Accept()
		must(err)
		fmt.Fprint(conn, text)
		conn.Close()
	}
}

func notify(text []byte, fds ...int) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.Sendmsg(fd, text, unix.UnixRights(fds...), &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}, 0))
	unix.Close(fd)
}

// barrier returns when the reader of the notify socket has closed our fd, as
// sd_notify_barrier(3) does.
func barrier(string) {
	var ends [2]int
	must(unix.Pipe2(ends[:], unix.O_CLOEXEC))
	notify([]byte("BARRIER=1"), ends[1])
	unix.Close(ends[1])
	_, err := unix.Read(ends[0], make([]byte, 1))
	must(err)
	fmt.Println("past the barrier")
}

// pings says that all is well, until SIGUSR1.
func pings(every string) {
	for n := 1; ; n++ {
		notify([]byte("WATCHDOG=1"))
		fmt.Println("ping", n)
		select {
		case <-awaited:
			return
		case <-time.After(duration(every)):
		}
	}
}

// nameMain starts an actor with a session of its own, and names it the main
// process of a backend that is ready.
func nameMain(steps string) {
	daemon := startActor(steps, &syscall.SysProcAttr{Setsid: true})
	notify(fmt.Appendf(nil, "MAINPID=%d\nREADY=1", daemon.Process.Pid))
}

// eat uses so many MiB of memory.
func eat(size string) {
	_, err := unix.Mmap(-1, 0, number(size)<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	must(err)
}

// tick counts without end, in the first eight bytes of a file.
func tick(file string) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(err)
	page, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	go func() {
		for {
			(*atomic.Uint64)(unsafe.Pointer(&page[0])).Add(1)
			time.Sleep(10 * time.Microsecond)
		}
	}()
}

// startActor has another actor take steps, which shares our output.
func startActor(steps string, attr *syscall.SysProcAttr) *exec.Cmd {
	args := play(strings.Fields(steps)...)
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, ",", " ")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdout, os.Stderr, attr
	must(cmd.Start())
	return cmd
}

// supervise keeps a backend until SIGUSR1, and says what it says.
func supervise(command string) {
	s, err := New(Config{
		Command: strings.Fields(command),
		Address: name("@unused"),
		Ready:   ReadyNone,
		Reap:    true,
		Events: func(e Event) {
			if e, ok := e.(OutputEvent); ok {
				fmt.Println(e.Line)
			}
		},
		StartTimeout: forever, StopTimeout: forever, IdleStop: forever,
	})
	must(err)
	_, err = s.Acquire(context.Background())
	must(err)
	<-awaited
	s.Shutdown(context.Background())
}

// errandOf runs a command, and says what it says.
func errandOf(command string) {
	must(Run(context.Background(), strings.Fields(command), nil, func(line string) { fmt.Println(line) }))
}

func name(text string) sockaddr.Name {
	n, err := sockaddr.Parse(text)
	must(err)
	return n
}
