package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStatusWithoutTiproxy(t *testing.T) {
	missing := socketPath(t)
	stale := socketPath(t)
	l, err := bind(stale)
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for path, cause := range map[string]error{missing: fs.ErrNotExist, stale: syscall.ECONNREFUSED} {
		_, err := (Client{Path: path}).Status(t.Context())
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), "no tiproxy answers at "+path+": is it running?") {
			t.Errorf("want %v: %v", cause, err)
		}
	}
}

func TestStatusOfAnotherUser(t *testing.T) {
	err := Client{Path: "/c"}.explain(&url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)}})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "only root, the user") {
		t.Errorf("error %v", err)
	}
}

// answers plays something that answers each request with the same text.
func answers(t *testing.T, text string) (path string) {
	t.Helper()
	path = socketPath(t)
	l, err := bind(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(conn))
			io.WriteString(conn, text)
			conn.Close()
		}
	}()
	return path
}

func TestStatusOfSomethingElse(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
	for _, c := range []struct{ name, text, want string }{
		{"no HTTP", "220 mail ready\r\n", "malformed HTTP"},
		{"no JSON", ok + "<html>", "not a tiproxy"},
		{"nothing", ok, "not a tiproxy"},
		{"too much", ok + `"` + strings.Repeat("a", maxAnswer) + `"`, "not a tiproxy"},
		{"refused", "HTTP/1.1 418 Teapot\r\nConnection: close\r\n\r\n" + `{"error":"short and stout"}`, "short and stout"},
		{"refused without words", "HTTP/1.1 418 Teapot\r\nConnection: close\r\n\r\n", "418 Teapot"},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := answers(t, c.text)
			got, err := (Client{Path: path}).Status(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "http://") {
				t.Errorf("%.40q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// A tiproxy that was stopped (SIGSTOP, a frozen cgroup) still has its connections
// taken by the kernel.
func TestStatusOfSilence(t *testing.T) {
	path := socketPath(t)
	l, err := bind(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := (Client{Path: path}).Status(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("error %v", err)
	}
}
