package observe

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Format is how entries of the log are written.
type Format string

// The formats.
const (
	FormatAuto    Format = "auto"    // to the journal if stderr leads there, else text
	FormatText    Format = "text"    // lines for people, in colours on a terminal
	FormatJSON    Format = "json"    // one object a line
	FormatJournal Format = "journal" // to the journal, wherever stderr leads
)

// Options say where the log goes, and how much of it. A word that is unknown
// counts as the default: who reads settings refuses it.
type Options struct {
	Out       io.Writer // stderr
	IsJournal bool      // Out leads to the journal (JOURNAL_STREAM, systemd.exec(5))
	Format    Format    // "": FormatAuto
	Level     string    // the least that is told: error, warning, info or debug; "": info
	Instance  string    // the name behind the @ of our unit; "": it has none
}

// levels are the words of Options.Level.
var levels = map[string]logrus.Level{
	"error": logrus.ErrorLevel, "warning": logrus.WarnLevel, "info": logrus.InfoLevel, "debug": logrus.DebugLevel,
}

// NewLog makes the logger.
func NewLog(o Options) *logrus.Logger {
	level, known := levels[o.Level]
	if !known {
		level = logrus.InfoLevel
	}
	d := &delivery{out: o.Out, stream: o.IsJournal, instance: clean(o.Instance)}
	d.write = lines{bare: o.IsJournal, colours: !o.IsJournal && coloured(o.Out)}.write
	switch o.Format {
	case FormatText:
	case FormatJSON:
		d.write = d.writeJSON
	case FormatJournal:
		d.native = true
	default:
		d.native = o.IsJournal
	}
	return newLogger(level, logrus.LevelHooks{}, d)
}

// newLogger makes a logger whose hooks do all the work.
func newLogger(level logrus.Level, hooks logrus.LevelHooks, more ...logrus.Hook) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetFormatter(nothing{})
	log.SetLevel(level)
	log.ReplaceHooks(hooks)
	for _, hook := range more {
		log.AddHook(hook)
	}
	return log
}

// nothing is the format of a logger that writes nothing itself.
type nothing struct{}

// Format implements logrus.Formatter.
func (nothing) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// delivery brings each entry to its place. It is a hook and no Formatter, since
// the journal takes fields, not bytes.
type delivery struct {
	out      io.Writer
	write    func(*logrus.Entry) []byte // makes a line of an entry, with its end
	stream   bool                       // out leads to the journal, which reads a line's priority off its head (sd-daemon(3), "<6>")
	native   bool                       // entries go to the journal themselves, and to out only if it refuses them
	instance string                     // "": none

	mu sync.Mutex // one entry after the other
}

// Levels implements logrus.Hook.
func (*delivery) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook. What the journal does not take, for it is gone
// or the entry is too large for it, is a line of out.
func (d *delivery) Fire(e *logrus.Entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.native && journal.Send(message(e), priority(e.Level), journalFields(e, d.instance)) == nil {
		return nil
	}
	line := d.write(e)
	if d.stream {
		line = append(fmt.Appendf(nil, "<%d>", priority(e.Level)), line...)
	}
	_, err := d.out.Write(line)
	return err
}

// priority is syslog's number of a level (syslog(3)).
func priority(l logrus.Level) journal.Priority {
	switch l {
	case logrus.PanicLevel, logrus.FatalLevel:
		return journal.PriCrit
	case logrus.ErrorLevel:
		return journal.PriErr
	case logrus.WarnLevel:
		return journal.PriWarning
	case logrus.InfoLevel:
		return journal.PriInfo
	}
	return journal.PriDebug
}

// coloured tells whether what is written there is seen on a terminal that
// shows colours, and whose owner wants them (no-color.org).
func coloured(out io.Writer) bool {
	file, is := out.(syscall.Conn)
	if !is || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	terminal := false
	err = raw.Control(func(fd uintptr) {
		_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		terminal = err == nil
	})
	return err == nil && terminal
}
