package relay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests: far beyond what a loaded machine
// needs, so that only a hang meets it.
const patience = 20 * time.Second

// conn is what both *net.TCPConn and *net.UnixConn are.
type conn interface {
	net.Conn
	CloseWrite() error
	SyscallConn() (syscall.RawConn, error)
}

// takeFD moves a connection's fd out of Go's hands.
func takeFD(t testing.TB, c conn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	if err := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return fd
}

// pair connects two sockets over the network named.
func pair(t testing.TB, network string) (ours, peer conn) {
	t.Helper()
	addr := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": filepath.Join(t.TempDir(), "s")}[network]
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	o, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { p.Close() })
	return o.(conn), p.(conn)
}

func newRelay(t testing.TB, o Options) *Relay {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// joined is one session with both peers in the test's hands.
type joined struct {
	client, backend conn
	session         *Session
	result          chan Result
}

func join(t testing.TB, r *Relay, netA, netB string) joined {
	t.Helper()
	a, client := pair(t, netA)
	b, backend := pair(t, netB)
	j := joined{client: client, backend: backend, result: make(chan Result, 2)}
	s, err := r.Join(takeFD(t, a), takeFD(t, b), Terms{}, func(res Result) { j.result <- res })
	if err != nil {
		t.Fatal(err)
	}
	j.session = s
	return j
}

// message goes from the client to the backend.
func (j joined) message(t testing.TB) {
	t.Helper()
	got := make([]byte, 5)
	j.client.Write([]byte("hello"))
	if _, err := io.ReadFull(j.backend, got); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func (j joined) wait(t testing.TB) Result {
	t.Helper()
	select {
	case res := <-j.result:
		return res
	case <-time.After(patience):
		t.Fatal("session did not end")
		return Result{}
	}
}

func mustRead(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func mustWrite(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func TestBytesGoBothWays(t *testing.T) {
	r := newRelay(t, Options{})
	for _, networks := range [][2]string{{"tcp4", "tcp4"}, {"tcp6", "tcp4"}, {"unix", "tcp4"}, {"tcp4", "unix"}, {"unix", "unix"}} {
		t.Run(networks[0]+"-"+networks[1], func(t *testing.T) {
			j := join(t, r, networks[0], networks[1])
			mustWrite(t, j.client, "question")
			mustRead(t, j.backend, "question")
			mustWrite(t, j.backend, "answer")
			mustRead(t, j.client, "answer")
			j.client.Close()
			if _, err := j.backend.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("backend read %v, want EOF", err)
			}
			j.backend.Close()
			res := j.wait(t)
			if res.FromA != 8 || res.FromB != 6 {
				t.Errorf("result %+v", res)
			}
			if a, b := j.session.Counts(); a != 8 || b != 6 {
				t.Errorf("Counts = %d, %d; want 8, 6", a, b)
			}
		})
	}
}

// socket-proxyd and nginx lose the reply of a client that ends its request by
// shutdown(SHUT_WR).
func TestReplyAfterHalfClose(t *testing.T) {
	r := newRelay(t, Options{})
	for _, network := range []string{"tcp4", "unix"} {
		t.Run(network, func(t *testing.T) {
			j := join(t, r, network, network)
			mustWrite(t, j.client, "request")
			j.client.CloseWrite()
			got, err := io.ReadAll(j.backend)
			if err != nil || string(got) != "request" {
				t.Fatalf("backend got %q, %v", got, err)
			}
			mustWrite(t, j.backend, "reply after the half-close")
			j.backend.Close()
			got, err = io.ReadAll(j.client)
			if err != nil || string(got) != "reply after the half-close" {
				t.Fatalf("client got %q, %v", got, err)
			}
			if res := j.wait(t); res.Err != nil {
				t.Errorf("result %+v, want no error", res)
			}
		})
	}
}

func TestResetTravels(t *testing.T) {
	r := newRelay(t, Options{})
	for _, from := range []string{"client", "backend"} {
		t.Run(from, func(t *testing.T) {
			j := join(t, r, "tcp4", "tcp4")
			mustWrite(t, j.client, "x")
			mustRead(t, j.backend, "x")
			loser, winner, side := j.client, j.backend, A
			if from == "backend" {
				loser, winner, side = j.backend, j.client, B
			}
			loser.(*net.TCPConn).SetLinger(0)
			loser.Close()
			if _, err := winner.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("other side read %v, want a reset", err)
			}
			if res := j.wait(t); !errors.Is(res.Err, syscall.ECONNRESET) || res.From != side {
				t.Errorf("result %+v, want a reset from side %d", res, side)
			}
		})
	}
}

func TestResetAfterHalfClose(t *testing.T) {
	j := join(t, newRelay(t, Options{}), "tcp4", "tcp4")
	j.client.CloseWrite()
	if _, err := j.backend.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("backend read %v, want EOF", err)
	}
	j.client.(*net.TCPConn).SetLinger(0)
	j.client.Close()
	// The kernel calls a reset after a FIN a broken pipe (tcp_reset).
	if res := j.wait(t); !errors.Is(res.Err, syscall.EPIPE) || res.From != A {
		t.Errorf("result %+v, want a reset from the client", res)
	}
}

// A client that resets while its bytes wait for a slow backend must be seen.
func TestResetBehindABlockedBackend(t *testing.T) {
	j := join(t, newRelay(t, Options{}), "tcp4", "tcp4")
	fillUp(t, j.client)
	j.client.(*net.TCPConn).SetLinger(0)
	j.client.Close()
	if res := j.wait(t); res.Err == nil || res.From != A {
		t.Errorf("result %+v, want an error from the client", res)
	}
}

// fillUp writes until nothing moves any more and tells how much was taken.
func fillUp(t testing.TB, c conn) int {
	t.Helper()
	chunk := make([]byte, 256<<10)
	total := 0
	for {
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.Write(chunk)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSlowReaderStopsTheWriter(t *testing.T) {
	r := newRelay(t, Options{Loops: 1})
	j := join(t, r, "tcp4", "tcp4")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sent := fillUp(t, j.client)
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("heap grew by %d bytes while %d were on the way", grown, sent)
	}
	// Another session on the same loop is not held up.
	k := join(t, r, "tcp4", "tcp4")
	mustWrite(t, k.client, "ping")
	mustRead(t, k.backend, "ping")

	j.client.CloseWrite()
	got, err := io.Copy(io.Discard, j.backend)
	if err != nil || got != int64(sent) {
		t.Errorf("backend got %d of %d bytes, %v", got, sent, err)
	}
}

// telnet and ftp send urgent data; the byte must not vanish, nor what follows.
func TestUrgentByteStaysInTheStream(t *testing.T) {
	j := join(t, newRelay(t, Options{}), "tcp4", "tcp4")
	mustWrite(t, j.client, "a")
	mustRead(t, j.backend, "a")
	sendUrgent(t, j.client, "before!")
	mustWrite(t, j.client, "after")
	mustRead(t, j.backend, "before!after")
}

// sendUrgent sends s, with its last byte marked as urgent (tcp(7)).
func sendUrgent(t *testing.T, c conn, s string) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte(s), unix.MSG_OOB, nil) }); ctlErr != nil {
		t.Fatal(ctlErr)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestCut(t *testing.T) {
	r := newRelay(t, Options{})
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprintf("reset=%v", reset), func(t *testing.T) {
			j := join(t, r, "tcp4", "tcp4")
			mustWrite(t, j.client, "x")
			mustRead(t, j.backend, "x")
			j.session.Cut(reset)
			j.session.Cut(reset) // once more does nothing
			for _, c := range []conn{j.client, j.backend} {
				_, err := c.Read(make([]byte, 1))
				if reset != errors.Is(err, syscall.ECONNRESET) || !reset && err != io.EOF {
					t.Errorf("peer read %v", err)
				}
			}
			if res := j.wait(t); res.Err != ErrCut {
				t.Errorf("result %+v, want ErrCut", res)
			}
		})
	}
}

func TestSilentHalfClosedSessionIsCut(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		end  func(joined)
		from Side
	}{
		{"the backend owes an answer", Options{HalfClosed: 50 * time.Millisecond}, func(j joined) { j.client.CloseWrite() }, B},
		{"the client lingers", Options{Lingering: 50 * time.Millisecond}, func(j joined) { j.backend.CloseWrite() }, A},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := join(t, newRelay(t, tt.o), "tcp4", "tcp4")
			tt.end(j)
			if res := j.wait(t); res.Err != ErrSilent || res.From != tt.from {
				t.Errorf("result %+v, want ErrSilent of side %d", res, tt.from)
			}
		})
	}
}

// The slot of a client that closed is free when the backend is done with it.
func TestUnixClientThatLeftWaitsForTheBackend(t *testing.T) {
	j := join(t, newRelay(t, Options{}), "unix", "tcp4")
	mustWrite(t, j.client, "one way")
	j.client.Close()
	got, err := io.ReadAll(j.backend)
	if err != nil || string(got) != "one way" {
		t.Errorf("backend got %q, %v", got, err)
	}
	select {
	case res := <-j.result:
		t.Fatalf("ended under the backend: %+v", res)
	default:
	}
	j.backend.Close()
	if res := j.wait(t); res.Err != nil {
		t.Errorf("result %+v, want no error", res)
	}
}

func TestUnixBackendThatLeftEndsTheSession(t *testing.T) {
	j := join(t, newRelay(t, Options{}), "tcp4", "unix")
	mustWrite(t, j.backend, "last words")
	j.backend.Close()
	mustRead(t, j.client, "last words")
	if res := j.wait(t); res.Err != ErrGone || res.From != B {
		t.Errorf("result %+v, want ErrGone of the backend", res)
	}
	if _, err := j.client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("client read %v, want EOF", err)
	}
}

// A TCP backend that was killed sends a FIN; a client that does not care for it
// must not keep its slot.
func TestGone(t *testing.T) {
	for _, when := range []string{"before its FIN", "after its FIN"} {
		t.Run(when, func(t *testing.T) {
			j := join(t, newRelay(t, Options{}), "tcp4", "tcp4")
			if when == "before its FIN" {
				j.session.Gone()
			}
			mustWrite(t, j.backend, "last words")
			j.backend.Close()
			mustRead(t, j.client, "last words")
			if _, err := j.client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("client read %v, want EOF", err)
			}
			if when == "after its FIN" {
				j.session.Gone()
			}
			if res := j.wait(t); res.Err != ErrGone || res.From != B || res.FromB != 10 {
				t.Errorf("result %+v, want ErrGone of the backend", res)
			}
			j.session.Gone() // once more does nothing
		})
	}
}

func TestCloseCutsAll(t *testing.T) {
	r, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	j := join(t, r, "tcp4", "tcp4")
	r.Close()
	if res := j.wait(t); res.Err != ErrCut {
		t.Errorf("result %+v, want ErrCut", res)
	}
	a, b := pair(t, "tcp4")
	if _, err := r.Join(takeFD(t, a), takeFD(t, b), Terms{}, nil); err == nil {
		t.Error("Join after Close succeeded")
	}
}

func openFDs(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// Random sessions, both ways at once, are byte-exact, and leave nothing.
func TestRandomSessionsAreByteExact(t *testing.T) {
	before := openFDs(t)
	r := newRelay(t, Options{})
	networks := []string{"tcp4", "tcp6", "unix"}
	// Eight at once are enough to have the loops take turns.
	slots := make(chan struct{}, 8)
	for i := range 200 {
		slots <- struct{}{}
		seed := rand.New(rand.NewPCG(uint64(i), 7))
		j := join(t, r, networks[seed.IntN(3)], networks[seed.IntN(3)])
		go func() {
			defer func() { <-slots }()
			randomSession(t, j, i)
		}()
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	r.Close()
	if after := openFDs(t); after > before {
		t.Errorf("%d fds open, %d before", after, before)
	}
}

func randomSession(t *testing.T, j joined, i int) {
	sums := make(chan string, 4)
	for n, c := range []conn{j.client, j.backend} {
		rng := rand.New(rand.NewPCG(uint64(i), uint64(n)))
		go func() { sums <- "sent " + send(c, rng) }()
		go func() {
			h := sha256.New()
			n, err := io.Copy(h, c)
			sums <- fmt.Sprintf("got %d %x %v", n, h.Sum(nil), err)
		}()
	}
	count := map[string]int{}
	for range 4 {
		sum := <-sums
		count[sum[bytes.IndexByte([]byte(sum), ' '):]]++
	}
	for sum, n := range count {
		if n != 2 && n != 4 {
			t.Errorf("session %d: sent and received differ: %d × %s", i, n, sum)
		}
	}
	if res := j.wait(t); res.Err != nil {
		t.Errorf("session %d: %+v", i, res)
	}
	j.client.Close()
	j.backend.Close()
}

// send writes a random number of random pieces with random pauses, then
// half-closes, and answers what a receiver should have seen.
func send(c conn, rng *rand.Rand) string {
	h := sha256.New()
	total := 0
	for range rng.IntN(12) {
		size := rng.IntN(1 << (4 + rng.IntN(16)))
		piece := make([]byte, size)
		for k := range piece {
			piece[k] = byte(rng.Uint32())
		}
		if _, err := c.Write(piece); err != nil {
			return fmt.Sprint(err)
		}
		h.Write(piece)
		total += size
		if rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond) // a pause of the client's
		}
	}
	if err := c.CloseWrite(); err != nil {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%d %x %v", total, h.Sum(nil), nil)
}

func TestQuietSessionsAreSmall(t *testing.T) {
	r := newRelay(t, Options{})
	const n = 1000
	goroutines, fds := runtime.NumGoroutine(), openFDs(t)
	socks := make([][2]int, 2*n)
	for i := range socks {
		fd, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		socks[i] = fd
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		if _, err := r.Join(socks[2*i][0], socks[2*i+1][0], Terms{}, func(Result) {}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if per := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; per > 512 {
		t.Errorf("a quiet session costs %d bytes", per)
	}
	if g := runtime.NumGoroutine(); g > goroutines {
		t.Errorf("%d goroutines, %d before", g, goroutines)
	}
	if got := openFDs(t) - fds; got > 4*n {
		t.Errorf("%d fds for %d sessions and their peers", got, n)
	}
	for _, s := range socks {
		unix.Close(s[1])
	}
}
