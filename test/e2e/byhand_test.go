//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"
)

// With nothing on its stdin ncat half-closes at once; the request must still reach it.
func TestNcatSeesTheRequestOfCurl(t *testing.T) {
	p := start(t, "127.0.0.1:4000", "--dest", "127.0.0.1:3000", "--exec", "ncat", "--workdir", "/usr/bin",
		"--", "-l", "-k", "-p", "3000", "-4", "-v")
	curl := exec.Command("curl", "-v", "http://127.0.0.1:4000/api")
	if err := curl.Start(); err != nil {
		t.Fatal(err)
	}
	defer curl.Wait()
	defer curl.Process.Kill()
	eventually(t, "the log shows the request", func() bool { return mentions(p.log.String(), "GET /api HTTP/1.1") })
}

func TestNcatBrokerLetsThreeClientsSeeEachOthersLines(t *testing.T) {
	start(t, "127.0.0.1:4000", "--connections", "0", "--dest", "127.0.0.1:3000", "--exec", "ncat", "--workdir", "/usr/bin",
		"--", "-l", "-k", "-p", "3000", "-4", "-v", "--broker")
	var clients [3]net.Conn
	for i := range clients {
		clients[i] = dial(t, "tcp", "127.0.0.1:4000")
	}
	eventually(t, "ncat has three clients", func() bool { return established(t, "3000") == 3 })
	for i, speaker := range clients {
		line := fmt.Sprint("line of ", i)
		say(t, speaker, line)
		for j, listener := range clients {
			if i == j {
				continue
			}
			if got := hear(t, listener); got != line {
				t.Errorf("client %d heard %q, wanted %q", j, got, line)
			}
		}
	}
}

// established counts the connections to a local port that its server has accepted.
func established(t *testing.T, port string) int {
	t.Helper()
	return len(linesWith(output(t, "ss", "-Htnp", "state", "established", "sport = :"+port), "users:"))
}

// A backend that serves one client and ends: the look whether it is ready must not use it up.
func TestOneShotNcIsStartedAnewForEachClient(t *testing.T) {
	p := start(t, "127.0.0.1:4000", "--dest", "127.0.0.1:3000", "--", "nc.openbsd", "-l", "127.0.0.1", "3000")
	for i := range 3 {
		conn := dial(t, "tcp", "127.0.0.1:4000")
		line := fmt.Sprint("line of ", i)
		say(t, conn, line)
		eventually(t, fmt.Sprintf("nc shows what client %d said", i), func() bool { return mentions(p.log.String(), line) })
		if starts := askStatus(t).Backend.Starts; starts != i+1 {
			t.Fatalf("client %d is served by start %d, wanted %d", i, starts, i+1)
		}
		conn.Close()
	}
}

// The test itself is the stranger. Its socket listens where the backend should, and nobody may connect.
func TestStrangerAtTheDestinationIsNamedAndNeverTakenForTheBackend(t *testing.T) {
	stranger, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3000})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	p := start(t, "127.0.0.1:4000", "--start", "2s", "--dest", "127.0.0.1:3000", "--", "sleep", "infinity")
	waitForClose(t, dial(t, "tcp", "127.0.0.1:4000"))
	if !mentions(p.log.String(), "127.0.0.1:3000", fmt.Sprint(os.Getpid())) {
		t.Errorf("no line names the address and the stranger, process %d", os.Getpid())
	}
	stranger.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if conn, err := stranger.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the stranger got a connection: %v, error %v", conn, err)
	}
}

func TestCommandThatCannotBeExecutedIsReportedOncePerStart(t *testing.T) {
	const startTimeout = 2 * time.Second
	for what, program := range map[string]string{"gone": "/usr/bin/gone", "no program": "/etc/hostname", "a folder": "/usr/bin"} {
		t.Run(what, func(t *testing.T) {
			p := start(t, "127.0.0.1:4000", "--start", "2s", "--dest", "127.0.0.1:3000", "--", program, "--serve")
			begin := time.Now()
			waitForClose(t, dial(t, "tcp", "127.0.0.1:4000"))
			if waited := time.Since(begin); waited > startTimeout+time.Second {
				t.Errorf("the client was closed after %v, wanted %v at most", waited, startTimeout)
			}
			waitForClose(t, dial(t, "tcp", "127.0.0.1:4000")) // tiproxy lives on

			told := make(map[string]int) // how often, by the number of the start
			for _, line := range linesWith(p.log.String(), "cannot", program) {
				told[regexp.MustCompile(`generation=\d+`).FindString(line)]++
			}
			if len(told) == 0 {
				t.Errorf("no line tells that %s cannot be executed", program)
			}
			for generation, lines := range told {
				if generation == "" || lines > 1 {
					t.Errorf("%d lines tell of the start with %q, wanted one for each", lines, generation)
				}
			}
		})
	}
}
