//go:build e2e

// Package e2e shows tiproxy as an administrator meets it: its units under a real systemd, its command
// by hand, and real programs as backends. The tests run as root inside the container that test/e2e/run
// boots; they own that machine, so 127.0.0.1:4000 and tiproxy.service are theirs, one test at a time.
package e2e

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what should happen soon, on a busy machine.
const patience = 30 * time.Second

// TestMain lets the test binary stand in as a backend: `e2e.test backend NAME ADDRESS`.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "backend":
		serve(os.Args[2], os.Args[3])
	case len(os.Args) == 2 && os.Args[1] == "datagrams":
		answerDatagrams()
	}
	os.Exit(m.Run())
}

// eventually waits until holds answers true, and fails the test when patience ends first.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not so: %s", patience, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// output runs a program that must succeed and returns what it wrote to stdout.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// dial connects to tiproxy; whatever the client waits for, it waits no longer than patience.
func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// say sends one line.
func say(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// hear reads one line, byte by byte, so that nothing after it is swallowed.
func hear(t *testing.T, conn net.Conn) string {
	t.Helper()
	line, err := readLine(conn)
	if err != nil {
		t.Fatalf("heard %q, then: %v", line, err)
	}
	return line
}

// readLine reads up to a newline and returns the line without it.
func readLine(from io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := io.ReadFull(from, b); err != nil {
			return string(line), err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
	}
}

// waitForClose reads to the end of a connection, which must come without a byte before it.
func waitForClose(t *testing.T, conn net.Conn) {
	t.Helper()
	got, err := io.ReadAll(conn)
	if err != nil || len(got) > 0 {
		t.Fatalf("wanted a closed connection, got %q and error %v", got, err)
	}
}

// transcript collects what a program writes, while others read it.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// linesWith finds the lines of a text that have all the words.
func linesWith(text string, words ...string) []string {
	var found []string
next:
	for line := range strings.Lines(text) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// mentions says whether one line has all the words.
func mentions(text string, words ...string) bool {
	return len(linesWith(text, words...)) > 0
}
