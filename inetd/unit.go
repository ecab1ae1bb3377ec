package inetd

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Setting is a line of tiproxy.conf.
type Setting struct {
	Section string // without brackets
	Key     string // without "="
	Value   string // quoted where the key wants it
}

// Socket is the section [Socket] of the service's socket unit,
// systemd.socket(5), as far as the entry says anything: the caller adds what
// tiproxy wants of every socket.
func (e Entry) Socket() string {
	var b strings.Builder
	line := func(key, format string, a ...any) { fmt.Fprintf(&b, key+"="+format+"\n", a...) }
	listen := map[Type]string{Stream: "ListenStream", Datagram: "ListenDatagram", Seqpacket: "ListenSequentialPacket"}[e.Type]
	b.WriteString("[Socket]\n")
	v6, specific := false, false
	for _, a := range e.Listen {
		line(listen, "%s", e.listenText(a))
		v6 = v6 || a.Addr().Is6()
		specific = specific || !a.Addr().IsUnspecified()
	}
	if e.Path != "" {
		line(listen, "%s", strings.ReplaceAll(e.Path, "%", "%%"))
		line("RemoveOnStop", "yes")
	}
	switch {
	case v6 && e.Dual:
		line("BindIPv6Only", "both")
	case v6:
		line("BindIPv6Only", "ipv6-only")
	}
	if specific { // an address may come up after the socket
		line("FreeBind", "yes")
	}
	if e.ReceiveBuffer > 0 {
		line("ReceiveBuffer", "%d", e.ReceiveBuffer)
	}
	if e.SendBuffer > 0 {
		line("SendBuffer", "%d", e.SendBuffer)
	}
	if e.NoDelay {
		line("NoDelay", "yes")
	}
	if e.KeepAlive {
		line("KeepAlive", "yes")
	}
	return b.String()
}

// listenText is an address for systemd. A bare port is IPv6 and IPv4, and IPv4
// alone where the kernel has no IPv6.
func (e Entry) listenText(a netip.AddrPort) string {
	if e.Dual && a.Addr() == netip.IPv6Unspecified() {
		return strconv.Itoa(int(a.Port()))
	}
	text := netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()).String()
	if zone := a.Addr().Zone(); zone != "" {
		text += "%%" + zone
	}
	return text
}

// Settings are the lines of tiproxy.conf for the service. A built-in one has
// neither Exec= nor Address=: what serves it is the caller's to say.
func (e Entry) Settings() []Setting {
	var all []Setting
	add := func(section, key, value string) {
		if value != "" {
			all = append(all, Setting{section, key, value})
		}
	}
	add("Backend", "Mode", e.mode())
	add("Backend", "Exec", e.exec())
	add("Backend", "Address", e.Redirect)
	add("Backend", "User", e.User)
	add("Backend", "Group", e.Group)
	if e.OneGroup {
		add("Backend", "UserGroups", "no")
	}
	for _, v := range e.Environment {
		add("Backend", "Environment", quote(v))
	}
	if e.UMask != nil {
		add("Backend", "UMask", fmt.Sprintf("%04o", *e.UMask))
	}
	if e.Nice != nil {
		add("Backend", "Nice", strconv.Itoa(*e.Nice))
	}
	add("Backend", "LimitNOFILE", positive(e.LimitNOFILE))
	if e.Wait { // the server takes its clients itself: nobody counts them
		return all
	}
	add("Gate", "MaxConnections", strconv.Itoa(e.MaxConnections))
	add("Gate", "MaxPerSource", positive(e.MaxPerSource))
	add("Gate", "Rate", e.Rate.String())
	add("Access", "AllowFrom", joined(e.AllowFrom))
	add("Access", "DenyFrom", joined(e.DenyFrom))
	add("Access", "AccessTimes", strings.Join(e.AccessTimes, " "))
	return all
}

// mode is how the server meets its clients; "": over the network.
func (e Entry) mode() string {
	switch {
	case e.Redirect != "":
		return ""
	case e.Wait:
		return "listen:stdin"
	case e.Builtin != "": // what goes wrong with ours is for the log
		return "stdio"
	}
	return "stdio:stderr"
}

// exec is the command. With @ before it the next word is argv[0], as in
// ExecStart= of systemd.service(5).
func (e Entry) exec() string {
	if e.Program == "" {
		return ""
	}
	words := []string{quote(e.Program)}
	args := e.Args
	if args[0] == e.Program {
		args = args[1:]
	} else {
		words[0] = quote("@" + e.Program)
	}
	for _, a := range args {
		words = append(words, quote(a))
	}
	return strings.Join(words, " ")
}

// quote writes a word that systemd.syntax(7) reads as it is.
func quote(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\"'\\") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\t", `\t`).Replace(word) + `"`
}

// String writes the rate as Rate= has it: 20/2s.
func (r Rate) String() string {
	if r.Count == 0 {
		return ""
	}
	if r.Per == time.Minute {
		return fmt.Sprintf("%d/1min", r.Count)
	}
	return fmt.Sprintf("%d/%gs", r.Count, r.Per.Seconds())
}

// positive writes a number; "" for 0, which is none.
func positive(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func joined(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return strings.Join(words, " ")
}
