package units

import (
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/inetd"
)

var update = flag.Bool("update", false, "write testdata/* anew: go test ./inetd/units -run Golden -update")

// reader reads with the services of the tests.
var reader = inetd.Reader{Service: func(name, protocol string) (uint16, bool) {
	port, ok := map[string]uint16{
		"ftp/tcp": 21, "ssh/tcp": 22, "telnet/tcp": 23, "time/tcp": 37, "tftp/udp": 69, "finger/tcp": 79, "http/tcp": 80, "www/tcp": 80,
		"pop3/tcp": 110, "ident/tcp": 113, "daytime/tcp": 13, "daytime/udp": 13, "talk/udp": 517, "echo/udp": 7,
	}[name+"/"+protocol]
	return port, ok
}}

// wrapped is a machine with tcpd, and something for it to ask.
var wrapped = Host{Tcpd: "/usr/sbin/tcpd", Rules: true}

// The files that package inetd is tested with, of which one is what Debian's
// maintainer scripts wrote.
func TestGolden(t *testing.T) {
	for _, dir := range []string{"debian", "xinetd"} {
		root := os.DirFS(filepath.Join("..", "testdata", dir))
		var table inetd.Table
		if text, err := fs.ReadFile(root, "etc/inetd.conf"); err == nil {
			table = reader.Inetd("/etc/inetd.conf", text)
		} else {
			table = reader.Xinetd(root, "/etc/xinetd.conf")
		}
		units, notes := Make(table, wrapped)
		got := describe(units, notes)
		want := filepath.Join("testdata", dir)
		if *update {
			if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(want)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(text) {
			t.Errorf("%s is not what is made; got\n%s", want, got)
		}
	}
}

func describe(units []Unit, notes []inetd.Note) string {
	var b strings.Builder
	for _, u := range units {
		for _, f := range u.Files {
			fmt.Fprintf(&b, "-- %s --\n%s", f.Path, f.Text)
			if f.Link != "" {
				fmt.Fprintf(&b, "-> %s\n", f.Link)
			}
		}
	}
	b.WriteString("-- notes --\n")
	for _, n := range notes {
		b.WriteString(n.String() + "\n")
	}
	return b.String()
}

// conf makes units of lines for inetd.
func conf(text string) []Unit {
	units, _ := Make(reader.Inetd("/etc/inetd.conf", []byte(text)), Host{})
	return units
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"www stream tcp nowait root /bin/x", "www-80-tcp"},
		{"www stream tcp4 nowait root /bin/x", "www-80-tcp4"},
		{"www stream tcp6 nowait root /bin/x", "www-80-tcp6"},
		{"www stream tcp46 nowait root /bin/x", "www-80-tcp46"},
		{"80 stream tcp nowait root /bin/x", "80-tcp"},
		{"8 stream tcp nowait root /bin/x", "8-tcp"},
		{"tftp dgram udp4 wait root /bin/x", "tftp-69-udp4"},
		{"127.0.0.1:8080 stream tcp nowait root /bin/x", "8080-tcp-127.0.0.1"},
		{"127.0.0.1,[::1]:8080 stream tcp nowait root /bin/x", "8080-tcp-127.0.0.1-__1"},
		{"[fe80::1%eth0]:8080 stream tcp6 nowait root /bin/x", "8080-tcp-fe80__1_eth0-8f3d00c98669"},
		{"/run/hello.sock stream unix nowait root /bin/x", "run_hello.sock-unix-stream-bf574974402d"},
		{"/run/hello_sock stream unix nowait root /bin/x", "run_hello_sock-unix-stream-86feed21288f"},
		{"/////%i/..\\x stream unix nowait root /bin/x", "i_.._x-unix-stream-b3dd2899ebf9"},
		{"/" + strings.Repeat("ä", 40) + " stream unix nowait root /bin/x", "u-b3cd164f6f77"},
	} {
		units := conf(tt.line)
		if len(units) != 1 || units[0].Name != tt.want {
			t.Errorf("%s: got %v, want %s", tt.line, names(units), tt.want)
		}
	}
}

func names(units []Unit) (all []string) {
	for _, u := range units {
		all = append(all, u.Name)
	}
	return all
}

// What stands in other lines changes nothing of a unit but where it is from.
func TestUnitsDoNotDependOnOtherLines(t *testing.T) {
	const line = "finger stream tcp nowait.3 nobody /usr/sbin/in.fingerd in.fingerd -u"
	before := conf(line)
	after := conf("# comment\nrubbish\nftp stream tcp nowait root /bin/x\n" + line)
	if len(before) != 1 || len(after) != 2 || before[0].Name != after[1].Name {
		t.Fatalf("got %v and then %v", names(before), names(after))
	}
	for i, f := range before[0].Files {
		now := after[1].Files[i]
		now.Text = strings.Replace(now.Text, "line 4,", "line 1,", 1)
		if f != now {
			t.Errorf("%+v became %+v", f, now)
		}
	}
}

// xinetd asked hosts.allow itself.
func TestHostsAllow(t *testing.T) {
	const service = "service finger\n{\nsocket_type = stream\nwait = no\nuser = nobody\nserver = /usr/sbin/in.fingerd\nserver_args = -u\n%s\n}\n"
	for _, tt := range []struct {
		what, attributes string
		host             Host
		exec             string // "": it does not come
		note             string // a part of it; "": none
	}{
		{"with tcpd", "", wrapped, "@/usr/sbin/tcpd /usr/sbin/in.fingerd -u", ""},
		{"without, and nothing to ask", "", Host{}, "@/usr/sbin/in.fingerd in.fingerd -u", "not asked without tcpd"},
		{"without", "", Host{Rules: true}, "", "not asked without tcpd"},
		{"not to be asked", "flags = NOLIBWRAP", Host{Rules: true}, "@/usr/sbin/in.fingerd in.fingerd -u", ""},
		{"by another name", "libwrap = fingerd", wrapped, "", "xinetd asked them of fingerd"},
		{"redirected", "redirect = 192.0.2.1 79", wrapped, "", "for a program alone"},
	} {
		text := fmt.Sprintf(service, tt.attributes)
		units, notes := Make(reader.Xinetd(tree{"x": text}.fs(), "/x"), tt.host)
		got, told := "", ""
		for _, u := range units {
			_, got, _ = strings.Cut(u.Files[1].Text, "\nExec=")
			got, _, _ = strings.Cut(got, "\n")
		}
		for _, n := range notes {
			told += n.String()
		}
		if got != tt.exec || !strings.Contains(told, tt.note) || (told == "") != (tt.note == "") {
			t.Errorf("%s: got Exec=%s and %s", tt.what, got, told)
		}
	}
}

// A setting stands where config looks for it.
func TestSettingsStandInTheirSections(t *testing.T) {
	known := map[string][]string{}
	for _, s := range config.Settings() {
		known[s.Key] = append(known[s.Key], s.Section)
	}
	table := reader.Xinetd(os.DirFS("../testdata/xinetd"), "/etc/xinetd.conf")
	found := map[string]bool{}
	units, _ := Make(table, wrapped)
	for _, u := range units {
		section := ""
		for line := range strings.SplitSeq(u.Files[1].Text, "\n") {
			if strings.HasPrefix(line, "[") {
				section = strings.Trim(line, "[]")
			}
			key, _, _ := strings.Cut(line, "=")
			for _, want := range known[key] {
				if found[key] = true; want != section {
					t.Errorf("%s: %s= is in [%s], want [%s]", u.Name, key, section, want)
				}
			}
		}
	}
	for _, key := range []string{"Exec", "User", "MaxConnections", "Rate", "AllowFrom", "DenyFrom", "AccessTimes"} {
		if !found[key] {
			t.Errorf("no unit has %s=", key)
		}
	}
}

// A list that is longer than a line is written in several; a command cannot be.
func TestLongLines(t *testing.T) {
	e := inetd.Entry{
		File: "/etc/x", Line: 1, Name: "x", Type: inetd.Stream, Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1")},
		Program: "/bin/x", Args: []string{"x"}, User: "root",
	}
	for i := range 300 {
		e.AllowFrom = append(e.AllowFrom, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32))
	}
	units, notes := Make(inetd.Table{Entries: []inetd.Entry{e}}, Host{})
	if len(units) != 1 || len(notes) != 0 {
		t.Fatalf("got %v and notes %v", names(units), notes)
	}
	text := units[0].Files[1].Text
	for _, p := range e.AllowFrom {
		if strings.Count(text, p.String()) != 1 {
			t.Errorf("%s is not there once", p)
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if len(line) > lineMax || strings.HasSuffix(line, " ") {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
	}
	e.AllowFrom, e.Args = nil, []string{"x", strings.Repeat("y", lineMax)}
	units, notes = Make(inetd.Table{Entries: []inetd.Entry{e}}, Host{})
	if len(units) != 0 || len(notes) != 1 || !notes[0].Refused || !strings.Contains(notes[0].String(), "/etc/x:1: cannot take over service \"x\": cannot write Exec= into a file: it is a line of 2") {
		t.Errorf("got %v and notes %v", names(units), notes)
	}
}

// large is an inetd.conf of n lines.
func large(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "127.0.%d.%d:80\tstream\ttcp\tnowait\tnobody\t/usr/sbin/tcpd\t/usr/sbin/in.fingerd -%d\n", i/250, i%250+1, i)
	}
	return text.String()
}

func TestLarge(t *testing.T) {
	if units := conf(large(10_000)); len(units) != 10_000 {
		t.Errorf("got %d units", len(units))
	}
}

// go test ./inetd/units -run '^$' -bench . -benchmem
func BenchmarkMake(b *testing.B) {
	text := large(10_000)
	for b.Loop() {
		conf(text)
	}
}
