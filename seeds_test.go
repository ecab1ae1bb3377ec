package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Two older programs set the example for this one: an on-demand proxy, used in
// front of ncat, and TCPLock, a line in front of a TCP service. Here are the
// clients that they stumbled over; TestOneClientBackend has one more.

// The on-demand proxy killed its child alone, and the child's children lived on.
func TestNothingIsLeftOfAShellAroundTheBackend(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	shell := filepath.Join(dir, "shell")
	must(t, os.WriteFile(shell, []byte("#!/bin/sh\necho shell $$\nfakecat \"$@\"\nexit\n"), 0o700))
	p := launch(t, prepare(dir, "tiproxy", []string{
		"--listen", "127.0.0.1:0", "--dest", "auto", "--idle", "0", "--", shell, "-l", "-k", "-p", "{port}",
	}))
	addr := p.await(t, `listening at (\S+)$`)[1]
	for range 2 {
		var parent int
		c := mustConnect(t, addr)
		pid := c.mustTalk(t, "hello")
		_, err := fmt.Sscan(p.await(t, `backend: shell (\d+)`)[1], &parent)
		must(t, err)
		c.Close()
		p.await(t, "the backend has ended")
		mustBeGone(t, pid)
		mustBeGone(t, parent)
	}
}

// room has what one client says heard by all others, as ncat --broker does.
type room struct {
	mu   sync.Mutex
	here map[net.Conn]bool
}

// join tells a client that it is here, and returns when it has left.
func (r *room) join(conn net.Conn) {
	r.mu.Lock()
	r.here[conn] = true
	fmt.Fprintln(conn, os.Getpid(), "here")
	r.mu.Unlock()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		r.say(conn, lines.Text())
	}
	r.mu.Lock()
	delete(r.here, conn)
	r.mu.Unlock()
	conn.Close()
}

func (r *room) say(from net.Conn, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for to := range r.here {
		if to != from {
			fmt.Fprintln(to, os.Getpid(), text)
		}
	}
}

func TestBrokerServesAllAtOnce(t *testing.T) {
	t.Parallel()
	_, addr := run(t, "--connections 0", "-l", "-k", "-broker")
	var clients [3]*client
	for i := range clients {
		clients[i] = mustConnect(t, addr)
		_, err := clients[i].hear("here")
		must(t, err)
	}
	for i, speaker := range clients {
		line := fmt.Sprint("line of ", i)
		_, err := io.WriteString(speaker, line+"\n")
		must(t, err)
		for j, listener := range clients {
			if i == j {
				continue
			}
			_, err := listener.hear(line)
			must(t, err)
		}
	}
}

// TCPLock kept who had left in its line, and gave it the slot.
func TestDeadClientsInLineTakeNoSlot(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "", "-l", "-k")
	inside := mustConnect(t, addr)
	inside.mustTalk(t, "hello")
	closes, resets, last := mustConnect(t, addr), mustConnect(t, addr), mustConnect(t, addr)
	p.awaitStatus(t, "three in line", func(s status) bool { return s.Gate.Queued == 3 })
	closes.Close()
	must(t, resets.Conn.(*net.TCPConn).SetLinger(0))
	resets.Close()
	p.awaitStatus(t, "one in line", func(s status) bool { return s.Gate.Queued == 1 })
	inside.Close()
	last.mustTalk(t, "my turn")
	p.awaitStatus(t, "one was served, and one is inside", func(s status) bool { return s.Gate.Served == 1 && s.Gate.Active == 1 })
}

// TCPLock's hook had the slot until it called back, if it ever did.
func TestHangingHookKeepsNoSlot(t *testing.T) {
	t.Parallel()
	for failure, served := range map[string]bool{"continue": true, "close": false} {
		p := launch(t, prepare(shortDir(t), "tiproxy", []string{
			"--listen", "127.0.0.1:0", "--dest", "auto", "--hook-failure", failure,
			"--before-next", "/bin/sleep infinity", "--hook-timeout", "200ms", "--", "fakecat", "-l", "-k", "-p", "{port}",
		}))
		addr := p.await(t, `listening at (\S+)$`)[1]
		first, second := mustConnect(t, addr), mustConnect(t, addr)
		for _, c := range []*client{first, second} {
			if served {
				c.mustTalk(t, "my turn")
			} else {
				c.mustBeEnded(t)
			}
			c.Close()
			p.await(t, `BeforeNext=/bin/sleep took longer than HookTimeoutSec=200ms and was killed`)
		}
	}
}

// TCPLock told its clients apart by their ports alone.
func TestClientsWithTheSamePortOnTwoAddresses(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "--connections 2", "-l", "-k")
	from := func(ip string, port int) *client {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip), Port: port}}
		conn, err := dialer.Dial("tcp", addr)
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		return &client{conn, bufio.NewReader(conn)}
	}
	first := from("127.0.0.1", 0)
	first.mustTalk(t, "first")
	port := first.LocalAddr().(*net.TCPAddr).Port
	second := from("127.0.0.2", port)
	second.mustTalk(t, "second")
	first.Close()
	p.await(t, fmt.Sprintf(`served client=127\.0\.0\.1:%d session=1 .* in=6 `, port))
	second.mustTalk(t, "still here")
	second.Close()
	p.await(t, fmt.Sprintf(`served client=127\.0\.0\.2:%d session=2 .* in=18 `, port))
}

// TCPLock's time limit of one session ran on after it, and cut a later one.
func TestTimeLimitEndsWithItsSession(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	_, addr := run(t, "--timeout "+limit.String(), "-l", "-k")
	early := mustConnect(t, addr)
	early.mustTalk(t, "hello")
	time.Sleep(limit / 2) // as long as it stays
	early.Close()
	began := time.Now()
	mustConnect(t, addr).mustBeEnded(t)
	if lasted := time.Since(began); lasted < limit {
		t.Errorf("the later session was cut after %v, want %v at least", lasted, limit)
	}
}

// Both closed two directions where one had ended: the answer to a client that
// has said all was lost, and so was what followed a backend's last word.
func TestEndOfOneDirectionIsNotThatOfTheOther(t *testing.T) {
	t.Parallel()
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer backend.Close()
	p := launch(t, prepare(shortDir(t), "tiproxy", []string{"--listen", "127.0.0.1:0", "--dest", backend.Addr().String()}))
	addr := p.await(t, `listening at (\S+)$`)[1]
	for _, clientFirst := range []bool{true, false} {
		first := mustConnect(t, addr).Conn
		second, err := backend.Accept()
		must(t, err)
		must(t, second.SetDeadline(time.Now().Add(patience)))
		if !clientFirst {
			first, second = second, first
		}
		for _, c := range [][2]net.Conn{{first, second}, {second, first}} {
			text := strings.Repeat("all that I say\n", 1_000)
			_, err := io.WriteString(c[0], text)
			must(t, err)
			must(t, c[0].(*net.TCPConn).CloseWrite())
			if got, err := io.ReadAll(c[1]); string(got) != text || err != nil {
				t.Errorf("client first %v: heard %d bytes, %v; want %d", clientFirst, len(got), err, len(text))
			}
		}
		second.Close()
		first.Close()
	}
}

// The line of both had no end.
func TestLineHasAnEnd(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "--queue 2", "-l", "-k")
	inside := mustConnect(t, addr)
	inside.mustTalk(t, "hello")
	line := []*client{mustConnect(t, addr), mustConnect(t, addr)}
	p.awaitStatus(t, "two in line", func(s status) bool { return s.Gate.Queued == 2 })
	mustConnect(t, addr).mustBeEnded(t)
	p.await(t, `refused: the line is full; QueueLength= \(--queue\) bounds the line`)
	inside.Close()
	for _, c := range line {
		c.mustTalk(t, "my turn")
		c.Close()
	}
}
