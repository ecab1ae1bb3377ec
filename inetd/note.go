package inetd

import (
	"fmt"
	"strings"
)

// Note is something to tell the administrator about a line of his.
type Note struct {
	File    string
	Line    int    // from 1; 0: the file as a whole
	Service string // that it belongs to; "": none
	What    string // the field, attribute or word; "": the line as a whole
	Why     string // what is wrong or missing, and what to do
	Refused bool   // what stands there does not come; else it comes without What
}

// String writes FILE:LINE: and what there is to say, as compilers do.
func (n Note) String() string {
	var b strings.Builder
	b.WriteString(n.File)
	if n.Line > 0 {
		fmt.Fprintf(&b, ":%d", n.Line)
	}
	switch {
	case n.Service == "":
	case n.Refused:
		fmt.Fprintf(&b, ": cannot take over service %.60q", n.Service)
	default:
		fmt.Fprintf(&b, ": service %.60q", n.Service)
	}
	if n.What != "" {
		b.WriteString(": " + n.What)
	}
	return b.String() + ": " + n.Why
}

// place is FILE:LINE of an entry.
func (e *Entry) place() string { return fmt.Sprintf("%s:%d", e.File, e.Line) }

// note is a note about an entry, at its first line.
func (e *Entry) note(what, why string, a ...any) Note {
	return Note{File: e.File, Line: e.Line, Service: e.Name, What: what, Why: fmt.Sprintf(why, a...)}
}

// refusal is a note that an entry does not come.
func (e *Entry) refusal(err error) Note {
	return Note{File: e.File, Line: e.Line, Service: e.Name, Why: err.Error(), Refused: true}
}
