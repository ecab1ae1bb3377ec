package inetd

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// tree is a file system of names and texts.
func tree(files ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

// xinetd reads the attributes of a service ftp, and what stands before it.
func xinetd(before, attributes string) Table {
	return reader.Xinetd(tree("x", before+"\nservice ftp\n{\n"+strings.ReplaceAll(attributes, "; ", "\n")+"\n}\n"), "/x")
}

const ftp = "socket_type = stream; wait = no; user = root; server = /bin/x; "

func listen(e Entry) string { return fmt.Sprint(string(e.Type)+" ", e.Listen, e.Dual) }

func rules(e Entry) string { return joined(e.AllowFrom) + "|" + joined(e.DenyFrom) }

var attributeTests = []struct {
	attributes string
	got        func(Entry) string
	want       string // "": it is no entry
}{
	{ftp, summary, `stream [::]:21 wait=false: /bin/x ["x"] as root:`},
	{ftp + "server_args = -a b", summary, `stream [::]:21 wait=false: /bin/x ["x" "-a" "b"] as root:`},
	{ftp + "server_args =-a b", summary, `stream [::]:21 wait=false: /bin/x ["x" "-a" "b"] as root:`},
	{ftp + "server_args = /a/b c; flags = NAMEINARGS", summary, `stream [::]:21 wait=false: /bin/x ["/a/b" "c"] as root:`},
	{ftp + "group = 33", summary, `stream [::]:21 wait=false: /bin/x ["x"] as root:33`},
	{ftp, func(e Entry) string { return fmt.Sprint(e.OneGroup) }, "true"},
	{ftp + "groups = no", func(e Entry) string { return fmt.Sprint(e.OneGroup) }, "true"},
	{ftp + "groups = yes", func(e Entry) string { return fmt.Sprint(e.OneGroup) }, "false"},
	{ftp + "redirect = 192.0.2.1 80", func(e Entry) string { return fmt.Sprint(e.OneGroup) }, "false"},
	{ftp + "id = other", func(e Entry) string { return e.Name }, "other"},
	{ftp, listen, "stream [[::]:21] true"},
	{ftp + "v6only = yes", listen, "stream [[::]:21] false"},
	{ftp + "flags = IPv4", listen, "stream [0.0.0.0:21] false"},
	{ftp + "flags = IPv6", listen, "stream [[::]:21] true"},
	{ftp + "flags = IPv4 IPv6", listen, "stream [[::]:21] true"},
	{ftp + "bind = 192.0.2.1", listen, "stream [192.0.2.1:21] false"},
	{ftp + "interface = 2001:db8::1", listen, "stream [[2001:db8::1]:21] false"},
	{ftp + "bind = ::ffff:192.0.2.1", listen, "stream [192.0.2.1:21] false"},
	{ftp + "bind = localhost", listen, "stream [127.0.0.1:21 [::1]:21] false"},
	{ftp + "bind = localhost; flags = IPv6", listen, "stream [[::1]:21] false"},
	{ftp + "port = 21", listen, "stream [[::]:21] true"},
	{ftp + "protocol = tcp; port = 2121; type = UNLISTED", listen, "stream [[::]:2121] true"},
	{"protocol = tcp; wait = no; user = root; server = /bin/x", listen, "stream [[::]:21] true"},
	{"type = INTERNAL UNLISTED; protocol = udp; port = 9; wait = yes; server = /bin/x", listen, ""},
	{ftp + "redirect = 2001:db8::2 80", summary, "stream [::]:21 wait=false: [2001:db8::2]:80"},
	{ftp + "redirect = example.org ssh", summary, "stream [::]:21 wait=false: example.org:22"},
	{ftp + "flags = NODELAY", Entry.Socket, "[Socket]\nListenStream=21\nBindIPv6Only=both\nNoDelay=yes\n"},
	{ftp + "instances = 3; per_source = 2", func(e Entry) string { return fmt.Sprint(e.MaxConnections, e.MaxPerSource) }, "3 2"},
	{ftp + "instances = UNLIMITED", func(e Entry) string { return fmt.Sprint(e.MaxConnections) }, "0"},
	{ftp + "cps = 5 30", func(e Entry) string { return e.Rate.String() }, "5/1s"},
	{ftp + "cps = 0 30", func(e Entry) string { return e.Rate.String() }, ""},
	{ftp + "nice = -5; umask = 027; rlimit_files = 2048", func(e Entry) string { return fmt.Sprint(*e.Nice, *e.UMask, e.LimitNOFILE) }, "-5 23 2048"},
	{ftp + "rlimit_files = UNLIMITED", func(e Entry) string { return fmt.Sprint(e.LimitNOFILE) }, "0"},
	{ftp + "env = A=1 B=; env += C=x", func(e Entry) string { return strings.Join(e.Environment, "|") }, "A=1|B=|C=x"},
	{ftp + "env = A=1 B=2; env -= A=1; env = C=3", func(e Entry) string { return strings.Join(e.Environment, "|") }, "C=3"},
	{ftp + "access_times = 8:00-17:59 22:00-24:00", func(e Entry) string { return strings.Join(e.AccessTimes, "|") }, "08:00-18:00|22:00-24:00"},
	{ftp, func(e Entry) string { return e.Libwrap }, "x"},
	{ftp + "libwrap = y", func(e Entry) string { return e.Libwrap }, "y"},
	{ftp + "flags = NOLIBWRAP", func(e Entry) string { return e.Libwrap }, ""},
	{ftp + "flags = NAMEINARGS; server_args = /a/b", func(e Entry) string { return e.Libwrap }, "b"},
	{ftp + "redirect = 192.0.2.1 80", func(e Entry) string { return e.Libwrap }, "ftp"},
	{ftp, rules, "|"},
	{ftp + "only_from = 192.0.2.1; no_access = 10.0.0.0", rules, "192.0.2.1/32|10.0.0.0/8"},
	{ftp + "only_from = 10.0.0.0 192.0.2.1; only_from -= 10.0.0.0/8", rules, "192.0.2.1/32|"},
	{ftp + "only_from = 10.0.0.0; no_access = 10.0.0.0/24", rules, "10.0.0.0/8|10.0.0.0/24"},
	{ftp + "only_from =", rules, "|0.0.0.0/0 ::/0"},
	{ftp + "only_from = 192.0.2.1; only_from -= 192.0.2.1", rules, "|0.0.0.0/0 ::/0"},
}

func TestAttribute(t *testing.T) {
	for _, tt := range attributeTests {
		table := xinetd("", tt.attributes)
		got := ""
		if len(table.Entries) == 1 {
			got = tt.got(table.Entries[0])
		}
		if got != tt.want || tt.want != "" && len(table.Notes) > 0 {
			t.Errorf("%s: got %q, want %q\n%s", tt.attributes, got, tt.want, notes(table))
		}
	}
}

func TestRefusedAttribute(t *testing.T) {
	for _, tt := range []struct{ attributes, want string }{
		{"user = root", "x:2: cannot take over service \"ftp\": it has no wait, no socket_type, no server"},
		{ftp + "type = UNLISTED", "it has no protocol, no port"},
		{ftp + "flags = NAMEINARGS", "it has no server_args"},
		{ftp + "port = 22", "port 22 is not that of the service, 21"},
		{ftp + "port = 0", "no port from 1 to 65535"},
		{ftp + "protocol = udp", "protocol udp has no sockets of type stream"},
		{ftp + "protocol = sctp", `"sctp" is no protocol`},
		{"socket_type = raw", `"raw" is no socket type`},
		{"socket_type = seqpacket", `"seqpacket" is no socket type`},
		{"type = RPC", "RPC: its port"},
		{"type = TCPMUX", "RFC 1078"},
		{"type = tcpmux", `"tcpmux" is no type`},
		{"flags = INTERCEPT", "INTERCEPT: nobody stands"},
		{"flags = IDONLY", "RFC 1413"},
		{"flags = SENSOR", "nobody remembers"},
		{"flags = LABELED", "SELinux"},
		{"flags = ipv4", `"ipv4" is no flag`},
		{"deny_time = 60", "SENSOR"},
		{"wait = maybe", "neither yes nor no"},
		{ftp + "groups = maybe", "neither yes nor no"},
		{"disable = maybe", "neither yes nor no"},
		{"server = x", "no absolute path"},
		{ftp + "server_args =", "leave it out"},
		{ftp + "bind = example.org", `bind "example.org": systemd looks up no names`},
		{ftp + "bind = 192.0.2.1; flags = IPv6", "the protocol has no such address"},
		{ftp + "redirect = 192.0.2.1 nonsense", "no service of tcp"},
		{ftp + "redirect = a/b 80", "is no host"},
		{"type = UNLISTED; port = 9; protocol = udp; wait = yes; redirect = 192.0.2.1 80", "redirect is for streams"},
		{"socket_type = stream; wait = yes; redirect = 192.0.2.1 80", "redirect is for streams"},
		{"socket_type = dgram; wait = no; user = root; server = /bin/x", "datagrams have no connections"},
		{"type = INTERNAL; socket_type = stream; wait = no", `no service "ftp" is built in`},
		{ftp + "instances = 0", "0 serves nobody"},
		{ftp + "per_source = many", "neither a number nor UNLIMITED"},
		{ftp + "cps = a 1", "no number of connections"},
		{ftp + "nice = 20", "from -20 to 19"},
		{ftp + "umask = 8", "octal"},
		{ftp + "rlimit_files = 1g", "no size"},
		{ftp + "env = A", "not NAME=VALUE"},
		{ftp + "env = =x", "not NAME=VALUE"},
		{ftp + "access_times =", "want intervals"},
		{ftp + "access_times = 22:00-6:00", "within one day"},
		{ftp + "only_from = .example.org", "names are not looked up"},
		{ftp + "only_from = ::ffff:192.0.2.1", "write 192.0.2.1"},
		{ftp + "only_from = ::ffff:192.0.2.0/120", "no ADDRESS/BITS"},
		{ftp + "no_access = host", "names are not looked up"},
		{ftp + "only_from -= host", "names are not looked up"},
		{strings.Replace(ftp, "no", "yes", 1) + "only_from = 192.0.2.1", "with wait = yes"},
		{strings.Replace(ftp, "no", "yes", 1) + "no_access = 192.0.2.1", "with wait = yes"},
		{strings.Replace(ftp, "no", "yes", 1) + "access_times = 8:00-9:00", "with wait = yes"},
	} {
		table := xinetd("", tt.attributes)
		if got := notes(table); len(table.Entries) > 0 || !strings.Contains(got, tt.want) || !strings.Contains(got, "cannot take over") {
			t.Errorf("%s: got %s and notes %q, want none and %q", tt.attributes, summaries(table), got, tt.want)
		}
	}
}

// What xinetd would leave out is left out, and told.
func TestAttributeLeftOut(t *testing.T) {
	for _, tt := range []struct{ before, attributes, want string }{
		{"", ftp + "only_form = 192.0.2.1", `/x:8: service "ftp": only_form: no such attribute`},
		{"", ftp + "enabled = ftp", "enabled: no such attribute"},
		{"", ftp + "wait = yes", "wait: it is set above"},
		{"", ftp + "bind = 192.0.2.1; interface = 192.0.2.2", "bind: it is set above"},
		{"", ftp + "instances += 5", "cannot be changed with +="},
		{"", ftp + "cps = 5", "it wants 2 values and has 1"},
		{"", ftp + "passenv = PATH", "write variables with env"},
		{"", ftp + "max_load = 2.5", "does not look at the load"},
		{"", ftp + "rpc_version = 2", "for RPC services alone"},
		{"", ftp + "only_from = 192.0.2.1 192.0.3.1; no_access = 192.0.2.0", "only_from: 192.0.2.1/32 lies in no_access 192.0.2.0/24"},
		{"", strings.Replace(ftp, "no", "yes", 1) + "per_source = 5", "per_source: with wait = yes"},
		{"defaults\n{\nuser = root\n}", ftp, "/x:3: user: no such attribute"},
	} {
		table := xinetd(tt.before, tt.attributes)
		if got := notes(table); len(table.Entries) != 1 || len(table.Notes) != 1 || !strings.Contains(got, tt.want) || table.Notes[0].Refused {
			t.Errorf("%s: got %s and notes %q, want the service and %q", tt.attributes, summaries(table), got, tt.want)
		}
	}
}

// A server that waits counts its clients itself.
func TestWaitHasNoGate(t *testing.T) {
	table := xinetd("", "type = UNLISTED; port = 69; protocol = udp; wait = yes; user = root; server = /bin/x; flags = NODELAY KEEPALIVE; instances = 3; cps = 5 30; per_source = 2")
	want := []Setting{{"Backend", "Mode", "listen:stdin"}, {"Backend", "Exec", "@/bin/x x"}, {"Backend", "User", "root"}, {"Backend", "UserGroups", "no"}}
	if len(table.Entries) != 1 || !slices.Equal(table.Entries[0].Settings(), want) || table.Entries[0].Socket() != "[Socket]\nListenDatagram=69\nBindIPv6Only=both\n" {
		t.Errorf("got %+v", table.Entries)
	}
	if got := notes(table); strings.Count(got, "takes its clients itself") != 2 {
		t.Errorf("got %s", got)
	}
}

// xinetd keeps out whoever is in no_access, though only_from be narrower.
func TestOnlyFromInNoAccess(t *testing.T) {
	for _, tt := range []struct{ onlyFrom, want string }{
		{"192.0.2.1 192.0.3.1", "192.0.3.1/32|192.0.2.0/24"},
		{"192.0.2.0", "|0.0.0.0/0 ::/0"},
	} {
		table := xinetd("", ftp+"no_access = 192.0.2.0; only_from = "+tt.onlyFrom)
		if len(table.Entries) != 1 || rules(table.Entries[0]) != tt.want || len(table.Notes) != 1 {
			t.Errorf("%s: got %+v, want %s\n%s", tt.onlyFrom, table.Entries, tt.want, notes(table))
		}
	}
}

func TestOff(t *testing.T) {
	for _, tt := range []struct {
		before, attributes string
		want               int // entries
	}{
		{"", "disable = yes; only_from = .example.org; nonsense = 1", 0},
		{"", ftp + "disable = no", 1},
		{"", ftp + "disable = no; disable = yes", 1},
		{"defaults\n{\ndisabled = ftp\n}", ftp, 0},
		{"defaults\n{\ndisabled = ftp\n}", ftp + "id = other", 1},
		{"defaults\n{\ndisabled = other\ndisabled += x\n}", ftp + "id = other", 0},
		{"defaults\n{\nenabled = ftp\n}", ftp, 1},
		{"defaults\n{\nenabled = other\n}", ftp, 0},
		{"defaults\n{\nenabled =\n}", ftp, 0},
		{"defaults\n{\nenabled = ftp\n}", ftp + "disable = yes", 0},
		{"defaults\n{\nenabled = ftp\ndisabled = ftp\n}", ftp, 0},
	} {
		table := xinetd(tt.before, tt.attributes)
		if len(table.Entries) != tt.want || tt.want == 0 && len(table.Notes) > 0 {
			t.Errorf("%s %s: got %q and notes %q, want %d", tt.before, tt.attributes, summaries(table), notes(table), tt.want)
		}
	}
}

// A service has what the defaults say, wherever they stand, unless it says
// something else.
func TestDefaults(t *testing.T) {
	const defaults = "\ndefaults\n{\ninstances = 5\nper_source = 1\nonly_from = 192.0.2.1\nonly_from = 192.0.2.2\n}\n"
	const service = "\nservice ftp\n{\n" + "socket_type = stream\nwait = no\nuser = root\nserver = /bin/x\ninstances = 7\n"
	for _, tt := range []struct{ text, want string }{
		{defaults + service + "}", "7 1 192.0.2.1/32 192.0.2.2/32"},
		{service + "}" + defaults, "7 1 192.0.2.1/32 192.0.2.2/32"},
		{defaults + service + "only_from += 192.0.2.3\n}", "7 1 192.0.2.1/32 192.0.2.2/32 192.0.2.3/32"},
		{defaults + service + "only_from -= 192.0.2.1\n}", "7 1 192.0.2.2/32"},
		{defaults + service + "only_from = 192.0.2.3\n}", "7 1 192.0.2.3/32"},
	} {
		table := reader.Xinetd(tree("x", tt.text), "/x")
		if len(table.Entries) != 1 || len(table.Notes) > 0 {
			t.Fatalf("%s: got %s\n%s", tt.text, summaries(table), notes(table))
		}
		e := table.Entries[0]
		if got := fmt.Sprint(e.MaxConnections, e.MaxPerSource, " ", joined(e.AllowFrom)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.text, got, tt.want)
		}
	}
	table := xinetd("defaults\n{\nonly_from = 192.0.2.1\n", ftp)
	if len(table.Entries) > 0 || !strings.Contains(notes(table), `cannot take over service "ftp": the defaults at /x:1 cannot be read`) {
		t.Errorf("defaults without an end: got %s\n%s", summaries(table), notes(table))
	}
	table = xinetd("defaults {\nonly_from = 192.0.2.1\n}", ftp)
	if len(table.Entries) > 0 {
		t.Errorf("defaults that begin wrongly: got %s\n%s", summaries(table), notes(table))
	}
	table = xinetd("defaults\n{\nonly_from = host\n}", ftp)
	if len(table.Entries) > 0 || !strings.Contains(notes(table), `/x:3: cannot take over service "ftp": only_from`) {
		t.Errorf("defaults that nobody can keep: got %s\n%s", summaries(table), notes(table))
	}
}

// The earlier service stays.
func TestTwiceInXinetd(t *testing.T) {
	text := "service ftp\n{\n" + strings.ReplaceAll(ftp, "; ", "\n") + "}\n"
	table := reader.Xinetd(tree("x", text+strings.Replace(text, "/bin/x", "/bin/y", 1)), "/x")
	want := `/x:8: cannot take over service "ftp": stream [::]:21: it is taken at /x:1`
	if len(table.Entries) != 1 || table.Entries[0].Program != "/bin/x" || notes(table) != want {
		t.Errorf("got %s\n%s", summaries(table), notes(table))
	}
}
