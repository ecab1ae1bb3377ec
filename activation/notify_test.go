package activation

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for _, tt := range []struct {
		want string
		tell func() error
	}{
		{"READY=1", Ready},
		{"STATUS=backend ready, 1 inside", func() error { return Status("backend ready, 1 inside") }},
		{"STOPPING=1", Stopping},
	} {
		must(t, tt.tell())
		buf := make([]byte, 100)
		n, err := systemd.Read(buf)
		must(t, err)
		if got := string(buf[:n]); got != tt.want {
			t.Errorf("systemd was told %q, want %q", got, tt.want)
		}
	}
}

func TestNotifyWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	must(t, Ready())
}

func TestNotifyNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if err := Ready(); err == nil || !strings.HasPrefix(err.Error(), "cannot notify systemd: ") {
		t.Errorf("got %v", err)
	}
}
