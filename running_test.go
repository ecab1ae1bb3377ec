package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, on a busy machine.
const patience = 30 * time.Second

// process is a tiproxy that runs.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	lines  chan string // of its stderr; closed at its end
	seen   []string    // those that await has read
	exited chan error  // takes how it ended
}

// prepare makes the command of a tiproxy, or of another program in bin, in an
// environment of its own; vars are added to it.
func prepare(dir, program string, args []string, vars ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, program), args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + bin, "XDG_RUNTIME_DIR=" + dir, "GORACE=atexit_sleep_ms=0"}, vars...)
	return cmd
}

// launch starts a command, which is killed at the end of the test if it still
// runs.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, lines: make(chan string, 1000), exited: make(chan error, 1)}
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	p.stdout = bufio.NewReader(stdout)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.lines <- lines.Text()
		}
		close(p.lines)
		p.exited <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range p.lines {
		}
	})
	return p
}

// run starts tiproxy at a free address, by hand, and answers that address. The
// backend is a fakecat with these arguments.
func run(t *testing.T, flags string, backend ...string) (p *process, addr string) {
	t.Helper()
	args := append([]string{"--listen", "127.0.0.1:0", "--dest", "auto"}, strings.Fields(flags)...)
	args = append(append(args, "--", "fakecat", "-p", "{port}"), backend...)
	p = launch(t, prepare(shortDir(t), "tiproxy", args))
	return p, p.await(t, `listening at (\S+)$`)[1]
}

// shortDir is a folder that leaves room for the name of a UNIX socket, which
// t.TempDir may not.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "t")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// await reads the log on to the line that matches, and answers the groups.
func (p *process) await(t *testing.T, pattern string) []string {
	t.Helper()
	re, deadline := regexp.MustCompile(pattern), time.After(patience)
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				t.Fatalf("it has ended without a line like %q:\n%s", pattern, strings.Join(p.seen, "\n"))
			}
			p.seen = append(p.seen, line)
			if groups := re.FindStringSubmatch(line); groups != nil {
				return groups
			}
		case <-deadline:
			t.Fatalf("after %v there is no line like %q:\n%s", patience, pattern, strings.Join(p.seen, "\n"))
		}
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	must(t, p.cmd.Process.Signal(s))
}

// mustEnd waits for the end with status 0, and reads the rest of the log.
func (p *process) mustEnd(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.exited:
		for line := range p.lines {
			p.seen = append(p.seen, line)
		}
		if err != nil {
			t.Fatalf("it ended with %v:\n%s", err, strings.Join(p.seen, "\n"))
		}
	case <-time.After(patience):
		t.Fatalf("it has not ended after %v:\n%s", patience, strings.Join(p.seen, "\n"))
	}
}

// status is a part of what `tiproxy status --json` answers.
type status struct {
	PID     int
	State   string
	Gate    struct{ Active, Queued, Served int }
	Backend struct {
		State  string
		PID    int
		Starts int
	}
}

// askStatus asks a running tiproxy for its status, as JSON or for people.
func (p *process) askStatus(t *testing.T, flags ...string) []byte {
	t.Helper()
	out, err := prepare(p.cmd.Dir, "tiproxy", append([]string{"status"}, flags...)).Output()
	must(t, err)
	return out
}

// awaitStatus waits until the status is as it shall be.
func (p *process) awaitStatus(t *testing.T, what string, holds func(status) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		var s status
		must(t, json.Unmarshal(p.askStatus(t, "--json"), &s))
		if holds(s) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v not so: %s; the status is %+v", patience, what, s)
		}
	}
}

// client is a connection to a fakecat.
type client struct {
	net.Conn
	lines *bufio.Reader
}

// connect makes a client, whatever takes part in it has patience.
func connect(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReader(conn)}, conn.SetDeadline(time.Now().Add(patience))
}

// mustConnect is connect for the test's own goroutine.
func mustConnect(t *testing.T, addr string) *client {
	t.Helper()
	c, err := connect(addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// talk says something and answers who heard it: the pid of the fakecat.
func (c *client) talk(text string) (pid int, err error) {
	if _, err := io.WriteString(c, text+"\n"); err != nil {
		return 0, err
	}
	return c.hear(text)
}

// hear reads the answer to what was said.
func (c *client) hear(text string) (pid int, err error) {
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("no answer to %q: %w", text, err)
	}
	who, got, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if pid, err = strconv.Atoi(who); err != nil || got != text {
		return 0, fmt.Errorf("the answer to %q is %q", text, line)
	}
	return pid, nil
}

func (c *client) mustTalk(t *testing.T, text string) (pid int) {
	t.Helper()
	pid, err := c.talk(text)
	must(t, err)
	return pid
}

// mustBeEnded waits for the end of the connection, in order or cut, before
// which nothing is said.
func (c *client) mustBeEnded(t *testing.T) {
	t.Helper()
	text, err := io.ReadAll(c.lines)
	if len(text) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %q, %v, want the end of the connection", text, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
