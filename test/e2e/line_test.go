//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestFiftyClientsOfTwoListenersAreServedOneByOneInOrderOfArrival(t *testing.T) {
	const clients = 50
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.socket.d/second.conf": "[Socket]\nListenStream=/run/tiproxy-second.sock\n",
		dropIn: "[Backend]\nExec=" + self + " backend count 127.0.0.1:3000\nAddress=127.0.0.1:3000\n",
	})
	var line [clients]net.Conn
	join := func(i int) {
		address := [][2]string{{"tcp", "127.0.0.1:4000"}, {"unix", "/run/tiproxy-second.sock"}}[i%2]
		line[i] = dial(t, address[0], address[1])
		say(t, line[i], fmt.Sprint("client ", i))
	}
	leave := func(i int) {
		if got, want := hear(t, line[i]), fmt.Sprintf("client %d %d 1", i, i+1); got != want {
			t.Errorf("the backend says %q, wanted %q: name, place in the order, clients at once", got, want)
		}
		line[i].Close()
	}
	join(0)
	eventually(t, "client 0 is at the backend", func() bool { return u.property("service", "ActiveState") == "active" && u.status().Gate.Active == 1 })
	for i := 1; i < clients; i++ {
		join(i)
		eventually(t, fmt.Sprintf("client %d is in line", i), func() bool { return u.status().Gate.Queued == i })
	}
	for i := range clients {
		leave(i)
	}
}

// Everybody sends a line through and gets it back, and then keeps quiet. Five hundred connections before
// those that count have the code paged in, and the runtime's caches and stacks in use.
func TestThousandsOfQuietConnectionsCostAKilobyteAndTwoFilesEach(t *testing.T) {
	const quiet = 3000
	p := start(t, "127.0.0.1:4000", "--connections", "0", "--dest", "127.0.0.1:3000", "--", self, "backend", "echo", "127.0.0.1:3000")
	connect(t, 500)
	memory, files := p.memory(), p.files()
	connect(t, quiet)
	grown, opened := p.memory()-memory, p.files()-files
	t.Logf("%d connections: %d bytes and %.2f files each", quiet, grown/quiet, float64(opened)/quiet)
	if grown > quiet*1024 {
		t.Errorf("memory grew by %d bytes, wanted %d at most", grown, quiet*1024)
	}
	if opened != quiet*2 {
		t.Errorf("%d more files are open, wanted %d", opened, quiet*2)
	}
}

// connect makes that many connections, which last as long as the test, and sends a line through each.
func connect(t *testing.T, count int) {
	t.Helper()
	for range count {
		conn := dial(t, "tcp", "127.0.0.1:4000")
		say(t, conn, "hello")
		hear(t, conn)
	}
}

// memory is the resident set of tiproxy in bytes.
func (p *byHand) memory() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nRss:")
	kilobytes, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return kilobytes * 1024
}

// files is the number of tiproxy's open files.
func (p *byHand) files() int {
	p.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(entries)
}
