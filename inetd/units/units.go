// Package units makes files for systemd of what package inetd has read: for
// each [inetd.Entry] a socket unit, the configuration of the tiproxy behind it,
// and the link by which tiproxy-inetd.target wants the socket.
//
//	inetd.Table ── Make ──▶ Unit ──▶ tiproxy-inetd@NAME.socket
//	                                 tiproxy-inetd/NAME.conf
//	                                 tiproxy-inetd.target.wants/tiproxy-inetd@NAME.socket
//
// They are for the folder that systemd gives a generator, systemd.generator(7).
// Behind each socket is tiproxy-inetd@NAME.service, an instance of the template
// in packaging/inetd, where the target is, too.
//
// It is pure: a table in, texts out. What it has to know of the machine is a
// [Host], given by the caller.
//
// Invariants:
//
//   - A NAME says where its service listens. So no two units have the same, what
//     other lines say does not change it, and a service that moves is another
//     unit: systemd does not bind a socket anew that is open.
//   - The files stay in their folder, whatever stands in inetd.conf.
//   - Nobody gets in whom hosts.allow and hosts.deny kept out of xinetd.
//   - What cannot be written costs its own service, and a note says so.
package units

import (
	"cmp"
	"errors"
	"slices"

	"github.com/tiproxy/tiproxy/inetd"
)

// Host is what of the machine counts.
type Host struct {
	Tcpd  string // path of tcpd(8); "": it is not installed
	Rules bool   // hosts.allow or hosts.deny has a rule, hosts_access(5)
}

// Unit is what an entry becomes.
type Unit struct {
	Name  string      // behind the @: letters, digits, dots, dashes and underscores, 56 at most
	Entry inetd.Entry // that it is made of
	Files []File      // the socket unit, the configuration, and the link
}

// Socket is the name of the socket unit.
func (u Unit) Socket() string { return template + u.Name + ".socket" }

// File is a file that is to be.
type File struct {
	Path    string // below the folder, with slashes
	Text    string // "": it is a link
	Link    string // what a link points at, relative to where it is; "": it is a file
	Private bool   // for root alone: an environment may hold a secret
}

// The fixed parts of the names of the files.
const (
	template = "tiproxy-inetd@"
	settings = "tiproxy-inetd/"
	wants    = "tiproxy-inetd.target.wants/"
)

// Make makes the units of a table. The notes are those of the table and its
// own, by file and line.
func Make(t inetd.Table, h Host) (units []Unit, notes []inetd.Note) {
	notes = slices.Clone(t.Notes)
	units = make([]Unit, 0, len(t.Entries)) // 10,000 that grow are copied often
	for _, e := range t.Entries {
		run := e
		if why := h.askHosts(&run); why != "" {
			notes = append(notes, inetd.Note{File: e.File, Line: e.Line, Service: e.Name, What: "hosts.allow and hosts.deny", Why: why, Refused: h.Rules})
			if h.Rules {
				continue
			}
		}
		u := Unit{Name: name(e), Entry: e}
		socket, err := socketText(e, u.Name)
		conf, err2 := confText(serveBuiltin(run))
		if err = errors.Join(err, err2); err != nil {
			notes = append(notes, inetd.Note{File: e.File, Line: e.Line, Service: e.Name, Why: err.Error(), Refused: true})
			continue
		}
		u.Files = []File{
			{Path: u.Socket(), Text: socket},
			{Path: settings + u.Name + ".conf", Text: conf, Private: true},
			{Path: wants + u.Socket(), Link: "../" + u.Socket()},
		}
		units = append(units, u)
	}
	slices.SortStableFunc(notes, func(a, b inetd.Note) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return units, notes
}

// serveBuiltin gives a service that inetd provided itself a program: tiproxy,
// by a command of its own. inetd was root; a stranger's bytes need no rights.
func serveBuiltin(e inetd.Entry) inetd.Entry {
	if e.Builtin == "" {
		return e
	}
	e.Program, e.User = "/proc/self/exe", "nobody"
	e.Args = []string{e.Program, "inetd-builtin", e.Builtin}
	return e
}
