package inetd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/config"
)

// What Settings writes is what tiproxy.conf reads.
func TestSettingsAreRead(t *testing.T) {
	e := Entry{
		Program:     "/opt/my server",
		Args:        []string{"my server", "", `a"b`, `c\n`, "it's", "$HOME", "%i", "#", ";", "ä", `\`},
		Environment: []string{"A=b c", `B="`, "C="},
	}
	c := load(t, e)
	if !slices.Equal(c.Backend.Exec, e.Args) || c.Backend.ExecPath != e.Program {
		t.Errorf("got %q of %q, want %q of %q", c.Backend.Exec, c.Backend.ExecPath, e.Args, e.Program)
	}
	if !slices.Equal(c.Backend.Environment, e.Environment) {
		t.Errorf("got %q, want %q", c.Backend.Environment, e.Environment)
	}
	if c := load(t, Entry{Program: "/bin/x", Args: []string{"/bin/x", "-a"}}); !slices.Equal(c.Backend.Exec, []string{"/bin/x", "-a"}) {
		t.Errorf("got %q", c.Backend.Exec)
	}
}

// load reads the command and the environment of an entry as tiproxy does.
func load(t *testing.T, e Entry) *config.Config {
	text := "[Backend]\n"
	for _, s := range e.Settings() {
		if s.Key == "Exec" || s.Key == "Environment" {
			text += s.Key + "=" + s.Value + "\n"
		}
	}
	file := filepath.Join(t.TempDir(), "tiproxy.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSocket(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"80 stream tcp", "ListenStream=0.0.0.0:80\nListenStream=[::]:80\nBindIPv6Only=ipv6-only\n"},
		{"80 stream tcp4", "ListenStream=0.0.0.0:80\n"},
		{"80 stream tcp6", "ListenStream=[::]:80\nBindIPv6Only=ipv6-only\n"},
		{"80 stream tcp46", "ListenStream=80\nBindIPv6Only=both\n"},
		{"[2001:db8::1]:80 stream tcp46", "ListenStream=[2001:db8::1]:80\nBindIPv6Only=both\nFreeBind=yes\n"},
		{"[fe80::1%eth0]:80 stream tcp6", "ListenStream=[fe80::1]:80%%eth0\nBindIPv6Only=ipv6-only\nFreeBind=yes\n"},
		{"69 dgram udp4", "ListenDatagram=0.0.0.0:69\n"},
		{"/run/50%.sock stream unix", "ListenStream=/run/50%%.sock\nRemoveOnStop=yes\n"},
		{"/run/x seqpacket unix", "ListenSequentialPacket=/run/x\nRemoveOnStop=yes\n"},
		{"/run/x dgram unix", "ListenDatagram=/run/x\nRemoveOnStop=yes\n"},
	} {
		table := reader.Inetd("conf", []byte(tt.line+" wait root /bin/x"))
		if tt.line == "80 stream tcp" { // one socket for each connection's server
			table = reader.Inetd("conf", []byte(tt.line+" nowait root /bin/x"))
		}
		if len(table.Entries) != 1 || table.Entries[0].Socket() != "[Socket]\n"+tt.want {
			t.Errorf("%s: got %+v\n%s", tt.line, table.Entries, notes(table))
		}
	}
}

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		rate Rate
		want string
	}{{Rate{}, ""}, {Rate{3, time.Minute}, "3/1min"}, {Rate{50, time.Second}, "50/1s"}, {Rate{1, 1500 * time.Millisecond}, "1/1.5s"}} {
		if got := tt.rate.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// Who may come in is what the package access understands, and the same.
func TestAccess(t *testing.T) {
	table := xinetd("", ftp+"only_from = 0.0.0.0 10.0.0.0 192.0.2.0 2001:db8::/33 localhost; no_access = 10.1.0.0 2001:db8::7; access_times = 0:00-23:59 8:15-9:14")
	if len(table.Entries) != 1 || len(table.Notes) > 0 {
		t.Fatal(notes(table))
	}
	rules := access.Rules{}
	for _, s := range table.Entries[0].Settings() {
		var err error
		switch s.Key {
		case "AllowFrom":
			rules.AllowFrom, err = access.ParseSources(s.Value)
		case "DenyFrom":
			rules.DenyFrom, err = access.ParseSources(s.Value)
		case "AccessTimes":
			rules.Times, err = access.ParseTimes(s.Value)
		}
		if err != nil {
			t.Errorf("%s=%s: %v", s.Key, s.Value, err)
		}
	}
	if err := rules.Check(); err != nil {
		t.Error(err)
	}
}

func TestSource(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"192.0.2.1", "192.0.2.1/32"},
		{"192.0.2.0", "192.0.2.0/24"},
		{"10.0.0.0", "10.0.0.0/8"},
		{"10.0.0.1", "10.0.0.1/32"},
		{"0.0.0.0", "0.0.0.0/0"},
		{"192.0.2.77/24", "192.0.2.0/24"},
		{"192.0.2.0/32", "192.0.2.0/32"},
		{"192.0.2.1/0", "0.0.0.0/0"},
		{"192.0.2.{1,77}", "192.0.2.1/32 192.0.2.77/32"},
		{"10.{1,2}", "10.1.0.0/16 10.2.0.0/16"},
		{"10.1.{0}", "10.1.0.0/24"},
		{"2001:db8::", "2001:db8::/128"},
		{"2001:db8::7/32", "2001:db8::/32"},
		{"::", "::/128"},
		{"::/0", "::/0"},
		{"localhost", "127.0.0.1/32 ::1/128"},

		{"", ""},
		{"192.0.2.0/33", ""},
		{"192.0.2", ""},
		{"192.0.2.256", ""},
		{"192.0.2.{1,256}", ""},
		{"192.0.2.{1,}", ""},
		{"192.0.2.{1", ""},
		{"192.0.2.1{1}", ""},
		{"1.2.3.4.{5}", ""},
		{"{1}", ""},
		{"192.0.2.1,192.0.2.2", ""},
		{"::ffff:192.0.2.1", ""},
		{"::ffff:192.0.2.1/112", ""},
		{"fe80::1%eth0", ""},
		{".example.org", ""},
		{"example.org", ""},
		{"-192.0.2.1", ""},
	} {
		networks, err := parseSource(tt.value)
		if got := joined(networks); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: got %s, %v; want %s", tt.value, got, err, tt.want)
		}
	}
}

func TestInterval(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"8:00-17:59", "08:00-18:00"},
		{"0:0-0:1", "00:00-00:02"},
		{"12:00-23:59", "12:00-24:00"},
		{"12:00-24:00", "12:00-24:00"},
		{"8:00-8:00", ""},
		{"22:00-6:00", ""},
		{"8:00", ""},
		{"8-9", ""},
		{"8:60-10:00", ""},
		{"8:00-24:01", ""},
		{"25:00-26:00", ""},
		{"a:00-9:00", ""},
		{"+8:00-9:00", ""},
	} {
		got, err := parseInterval(tt.value)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: got %q, %v; want %q", tt.value, got, err, tt.want)
		}
	}
}

func TestNote(t *testing.T) {
	for _, tt := range []struct {
		note Note
		want string
	}{
		{Note{File: "f", Line: 3, Service: "a", What: "b", Why: "c"}, `f:3: service "a": b: c`},
		{Note{File: "f", Line: 3, Service: "a", What: "b", Why: "c", Refused: true}, `f:3: cannot take over service "a": b: c`},
		{Note{File: "f", Line: 3, What: "b", Why: "c"}, "f:3: b: c"},
		{Note{File: "f", Why: "c", Refused: true}, "f: c"},
		{Note{File: "f", Line: 1, Service: strings.Repeat("x", 100), Why: "c"}, `f:1: service "` + strings.Repeat("x", 60) + `": c`},
	} {
		if got := tt.note.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
