// Package inetd reads what an administrator wrote for inetd or xinetd, and
// answers what it means for systemd and tiproxy: for each service an [Entry],
// of which [Entry.Socket] is the socket unit and [Entry.Settings] is what goes
// into tiproxy.conf.
//
//	/etc/inetd.conf ── Reader.Inetd ───┐
//	                                   ├──▶ Table ── Merge ──▶ Table: entries, notes
//	/etc/xinetd.conf ─ Reader.Xinetd ──┘
//
// It is pure: text in, values out. Files come from an [fs.FS], and the ports of
// services from a function, both given by the caller. Users and programs are
// not looked at: who starts the server finds out.
//
// Invariants:
//
//   - Nothing fails as a whole. What cannot be read or given costs its own
//     service, and a [Note] says so with file and line.
//   - Nobody gets in whom inetd or xinetd kept out. A rule about who may come
//     in that cannot be kept refuses the service; any other attribute that has no
//     counterpart leaves a note, and the service comes without it.
//   - An address belongs to one entry.
//   - What is off (a comment, `#<off>#`, disable = yes) leaves neither an entry
//     nor a note.
//
// inetd.conf is read as openbsd-inetd of Debian 12 reads it, inetd(8); xinetd's
// files as xinetd 2.3.15.3, xinetd.conf(5).
package inetd

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Type is the type of a service's socket, as inetd.conf names it.
type Type string

// The types that systemd can listen on.
const (
	Stream    Type = "stream"
	Datagram  Type = "dgram"
	Seqpacket Type = "seqpacket" // of UNIX sockets alone
)

// Entry is one service that is on.
type Entry struct {
	File string // where it stands
	Line int    // from 1; its first
	Name string // as inetd.conf names it, or xinetd's id

	Type   Type
	Listen []netip.AddrPort // TCP or UDP; one if Wait, none if Path is set
	Path   string           // of a UNIX socket; "": it is none
	Dual   bool             // an IPv6 socket of Listen takes IPv4 clients, too; false: IPv6 alone

	ReceiveBuffer int  // in bytes; 0: the kernel's
	SendBuffer    int  // in bytes; 0: the kernel's
	NoDelay       bool // TCP_NODELAY, tcp(7)
	KeepAlive     bool // SO_KEEPALIVE, socket(7)

	// Wait: the server gets the listening socket as its stdin, and accepts or
	// reads by itself. Else there is a server for each connection, which is
	// its stdin, stdout and stderr.
	Wait bool

	Program     string   // absolute path; "" for Builtin and Redirect
	Args        []string // from argv[0] on; empty for Builtin and Redirect
	Builtin     string   // echo, discard, daytime, time or chargen; "": a program
	Redirect    string   // host:port that the bytes go to; "": a program
	User        string   // name or number; "" only for Builtin and Redirect
	Group       string   // name or number; "": the user's
	OneGroup    bool     // the server has that group alone; false: all of the user's
	Environment []string // NAME=VALUE, over what the server would have
	UMask       *int     // nil: as it comes
	Nice        *int     // -20 to 19; nil: as it comes
	LimitNOFILE int      // open files; 0: as it comes

	MaxConnections int  // at once; 0: any number
	MaxPerSource   int  // at once from one address; 0: any number
	Rate           Rate // of new connections

	// AllowFrom and DenyFrom are the clients' addresses. The most specific that
	// matches counts, and no prefix of AllowFrom lies in one of DenyFrom. With
	// an empty AllowFrom everybody else may come in, else nobody.
	AllowFrom, DenyFrom []netip.Prefix
	AccessTimes         []string // as in 08:00-18:00, the end is out; empty: always

	// Libwrap is the name of the server in hosts.allow and hosts.deny,
	// hosts_access(5), where xinetd would have asked them itself: whoever
	// starts the server must ask in its place. "": they are not asked.
	Libwrap string
}

// Rate is a number of new connections in a time.
type Rate struct {
	Count int // 0: any number
	Per   time.Duration
}

// Table is what files say.
type Table struct {
	Entries []Entry // in the order of the files
	Notes   []Note  // by file and line

	switches // of xinetd's defaults, which Merge keeps to
}

// switches are the lists of xinetd's defaults that switch services on and off by
// their names. The zero value leaves all on.
type switches struct {
	selected bool     // there is a list of those enabled, if only an empty one
	enabled  []string // what is not in it is off; nil unless selected
	disabled []string // what is in it is off
}

// off tells whether the lists switch a service off.
func (s switches) off(name string) bool {
	return s.selected && !slices.Contains(s.enabled, name) || slices.Contains(s.disabled, name)
}

// Reader reads the files of inetd and xinetd.
type Reader struct {
	// Service answers the port of a service by its name and "tcp" or "udp", as
	// services(5) has it. It must be there.
	Service func(name, protocol string) (port uint16, ok bool)
}

// Merge puts tables together, the one that counts most first: a port that an
// earlier one has is not a later one's, whatever the addresses, and what the
// defaults of an earlier one switch off is off. So xinetd has it with
// -inetd_compat: it reads inetd.conf last, lists and all, and then cannot bind
// there what it has bound already. What its own files switch off with
// disable = yes hides no line of inetd.conf.
func Merge(tables ...Table) Table {
	var all Table
	owner := map[string]string{} // of a port: where it is said, in the tables so far
	var lists []switches         // of the tables so far
	for _, t := range tables {
		first := len(all.Entries)
		all.Notes = append(all.Notes, t.Notes...)
		all.Entries = slices.Grow(all.Entries, len(t.Entries))
		for _, e := range t.Entries {
			if slices.ContainsFunc(lists, func(s switches) bool { return s.off(e.Name) }) {
				continue
			}
			if where, ok := owner[e.port()]; ok {
				all.Notes = append(all.Notes, e.refusal(fmt.Errorf("%s is taken at %s, which counts", e.port(), where)))
				continue
			}
			all.Entries = append(all.Entries, e)
		}
		for _, e := range all.Entries[first:] {
			owner[e.port()] = e.place()
		}
		lists = append(lists, t.switches)
	}
	all.settle(firstStays)
	return all
}

// port is the port that an entry listens on, or its UNIX socket, with the type.
func (e *Entry) port() string {
	if e.Path != "" {
		return string(e.Type) + " " + e.Path
	}
	return fmt.Sprintf("%s port %d", e.Type, e.Listen[0].Port())
}
