package observe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/sirupsen/logrus"
)

// lines writes "TIME message key=value …": the message early, for that is what
// a person looks for.
type lines struct {
	bare    bool // without time and level: the journal shows both
	colours bool
}

// The colours (ECMA-48, SGR): errors in red, warnings in yellow; what matters
// least is faint.
const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	faint  = "\x1b[2m"
	reset  = "\x1b[m"
)

func (l lines) write(e *logrus.Entry) []byte {
	head := ""
	if !l.bare {
		head = l.paint(faint, e.Time.Format("15:04:05.000")) + " " + l.level(e.Level)
	}
	return fmt.Appendf(nil, "%s%s%s\n", head, clean(e.Message), l.paint(faint, facts(e)))
}

// level is what stands before a message that matters.
func (l lines) level(level logrus.Level) string {
	switch {
	case level <= logrus.ErrorLevel:
		return l.paint(red, level.String()+":") + " "
	case level == logrus.WarnLevel:
		return l.paint(yellow, level.String()+":") + " "
	}
	return ""
}

func (l lines) paint(colour, s string) string {
	if !l.colours || s == "" {
		return s
	}
	return colour + s + reset
}

// writeJSON writes an object: what every entry has first, then its fields.
func (d *delivery) writeJSON(e *logrus.Entry) []byte {
	var b bytes.Buffer
	member := func(key string, value any) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:", key)
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if encoder.Encode(value) == nil {
			b.Truncate(b.Len() - 1) // Encode ends the line
		}
	}
	member("time", e.Time.Format(time.RFC3339Nano))
	member("level", e.Level.String())
	if kind := kindOf(e); kind != nil {
		member(keyEvent, kind.Event)
	}
	member("message", clean(e.Message))
	for _, f := range allFields {
		if value, has := e.Data[f.Key]; has {
			member(f.Key, plain(value))
		}
	}
	if d.instance != "" {
		member(keyInstance, d.instance)
	}
	return fmt.Appendf(nil, "{%s}\n", b.Bytes())
}

// journalFields are the fields of an entry in the journal, beside MESSAGE and
// PRIORITY (systemd.journal-fields(7)).
func journalFields(e *logrus.Entry, instance string) map[string]string {
	vars := map[string]string{"SYSLOG_IDENTIFIER": "tiproxy"} // as journald calls what comes from stderr
	if kind := kindOf(e); kind != nil {
		vars["MESSAGE_ID"] = kind.MessageID
		vars["TIPROXY_EVENT"] = kind.Event
	}
	for _, f := range allFields {
		if value, has := e.Data[f.Key]; has {
			vars[f.Journal()] = fmt.Sprint(plain(value))
		}
	}
	if instance != "" {
		vars["TIPROXY_INSTANCE"] = instance
	}
	return vars
}

// message is what a person reads where the fields can be looked up: in the
// journal, and among the last events.
func message(e *logrus.Entry) string {
	if kind := kindOf(e); kind != nil && kind.facts {
		return clean(e.Message) + facts(e)
	}
	return clean(e.Message)
}

// facts are the fields that the sentence does not say, " key=value" each.
func facts(e *logrus.Entry) string {
	var b strings.Builder
	for _, f := range allFields {
		value, has := e.Data[f.Key]
		if !has || f.label == "" {
			continue
		}
		if d, is := value.(time.Duration); is {
			value = short(d)
		}
		b.WriteString(" " + f.label + "=" + quoted(clean(fmt.Sprint(value))))
	}
	return b.String()
}

// quoted is a value that can be told from what follows it.
func quoted(value string) string {
	if value == "" || strings.ContainsAny(value, ` "=`) {
		return `"` + strings.ReplaceAll(value, `"`, `\"`) + `"`
	}
	return value
}

// clean keeps from the log, and from the terminal of whoever reads it, what
// could forge a line or move the cursor: a backend's output, and the path that
// a client of a UNIX socket is bound to, are theirs to choose.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return s // as nearly always
	}
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// short writes a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
