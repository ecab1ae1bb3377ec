package inetd

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// builtins are the services that an inetd provides itself (RFC 862 to 868),
// each as a stream and as datagrams.
var builtins = []string{"echo", "discard", "daytime", "time", "chargen"}

// socketTypes are the second fields of inetd.conf; those with a reason cannot
// be had.
var socketTypes = map[string]struct {
	is  Type
	why string
}{
	"stream":    {is: Stream},
	"dgram":     {is: Datagram},
	"seqpacket": {is: Seqpacket},
	"raw":       {why: "raw sockets have no connections and no ports that systemd could listen on"},
	"rdm":       {why: "no protocol of Linux's that systemd listens on has reliable messages"},
	"tli":       {why: "the transport interface of System V is none of Linux's: write stream or dgram"},
}

// confLine is a line of inetd.conf on its way to be entries.
type confLine struct {
	reader Reader
	host   string // before the colon of the first field, or from the line `host:` above
	family family
	entry  Entry
	notes  []Note
}

// Inetd reads the text of an inetd.conf; file is its name in notes.
//
// The fields of a line are service, socket type, protocol, wait or nowait,
// user, server program, and its arguments from argv[0] on. A line `host:`
// says where the services after it listen that do not say so themselves. A line
// that begins with a blank goes on with the one before; quotes mean nothing. If
// the same service is said twice, the last line counts.
func (r Reader) Inetd(file string, text []byte) Table {
	lines := cutLines(string(text))
	t := Table{Entries: make([]Entry, 0, len(lines))} // 10,000 that grow are copied often
	host := "*"
	for _, l := range lines {
		c := confLine{reader: r, host: host, entry: Entry{File: file, Line: l.number}}
		if l.err != nil {
			t.Notes = append(t.Notes, c.entry.refusal(fmt.Errorf("cannot understand the line: %w", l.err)))
			continue
		}
		words, only := c.cutHost(l.words)
		if only {
			host = c.host
			continue
		}
		entries, err := c.read(words)
		t.Notes = append(t.Notes, c.notes...)
		if err != nil {
			t.Notes = append(t.Notes, c.entry.refusal(err))
		}
		t.Entries = append(t.Entries, entries...)
	}
	t.settle(lastStays)
	return t
}

// cutHost takes `host:` from the first word; only tells that nothing follows.
func (c *confLine) cutHost(words []string) (rest []string, only bool) {
	colon := strings.LastIndexByte(words[0], ':')
	if colon < 0 {
		return words, false
	}
	if c.host = words[0][:colon]; c.host == "" {
		c.host = "*"
	}
	if service := words[0][colon+1:]; service != "" {
		return append([]string{service}, words[1:]...), false
	}
	return words[1:], len(words) == 1
}

// read makes the entries of a line. There is more than one where a server that
// waits is to have more than one socket.
func (c *confLine) read(words []string) ([]Entry, error) {
	e := &c.entry
	e.Name = words[0]
	wanted := []struct {
		name string
		read func(*confLine, string) error
	}{
		{"socket type", (*confLine).readType},
		{"protocol", (*confLine).readProtocol},
		{"wait or nowait", (*confLine).readWait},
		{"user", (*confLine).readUser},
		{"server program", (*confLine).readProgram},
	}
	for i, f := range wanted {
		if len(words) < i+2 {
			return nil, fmt.Errorf("the line ends before its %s; it wants service, socket type, protocol, wait or nowait, user, server program and arguments", f.name)
		}
		if err := f.read(c, words[i+1]); err != nil {
			return nil, err
		}
	}
	c.setArgs(words[len(wanted)+1:])
	if err := c.setPlace(); err != nil {
		return nil, err
	}
	return e.split(), nil
}

func (c *confLine) readType(field string) error {
	t, ok := socketTypes[field]
	if !ok {
		return fmt.Errorf("%.60q is no socket type; want stream, dgram or seqpacket", field)
	}
	if t.why != "" {
		return fmt.Errorf("socket type %s: %s", field, t.why)
	}
	c.entry.Type = t.is
	return nil
}

// readProtocol reads PROTOCOL[,sndbuf=SIZE][,rcvbuf=SIZE].
func (c *confLine) readProtocol(field string) error {
	name, buffers, _ := strings.Cut(field, ",")
	if strings.HasPrefix(name, "rpc/") {
		return fmt.Errorf("protocol %.60q: its port has to be told to rpcbind, which nobody does for a socket of systemd's", name)
	}
	var err error
	if c.family, err = parseProtocol(name, c.entry.Type); err != nil {
		return err
	}
	for option := range strings.SplitSeq(buffers, ",") {
		if option == "" {
			continue
		}
		if err := c.readBuffer(option); err != nil {
			c.notes = append(c.notes, c.entry.note(option, "%v", err))
		}
	}
	return nil
}

// readBuffer reads a buffer's size in bytes, or with k or m after it.
func (c *confLine) readBuffer(option string) error {
	key, value, _ := strings.Cut(option, "=")
	field, ok := map[string]*int{"sndbuf": &c.entry.SendBuffer, "rcvbuf": &c.entry.ReceiveBuffer}[key]
	if !ok {
		return errors.New("no such option; there are sndbuf= and rcvbuf=")
	}
	size, err := parseSize(strings.ToLower(value))
	if err != nil {
		return err
	}
	*field = size
	return nil
}

// readWait reads wait or nowait with .MAX or :MAX, how often the server may be
// started in a minute.
func (c *confLine) readWait(field string) error {
	word, most := field, ""
	if i := strings.IndexAny(field, ".:"); i >= 0 {
		word, most = field[:i], field[i+1:]
	}
	if word != "wait" && word != "nowait" {
		return fmt.Errorf("%.60q is neither wait nor nowait", field)
	}
	c.entry.Wait = word == "wait"
	if word == field {
		return nil
	}
	n, err := strconv.Atoi(most)
	switch {
	case err != nil || n < 1:
		c.notes = append(c.notes, c.entry.note(field, "%.60q is no number of starts in a minute, so there is no limit", most))
	case c.entry.Wait:
		c.notes = append(c.notes, c.entry.note(field, "it limits how often a server starts that has the socket, which tiproxy holds back only when it fails"))
	default:
		c.entry.Rate = Rate{n, time.Minute}
	}
	return nil
}

// readUser reads USER, USER.GROUP or USER:GROUP.
func (c *confLine) readUser(field string) error {
	user, group, cut := strings.Cut(field, ":")
	if !cut {
		user, group, cut = strings.Cut(field, ".")
	}
	if user == "" || cut && group == "" {
		return fmt.Errorf("%.60q is neither USER nor USER:GROUP", field)
	}
	c.entry.User, c.entry.Group = user, group
	return nil
}

func (c *confLine) readProgram(field string) error {
	if field == "internal" {
		return c.entry.setBuiltin(c.entry.Name)
	}
	if !path.IsAbs(field) {
		return fmt.Errorf("server program %.60q: write its absolute path, or internal", field)
	}
	c.entry.Program = field
	return nil
}

// setBuiltin makes inetd itself the server. A datagram has no connection to
// have a server of its own.
func (e *Entry) setBuiltin(name string) error {
	if !slices.Contains(builtins, name) {
		return fmt.Errorf("no service %.60q is built in; there are %s", name, strings.Join(builtins, ", "))
	}
	e.Builtin, e.User, e.Group, e.Wait = name, "", "", e.Type == Datagram
	return nil
}

// setArgs gives the server its argv; without one, argv[0] is its file name.
func (c *confLine) setArgs(args []string) {
	e := &c.entry
	if e.Program == "" {
		return
	}
	if e.Args = args; len(args) == 0 {
		e.Args = []string{path.Base(e.Program)}
	}
	if strings.ContainsAny(strings.Join(args, ""), `"'`) {
		c.notes = append(c.notes, e.note("arguments", "quotes hold nothing together in inetd.conf: they are given to the server"))
	}
	if e.Type == Datagram && !e.Wait {
		e.Wait = true
		c.notes = append(c.notes, e.note("nowait", "datagrams have no connections: the server gets the socket, and the next one starts when it ends, as with wait"))
	}
}
