package hook

import (
	"slices"
	"strings"
	"testing"
)

func TestEnvironment(t *testing.T) {
	inherited := []string{
		"PATH=/bin", "TIPROXY_HOOK=x", "TIPROXY_REASON=x", "TIPROXY_GENERATION=x", "TIPROXY_SERVED=x", "TIPROXY_WAITING=x",
		"TIPROXY_BACKEND_PID=x", "TIPROXY_SESSION=x", "TIPROXY_LISTENER=x", "PROTO=x", "REMOTE_ADDR=x", "REMOTE_HOST=x",
		"REMOTE_PORT=x", "TCPREMOTEIP=x", "TCPREMOTEPORT=x", "TCPLOCALIP=x", "TCPLOCALPORT=x", "TIPROXY_OTHER=stays", "PROTOCOL=stays",
	}
	const stays = "PATH=/bin TIPROXY_OTHER=stays PROTOCOL=stays TIPROXY_HOOK=OnCrash "
	for _, tt := range []struct {
		name  string
		facts Facts
		want  string
	}{
		{"nothing is known", Facts{}, stays + "TIPROXY_SERVED=0 TIPROXY_WAITING=0"},
		{"of a backend", Facts{Reason: "status\x00 3", Generation: 7, Served: 20, Waiting: 4, PID: 4711},
			stays + "TIPROXY_REASON=status 3 TIPROXY_GENERATION=7 TIPROXY_SERVED=20 TIPROXY_WAITING=4 TIPROXY_BACKEND_PID=4711"},
		{"TCP", Facts{Client: &Client{Session: 9, Listener: "web", Proto: "TCP", Addr: "2001:db8::1", Port: 50000}},
			stays + "TIPROXY_SERVED=0 TIPROXY_WAITING=0 TIPROXY_SESSION=9 TIPROXY_LISTENER=web PROTO=TCP " +
				"REMOTE_ADDR=2001:db8::1 REMOTE_HOST=2001:db8::1 REMOTE_PORT=50000 TCPREMOTEIP=2001:db8::1 TCPREMOTEPORT=50000"},
		{"UNIX", Facts{Client: &Client{Session: 9, Proto: "UNIX"}},
			stays + "TIPROXY_SERVED=0 TIPROXY_WAITING=0 TIPROXY_SESSION=9 PROTO=UNIX"},
		{"VSOCK", Facts{Client: &Client{Session: 9, Proto: "VSOCK", Addr: "3", Port: 1024}},
			stays + "TIPROXY_SERVED=0 TIPROXY_WAITING=0 TIPROXY_SESSION=9 PROTO=VSOCK REMOTE_ADDR=3 REMOTE_HOST=3 REMOTE_PORT=1024"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(inherited)
			if got := strings.Join(tt.facts.environment(OnCrash, inherited), " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !slices.Equal(inherited, before) {
				t.Errorf("what was inherited was changed: %q", inherited)
			}
		})
	}
}

// A program that serves the client is told of it in the words of the hooks.
func TestEnvironmentOfAClient(t *testing.T) {
	c := Client{Session: 9, Proto: "TCP", Addr: "192.0.2.1", Port: 50000, LocalAddr: "198.51.100.1", LocalPort: 79}
	want := "PATH=/bin TIPROXY_SESSION=9 PROTO=TCP REMOTE_ADDR=192.0.2.1 REMOTE_HOST=192.0.2.1 REMOTE_PORT=50000 " +
		"TCPREMOTEIP=192.0.2.1 TCPREMOTEPORT=50000 TCPLOCALIP=198.51.100.1 TCPLOCALPORT=79"
	if got := strings.Join(c.Environment([]string{"PATH=/bin", "TCPLOCALIP=x", "TIPROXY_LISTENER=x"}), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
