package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serve starts a server at path that answers status, and ends it with the test.
func serve(t *testing.T, path string, status any) *Server {
	t.Helper()
	s, err := Listen(path, func() any { return status })
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	return s
}

func run(t *testing.T, s *Server) {
	t.Helper()
	served := make(chan error)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "control.sock") }

func TestPath(t *testing.T) {
	for _, c := range []struct{ override, runtime, xdg, want string }{
		{"/a/b", "/run/x", "/run/user/1", "/a/b"},
		{"", "/run/x", "/run/user/1", "/run/x/control.sock"},
		{"", "/run/x:/run/y", "", "/run/x/control.sock"},
		{"", "", "/run/user/1", "/run/user/1/tiproxy/control.sock"},
		{"", "", "", "/run/tiproxy/control.sock"},
	} {
		t.Setenv("RUNTIME_DIRECTORY", c.runtime)
		t.Setenv("XDG_RUNTIME_DIR", c.xdg)
		if got := Path(c.override); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestOnlyTheOwnerMayConnect(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		old := syscall.Umask(umask)
		l, err := bind(socketPath(t))
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Stat(l.Addr().String())
		l.Close()
		if err != nil || file.Mode().Perm() != 0o600 {
			t.Errorf("umask %#o: %v, %v; want mode 0600", umask, file.Mode(), err)
		}
	}
	if _, err := Listen("@tiproxy-control-test", nil); err == nil || !strings.Contains(err.Error(), "abstract") {
		t.Errorf("an abstract socket, open to all: %v", err)
	}
}

func TestDefaultDirectoryIsMade(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for range 2 { // made, and found
		s, err := Listen(Path(""), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	made, err := os.Stat(filepath.Join(dir, "tiproxy"))
	if err != nil || made.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v; want mode 0700", made.Mode(), err)
	}
	if _, err := Listen(filepath.Join(dir, "elsewhere", "control.sock"), nil); err == nil || !strings.Contains(err.Error(), "--control") {
		t.Errorf("a directory that nobody made: %v", err)
	}
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "missing"))
	if _, err := Listen(Path(""), nil); err == nil || !strings.Contains(err.Error(), "--control") {
		t.Errorf("a runtime directory that is missing: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	dead, err := bind(path)
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	serve(t, path, 1)
	if got, err := Status(t.Context(), path); err != nil || string(got) != "1\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	serve(t, path, "first")
	_, err := Listen(path, nil)
	if err == nil {
		t.Fatal("a second server took the socket")
	}
	for _, want := range []string{path, fmt.Sprintf("process %d ", os.Getpid()), "--control"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if got, err := Status(t.Context(), path); err != nil || string(got) != "\"first\"\n" {
		t.Errorf("the first one no longer answers: %q, %v", got, err)
	}
}

func TestOtherFileIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, nil); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file became %q, %v", text, err)
	}
}

func TestCloseRemovesOnlyItsOwnFile(t *testing.T) {
	path := socketPath(t)
	first := serve(t, path, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := serve(t, path, 2)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if got, err := Status(t.Context(), path); err != nil || string(got) != "2\n" {
		t.Errorf("after the first was closed: %q, %v", got, err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestCloseBeforeServe(t *testing.T) {
	s, err := Listen(socketPath(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.socket.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener was left open: %v", err)
	}
	if err := s.Serve(); err != nil {
		t.Error(err)
	}
}

// ask sends a request as it stands and answers what comes back until the
// server closes, which it does after each.
func ask(t *testing.T, path, request string) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, request) // the server may refuse before it has read all
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("%.40q: %v", request, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%.40q: %v", request, err)
	}
	if !response.Close {
		t.Errorf("%.40q: the connection is kept open", request)
	}
	return response, body
}

func TestRequests(t *testing.T) {
	path := socketPath(t)
	serve(t, path, map[string]int{"pid": 1})
	for _, c := range []struct {
		name, request string
		code          int
		json          string // in the body
	}{
		{"status", "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 200, `{"pid":1}`},
		{"status for HTTP/1.0", "GET /v1/status HTTP/1.0\r\n\r\n", 200, `{"pid":1}`},
		{"kept alive", "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", 200, `{"pid":1}`},
		{"post", "POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 405, `{"error":"the status can only`},
		{"post of a body that never comes", "POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", 405, `{"error":`},
		{"delete", "DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 405, `{"error":`},
		{"options", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, `{"error":`},
		{"connect", "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404, `{"error":`},
		{"root", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, `{"error":"there is nothing`},
		{"unclean path", "GET //v1/../v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 404, `{"error":`},
		{"not HTTP", "hello\r\n\r\n", 400, ""},
		{"1 MB path", "GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, ""},
		{"huge header", "GET /v1/status HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431, ""},
		{"many headers", "GET /v1/status HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: a\r\n", 1<<16) + "\r\n", 431, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			response, body := ask(t, path, c.request)
			if response.StatusCode != c.code || !strings.HasPrefix(string(body), c.json) {
				t.Errorf("%d %.80q, want %d %s", response.StatusCode, body, c.code, c.json)
			}
			if c.json != "" && (!json.Valid(body) || response.Header.Get("Content-Type") != "application/json") {
				t.Errorf("not JSON: %s %q", response.Header.Get("Content-Type"), body)
			}
		})
	}
}

func TestHeadHasNoBody(t *testing.T) {
	path := socketPath(t)
	serve(t, path, 1)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "HEAD /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
	all, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 405 ") {
		t.Errorf("%q, %v", all, err)
	}
}

func TestSlowClientIsCut(t *testing.T) {
	path := socketPath(t)
	s, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.http.ReadTimeout != patience || s.http.WriteTimeout != patience || s.http.ReadHeaderTimeout != 0 {
		t.Errorf("patience of %v to read, %v to write", s.http.ReadTimeout, s.http.WriteTimeout)
	}
	s.http.ReadTimeout = 10 * time.Millisecond
	run(t, s)
	for _, part := range []string{"", "GET /v1/st", "GET /v1/status HTTP/1.1\r\nHost"} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, part)
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("after %q: %v", part, err)
		}
		conn.Close()
	}
}

func TestStatusThatIsNotJSON(t *testing.T) {
	path := socketPath(t)
	serve(t, path, make(chan int))
	response, body := ask(t, path, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
	if response.StatusCode != 500 || !json.Valid(body) {
		t.Errorf("%d %q", response.StatusCode, body)
	}
	if _, err := Status(context.Background(), path); err == nil || !strings.Contains(err.Error(), "as JSON") {
		t.Errorf("the client says %v", err)
	}
}
