package observe

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/sirupsen/logrus"
)

// NewLog makes the logger. Lines for the journal begin with their priority
// (sd-daemon(3), "<6>") and leave the time to it; others begin with the time.
func NewLog(w io.Writer, journal bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	log.SetFormatter(formatter{journal})
	return log
}

// formatter writes "message key=value …": the message first, for that is what
// a person looks for.
type formatter struct {
	journal bool
}

// Format implements logrus.Formatter.
func (f formatter) Format(e *logrus.Entry) ([]byte, error) {
	var b bytes.Buffer
	if f.journal {
		fmt.Fprintf(&b, "<%d>", priority(e.Level))
	} else {
		fmt.Fprintf(&b, "%s ", e.Time.Format("15:04:05.000"))
		if e.Level <= logrus.WarnLevel {
			fmt.Fprintf(&b, "%s: ", e.Level)
		}
	}
	b.WriteString(e.Message)
	keys := make([]string, 0, len(e.Data))
	for key := range e.Data {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		fmt.Fprintf(&b, " %s=%s", key, quoted(fmt.Sprint(e.Data[key])))
	}
	return append(bytes.Map(printable, b.Bytes()), '\n'), nil
}

// quoted is a value that can be told from what follows it.
func quoted(value string) string {
	if value == "" || strings.ContainsAny(value, ` "=`) {
		return `"` + strings.ReplaceAll(value, `"`, `\"`) + `"`
	}
	return value
}

// printable keeps from the log, and from the terminal of whoever reads it, what
// could forge a line or move the cursor: a backend's output, and the path that
// a client of a UNIX socket is bound to, are theirs to choose.
func printable(r rune) rune {
	if r != '\t' && unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
		return unicode.ReplacementChar
	}
	return r
}

// priority is syslog's number of a level (syslog(3)).
func priority(l logrus.Level) int {
	switch l {
	case logrus.PanicLevel, logrus.FatalLevel:
		return 2
	case logrus.ErrorLevel:
		return 3
	case logrus.WarnLevel:
		return 4
	case logrus.InfoLevel:
		return 6
	}
	return 7
}
