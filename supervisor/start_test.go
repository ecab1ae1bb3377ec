package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCommandThatCannotBeExecuted(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct{ name, command, dir, want string }{
		{"missing", dir + "/missing", "", "cannot execute " + dir + "/missing: no such file"},
		{"missing, relative", "./missing", dir, "cannot execute ./missing in " + dir + ": no such file"},
		{"not in PATH", "tiproxy-no-such-command", "", "cannot execute tiproxy-no-such-command: there is no such command in PATH"},
		{"not executable", write("plain", "#!/bin/sh\n", 0o644), "", "cannot execute " + dir + "/plain: permission denied"},
		{"no interpreter", write("script", "#!/missing/interpreter\n", 0o755), "", "cannot execute " + dir + "/script: its interpreter"},
		{"no format", write("text", "hello\n", 0o755), "", "cannot execute " + dir + "/text: exec format error"},
		{"a folder", dir, "", "cannot execute " + dir + ": permission denied"},
		{"no working directory", "/bin/sh", dir + "/gone", "cannot enter the working directory: chdir " + dir + "/gone: no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := open(t, Config{Command: []string{tt.command}, Dir: tt.dir, Address: somewhere()})
			a := st.begin()
			second := await(st, func(e FailEvent) bool { return e.Generation == 2 })
			if !strings.HasPrefix(second.Err.Error(), tt.want) {
				t.Errorf("%q, want %q", second.Err, tt.want)
			}
			a.leave()
			if _, err := a.await(t); !errors.Is(err, context.Canceled) {
				t.Errorf("Acquire: %v", err)
			}
			perStart := map[uint64]int{}
			for _, e := range events[FailEvent](st) {
				if perStart[e.Generation]++; perStart[e.Generation] > 1 || e.Retry == 0 {
					t.Errorf("%+v", e)
				}
			}
			if s := st.Status(); s.Starts != 0 || s.PID != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestRelativeCommandIsOneOfTheWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(filepath.Dir(dir))
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\necho in $(pwd)\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	st := open(t, Config{Command: []string{"./run"}, Dir: filepath.Base(dir), Address: somewhere()})
	st.begin()
	if where := st.hears("in "); where != dir {
		t.Errorf("it ran in %s, want %s", where, dir)
	}
}

func TestArgumentsAreBytes(t *testing.T) {
	arg := "caf\xe9 \n'\"{port}"
	st := open(t, Config{Command: play("say="+arg, "stay"), Address: somewhere(), Ready: ReadyNone})
	st.acquire()
	st.hears("caf\xe9 ")
	st.hears("'\"{port}")
}

func TestStartThatTakesTooLong(t *testing.T) {
	for _, tt := range []struct {
		ready Readiness
		want  string
	}{
		{ReadyListen, "no process of the backend listens at @"},
		{ReadyNotify, "it did not send READY=1"},
		{ReadyConnect, "connection refused"},
	} {
		t.Run(string(tt.ready), func(t *testing.T) {
			// The time is for the backend to become deaf in.
			st := open(t, Config{Command: play("deaf", "stay"), Address: somewhere(), Ready: tt.ready,
				StartTimeout: time.Second, StopTimeout: 10 * time.Millisecond})
			a := st.begin()
			fail := await(st, func(FailEvent) bool { return true })
			a.leave()
			text := fail.Err.Error()
			if !strings.HasPrefix(text, "it was not ready within 1s") || !strings.Contains(text, tt.want) || fail.Retry == 0 {
				t.Errorf("%q, retry %v; want %q", text, fail.Retry, tt.want)
			}
			if told := st.order(); !strings.HasPrefix(told, "Launch Stop Kill Exit Fail") {
				t.Errorf("told %q", told)
			}
			exit := events[ExitEvent](st)[0]
			if exit.Wanted || exit.Uptime != 0 || exit.Status != "signal: killed" {
				t.Errorf("%+v", exit)
			}
		})
	}
}

func TestBackendThatGoesToTheBackground(t *testing.T) {
	st := open(t, Config{Command: play("daemon=stay"), Address: somewhere()})
	st.begin()
	fail := await(st, func(FailEvent) bool { return true })
	if !strings.Contains(fail.Err.Error(), "stay in the foreground") {
		t.Errorf("%v", fail.Err)
	}
}
