package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve starts a server at path that answers status, and ends it with the test.
func serve(t *testing.T, path string, status any) *Server {
	t.Helper()
	s := NewServer(mustBind(t, path), &fake{status: status})
	run(t, s)
	return s
}

func mustBind(t *testing.T, path string) *Socket {
	t.Helper()
	socket, err := Bind(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return socket
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
	if got, err := (Client{Path: path}).Status(t.Context()); err != nil || string(got) != "2\n" {
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
	s := NewServer(mustBind(t, socketPath(t)), nil)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.socket.listener.Close(); !errors.Is(err, net.ErrClosed) {
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
	s := NewServer(mustBind(t, path), nil)
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
	if _, err := (Client{Path: path}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "as JSON") {
		t.Errorf("the client says %v", err)
	}
}
