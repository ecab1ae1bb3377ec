//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// sessionGroups are the cgroups of the programs that serve a client each.
func (u *unit) sessionGroups() []string {
	u.t.Helper()
	found, err := filepath.Glob("/sys/fs/cgroup" + u.property("service", "ControlGroup") + "/session-*")
	if err != nil {
		u.t.Fatal(err)
	}
	return found
}

// What inetd.conf calls nowait.3: three programs at once and no fourth, whoever comes.
func TestTwentyClientsOfNowait3(t *testing.T) {
	u := configure(t, "[Backend]\nMode=stdio\nExec=@/bin/sh in.server -c \"echo $$; read line; echo bye\"\n"+
		"[Gate]\nMaxConnections=3\n[Service]\nIdleExitSec=1\n")
	var inside atomic.Int64
	var first sync.Once
	three, all := make(chan struct{}), sync.WaitGroup{}
	for i := range 20 {
		conn := dial(t, "tcp", "127.0.0.1:4000")
		all.Go(func() {
			if _, err := readLine(conn); err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			switch n := inside.Add(1); {
			case n == 3:
				first.Do(func() { close(three) })
			case n > 3:
				t.Errorf("client %d is inside with %d others", i, n-1)
			}
			select {
			case <-three: // the first ones stay until there are three
			case <-time.After(patience):
				t.Errorf("client %d sees no three inside", i)
			}
			inside.Add(-1)
			if _, err := io.WriteString(conn, "go on\n"); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			if rest, err := io.ReadAll(conn); string(rest) != "bye\n" || err != nil {
				t.Errorf("client %d: %q, %v", i, rest, err)
			}
		})
	}
	all.Wait()
	u.waitForExit()
	if starts := len(linesWith(u.journal(), "served")); starts != 20 {
		t.Errorf("%d of 20 were served", starts)
	}
	if left := u.sessionGroups(); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	u.mustListen()
}

// The limit is that of processes: counted where the kernel counts them.
func TestThreeProcessesOfNowait3(t *testing.T) {
	u := configure(t, "[Backend]\nMode=stdio\nExec=/bin/cat\n[Gate]\nMaxConnections=3\n")
	first := dial(t, "tcp", "127.0.0.1:4000")
	say(t, first, "hello")
	hear(t, first)
	for range 19 {
		dial(t, "tcp", "127.0.0.1:4000")
	}
	eventually(t, "three are inside, the others wait", func() bool {
		g := u.status().Gate
		return g.Active == 3 && g.Queued == 17 && len(u.sessionGroups()) == 3
	})
	for _, group := range u.sessionGroups() {
		text, err := os.ReadFile(group + "/cgroup.procs")
		if pids := strings.Fields(string(text)); err != nil || len(pids) != 1 {
			t.Errorf("in %s there are %q, %v", group, pids, err)
		}
	}
	if b := u.status().Backend; b.State != "stdio" {
		t.Errorf("the backend is %+v", b)
	}
}

// A daemon keeps the socket open, but not the session. And systemd leaves nothing of those that
// tiproxy did not live to end.
func TestNothingIsLeftOfAProgram(t *testing.T) {
	const daemon = `setsid sleep infinity & echo $!`
	u := configure(t, "[Backend]\nMode=stdio\nExec=/bin/sh -c '"+daemon+"; read line'\n[Gate]\nMaxConnections=2\n")
	first, second := dial(t, "tcp", "127.0.0.1:4000"), dial(t, "tcp", "127.0.0.1:4000")
	pids := []int{number(t, hear(t, first)), number(t, hear(t, second))}
	say(t, first, "go on")
	waitForClose(t, first)
	eventually(t, "its daemon is gone", func() bool { return commandOf(pids[0]) == "" })
	if commandOf(pids[1]) == "" {
		t.Error("the other client's daemon is gone, too")
	}
	if err := syscall.Kill(u.status().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(second); len(rest) > 0 && err == nil {
		t.Errorf("heard %q", rest)
	}
	eventually(t, "nothing is left of the other", func() bool { return commandOf(pids[1]) == "" })
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A quiet client is no idleness while its program lives.
func TestQuietProgramKeepsTiproxy(t *testing.T) {
	const idleExit = time.Second
	u := configure(t, fmt.Sprintf("[Backend]\nMode=stdio\nExec=/bin/cat\n[Service]\nIdleExitSec=%v\n", idleExit))
	conn := dial(t, "tcp", "127.0.0.1:4000")
	say(t, conn, "here")
	hear(t, conn)
	<-time.After(2 * idleExit)
	say(t, conn, "still there")
	if got := hear(t, conn); got != "still there" {
		t.Errorf("heard %q", got)
	}
	conn.Close()
	u.waitForExit()
}

// By hand there is no cgroup: a keeper stands above each program, as its user.
func TestKilledByHandNothingIsLeftOfAProgramOfAnotherUser(t *testing.T) {
	tiproxy := exec.Command("tiproxy", "--mode", "stdio", "--user", "nobody", "--", "/bin/sh", "-c", "id -un; setsid sleep infinity & echo $!; cat")
	if err := tiproxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer tiproxy.Wait()
	defer tiproxy.Process.Kill()
	eventually(t, "it listens", func() bool { return strings.Contains(output(t, "ss", "-Hltn", "sport = :4000"), "127.0.0.1") })
	conn := dial(t, "tcp", "127.0.0.1:4000")
	user, pid := hear(t, conn), number(t, hear(t, conn))
	if user != "nobody" || commandOf(pid) == "" {
		t.Errorf("the user is %s, and its daemon %q", user, commandOf(pid))
	}
	if err := tiproxy.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon is gone", func() bool { return commandOf(pid) == "" })
}

// A real server of inetd's.
func TestBusyboxHttpd(t *testing.T) {
	const site = "/srv/httpd"
	if err := os.MkdirAll(site, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(site) })
	page := strings.Repeat("all is well\n", 10000)
	if err := os.WriteFile(site+"/index.html", []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	configure(t, "[Backend]\nMode=stdio\nExec=@/bin/busybox httpd -i -h "+site+"\n[Gate]\nMaxConnections=3\n"+
		"[Access]\nAcceptProxy=localhost\n")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			got, err := exec.Command("curl", "--silent", "--fail", "--haproxy-protocol", "http://127.0.0.1:4000/index.html").Output()
			if string(got) != page || err != nil {
				t.Errorf("%d bytes and %v, want %d bytes", len(got), err, len(page))
			}
		})
	}
	all.Wait()
	eventually(t, "no httpd is left", func() bool { return len(pidsOf("busybox")) == 0 })
}
