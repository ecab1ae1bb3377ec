package inetd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// service is a service of xinetd's on its way to be an entry: what its
// attributes say that only together makes sense.
type service struct {
	Entry
	reader     Reader
	service    string   // as its block names it
	kinds      []string // of the attribute type
	flags      []string
	protocol   string // tcp or udp; "": that of Type
	port       uint16 // 0: that of service
	bind       string // address to listen on; "": all
	v6only     bool
	args       []string // of the attribute server_args
	groups     bool     // the server has all of its user's
	libwrap    string   // "": by the name of the server
	restricted bool     // there is an only_from, if only an empty one
	disable    bool
	switches                   // of the defaults
	given      map[string]bool // attributes that are set
	broken     error           // why the defaults cannot be trusted
	notes      []Note
}

// Xinetd reads an xinetd.conf, or a folder of such files, and what it includes.
// The name is an absolute path, and the root of fsys stands for /.
//
// Defaults count for all services, wherever they stand. What is like an earlier
// service does not come.
func (r Reader) Xinetd(fsys fs.FS, name string) Table {
	x := &xfiles{fsys: fsys, seen: map[string]bool{}}
	first := request{name: name, by: name}
	if info, err := fs.Stat(fsys, strings.TrimPrefix(name, "/")); err == nil && info.IsDir() {
		x.includeFolder(first)
	} else {
		x.includeFile(first)
	}
	var all []assignment
	var broken error
	for _, b := range x.blocks {
		if b.service == "" {
			all = append(all, b.assignments...)
		}
		if b.broken {
			broken = fmt.Errorf("the defaults at %s:%d cannot be read, and may say who is to be kept out", b.file, b.line)
		}
	}
	defaults, notes := check(all, "", inDefaults)
	every := service{reader: r, given: map[string]bool{}}
	every.applyAll(defaults, nil)
	t := Table{Notes: append(x.notes, notes...), switches: every.switches}
	for _, b := range x.blocks {
		if b.service == "" {
			continue
		}
		s := service{
			Entry:   Entry{File: b.file, Line: b.line, Name: b.service},
			reader:  r,
			service: b.service,
			given:   map[string]bool{},
			broken:  broken,
		}
		entries := s.read(b, defaults)
		t.Entries = append(t.Entries, entries...)
		t.Notes = append(t.Notes, s.notes...)
	}
	t.settle(firstStays)
	return t
}

// read makes the entries of a block. None and no note: it is off.
func (s *service) read(b block, defaults []assignment) []Entry {
	var own []assignment
	own, s.notes = check(b.assignments, b.service, inService)
	s.applyAll(defaults, own)
	if s.disable || s.off(s.Name) {
		s.notes = nil
		return nil
	}
	for _, n := range s.notes {
		if n.Refused {
			return nil
		}
	}
	for _, step := range []func(*service) error{(*service).complete, (*service).setServing, (*service).setListen, (*service).setDoor} {
		if err := step(s); err != nil {
			s.notes = append(s.notes, s.refusal(err))
			return nil
		}
	}
	return s.split()
}

// check answers the assignments of a block, or of all defaults, that xinetd
// would not leave out and that have a counterpart. The others leave a note.
func check(all []assignment, service string, in scope) (good []assignment, notes []Note) {
	seen := map[string]bool{}
	for _, a := range all {
		if a.name == "interface" {
			a.name = "bind"
		}
		known, ok := attributes[a.name]
		why := ""
		switch {
		case !ok || known.in&in == 0:
			why = "no such attribute can stand here, and xinetd would leave it out, too"
		case !known.set && seen[a.name]:
			why = "it is set above, and the first one counts"
		case !known.set && a.op != "=":
			why = fmt.Sprintf("it cannot be changed with %s, and xinetd would leave it out, too", a.op)
		case known.values != some && len(a.values) != known.values:
			why = fmt.Sprintf("it wants %d values and has %d, and xinetd would leave it out, too", known.values, len(a.values))
		case known.apply == nil:
			why = known.why
		}
		if why != "" {
			notes = append(notes, Note{File: a.file, Line: a.line, Service: service, What: a.name, Why: why})
			continue
		}
		seen[a.name] = true
		good = append(good, a)
	}
	return good, notes
}

// applyAll applies the attributes of the defaults and of the service itself.
// Its own count before the defaults; the values of a set are put together.
func (s *service) applyAll(defaults, own []assignment) {
	count := map[string]assignment{}
	for i, a := range slices.Concat(defaults, own) {
		known := attributes[a.name]
		if known.set {
			if i < len(defaults) && a.op == "=" {
				a.op = "+="
			}
			values, err := known.combine(count[a.name].values, a)
			if err != nil {
				s.refuse(a, err)
			}
			a.values = values
		}
		count[a.name] = a
	}
	for name, a := range count {
		s.given[name] = true
		if err := attributes[name].apply(s, a.values); err != nil {
			s.refuse(a, err)
		}
	}
}

// combine carries out an assignment to a set of values.
func (k attribute) combine(old []string, a assignment) ([]string, error) {
	var values []string
	for _, v := range a.values {
		expanded := []string{v}
		if k.expand != nil {
			var err error
			if expanded, err = k.expand(v); err != nil {
				return old, err
			}
		}
		values = append(values, expanded...)
	}
	switch a.op {
	case "-=":
		return slices.DeleteFunc(slices.Clone(old), func(v string) bool { return slices.Contains(values, v) }), nil
	case "+=":
		return slices.Concat(old, values), nil
	}
	return values, nil
}

// refuse notes that an attribute keeps the service from coming.
func (s *service) refuse(a assignment, err error) {
	s.notes = append(s.notes, Note{File: a.file, Line: a.line, Service: s.service, What: a.name, Why: err.Error(), Refused: true})
}

func (s *service) is(kind string) bool { return slices.Contains(s.kinds, kind) }

func (s *service) has(flag string) bool { return slices.Contains(s.flags, flag) }

// complete wants the attributes that xinetd wants.
func (s *service) complete() error {
	if s.broken != nil {
		return s.broken
	}
	wanted := []string{"wait"}
	if s.Type == "" && s.protocol == "" {
		wanted = append(wanted, "socket_type")
	}
	if !s.is("INTERNAL") && s.Redirect == "" {
		wanted = append(wanted, "user", "server")
	}
	if s.is("UNLISTED") {
		wanted = append(wanted, "protocol", "port")
	}
	if s.has("NAMEINARGS") {
		wanted = append(wanted, "server_args")
	}
	missing := slices.DeleteFunc(wanted, func(name string) bool { return s.given[name] })
	if len(missing) > 0 {
		return fmt.Errorf("it has no %s", strings.Join(missing, ", no "))
	}
	if s.protocol == "" {
		s.protocol = map[Type]string{Stream: "tcp", Datagram: "udp"}[s.Type]
	}
	if s.Type == "" {
		s.Type = transports[s.protocol][0]
	}
	if !slices.Contains(transports[s.protocol], s.Type) {
		return fmt.Errorf("protocol %s has no sockets of type %s", s.protocol, s.Type)
	}
	return nil
}

// setServing finds what serves the clients: a program, xinetd itself, or
// another address.
func (s *service) setServing() error {
	s.NoDelay = s.protocol == "tcp" && s.has("NODELAY")
	s.KeepAlive = s.protocol == "tcp" && s.has("KEEPALIVE")
	name := s.service // for hosts.allow
	switch {
	case s.Redirect != "" && (s.Type != Stream || s.Wait):
		return errors.New("redirect is for streams with wait = no")
	case s.Redirect != "":
		s.Program, s.User, s.Group = "", "", ""
	case s.is("INTERNAL"):
		s.Program = ""
		if err := s.setBuiltin(s.service); err != nil {
			return err
		}
	case s.Type == Datagram && !s.Wait:
		return errors.New("datagrams have no connections: write wait = yes")
	case s.has("NAMEINARGS"):
		s.Args = s.args
		name = path.Base(s.args[0])
	default:
		name = path.Base(s.Program)
		s.Args = append([]string{name}, s.args...)
	}
	s.OneGroup = s.Program != "" && !s.groups
	if s.libwrap != "" {
		name = s.libwrap
	}
	if !s.has("NOLIBWRAP") {
		s.Libwrap = name
	}
	return nil
}

// setListen finds where the service listens. Without an address and flags it is
// one IPv6 socket that takes IPv4 clients, too.
func (s *service) setListen() error {
	port := s.port
	if !s.is("UNLISTED") {
		listed, err := s.reader.port(s.service, s.protocol)
		if err != nil {
			return err
		}
		if port != 0 && port != listed {
			return fmt.Errorf("port %d is not that of the service, %d: change it, or add type = UNLISTED", port, listed)
		}
		port = listed
	}
	f := family{v4: true, v6: true}
	if s.has("IPv4") != s.has("IPv6") {
		f = family{v4: s.has("IPv4"), v6: s.has("IPv6")}
	}
	host := s.bind
	if host == "" {
		host = "*"
	}
	addrs, err := f.addresses(host)
	if err != nil {
		return fmt.Errorf("bind %.60q: %w", host, err)
	}
	if a := addrs[len(addrs)-1]; a == netip.IPv6Unspecified() {
		addrs = []netip.Addr{a}
		s.Dual = !s.v6only
	}
	for _, a := range addrs {
		s.Listen = append(s.Listen, netip.AddrPortFrom(a, port))
	}
	return nil
}

// setDoor finds who may come in. A server that waits has the door itself.
func (s *service) setDoor() error {
	if s.Wait {
		if s.restricted || len(s.DenyFrom) > 0 || len(s.AccessTimes) > 0 {
			return errors.New("with wait = yes the server takes its clients itself, so that nobody keeps only_from, no_access and access_times")
		}
		for _, name := range []string{"per_source", "cps"} {
			if s.given[name] {
				s.notes = append(s.notes, s.note(name, "with wait = yes the server takes its clients itself"))
			}
		}
		s.MaxConnections, s.MaxPerSource, s.Rate = 0, 0, Rate{}
		return nil
	}
	if !s.restricted {
		return nil
	}
	s.AllowFrom = slices.DeleteFunc(s.AllowFrom, func(p netip.Prefix) bool {
		around, shut := within(p, s.DenyFrom)
		if shut {
			s.notes = append(s.notes, s.note("only_from", "%s lies in no_access %s, which xinetd lets count, too", p, around))
		}
		return shut
	})
	if len(s.AllowFrom) == 0 {
		s.DenyFrom = everywhere
	}
	return nil
}
