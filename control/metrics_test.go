package control

import (
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
)

// Over TCP there are the metrics, and nothing that tells more or acts.
func TestMetricsServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	f, err := l.(*net.TCPListener).File()
	l.Close()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(f.Fd()))
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewMetricsServer(fd, &fake{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	for path, want := range map[string]int{"/metrics": 200, "/v1/status": 404, "/v1/sessions": 404, "/": 404} {
		response, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", path, response.StatusCode, body, want)
		}
	}
	response, err := http.Post("http://"+addr+"/v1/restart", "application/json", nil)
	if err != nil || response.StatusCode != 404 {
		t.Errorf("restart: %v, %v", response, err)
	}
	server.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}
