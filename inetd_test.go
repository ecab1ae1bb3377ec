package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/inetd"
	"github.com/tiproxy/tiproxy/inetd/units"
	"golang.org/x/sys/unix"
)

func TestHostOf(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, tt := range []struct {
		what  string
		files fstest.MapFS
		want  units.Host
	}{
		{"nothing there", fstest.MapFS{}, units.Host{}},
		{"Debian's files", fstest.MapFS{"etc/hosts.allow": file("# /etc/hosts.allow\n\n  # x\n"), "etc/hosts.deny": file("")}, units.Host{}},
		{"a rule", fstest.MapFS{"etc/hosts.deny": file("# no\nALL: PARANOID\n")}, units.Host{Rules: true}},
		{"a rule without end of line", fstest.MapFS{"etc/hosts.allow": file("ALL: ALL: deny")}, units.Host{Rules: true}},
		{"cannot be read", fstest.MapFS{"etc/hosts.deny": {Mode: fs.ModeDir}}, units.Host{Rules: true}},
		{"a pipe that nobody writes to", fstest.MapFS{"etc/hosts.deny": {Mode: fs.ModeNamedPipe}}, units.Host{Rules: true}},
		{"tcpd", fstest.MapFS{"usr/sbin/tcpd": file("")}, units.Host{Tcpd: "/usr/sbin/tcpd"}},
		{"a folder tcpd", fstest.MapFS{"usr/sbin/tcpd/x": file("")}, units.Host{}},
	} {
		if got := hostOf(tt.files); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.what, got, tt.want)
		}
	}
}

func TestServicesAreLookedUpAsTheyAreNow(t *testing.T) {
	listed := listedIn(fstest.MapFS{"etc/services": {Data: []byte("# ssh 1/tcp\n\nhttp\t80/tcp  www # the web\nntp 123/udp\nhttp 8080/tcp\nbad x/tcp\nmany 65536/tcp\nshort\nlast 9/tcp")}})
	for service, want := range map[[2]string]uint16{
		{"http", "tcp"}: 80, {"www", "tcp"}: 80, {"ntp", "udp"}: 123, {"last", "tcp"}: 9,
		{"http", "udp"}: 0, {"ssh", "tcp"}: 0, {"the", "tcp"}: 0, {"bad", "tcp"}: 0, {"many", "tcp"}: 0, {"short", "tcp"}: 0, {"WWW", "tcp"}: 0,
	} {
		if port, ok := listed(service[0], service[1]); port != want || ok != (want != 0) {
			t.Errorf("%s: got %d, %v, want %d", service, port, ok, want)
		}
	}
	if port, ok := listedIn(fstest.MapFS{})("http", "tcp"); ok {
		t.Errorf("without the file: got %d", port)
	}
}

func TestFirstOf(t *testing.T) {
	there := fstest.MapFS{"etc/xinetd.d/ftp": {}, "etc/nowhere": {Mode: fs.ModeSymlink, Data: []byte("missing")}}
	for want, paths := range map[string][]string{
		"/etc/xinetd.d": {"/etc/xinetd.conf", "/etc/xinetd.d"},
		"":              {"/etc/inetd.conf"},
		"/etc/nowhere":  {"/etc/nowhere"},
	} {
		if got := firstOf(there, paths...); got != want {
			t.Errorf("of %s: got %q, want %q", paths, got, want)
		}
	}
}

func TestUnread(t *testing.T) {
	for want, files := range map[int]fstest.MapFS{0: {"etc/inetd.d": {Mode: fs.ModeDir}, "etc/inetd.conf": {}}, 1: {"etc/inetd.d/ftp": {}}} {
		if got := unread(files); len(got) != want {
			t.Errorf("got %v, want %d", got, want)
		}
	}
}

// writes keeps each write apart.
type writes []string

func (w *writes) Write(b []byte) (int, error) {
	*w = append(*w, string(b))
	return len(b), nil
}

func TestTellSaysHowMuchIsLeft(t *testing.T) {
	var notes []inetd.Note
	for i := range 5 {
		notes = append(notes, inetd.Note{File: "/x", Line: i + 1, Why: strings.Repeat("y", warnLen)})
	}
	var got writes
	if err := tell(&got, "<4>", 2, notes); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("y", warnLen-len("/x:1: "))
	want := writes{"<4>/x:1: " + long + "\n", "<4>/x:2: " + long + "\n", "<4>3 more; tiproxy inetd check tells them\n"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q", got)
	}
	got = nil
	if err := tell(&got, "", len(notes), notes); err != nil || len(got) != 5 {
		t.Errorf("got %q, %v", got, err)
	}
}

// Binary files, and files that are none, cost nobody else his service.
func TestGenerateNeverFailsForWhatItReads(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "binary")
	text := "\x7fELF\x00\xff\xfe\n8001 stream tcp4 nowait root /bin/x\n" + strings.Repeat("\x00\n", 100) + "{\n"
	if err := os.WriteFile(binary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, f := range []superserver{{inetd: binary, xinetd: binary}, {inetd: binary, xinetd: "/missing"}, {inetd: binary, xinetd: "/dev/zero"}} {
		out := filepath.Join(dir, fmt.Sprint(i))
		if err := f.generate(out, io.Discard); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(out, "tiproxy-inetd@8001-tcp4.socket")); err != nil {
			t.Error(err)
		}
	}
	pipe, loop := filepath.Join(dir, "pipe"), filepath.Join(dir, "loop")
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.Symlink("loop", loop)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []superserver{{inetd: "/dev/zero"}, {inetd: "/missing"}, {inetd: dir}, {inetd: pipe}, {inetd: loop}, {xinetd: pipe}, {xinetd: loop}} {
		if err := f.generate(t.TempDir(), io.Discard); err != nil {
			t.Error(err)
		}
		if notes := f.read(os.DirFS("/")).Notes; len(notes) != 1 || !notes[0].Refused || !strings.Contains(notes[0].Why, "cannot read ") {
			t.Errorf("%+v: got notes %v", f, notes)
		}
	}
}

// What is written for a service with a server for each client can be run.
func TestGeneratedConfigurationsAreRight(t *testing.T) {
	dir := t.TempDir()
	f := superserver{inetd: filepath.Join(dir, "inetd.conf"), xinetd: filepath.Join(dir, "xinetd.conf")}
	for name, text := range map[string]string{
		f.inetd: "8001 stream tcp nowait.9 root /bin/sh sh -c \"a\\ {port} %i $HOME\n8002 stream tcp nowait 0:0 /bin/sh\necho stream tcp nowait root internal\n",
		f.xinetd: "service x\n{\ntype = UNLISTED\nport = 8003\nprotocol = tcp\nwait = no\nuser = root\ngroup = root\nserver = /bin/sh\nflags = NOLIBWRAP\nonly_from = 10.0.0.0 192.0.2.{1,7}\n" +
			"no_access = 10.1.0.0\naccess_times = 8:00-17:59\ninstances = 3\nper_source = 2\ncps = 25 30\nnice = 5\numask = 027\nenv = A=b C=d\nrlimit_files = 100\n}\n" +
			"service y\n{\ntype = UNLISTED\nport = 8004\nprotocol = tcp\nwait = no\nredirect = 192.0.2.1 80\nflags = NOLIBWRAP\n}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.generate(dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	confs, err := filepath.Glob(filepath.Join(dir, "tiproxy-inetd", "*.conf"))
	if err != nil || len(confs) < 4 { // echo comes where /etc/services has it
		t.Fatalf("got %q, %v", confs, err)
	}
	for _, conf := range confs {
		cfg, err := config.Load(conf)
		if err == nil {
			err = cfg.Check()
		}
		if err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(conf); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s can be read by others: %v, %v", conf, info.Mode(), err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "tiproxy-inetd", "8001-tcp.conf"))
	if err != nil || cfg.Backend.ExecPath != "/bin/sh" || strings.Join(cfg.Backend.Exec, "|") != `sh|-c|"a\|{port}|%i|$HOME` {
		t.Errorf("got %q %q, %v", cfg.Backend.ExecPath, cfg.Backend.Exec, err)
	}
}
