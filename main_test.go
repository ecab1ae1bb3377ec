package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/tiproxy/tiproxy/config"
)

// bin is a folder with tiproxy as it is installed, and with the test binary
// under the names of the parts that it plays.
var bin string

func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "fakecat":
		fakecat()
	case "socket-unit":
		socketUnit()
	default:
		os.Exit(testAll(m))
	}
}

func testAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tiproxy")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "tiproxy"), ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("cannot build tiproxy: %v\n%s", err, out))
	}
	self, err := os.Executable()
	for _, name := range []string{"fakecat", "socket-unit"} {
		err = errors.Join(err, os.Symlink(self, filepath.Join(bin, name)))
	}
	if err != nil {
		panic(err)
	}
	return m.Run()
}

// TestScripts runs testdata/script: the command line as a user sees it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin)
			env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":          exits,
			"occupy":         occupy,
			"free":           free,
			"names-settings": namesSettings,
		},
		RequireUniqueNames: true,
	})
}

// exits runs a command that has to end with a status: exits STATUS COMMAND [ARG...]
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		failure := (*exec.ExitError)(nil)
		if !errors.As(err, &failure) {
			ts.Fatalf("%v", err)
		}
		got = failure.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// occupy listens at a free address and writes it into a variable: occupy NAME
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// free writes a port at which nobody listens into a variable: free NAME
func free(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: free NAME")
	}
	ts.Setenv(args[0], freePort())
}

// freePort is below the ports that the kernel deals out by itself, so that
// nobody gets it by chance (ip_local_port_range in ip(7)).
func freePort() string {
	for {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			l.Close()
			return port
		}
	}
}

// namesSettings looks for the flag and the meaning of each setting in stdout.
func namesSettings(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: names-settings")
	}
	help := ts.ReadFile("stdout")
	for _, s := range config.Settings() {
		flag := s.Flag
		if s.Key == "Exec" { // a command is more than a flag's value: its arguments stand behind --
			flag, s.Arg, s.Usage = "exec", "PATH", "PATH of the backend's command"
		}
		if flag == "" || !(strings.Contains(help, "--"+flag+" "+s.Arg) && strings.Contains(help, s.Usage)) {
			ts.Fatalf("no word about %s= (--%s %s)", s.Key, flag, s.Arg)
		}
	}
}
