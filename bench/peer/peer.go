// Package peer is the proxies that a benchmark compares: how each is started
// for a piece of work, and what its whole process tree costs while it runs.
//
// Each is taken as its package ships it, with as much set as the work needs:
// limits high enough, the backend's address, a client's half-close kept where
// that can be set, and for bulk what makes it faster there.
package peer

import (
	"fmt"
	"os/exec"
	"strings"
)

// Setup is what a peer is started for.
type Setup struct {
	Listen  string   // address for clients
	Backend string   // address of the backend
	Most    int      // connections that must fit
	AtOnce  int      // sessions that may be at the backend, the others wait; 0: no limit
	Bulk    bool     // much will flow: large buffers or splice, for those who have to be told
	Command []string // of a backend that is to be started for the first client; nil: it runs
	Freeze  bool     // between two clients, the backend is frozen rather than stopped
	Config  string   // where the text of Peer.config stands; set by Start
}

// Peer is one way from a client to the backend.
type Peer struct {
	Name    string // as in the tables
	Package string // Debian's; "": built here, or nothing
	Program string // a name to look up or a path; "": no proxy, clients go to the backend

	Queues bool // it knows Setup.AtOnce
	Starts bool // it knows Setup.Command and Freeze
	Forks  bool // it has a process for each connection
	Files  int  // that it opens for a connection, or with no proxy those of the client

	version []string // arguments that make it print one; nil: asked of dpkg
	args    func(Setup) []string
	config  func(Setup) string // nil: it has no file
}

// Names of the two that are always there.
const (
	None    = "no proxy"
	Tiproxy = "tiproxy"
)

// All peers, in the order of the tables; tiproxy is the path of ours.
func All(tiproxy string) []Peer {
	return []Peer{
		{Name: None, Files: 1},
		{Name: Tiproxy, Program: tiproxy, Files: 2, Queues: true, Starts: true, version: []string{"--version"}, args: tiproxyArgs},
		{Name: "HAProxy", Package: "haproxy", Program: "haproxy", Files: 2, Queues: true,
			args:   func(s Setup) []string { return []string{"-db", "-f", s.Config} },
			config: haproxyConfig},
		{Name: "nginx", Package: "libnginx-mod-stream", Program: "/usr/sbin/nginx", Files: 2,
			args:   func(s Setup) []string { return []string{"-c", s.Config, "-e", "stderr"} },
			config: nginxConfig},
		{Name: "socket-proxyd", Package: "systemd", Program: "systemd-socket-activate", Files: 6, args: func(s Setup) []string {
			return []string{"-l", s.Listen, "/lib/systemd/systemd-socket-proxyd", fmt.Sprintf("--connections-max=%d", s.Most+1), s.Backend}
		}},
		{Name: "socat", Package: "socat", Program: "socat", Files: 2, Forks: true, args: socatArgs},
	}
}

func tiproxyArgs(s Setup) []string {
	args := []string{
		"--listen", s.Listen, "--dest", s.Backend, "--connections", fmt.Sprint(s.AtOnce), "--queue", fmt.Sprint(s.Most),
		"--log-level", "warning", // no other peer is told to write a line about each session
	}
	if s.Command == nil {
		return args
	}
	args = append(args, "--idle", "1ms")
	if s.Freeze {
		args = append(args, "--idle-action", "freeze")
	}
	return append(append(args, "--"), s.Command...)
}

func haproxyConfig(s Setup) string {
	limit, splice := "", ""
	if s.AtOnce > 0 {
		limit = fmt.Sprintf(" maxconn %d", s.AtOnce)
	}
	if s.Bulk {
		splice = "option splice-auto"
	}
	return fmt.Sprintf(`global
	maxconn %d
defaults
	mode tcp
	timeout connect 10s
	timeout client 1h
	timeout server 1h
	timeout queue 1h
	%s
listen bench
	bind %s
	server backend %s%s
`, s.Most+10, splice, s.Listen, s.Backend, limit)
}

func nginxConfig(s Setup) string {
	buffer := "16k" // the default
	if s.Bulk {
		buffer = "64k"
	}
	return fmt.Sprintf(`load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid %s.pid;
worker_processes auto;
events { worker_connections %d; }
stream {
	server {
		listen %s;
		proxy_pass %s;
		proxy_half_close on;
		proxy_buffer_size %s;
		proxy_timeout 1h;
	}
}
`, s.Config, 2*s.Most+100, s.Listen, s.Backend, buffer)
}

func socatArgs(s Setup) []string {
	host, port, _ := strings.Cut(s.Listen, ":")
	buffer := "8192" // the default
	if s.Bulk {
		buffer = "65536"
	}
	return []string{
		"-b", buffer,
		"-t", "10", // after one side's end, seconds of silence of the other
		fmt.Sprintf("TCP4-LISTEN:%s,bind=%s,reuseaddr,fork,backlog=4096,nodelay", port, host),
		"TCP4:" + s.Backend + ",nodelay",
	}
}

// Missing is an error that says what to do when not all peers are there.
func Missing(peers []Peer) error {
	var packages []string
	for _, p := range peers {
		_, err := exec.LookPath(p.Program)
		switch {
		case p.Program == "" || err == nil:
		case p.Package == "":
			return fmt.Errorf("cannot measure %s: %w; run make build", p.Name, err)
		default:
			packages = append(packages, p.Package)
		}
	}
	if packages == nil {
		return nil
	}
	return fmt.Errorf("cannot compare with all peers: run apt-get install --no-install-recommends %s", strings.Join(packages, " "))
}

// Version is what the peer says of itself, "" of no proxy.
func (p Peer) Version() (string, error) {
	ask := exec.Command("dpkg-query", "--show", "--showformat=${Version}", p.Package)
	switch {
	case p.Program == "":
		return "", nil
	case p.Package == "":
		ask = exec.Command(p.Program, p.version...)
	}
	out, err := ask.Output()
	if err != nil {
		return "", fmt.Errorf("cannot ask for the version of %s: %w", p.Name, err)
	}
	fields := strings.Fields(string(out))
	if len(fields) == 0 {
		return "", fmt.Errorf("cannot ask for the version of %s: %v says nothing", p.Name, ask)
	}
	return fields[len(fields)-1], nil
}
