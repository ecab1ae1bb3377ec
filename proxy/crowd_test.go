package proxy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// crowdEnv makes a crowd of the test binary, and has the addresses to go to.
const crowdEnv = "TIPROXY_TEST_CROWD"

func TestMain(m *testing.M) {
	if addrs := os.Getenv(crowdEnv); addrs != "" {
		beCrowd(strings.Fields(addrs))
		return
	}
	os.Exit(m.Run())
}

// A crowd is many clients in a process of their own, whose fds and memory are
// not ours. It is told in single letters what to do, and answers each with one
// byte:
//
//	d  the next client connects, to the addresses in turns
//	r  so, and sends its number in four bytes, and half-closes
//	l  the first of those who have said nothing closes its connection
type crowd struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

func newCrowd(t testing.TB, listeners []Listener) *crowd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	var addrs []string
	for _, l := range listeners {
		addrs = append(addrs, l.Addr.String())
	}
	cmd.Env = append(os.Environ(), crowdEnv+"="+strings.Join(addrs, " "))
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return &crowd{t, in, bufio.NewReader(out)}
}

func (c *crowd) do(what byte) {
	c.t.Helper()
	if _, err := c.in.Write([]byte{what}); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.out.ReadByte(); err != nil {
		c.t.Fatal("the crowd has ended: ", err)
	}
}

func beCrowd(addrs []string) {
	var silent []int
	in := bufio.NewReader(os.Stdin)
	for n := uint32(0); ; {
		what, err := in.ReadByte()
		if err != nil {
			return
		}
		if what == 'l' {
			unix.Close(silent[0])
			silent = silent[1:]
		} else {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				err = unix.Connect(fd, sockaddr.TCP(netip.MustParseAddrPort(addrs[int(n)%len(addrs)])).Sockaddr())
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "crowd:", err)
				os.Exit(1)
			}
			if what == 'r' {
				unix.Write(fd, binary.BigEndian.AppendUint32(nil, n))
				unix.Shutdown(fd, unix.SHUT_WR)
			} else {
				silent = append(silent, fd)
			}
			n++
		}
		os.Stdout.Write([]byte{what})
	}
}

// footprint is what the process holds.
type footprint struct{ heap, rss, fds, goroutines int }

func footprintOf(t testing.TB) footprint {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var total, resident int
	statm, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(statm), &total, &resident)
	}
	if err != nil {
		t.Fatal(err)
	}
	return footprint{
		heap: int(m.HeapAlloc + m.StackInuse), rss: resident * os.Getpagesize(),
		fds: openFDs(t), goroutines: runtime.NumGoroutine(),
	}
}

// lineUpCrowd has n clients come, over two listeners and behind one that is inside.
// Of five of them one says nothing, and the others send their number and
// half-close. It answers what they cost.
func lineUpCrowd(t testing.TB, r *running, n int) (c *crowd, cost footprint) {
	t.Helper()
	c = newCrowd(t, r.cfg.Listeners)
	before := footprintOf(t)
	for i := range n {
		c.do("rrdrr"[i%5])
		if e := await[WaitEvent](r); int(e.Client.Number) != i+2 {
			t.Fatalf("client %d waits, want %d", e.Client.Number, i+2)
		}
	}
	after := footprintOf(t)
	return c, footprint{after.heap - before.heap, after.rss - before.rss, after.fds - before.fds, after.goroutines - before.goroutines}
}

// numbered is a backend that takes down the numbers of its clients.
type numbered struct {
	*backend
	mu    sync.Mutex
	order []uint32
}

func newNumbered(t testing.TB) *numbered {
	nb := &numbered{}
	nb.backend = newBackend(t, func(c net.Conn) {
		all, _ := io.ReadAll(c)
		if len(all) == 4 {
			nb.mu.Lock()
			nb.order = append(nb.order, binary.BigEndian.Uint32(all))
			nb.mu.Unlock()
		}
	})
	return nb
}

// Ten thousand in line, over two listeners, let in one at a time: a fifth
// leaves from the middle, the others keep their order. Who waits has no
// goroutine, one fd, and at most 4 kB.
func TestTenThousandInLine(t *testing.T) {
	const n = 10_000
	nb := newNumbered(t)
	r := run(t, nb, 1, n, func(c *Config) { c.Listeners = []Listener{listen(t), listen(t)} })
	door := r.dial(0)
	joined(t, r)
	c, cost := lineUpCrowd(t, r, n)
	t.Logf("%d bytes of memory, %d of them resident, %.2f fds and %.3f goroutines for each of %d who wait",
		cost.heap/n, cost.rss/n, float64(cost.fds)/n, float64(cost.goroutines)/n, n)
	if cost.heap/n > 4<<10 || cost.fds > n+10 || cost.goroutines > 10 {
		t.Errorf("too much: %+v for %d", cost, n)
	}
	if got := len(r.proxy.Line()); got != n {
		t.Errorf("%d in line", got)
	}
	for range n / 5 {
		c.do('l')
		if e := await[EndEvent](r); e.Outcome != Left || e.Err != ErrHungUp {
			t.Fatalf("%+v", e)
		}
	}
	door.Close()
	for i := 0; i < n-n/5; i++ {
		if e := await[EndEvent](r); e.Client.Number != 1 && e.Outcome != Served {
			t.Fatalf("%+v", e)
		}
	}
	await[EndEvent](r) // the door's, or the last one's
	nb.mu.Lock()
	defer nb.mu.Unlock()
	if len(nb.order) != n-n/5 || !slices.IsSorted(nb.order) || nb.most.Load() != 1 {
		t.Errorf("%d came to the backend, in order: %v; %d at once", len(nb.order), slices.IsSorted(nb.order), nb.most.Load())
	}
}

// joined waits until the first client is joined.
func joined(t testing.TB, r *running) {
	t.Helper()
	until(t, "a joined client", func() bool {
		all := r.proxy.Sessions()
		return len(all) == 1 && all[0].Stage == Joined
	})
}

// BenchmarkLine is the way of a client through a line of 5,000: it comes, the
// first is done, and so its turn comes nearer. It tells what waiting costs.
func BenchmarkLine(b *testing.B) {
	const n = 5000
	nb := newNumbered(b)
	r := run(b, nb, 1, n, func(c *Config) { c.Listeners = []Listener{listen(b), listen(b)} })
	door := r.dial(0)
	joined(b, r)
	c, cost := lineUpCrowd(b, r, n)
	for b.Loop() { // from the middle, and to the end
		c.do('l')
		await[EndEvent](r)
		c.do('d')
		await[WaitEvent](r)
	}
	b.ReportMetric(float64(cost.heap)/n, "B/waiting")
	b.ReportMetric(float64(cost.rss)/n, "RSS/waiting")
	b.ReportMetric(float64(cost.fds)/n, "fds/waiting")
	r.stop()
	door.Close()
}

// BenchmarkSessions looks at 5,000 clients.
func BenchmarkSessions(b *testing.B) {
	const n = 5000
	nb := newNumbered(b)
	r := run(b, nb, gate.NoLimit, 0, func(c *Config) { c.Listeners = []Listener{listen(b), listen(b)} })
	c := newCrowd(b, r.cfg.Listeners)
	for range n {
		c.do('d')
		await[AdmitEvent](r)
	}
	until(b, "joined clients", func() bool { return nb.inside.Load() == n })
	for b.Loop() {
		if got := len(r.proxy.Sessions()); got != n {
			b.Fatal(got)
		}
	}
}
