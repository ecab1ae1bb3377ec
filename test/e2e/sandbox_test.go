//go:build e2e

package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// examples is where the drop-ins for the units are installed, as documentation.
const examples = "/usr/share/doc/tiproxy/examples"

// exposure is the last line of systemd-analyze security: 0 is safe, 10 is open.
var exposure = regexp.MustCompile(`Overall exposure level for tiproxy\.service: ([0-9.]+)`)

// Python's web server, as a backend, lives in each sandbox, and each is worth what is said of it.
func TestSandboxesAreTightAndLiveable(t *testing.T) {
	const web = `[Backend]
Exec=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory ` + examples + ` 3000
Address=127.0.0.1:3000
[Service]
DrainSec=0
`
	for _, tt := range []struct {
		name    string
		dropIns []string // of examples
		worst   float64  // exposure
		hidden  bool     // the backend can be reached through tiproxy alone
	}{
		{"as shipped", nil, 4.5, false},
		{"hardened", []string{"hardened.conf"}, 2.0, false},
		{"private network", []string{"private-network.conf"}, 4.5, true},
		{"both", []string{"hardened.conf", "private-network.conf"}, 2.0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{dropIn: web}
			for _, name := range tt.dropIns {
				files["/etc/systemd/system/tiproxy.service.d/"+name] = read(t, filepath.Join(examples, name))
			}
			u := enable(t, "tiproxy", files)
			if page := output(t, "curl", "--silent", "--fail", "http://127.0.0.1:4000/hardened.conf"); page+"\n" != read(t, examples+"/hardened.conf") {
				t.Errorf("the web server answers %q", page)
			}
			conn, err := net.Dial("tcp", "127.0.0.1:3000")
			if err == nil {
				conn.Close()
			}
			if refused := errors.Is(err, syscall.ECONNREFUSED); refused != tt.hidden {
				t.Errorf("a client that passes tiproxy by meets the error %v", err)
			}
			verdict := exposure.FindStringSubmatch(output(t, "systemd-analyze", "security", "--no-pager", "tiproxy.service"))
			if verdict == nil {
				t.Fatal("systemd-analyze says nothing of tiproxy.service")
			}
			if points, err := strconv.ParseFloat(verdict[1], 64); err != nil || points > tt.worst {
				t.Errorf("exposure %s, wanted %.1f at most", verdict[1], tt.worst)
			}
			t.Logf("exposure %s", verdict[1])
			if u.property("service", "NRestarts") != "0" {
				t.Error("tiproxy was restarted")
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// While clients come without a pause, the service is stopped as fast as systemd can, and killed: they wake
// it again and again, and nothing ever counts as failed.
func TestNothingFailsForGoodUnderLoad(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:3000")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	go greet(backend)
	u := configure(t, "[Backend]\nAddress=127.0.0.1:3000\n[Gate]\nMaxConnections=0\n[Service]\nDrainSec=0\n")
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() { keepComing(over) })
	}

	began := time.Now()
	var stops sync.WaitGroup
	for range 3 { // at once, so that a start is undone as soon as it has begun
		stops.Go(func() {
			for range 60 {
				exec.Command("systemctl", "stop", "tiproxy.service").Run() // fails when the clients were faster
			}
		})
	}
	stops.Wait()
	wakings := len(linesWith(u.journal(), "Starting tiproxy"))
	t.Logf("woken %.1f times a second", float64(wakings)/time.Since(began).Seconds())
	for range 3 {
		eventually(t, "the service is up", func() bool { return u.property("service", "ActiveState") == "active" })
		output(t, "systemctl", "kill", "--signal=KILL", "tiproxy.service")
	}
	close(over)
	clients.Wait()
	if line := hear(t, dial(t, "tcp", "127.0.0.1:4000")); line != "welcome" {
		t.Errorf("after it the backend says %q", line)
	}
	u.mustListen()
}

// greet answers each client with a word.
func greet(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(conn, "welcome\n")
		conn.Close()
	}
}

// keepComing is a client that comes again as soon as it was seen off, for whatever reason.
func keepComing(over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		conn, err := net.Dial("tcp", "127.0.0.1:4000")
		if err != nil {
			continue // the test sees it: nobody could wake the service any more
		}
		conn.SetDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, conn)
		conn.Close()
	}
}

// systemd says of the second socket at an address that the address is in use, and nothing more: whose it is
// says tiproxy.
func TestTwoInstancesAtOnePort(t *testing.T) {
	first := configure(t, "[Backend]\nAddress=127.0.0.1:3000\n")
	t.Cleanup(func() {
		os.RemoveAll("/etc/systemd/system/tiproxy@second.socket.d")
		os.Remove("/etc/tiproxy/second.conf")
		output(t, "systemctl", "reset-failed", "tiproxy@second.socket")
		output(t, "systemctl", "daemon-reload")
	})
	output(t, "tiproxy", "new", "second", "--listen", ":4000", "--dest", "3001")
	output(t, "systemctl", "daemon-reload")
	if exec.Command("systemctl", "start", "tiproxy@second.socket").Run() == nil {
		t.Error("two sockets listen at one port")
	}
	output(t, "journalctl", "--sync")
	if journal := output(t, "journalctl", "--quiet", "--output=cat", "--after-cursor="+first.started); !mentions(journal, "tiproxy@second.socket", "[::]:4000", "Address already in use") {
		t.Errorf("the journal says\n%s", journal)
	}
	out, err := exec.Command("tiproxy", "status", "second").CombinedOutput()
	if err == nil || !mentions(string(out), "tiproxy@second.socket has failed, because tiproxy.socket listens at 127.0.0.1:4000") {
		t.Errorf("%v: %s", err, out)
	}
	first.mustListen()
}
