//go:build e2e

package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// forks has a child that shares the backend's session, and a daemon with a session of its own whose
// parent has ended. Both ignore SIGTERM.
const forks = `trap '' TERM
sleep 1001 &
setsid sh -c 'sleep 1002 &'
trap - TERM
exec ` + self + ` backend who 127.0.0.1:3000
`

func TestNothingIsLeftOfABackendThatMakesDaemons(t *testing.T) {
	u := enable(t, "tiproxy", map[string]string{
		"/etc/tiproxy-e2e/forks": forks,
		dropIn: `[Backend]
Exec=/bin/sh /etc/tiproxy-e2e/forks
Address=127.0.0.1:3000
IdleStopSec=500ms
StopTimeoutSec=1s
`,
	})
	for round := range 3 {
		conn := dial(t, "tcp", "127.0.0.1:4000")
		tiproxy, backend := tiproxyAndBackend(t, conn)
		if members := processesOf(t, cgroupOf(t, backend)); len(members) != 3 {
			t.Errorf("round %d: the backend's cgroup holds processes %v, wanted three", round, members)
		}
		conn.Close()
		eventually(t, "the backend is stopped", func() bool { return u.status().Backend.State == "stopped" })
		service := u.property("service", "ControlGroup")
		if left := processesOf(t, service); len(left) != 1 || left[0] != tiproxy {
			t.Errorf("round %d: the service holds processes %v, wanted tiproxy's %d alone", round, left, tiproxy)
		}
		if cgroups := cgroupsIn(t, service); len(cgroups) != 1 {
			t.Errorf("round %d: these cgroups are left: %v", round, cgroups)
		}
	}
}

// processesOf lists who lives in a cgroup, or beneath it.
func processesOf(t *testing.T, cgroup string) (pids []int) {
	t.Helper()
	for _, dir := range cgroupsIn(t, cgroup) {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// cgroupsIn lists the folders of a cgroup and of those beneath it.
func cgroupsIn(t *testing.T, cgroup string) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("/sys/fs/cgroup", cgroup), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}
