package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// found is a script that shows what a command finds around it.
const found = `
grep -E '^(Uid|Gid|Groups|Umask|Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp)' /proc/self/status
grep -v '^Limit' /proc/self/limits
cut -d' ' -f 19 /proc/self/stat
cat /proc/self/oom_score_adj /proc/self/cgroup
ls /proc/self/fd
env | grep -v ^NOTIFY_SOCKET= | sort
pwd
test $(cut -d' ' -f 6 /proc/$$/stat) = $$ && echo leader of its session
echo "$0" "$@"
`

// A command finds the same whether fork and exec carry its order out or the
// launcher does, which Nice= wants.
func TestWithAndWithoutLauncher(t *testing.T) {
	cases := []Surroundings{{}, {User: strconv.Itoa(os.Getuid())}, {Group: strconv.Itoa(os.Getgid())}}
	if os.Getuid() == 0 {
		cases = append(cases, Surroundings{User: "daemon"}, Surroundings{User: "daemon", OneGroup: true},
			Surroundings{Group: "daemon"}, Surroundings{User: "daemon", Group: "adm"})
	}
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cases {
		without := outputIn(t, s, "/bin/sh", "-c", found, "zero", "one", "two words")
		s.Nice = new(20 - nice) // the system call's value, getpriority(2)
		with := outputIn(t, s, "/bin/sh", "-c", found, "zero", "one", "two words")
		if !slices.Equal(without, with) || !slices.Contains(without, "leader of its session") {
			t.Errorf("%+v: without the launcher\n%s\nwith it\n%s", s, strings.Join(without, "\n"), strings.Join(with, "\n"))
		}
	}
}

// What fork and exec can carry out they do; the launcher would hide it if they
// could not.
func TestForkAndExecAlone(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "script"), []byte("#!/bin/sh\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ends := []string{"sh", "-c", "exit 7"}
	ourselves := asWeAre
	ourselves.uid, ourselves.gid = os.Getuid(), os.Getgid()
	for name, o := range map[string]order{
		"absolute":            {path: "/bin/sh", argv: ends, traits: asWeAre},
		"from its directory":  {path: "./script", argv: ends, traits: asWeAre, dir: home},
		"as a user and group": {path: "/bin/sh", argv: ends, traits: ourselves},
	} {
		if state := executed(t, o); state.ExitCode() != 7 {
			t.Errorf("%s: %v", name, state)
		}
	}
}

// A command is in its cgroup from the beginning.
func TestBornInItsCgroup(t *testing.T) {
	var groups *cgroup
	for _, mount := range hierarchies {
		if root := (&cgroup{mount}); root.exists() && unix.Access(mount, unix.W_OK) == nil {
			groups = root
		}
	}
	if groups == nil {
		t.Skip("nobody but root makes cgroups, and only where their hierarchy can be written to")
	}
	group, err := groups.make(fmt.Sprintf("tiproxy-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer group.remove()
	script := fmt.Sprintf("grep -q %s /proc/self/cgroup && exit 7", filepath.Base(group.dir))
	if state := executed(t, order{path: "/bin/sh", argv: []string{"sh", "-c", script}, traits: asWeAre, cgroup: group.dir}); state.ExitCode() != 7 {
		t.Errorf("it was elsewhere: %v", state)
	}
}

// executed has fork and exec carry out an order and waits for its end.
func executed(t *testing.T, o order) *os.ProcessState {
	t.Helper()
	if !o.simple(nil) || !o.near() {
		t.Fatalf("%+v: simple %v, near %v", o, o.simple(nil), o.near())
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	f := newForker()
	defer f.stop()
	p, err := f.execute(o, nil, []*os.File{null, null, null})
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	state, err := p.Wait()
	ours.forget(p.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestOrdersThatWantTheLauncher(t *testing.T) {
	one := 1
	for name, o := range map[string]order{
		"a file":   {given: 1, traits: asWeAre},
		"a keeper": {kept: true, traits: asWeAre},
		"umask":    {traits: traits{umask: 0o27}},
		"nice":     {traits: traits{umask: -1, nice: &one}},
		"oom":      {traits: traits{umask: -1, oom: &one}},
		"nofile":   {traits: traits{umask: -1, files: &unix.Rlimit{}}},
	} {
		if o.simple(nil) {
			t.Errorf("%s: fork and exec shall carry it out", name)
		}
	}
	simple := order{traits: asWeAre}
	if !simple.simple([]string{"A=1", "XWATCHDOG_USEC=1"}) || simple.simple([]string{"A=1", "WATCHDOG_USEC=1"}) {
		t.Error("WATCHDOG_PID= is the launcher's to say")
	}
	for _, path := range []string{"/dev/null", "/bin", "/no/such/file", "/proc/self/no-such-file/x"} {
		if (order{path: path}).near() {
			t.Errorf("%s is a file at hand", path)
		}
	}
	if (order{path: "/bin/sh", dir: "/no/such/dir"}).near() {
		t.Error("a directory that does not exist is at hand")
	}
}
