package inetd

import (
	"fmt"
	"strings"
	"testing"
)

var reader = Reader{Service: ports}

// summary is an entry in a line.
func summary(e Entry) string {
	where := e.Path
	for _, a := range e.Listen {
		where += " " + a.String()
	}
	serving := e.Builtin + e.Redirect
	if e.Program != "" {
		serving = fmt.Sprintf("%s %q as %s:%s", e.Program, e.Args, e.User, e.Group)
	}
	return fmt.Sprintf("%s %s wait=%v: %s", e.Type, strings.TrimSpace(where), e.Wait, serving)
}

func summaries(t Table) string {
	var all []string
	for _, e := range t.Entries {
		all = append(all, summary(e))
	}
	return strings.Join(all, "\n")
}

func notes(t Table) string {
	var all []string
	for _, n := range t.Notes {
		all = append(all, n.String())
	}
	return strings.Join(all, "\n")
}

const (
	program = " nowait root /bin/x x"
	asRoot  = `: /bin/x ["x"] as root:`
)

var lineTests = []struct {
	line string
	want string // of its entries
	note string // part of its only note; "": there is none
}{
	{"www stream tcp" + program, "stream 0.0.0.0:80 [::]:80 wait=false" + asRoot, ""},
	{"80 stream tcp4" + program, "stream 0.0.0.0:80 wait=false" + asRoot, ""},
	{"80 stream tcp6" + program, "stream [::]:80 wait=false" + asRoot, ""},
	{"80 stream tcp46" + program, "stream [::]:80 wait=false" + asRoot, ""},
	{"192.0.2.1:www stream tcp" + program, "stream 192.0.2.1:80 wait=false" + asRoot, ""},
	{"192.0.2.1,192.0.2.2:www stream tcp" + program, "stream 192.0.2.1:80 192.0.2.2:80 wait=false" + asRoot, ""},
	{"192.0.2.1,192.0.2.1:www stream tcp" + program, "stream 192.0.2.1:80 wait=false" + asRoot, ""},
	{"[2001:db8::1]:80 stream tcp" + program, "stream [2001:db8::1]:80 wait=false" + asRoot, ""},
	{"[2001:db8::1],[::1]:80 stream tcp" + program, "stream [2001:db8::1]:80 [::1]:80 wait=false" + asRoot, ""},
	{"2001:db8::1:80 stream tcp" + program, "stream [2001:db8::1]:80 wait=false" + asRoot, ""},
	{"[fe80::1%eth0]:80 stream tcp6" + program, "stream [fe80::1%eth0]:80 wait=false" + asRoot, ""},
	{"[::ffff:192.0.2.1]:80 stream tcp" + program, "stream 192.0.2.1:80 wait=false" + asRoot, ""},
	{"*:80 stream tcp4" + program, "stream 0.0.0.0:80 wait=false" + asRoot, ""},
	{":80 stream tcp4" + program, "stream 0.0.0.0:80 wait=false" + asRoot, ""},
	{"127.0.0.1: 80 stream tcp" + program, "stream 127.0.0.1:80 wait=false" + asRoot, ""},
	{"localhost:80 stream tcp" + program, "stream 127.0.0.1:80 [::1]:80 wait=false" + asRoot, ""},
	{"example.org,127.0.0.1:80 stream tcp" + program, "stream 127.0.0.1:80 wait=false" + asRoot, "example.org: systemd looks up no names"},
	{"/run/x.sock stream unix" + program, "stream /run/x.sock wait=false" + asRoot, ""},
	{"127.0.0.1:/run/x.sock stream unix" + program, "stream /run/x.sock wait=false" + asRoot, ""},
	{"/run/x.sock seqpacket unix" + program, "seqpacket /run/x.sock wait=false" + asRoot, ""},
	{"talk dgram udp wait nobody.tty /bin/x x",
		"dgram 0.0.0.0:517 wait=true: /bin/x [\"x\"] as nobody:tty\ndgram [::]:517 wait=true: /bin/x [\"x\"] as nobody:tty", ""},
	{"talk dgram udp4 nowait nobody:tty /bin/x x", `dgram 0.0.0.0:517 wait=true: /bin/x ["x"] as nobody:tty`, "nowait: datagrams have no connections"},
	{"80 stream tcp4 wait.5 root /bin/x x", "stream 0.0.0.0:80 wait=true" + asRoot, "wait.5: it limits how often"},
	{"80 stream tcp4 nowait.0 root /bin/x x", "stream 0.0.0.0:80 wait=false" + asRoot, `nowait.0: "0" is no number of starts`},
	{"80 stream tcp4 nowait.5:tty root /bin/x x", "stream 0.0.0.0:80 wait=false" + asRoot, `nowait.5:tty: "5:tty" is no number of starts`},
	{"80 stream tcp4 nowait root /usr/bin/x", `stream 0.0.0.0:80 wait=false: /usr/bin/x ["x"] as root:`, ""},
	{"80 stream tcp4 nowait root /usr/sbin/tcpd /bin/x -a  b", `stream 0.0.0.0:80 wait=false: /usr/sbin/tcpd ["/bin/x" "-a" "b"] as root:`, ""},
	{"echo stream tcp4 wait root internal", "stream 0.0.0.0:7 wait=false: echo", ""},
	{"time dgram udp4 nowait root internal time", "dgram 0.0.0.0:37 wait=true: time", ""},
	{"80 stream tcp4,sndbuf=x" + program, "stream 0.0.0.0:80 wait=false" + asRoot, `sndbuf=x: "x" is no size`},
	{"80 stream tcp4,backlog=5" + program, "stream 0.0.0.0:80 wait=false" + asRoot, "backlog=5: no such option"},

	{"80", "", "the line ends before its socket type"},
	{"80 stream tcp nowait root", "", "the line ends before its server program"},
	{"80 raw ip" + program, "", "raw sockets"},
	{"80 rdm tcp" + program, "", "reliable messages"},
	{"80 tli tcp" + program, "", "System V"},
	{"80 strem tcp" + program, "", `"strem" is no socket type`},
	{"80 dgram tcp" + program, "", "has no sockets of type dgram"},
	{"80 stream tcp5" + program, "", `"tcp5" is no protocol`},
	{"80 stream sctp" + program, "", `"sctp" is no protocol`},
	{"80 stream x" + program, "", `"x" is no protocol`},
	{"rusersd/2-3 dgram rpc/udp wait root /bin/x x", "", "rpcbind"},
	{"tcpmux/x stream tcp" + program, "", "RFC 1078"},
	{"tcpmux stream tcp nowait root internal", "", `no service "tcpmux" is built in`},
	{"7 stream tcp nowait root internal", "", `no service "7" is built in`},
	{"80 stream tcp6only" + program, "", `"tcp6only" is no protocol`},
	{"nonsense stream tcp" + program, "", "no service of tcp in /etc/services"},
	{"talk stream tcp" + program, "", "no service of tcp in /etc/services"},
	{"0 stream tcp" + program, "", "no port from 1 to 65535"},
	{"65536 stream tcp" + program, "", "no port from 1 to 65535"},
	{"/" + strings.Repeat("x", 107) + " stream unix" + program, "", "at most 107 bytes"},
	{"x.sock stream unix" + program, "", "no absolute path"},
	{"80 stream tcp nowiat root /bin/x x", "", `"nowiat" is neither wait nor nowait`},
	{"80 stream tcp nowait .tty /bin/x x", "", "neither USER nor USER:GROUP"},
	{"80 stream tcp nowait root: /bin/x x", "", "neither USER nor USER:GROUP"},
	{"80 stream tcp nowait root x x", "", "absolute path, or internal"},
	{"ftp stream tcp nowait root internal", "", `no service "ftp" is built in`},
	{"80 stream tcp nowait root /bin/\x00 x", "", "control character U+0000"},
	{"80 stream tcp nowait root /bin/\x7f x", "", "control character U+007F"},
	{"80 stream tcp nowait root /bin/\xff x", "", "no text in UTF-8"},

	{"", "", ""},
	{" \t", "", ""},
	{"# 80 stream tcp" + program, "", ""},
	{"  # indented", "", ""},
	{"#<off># 80 stream tcp" + program, "", ""},
	{"## 80 stream tcp" + program, "", ""},
	{"#@ ipsec ah/transport", "", ""},
	{"#\x00", "", ""},
	{"127.0.0.1:", "", ""},
}

func TestLine(t *testing.T) {
	for _, tt := range lineTests {
		table := reader.Inetd("conf", []byte(tt.line))
		if got := summaries(table); got != tt.want {
			t.Errorf("%q: got\n%s\nwant\n%s", tt.line, got, tt.want)
		}
		if got := notes(table); (got == "") != (tt.note == "") || !strings.Contains(got, tt.note) || strings.Contains(got, "\n") {
			t.Errorf("%q: got notes %q, want one with %q", tt.line, got, tt.note)
		}
		for _, n := range table.Notes {
			if n.Refused != (tt.want == "") || n.Line != 1 || n.File != "conf" {
				t.Errorf("%q: got %+v", tt.line, n)
			}
		}
	}
}

// An address without a counterpart in the family leaves nothing to listen on,
// which is told beside the reason.
func TestNowhere(t *testing.T) {
	for _, line := range []string{
		"example.org:80 stream tcp nowait root /bin/x",
		"[::1]:80 stream tcp4 nowait root /bin/x",
		"127.0.0.1:80 stream tcp6 nowait root /bin/x",
		",:80 stream tcp nowait root /bin/x",
	} {
		table := reader.Inetd("conf", []byte(line))
		if len(table.Entries) > 0 || !strings.Contains(notes(table), "no address to listen on") {
			t.Errorf("%q: got %s\n%s", line, summaries(table), notes(table))
		}
	}
}

func TestBuffersAndRate(t *testing.T) {
	table := reader.Inetd("conf", []byte("80 stream tcp4,sndbuf=64k,rcvbuf=1m nowait:40 root /bin/x"))
	want := "[Socket]\nListenStream=0.0.0.0:80\nReceiveBuffer=1048576\nSendBuffer=65536\n"
	if len(table.Entries) != 1 || len(table.Notes) != 0 || table.Entries[0].Socket() != want || table.Entries[0].Rate.String() != "40/1min" {
		t.Errorf("got %+v %v", table.Entries, table.Notes)
	}
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       string // number and words of each line
	}{
		{"continued", "a b\n c\n\t\n  d\ne", "1[a b c d] 5[e]"},
		{"an empty line ends it", "a\n\n b\n c", "1[a] 3[b c]"},
		{"a comment ends it", "a\n# x\n b", "1[a] 3[b]"},
		{"nothing to go on with", " a\n b", "1[a b]"},
		{"a comment is no beginning", " # x\n b", "2[b]"},
		{"a comment within is none", "a\n # b", "1[a # b]"},
		{"CR LF, and a mark before all", "\ufeffa b\r\n c\r\n\r\nd\r\n", "1[a b c] 4[d]"},
		{"no quotes", `a "b c" 'd'`, `1[a "b c" 'd']`},
		{"a bad line goes on", "a\n \x01\nb", "1[a]! 3[b]"},
	} {
		var got []string
		for _, l := range cutLines(tt.text) {
			s := fmt.Sprintf("%d%v", l.number, l.words)
			if l.err != nil {
				s += "!"
			}
			got = append(got, s)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, s, tt.want)
		}
	}
}

func TestHostLine(t *testing.T) {
	const line = "80 stream tcp4 nowait root /bin/x\n"
	table := reader.Inetd("conf", []byte("127.0.0.1:\n"+line+"192.0.2.1:"+line+"*:\n"+strings.ReplaceAll(line, "80", "81")))
	want := strings.ReplaceAll("127.0.0.1:80\n192.0.2.1:80\n0.0.0.0:81", "\n", " wait=false: /bin/x [\"x\"] as root:\nstream ")
	if got := summaries(table); got != "stream "+want+` wait=false: /bin/x ["x"] as root:` || len(table.Notes) > 0 {
		t.Errorf("got\n%s\n%s", got, notes(table))
	}
}

// The last line counts, for each address by itself.
func TestTwice(t *testing.T) {
	table := reader.Inetd("conf", []byte(`
80 stream tcp nowait root /bin/first
80 stream tcp6 nowait root /bin/second
80 stream tcp6 nowait root /bin/third
/x stream unix nowait root /bin/first
/x dgram unix wait root /bin/second
/x stream unix nowait root /bin/third
`))
	want := `stream 0.0.0.0:80 wait=false: /bin/first ["first"] as root:
stream [::]:80 wait=false: /bin/third ["third"] as root:
dgram /x wait=true: /bin/second ["second"] as root:
stream /x wait=false: /bin/third ["third"] as root:`
	if got := summaries(table); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = `conf:2: service "80": stream [::]:80: it is taken at conf:4
conf:3: cannot take over service "80": stream [::]:80: it is taken at conf:4
conf:5: cannot take over service "/x": stream /x: it is taken at conf:7`
	if got := notes(table); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A port of an earlier table is no later one's, nor are its names that are
// switched off.
func TestMerge(t *testing.T) {
	first := reader.Inetd("first", []byte("80 stream tcp4 nowait root /bin/x\necho stream tcp6 nowait root internal\n/x stream unix nowait root /bin/x"))
	second := reader.Inetd("second", []byte("www stream tcp6 nowait root /bin/x\n192.0.2.1:echo stream tcp nowait root internal\necho dgram udp4 wait root internal\n/x stream unix nowait root /bin/y\n/x dgram unix wait root /bin/y"))
	before := summaries(second)
	table := Merge(first, second)
	want := `stream 0.0.0.0:80 wait=false: /bin/x ["x"] as root:
stream [::]:7 wait=false: echo
stream /x wait=false: /bin/x ["x"] as root:
dgram 0.0.0.0:7 wait=true: echo
dgram /x wait=true: /bin/y ["y"] as root:`
	if got := summaries(table); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = `second:1: cannot take over service "www": stream port 80 is taken at first:1, which counts
second:2: cannot take over service "echo": stream port 7 is taken at first:2, which counts
second:4: cannot take over service "/x": stream /x is taken at first:3, which counts`
	if got := notes(table); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := summaries(second); got != before {
		t.Errorf("Merge has changed a table that it was given: %s", got)
	}
}

// The wants are the ports that xinetd 2.3.15.3-1 of Debian 12 and 2.3.15.4-5 of
// Debian 13 served with -inetd_compat, each by the file that it was in.
func TestMergeAsXinetd(t *testing.T) {
	for _, tt := range []struct{ what, before, attributes, line, want string }{
		{"off in xinetd's files alone", "", ftp + "disable = yes", "ftp stream tcp", "21 inetd.conf"},
		{"the same name elsewhere", "", ftp + "type = UNLISTED; protocol = tcp; port = 2121", "ftp stream tcp", "2121 x, 21 inetd.conf"},
		{"another name at the same port", "", ftp + "id = other", "ftp stream tcp", "21 x"},
		{"an address of the same port", "", ftp + "bind = 127.0.0.1", "ftp stream tcp", "21 x"},
		{"one family of the same port", "", ftp + "v6only = yes", "ftp stream tcp", "21 x"},
		{"the same port of udp", "", ftp + "type = UNLISTED; protocol = tcp; port = 517", "talk dgram udp4", "517 x, 517 inetd.conf"},
		{"disabled by the defaults", "defaults\n{\ndisabled = telnet\n}", ftp, "telnet stream tcp", "21 x"},
		{"another one is", "defaults\n{\ndisabled = other\n}", ftp, "telnet stream tcp", "21 x, 23 inetd.conf"},
		{"not enabled by them", "defaults\n{\nenabled = ftp\n}", ftp, "telnet stream tcp", "21 x"},
		{"enabled by them", "defaults\n{\nenabled = telnet\n}", ftp, "telnet stream tcp", "23 inetd.conf"},
	} {
		wait := " nowait"
		if strings.Contains(tt.line, "dgram") {
			wait = " wait"
		}
		table := Merge(xinetd(tt.before, tt.attributes), reader.Inetd("inetd.conf", []byte(tt.line+wait+" root /bin/cat cat")))
		var got []string
		for _, e := range table.Entries {
			got = append(got, fmt.Sprint(e.Listen[0].Port(), " ", strings.TrimPrefix(e.File, "/")))
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: got %s, want %s\n%s", tt.what, s, tt.want, notes(table))
		}
	}
}
