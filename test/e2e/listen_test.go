//go:build e2e

package e2e

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The backend has systemd's own sockets, of both kinds of stream, and takes as many clients as it likes.
func TestBackendAcceptsAtSystemdsSockets(t *testing.T) {
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.socket.d/listen.conf": "[Socket]\nListenStream=/run/tiproxy-listen.sock\n",
		dropIn: "[Backend]\nMode=listen\nExec=" + self + " backend who given\nIdleStopSec=1\n[Service]\nIdleExitSec=4\n",
	})
	conn := dial(t, "tcp", "127.0.0.1:4000")
	tiproxy, backend := tiproxyAndBackend(t, conn)
	if own := u.status().PID; own != tiproxy {
		t.Errorf("the backend's parent is %d, wanted %d", tiproxy, own)
	}
	var all sync.WaitGroup
	for range 20 {
		other := dial(t, "tcp", "127.0.0.1:4000")
		all.Go(func() {
			if line, err := readLine(other); err != nil || line != strconv.Itoa(tiproxy)+" "+strconv.Itoa(backend) {
				t.Errorf("heard %q, %v", line, err)
			}
			other.Close()
		})
	}
	all.Wait()
	<-time.After(4 * time.Second) // a quiet connection is no idleness
	if st := u.status().Backend; st.State != "ready" || st.PID != backend {
		t.Errorf("the backend is %+v, wanted %d ready", st, backend)
	}
	conn.Close()
	eventually(t, "the backend was stopped", func() bool { return commandOf(backend) == "" })
	u.waitForExit()
	if journal := u.journal(); !mentions(journal, "stopping the backend: nobody used it for 1s") {
		t.Error("the journal does not say why the backend was stopped")
	}
	u.mustListen()
}

// A server of inetd's wait: one process for many datagrams, until it ends by itself; the next datagram
// starts it again.
func TestDatagramsOfInetdsWait(t *testing.T) {
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.socket.d/listen.conf": "[Socket]\nListenStream=\nListenDatagram=127.0.0.1:4000\n",
		dropIn: "[Backend]\nMode=listen:stdin\nExec=" + self + " datagrams\nIdleStopSec=1\n[Service]\nIdleExitSec=1\n",
	})
	ask := func(text string) (pid string) {
		t.Helper()
		conn := dial(t, "udp", "127.0.0.1:4000")
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	first := ask("one")
	<-time.After(3 * time.Second) // nobody can see that it has nothing to do
	if again := ask("two"); again != first {
		t.Errorf("process %s answers, and then %s", first, again)
	}
	if last := ask("end"); last != first {
		t.Errorf("process %s answers, and then %s", first, last)
	}
	if next := ask("end"); next == first {
		t.Errorf("process %s answers again", next)
	}
	u.waitForExit()
	if journal := u.journal(); !mentions(journal, "the backend has ended by itself") {
		t.Error("the journal does not say that the backend has ended")
	}
}

func TestDatagramsWantABackendThatListens(t *testing.T) {
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.socket.d/listen.conf": "[Socket]\nListenStream=\nListenDatagram=127.0.0.1:4000\n",
		dropIn: "[Backend]\nMode=stdio\nExec=/bin/cat\n",
	})
	conn, err := net.Dial("udp", "127.0.0.1:4000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("hello"))
	eventually(t, "the journal says what to write", func() bool {
		return strings.Contains(u.journal(), "cannot serve the datagram socket 127.0.0.1:4000 with Mode=stdio; write Mode=listen")
	})
}
