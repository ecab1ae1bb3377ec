//go:build e2e

package e2e

import (
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestKilledBackendIsReplacedForThoseInLine(t *testing.T) {
	u := configure(t, who)
	first := dial(t, "tcp", "127.0.0.1:4000")
	tiproxy, killed := tiproxyAndBackend(t, first)
	inLine := []net.Conn{dial(t, "tcp", "127.0.0.1:4000"), dial(t, "tcp", "127.0.0.1:4000")}
	eventually(t, "two clients wait", func() bool { return u.status().Gate.Queued == 2 })

	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(first); len(rest) > 0 {
		t.Errorf("the client of the killed backend got %q and %v, wanted the end of its connection", rest, err)
	}
	for _, conn := range inLine {
		again, backend := tiproxyAndBackend(t, conn)
		if again != tiproxy || backend == killed {
			t.Errorf("process %d with backend %d serves the next client, wanted process %d with a new backend", again, backend, tiproxy)
		}
		conn.Close()
	}
	if starts := u.status().Backend.Starts; starts != 2 {
		t.Errorf("the backend was started %d times, wanted 2", starts)
	}
}

func TestKilledTiproxyIsStartedAgainForTheNextClient(t *testing.T) {
	u := configure(t, who)
	conn := dial(t, "tcp", "127.0.0.1:4000")
	killed, backend := tiproxyAndBackend(t, conn)
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next, nextBackend := tiproxyAndBackend(t, dial(t, "tcp", "127.0.0.1:4000"))
	if next == killed || nextBackend == backend {
		t.Errorf("processes %d and %d serve the next client, wanted new ones", next, nextBackend)
	}
	if name := commandOf(backend); name != "" {
		t.Errorf("backend %d of the killed tiproxy is still there, as %s", backend, name)
	}
	u.mustListen()
}

// tiproxyAndBackend hears from a `who` backend which processes serve this client.
func tiproxyAndBackend(t *testing.T, conn net.Conn) (tiproxy, backend int) {
	t.Helper()
	first, second, _ := strings.Cut(hear(t, conn), " ")
	for text, pid := range map[string]*int{first: &tiproxy, second: &backend} {
		var err error
		if *pid, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return tiproxy, backend
}
