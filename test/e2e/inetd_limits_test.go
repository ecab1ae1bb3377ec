//go:build e2e && deb

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// limited has nowait.3 and tells when its server began, in seconds.
const limited = "127.0.0.1:7007"

// To openbsd-inetd the minute's third start is one too many for nowait.3: two are served, and everybody else of
// that minute is closed without a word. Below port 1024 it would be refused, for ten minutes.
func openbsdTurnsAway(t *testing.T) {
	var served, closed, refused int
	for range atOnce {
		switch heard, err := stream(limited, ""); {
		case err != nil:
			refused++
		case heard == "":
			closed++
		default:
			served++
		}
	}
	t.Logf("of %d clients: %d served, %d closed without a word, %d refused", atOnce, served, closed, refused)
	if served > 3 || served == 0 || served+closed+refused != atOnce {
		t.Errorf("wanted 1 to 3 served")
	}
}

// tooEarlyWaits has 20 clients come at once. Three are served at once, three a minute later, and the others
// wait; all in the order in which they came.
func tooEarlyWaits(t *testing.T) {
	const minute, jitter = 60.0, 0.25 // of the server's way from its start to its clock
	var clients [atOnce]net.Conn
	for i := range clients {
		clients[i] = dial(t, "tcp", limited)
		clients[i].SetDeadline(time.Now().Add(time.Minute + patience))
	}
	var began []float64
	for i, client := range clients[:6] {
		heard, err := io.ReadAll(client)
		if err != nil {
			t.Fatalf("client %d: heard %q, %v", i, heard, err)
		}
		at, err := strconv.ParseFloat(strings.TrimSpace(string(heard)), 64)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		began = append(began, at)
		if i == 2 {
			mustAllWait(t, clients[3:], time.Second)
		}
	}
	t.Logf("begun %.3f s after the first one", offsets(began))
	if took := began[2] - began[0]; took > 5 {
		t.Errorf("the third one began %.1f s after the first", took)
	}
	for i, at := range began[3:] {
		if stretch := at - began[i]; stretch < minute-jitter || stretch > minute+5 {
			t.Errorf("number %d began %.3f s after number %d; wanted a minute", i+3, stretch, i)
		}
	}
	mustAllWait(t, clients[6:], time.Second)
}

// mustAllWait demands that clients hear nothing for a while, and are not closed.
func mustAllWait(t *testing.T, clients []net.Conn, while time.Duration) {
	t.Helper()
	until := time.Now().Add(while)
	for i, client := range clients {
		client.SetReadDeadline(until)
		var b [1]byte
		if n, err := client.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("number %d of those who wait heard %q, %v", i, b[:n], err)
		}
		client.SetReadDeadline(time.Now().Add(time.Minute + patience))
	}
}

// offsets is when something was, from the first on.
func offsets(times []float64) (all []float64) {
	for _, at := range times {
		all = append(all, at-times[0])
	}
	return all
}

// threeInstances has a file of xinetd's, which nobody has to be told about, and 20 clients. All are served,
// three at once: never more, and not fewer while there is somebody.
func threeInstances(t *testing.T) {
	const file = "/etc/xinetd.d/few"
	text := `service few
{
	type        = UNLISTED
	protocol    = tcp
	socket_type = stream
	port        = 7010
	wait        = no
	user        = nobody
	server      = /usr/local/bin/slow
	instances   = 3
}
`
	if err := os.MkdirAll("/etc/xinetd.d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "somebody listens at the port of "+file, func() bool { return listens(t, "7010") })
	var answers [atOnce]string
	var errs [atOnce]error
	var here sync.WaitGroup
	for i := range atOnce {
		here.Go(func() { answers[i], errs[i] = stream("127.0.0.1:7010", "") })
	}
	here.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if most := mostAtOnce(t, answers[:]); most != 3 {
		t.Errorf("%d were served at once, wanted 3; each says when it began and ended:\n%s", most, strings.Join(answers[:], ""))
	}
}

// changesAreHeard has two changes of inetd.conf, the second one at any moment of what the first one sets off.
// Neither is missed.
func changesAreHeard(t *testing.T) {
	for i := range 20 {
		first, second, later := strconv.Itoa(7100+2*i), strconv.Itoa(7101+2*i), time.Duration(i)*20*time.Millisecond
		register(t, first)
		<-time.After(later)
		register(t, second)
		eventually(t, fmt.Sprintf("somebody listens at the ports %s and %s, which came %v later", first, second, later), func() bool {
			return listens(t, first) && listens(t, second)
		})
	}
}

// register adds a service to inetd.conf.
func register(t *testing.T, port string) {
	t.Helper()
	conf, err := os.OpenFile(inetdConf, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conf.Close()
	if _, err := conf.WriteString(port + "\tstream\ttcp\tnowait\tnobody\t/bin/date\tdate\n"); err != nil {
		t.Fatal(err)
	}
}

// listens tells whether somebody listens at a port.
func listens(t *testing.T, port string) bool {
	t.Helper()
	return output(t, "ss", "-Hlnt", "sport", "=", ":"+port) != ""
}

// mostAtOnce is how many of some stretches, each a begin and an end, have a moment in common.
func mostAtOnce(t *testing.T, stretches []string) (most int) {
	t.Helper()
	type change struct{ at, by int }
	var changes []change
	for i, text := range stretches {
		var began, ended int
		if _, err := fmt.Sscan(text, &began, &ended); err != nil {
			t.Fatalf("client %d heard %q: %v", i, text, err)
		}
		changes = append(changes, change{began, 1}, change{ended, -1})
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at - b.at })
	now := 0
	for _, c := range changes {
		now += c.by
		most = max(most, now)
	}
	return most
}
