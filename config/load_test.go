package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// write makes a file with its folder and returns its path.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadEverySetting(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "tiproxy.conf"), `
[Backend]
Exec=/bin/sh -c 'exec server "$@"' \
     # in between
     sh --port={port}
WorkingDirectory = /srv/my site
Address=auto
Ready=notify
ReadyIntervalSec=100ms
StartTimeoutSec=1min 30s
IdleStopSec=never
StopTimeoutSec=5
IdleAction=freeze
RecycleAgeSec=1d
RecycleMemory=2G
; a comment
[Gate]
MaxConnections=8
QueueLength=0
QueueTimeoutSec=2
SessionTimeoutSec=1h
OnTimeout=restart
[Service]
IdleExitSec=10min
DrainSec=0
[Backend]
StopTimeoutSec=6
`)
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Backend: Backend{
			Mode:             ModeConnect,
			Exec:             []string{"/bin/sh", "-c", `exec server "$@"`, "sh", "--port={port}"},
			WorkingDirectory: "/srv/my site",
			UserGroups:       true,
			AddressAuto:      true,
			Ready:            ReadyNotify,
			ReadyInterval:    100 * time.Millisecond,
			StartTimeout:     90 * time.Second,
			IdleStop:         Never,
			StopTimeout:      6 * time.Second,
			StopSignal:       unix.SIGTERM,
			AliveInterval:    30 * time.Second,
			WakeOn:           WakeConnect,
			WakeTimeout:      10 * time.Second,
			IdleAction:       IdleFreeze,
			IdleFreeze:       Never,
			RecycleAge:       24 * time.Hour,
			RecycleMemory:    2 << 30,
			RecycleGrace:     5 * time.Minute,
			Watchdog:         Never,
			NotifyAccess:     NotifyAll,
		},
		Gate: Gate{
			MaxConnections: 8, Fair: FairNo, QueueTimeout: 2 * time.Second, SessionTimeout: time.Hour,
			SessionIdle: Never, OnTimeout: TimeoutRestart, WhenFull: FullRefuse, KeepAlive: 5 * time.Minute,
		},
		Hooks:   Hooks{Timeout: 30 * time.Second, Failure: FailureContinue},
		Service: Service{IdleExit: 10 * time.Minute, LogLevel: "info", LogFormat: "auto", LogClients: "full"},
		file:    file,
		said:    c.said,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
}

func TestLoadDropIns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tiproxy.conf")
	write(t, file, "[Gate]\nMaxConnections=1\nQueueLength=1\nQueueTimeoutSec=1\n")
	write(t, file+".d/20-b.conf", "[Gate]\nMaxConnections=20\n")
	write(t, file+".d/10-a.conf", "[Gate]\nMaxConnections=10\nQueueLength=10\nQueueTimeoutSec=\n")
	write(t, file+".d/30-c.conf.dpkg-old", "[Gate]\nMaxConnections=30\n")
	write(t, file+".d/.#40-d.conf", "what an editor leaves behind\n")
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if g := c.Gate; g.MaxConnections != 20 || g.QueueLength != 10 || g.QueueTimeout != Never {
		t.Errorf("got %+v", g)
	}
}

func TestLoadMissingFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none.conf")
	if _, err := Load(file); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want one that is fs.ErrNotExist and names the file", err)
	}
}

func TestLoadUnreadable(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "tiproxy.conf"), "")
	folder := file + ".d/10-a.conf" // reading a folder fails for root too
	if err := os.MkdirAll(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "cannot read a drop-in") || !strings.Contains(err.Error(), folder) {
		t.Errorf("drop-in: got %v", err)
	}
	file = write(t, filepath.Join(t.TempDir(), "tiproxy.conf"), "")
	write(t, file+".d", "a file, no folder")
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "cannot list the drop-ins") {
		t.Errorf("folder: got %v", err)
	}
}

func TestLoadReportsEverything(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tiproxy.conf")
	write(t, file, "MaxConnections=2\n[Gate]\nMaxConections=3\nQueueLength=x\n[Backed]\nExec=/bin/true\n")
	dropIn := write(t, file+".d/a.conf", "[Gate]\n\nIdleStopSec=3\n")
	_, err := Load(file)
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		file + `:1: "MaxConnections=" stands before the first section; write [Gate] above it`,
		file + `:3: unknown key "MaxConections=" in [Gate]; did you mean "MaxConnections="?`,
		file + `:4: cannot use QueueLength= in [Gate]: "x" is not a whole number from 0 on`,
		file + `:5: unknown section [Backed]; did you mean [Backend]?`,
		dropIn + `:3: "IdleStopSec=" belongs in [Backend], not in [Gate]`,
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", err, strings.Join(want, "\n"))
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.File != file || e.Line != 1 {
		t.Errorf("no *Error with file and line: %#v", e)
	}
}

func TestFaults(t *testing.T) {
	var tests = []struct {
		name, text string
		line       int
		want       string
	}{
		{"no equals sign", "[Gate]\n\nMaxConnections 3\n", 3, `"MaxConnections 3" is no setting`},
		{"no key", "[Gate]\n=3", 2, `unknown key "="`},
		{"continued key", "[Gate]\nMax\\\nConnections=3", 2, "cannot read the line"},
		{"open bracket", "[Gate\nMaxConnections=3", 1, `"[Gate" is no section`},
		{"text after header", "[Gate] MaxConnections=3", 1, "is no section"},
		{"far key before header", "LoremIpsumDolor=3", 1, "write [Backend], [Gate], [Access], [Hooks], [Service] above it"},
		{"text before header", "x\n[Gate]", 1, `"x" is no setting`},
		{"far section", "[Wonderful]\nMaxConnections=3", 1, "there are [Backend], [Gate], [Access], [Hooks], [Service]"},
		{"far key", "[Service]\nLoremIpsumDolor=3", 2, `there are "IdleExitSec=", "DrainSec="`},
		{"near key elsewhere", "[Service]\nMaxConnection=3", 2, `did you mean "MaxConnections=" in [Gate]?`},
		{"other case", "[Gate]\nMAXCONNECTIONS=3", 2, `did you mean "MaxConnections="?`},
		{"first line of a continued one", "[Gate]\n# c\nMaxConnections=\\\n1 \\\n2", 3, `"1  2" is not a whole number`},
		{"not UTF-8", "[Backend]\nExec=/bin/\xff", 2, "not plain text"},
		{"NUL", "[Backend]\nExec=/bin/\x00", 2, "not plain text"},
		{"too long a line", "[Backend]\nExec=/bin/" + strings.Repeat("x", 5000), 2, "line too long"},
		{"open quote", "[Backend]\nExec=echo 'a", 2, "cannot use Exec= in [Backend]: a quote ' is open"},
		{"empty command", "[Backend]\nExec=\"\" a", 2, "the command is empty"},
		{"control characters", "[Ga\x1b[31mte]", 1, `[Ga\x1b[31mte]`},
	}
	for _, tt := range tests {
		faults := Default().apply("f", tt.text)
		if len(faults) != 1 {
			t.Errorf("%s: got %d errors, want 1: %v", tt.name, len(faults), faults)
			continue
		}
		e := faults[0].(*Error)
		if e.Line != tt.line || !strings.Contains(e.Error(), tt.want) {
			t.Errorf("%s: got %q, want line %d and %q", tt.name, e, tt.line, tt.want)
		}
	}
}

func TestEdits(t *testing.T) {
	var tests = []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"", "abc", 3}, {"abc", "", 3},
		{"queue", "qeue", 1}, {"drain", "train", 1}, {"kitten", "sitting", 3},
	}
	for _, tt := range tests {
		if got := edits(tt.a, tt.b); got != tt.want {
			t.Errorf("%q to %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestErrorNamesSectionAndKey(t *testing.T) {
	e := Default().apply("f", "[Gate]\nQueueLength=x")[0].(*Error)
	if e.Section != "Gate" || e.Key != "QueueLength" {
		t.Errorf("got %#v", e)
	}
}

func TestLongCommandOnWrappedLines(t *testing.T) {
	text := "[Backend]\nExec=/bin/java" + strings.Repeat(" \\\n -Dxxxxxxxxxxxxxxxxxx=y", 300) + "\n"
	c := Default()
	if faults := c.apply("f", text); faults != nil {
		t.Fatal(faults)
	}
	if got := len(c.Backend.Exec); got != 301 {
		t.Errorf("got %d words, want 301", got)
	}
}

func TestLogicalLines(t *testing.T) {
	var tests = []struct {
		name, text string
		want       []line
	}{
		{"empty", "", nil},
		{"no newline at the end", "a", []line{{1, "a"}}},
		{"comments", "# a\n;b\n  # c\n\nd # e", []line{{5, "d # e"}}},
		{"CR LF", "a\r\n b\\\r\nc\r\n", []line{{1, "a"}, {2, "b\\\nc"}}},
		{"comment in a continued line", "a\\\n# x\\\n;y\n b\nc", []line{{1, "a\\\nb"}, {5, "c"}}},
		{"empty line ends a continued one", "a\\\n\nb", []line{{1, "a\\\n"}, {3, "b"}}},
		{"file ends in a continued line", "a\\\n", []line{{1, "a\\\n"}}},
		{"escaped backslash continues nothing", "a\\\\\nb", []line{{1, `a\\`}, {2, "b"}}},
		{"three backslashes", "a\\\\\\\nb", []line{{1, "a\\\\\\\nb"}}},
		{"comment does not continue", "# a\\\nb", []line{{2, "b"}}},
		{"byte order mark", "\ufeff[a]", []line{{1, "[a]"}}},
	}
	for _, tt := range tests {
		if got := logicalLines(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestContinuedValue(t *testing.T) {
	for text, want := range map[string]string{
		"Exec=a\\\nb":         "a b",
		"Exec=a \\\n   b":     "a  b",
		"Exec=\\\na":          "a",
		"Exec=a\\\n":          "a",
		"Exec=a\\\\":          `a\\`,
		"Exec = a=b ":         "a=b",
		"Exec=a\\\n\\\nb":     "a  b",
		"Exec=a\\\\\\\nb\\\\": `a\\ b\\`,
	} {
		key, value, err := option("Backend", logicalLines(text)[0].text)
		if key != "Exec" || value != want || err != nil {
			t.Errorf("%q: got %q, %q, %v; want %q", text, key, value, err, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("[Backend]\nExec=/bin/sh -c 'a b' \\\n  # c\n  d\nAddress=auto\n\n[Gate]\r\nMaxConnections=3\r\n")
	f.Add("x\n[Gate\n[Gat]\nMaxConections=3\n[Service]\nDrainSec=-1\n=\n")
	f.Add("\ufeff[Gate]\nA\\\n\\\nb=\\\\\\\n\x00\xff")
	f.Add(Example())
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		for _, err := range c.apply("f.conf", text) {
			e := err.(*Error)
			if e.Line < 1 || e.Line > strings.Count(text, "\n")+1 || !strings.HasPrefix(e.Error(), "f.conf:") {
				t.Errorf("error without its place: %#v", e)
			}
			if strings.ContainsAny(e.Error(), "\n\x00\x1b") {
				t.Errorf("error that does not fit on a line of a log: %q", e)
			}
		}
		if len(c.Backend.Exec) > 0 && c.Backend.Exec[0] == "" || c.Gate.MaxConnections < 0 || c.Backend.ReadyInterval <= 0 {
			t.Errorf("a value passed that its parser refuses: %+v", c)
		}
	})
}
