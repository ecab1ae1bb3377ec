package observe

import (
	"bytes"
	"fmt"
	"io"
	"slices"

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
		fmt.Fprintf(&b, " %s=%v", key, e.Data[key])
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
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
