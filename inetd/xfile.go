package inetd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// block is a service or the defaults of a file of xinetd's.
type block struct {
	file        string
	line        int    // of its head, from 1
	service     string // "": defaults
	assignments []assignment
	broken      bool // of defaults: they could not be read to their end
}

// assignment is a line `name op value…` of a block.
type assignment struct {
	file   string
	line   int // from 1
	name   string
	op     string // =, += or -=
	values []string
}

// xfiles reads files of xinetd's into blocks.
type xfiles struct {
	fsys   fs.FS
	blocks []block
	notes  []Note
	seen   map[string]bool // files and folders that were begun, by their name in fsys
}

// note tells what does not come, and why; line 0 is the file as a whole.
func (x *xfiles) note(file string, line int, service string, err error) {
	x.notes = append(x.notes, Note{File: file, Line: line, Service: service, Why: err.Error(), Refused: true})
}

// request is a file or folder that is to be read.
type request struct {
	name string
	by   string // file that asks for it
	line int    // of by, from 1; 0: nobody asks, it is the first
}

func (x *xfiles) cannot(q request, err error) {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err // the path is named already
	}
	x.note(q.by, q.line, "", fmt.Errorf("cannot read %.60q: %w", q.name, err))
}

// open finds what q names, which is read once only.
func (x *xfiles) open(q request) (clean string, info fs.FileInfo, err error) {
	if !path.IsAbs(q.name) {
		return "", nil, errors.New("want an absolute path")
	}
	clean = strings.TrimPrefix(path.Clean(q.name), "/")
	if x.seen[clean] {
		return "", nil, errors.New("it was read before")
	}
	x.seen[clean] = true
	info, err = fs.Stat(x.fsys, clean)
	return clean, info, err
}

func (x *xfiles) includeFile(q request) {
	clean, info, err := x.open(q)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		x.cannot(q, err)
		return
	}
	text, err := fs.ReadFile(x.fsys, clean)
	if err != nil {
		x.cannot(q, err)
		return
	}
	x.parse("/"+clean, string(text))
}

// includeFolder reads the files of a folder by the order of their names, but
// for those with a dot in it or a tilde at its end.
func (x *xfiles) includeFolder(q request) {
	clean, _, err := x.open(q)
	if err != nil {
		x.cannot(q, err)
		return
	}
	files, err := fs.ReadDir(x.fsys, clean)
	if err != nil {
		x.cannot(q, err)
	}
	for _, f := range files {
		if name := f.Name(); !strings.Contains(name, ".") && !strings.HasSuffix(name, "~") {
			x.includeFile(request{"/" + path.Join(clean, name), q.by, q.line})
		}
	}
}

// part is where in a file the reader is.
//
//	outside ── service NAME, defaults ──▶ head ── { ──▶ inside ── } ──▶ outside
//	   │                                   └─ anything ──┐   └─ no assignment ──┐
//	   └─ anything else ────────────────────────────────▶ lost ◀────────────────┘
//	lost ── }, service NAME, defaults, include ──▶ as above
type part int

const (
	outside part = iota
	head         // of a block
	inside       // a block
	lost         // in what a note tells of
)

// parse cuts a file into blocks. Empty lines and those that begin with # are
// none.
func (x *xfiles) parse(file, text string) {
	p := xparser{xfiles: x, file: file}
	for s := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		p.number++
		s = strings.TrimSuffix(s, "\r")
		words := fields(s)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := checkText(s); err != nil {
			p.lose(p.number, err)
			continue
		}
		p.line(words)
	}
	if p.at == head || p.at == inside {
		p.lose(p.block.line, errNoEnd)
	}
}

// xparser is the reader of one file.
type xparser struct {
	*xfiles
	file     string
	number   int   // of the line, from 1
	at       part  // in the file
	block    block // while at is head or inside
	defaults bool  // the file had some
}

var errNoEnd = errors.New("the block has no } on a line of its own")

func (p *xparser) line(words []string) {
	a, isAssignment := parseAssignment(words)
	header := !isAssignment && (words[0] == "service" && len(words) > 1 || words[0] == "defaults")
	including := !isAssignment && len(words) > 1 && (p.at == outside || p.at == lost)
	switch {
	case header && (p.at == head || p.at == inside):
		p.lose(p.block.line, errNoEnd)
		p.begin(words)
	case header:
		p.begin(words)
	case including && words[0] == "include":
		p.at = outside
		p.includeFile(request{words[1], p.file, p.number})
	case including && words[0] == "includedir":
		p.at = outside
		p.includeFolder(request{words[1], p.file, p.number})
	case p.at == lost:
		if words[0] == "}" {
			p.at = outside
		}
	case p.at == head:
		if len(words) > 1 || words[0] != "{" {
			p.lose(p.number, errors.New("a { on a line of its own has to follow"))
			return
		}
		p.at = inside
	case p.at == inside && len(words) == 1 && words[0] == "}":
		p.end()
	case p.at == inside:
		if !isAssignment {
			p.lose(p.number, fmt.Errorf("%.60q is no attribute; want NAME = VALUE, with blanks around =, += or -=", strings.Join(words, " ")))
			return
		}
		a.file, a.line = p.file, p.number
		p.block.assignments = append(p.block.assignments, a)
	default:
		p.lose(p.number, fmt.Errorf("%.60q begins nothing; want service NAME, defaults, include FILE or includedir FOLDER", words[0]))
	}
}

// begin takes the head of a block, after which a line has to end.
func (p *xparser) begin(words []string) {
	p.block = block{file: p.file, line: p.number}
	p.at = head
	rest := words[1:]
	if words[0] == "service" {
		p.block.service, rest = words[1], words[2:]
	}
	if len(rest) > 0 {
		p.lose(p.number, fmt.Errorf("%.60q has to stand on a line of its own", strings.Join(rest, " ")))
	}
}

func (p *xparser) end() {
	p.at = outside
	if p.block.service == "" && p.defaults {
		p.note(p.file, p.block.line, "", errors.New("cannot take these defaults: the file has some already"))
		return
	}
	p.defaults = p.defaults || p.block.service == ""
	p.blocks = append(p.blocks, p.block)
}

// lose notes what is wrong at a line, and gives up the block around it.
func (p *xparser) lose(line int, err error) {
	switch service := p.block.service; {
	case p.at == outside || p.at == lost:
		p.note(p.file, line, "", fmt.Errorf("cannot understand the line: %w", err))
	case service != "":
		p.note(p.file, line, service, err)
	default:
		p.note(p.file, line, "", fmt.Errorf("cannot take the defaults: %w", err))
		p.block.broken = true
		p.blocks = append(p.blocks, p.block)
	}
	p.at = lost
}

// parseAssignment reads `NAME OP VALUE…`. There is a blank before the operator,
// and there may be none after it.
func parseAssignment(words []string) (assignment, bool) {
	if len(words) < 2 {
		return assignment{}, false
	}
	for _, op := range []string{"=", "+=", "-="} {
		if value, ok := strings.CutPrefix(words[1], op); ok {
			values := words[2:]
			if value != "" {
				values = append([]string{value}, values...)
			}
			return assignment{name: words[0], op: op, values: values}, true
		}
	}
	return assignment{}, false
}
