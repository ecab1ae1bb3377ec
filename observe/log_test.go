package observe

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

var at = time.Date(2026, 2, 3, 4, 5, 6, 7_800_000, time.UTC)

// written is what a log with these options gets for one entry.
func written(o Options, level logrus.Level, message string, f fields) string {
	var out bytes.Buffer
	o.Out = &out
	NewLog(o).WithTime(at).WithFields(f).Log(level, message)
	return out.String()
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		name           string
		level          logrus.Level
		message        string
		fields         fields
		stream, byHand string // what the journal's stream gets, and any other file
	}{
		{"info", logrus.InfoLevel, "served", nil,
			"<6>served", "04:05:06.007 served"},
		{"warning", logrus.WarnLevel, "refused", nil,
			"<4>refused", "04:05:06.007 warning: refused"},
		{"error", logrus.ErrorLevel, "cannot start", nil,
			"<3>cannot start", "04:05:06.007 error: cannot start"},
		{"fatal", logrus.FatalLevel, "gone", nil,
			"<2>gone", "04:05:06.007 fatal: gone"},
		{"debug", logrus.DebugLevel, "looked", nil,
			"<7>looked", "04:05:06.007 looked"},
		{"fields as people read them", logrus.InfoLevel, "x", fields{keyPID: 7, keyClient: "[::1]:9", keyBytesIn: uint64(3), keyWait: 1500 * time.Microsecond},
			"<6>x client=[::1]:9 waited=1.5ms in=3 pid=7", "04:05:06.007 x client=[::1]:9 waited=1.5ms in=3 pid=7"},
		{"fields that the sentence says", logrus.InfoLevel, "x", fields{keyReason: "y", keyOutcome: "left", keyOthers: uint64(3), keyEvent: &sessionEnds},
			"<6>x", "04:05:06.007 x"},
		{"values that need quotes", logrus.InfoLevel, "x", fields{keyClient: "", keySession: "two words", keyListener: `"`, keyPID: "k=v"},
			`<6>x client="" session="two words" listener="\"" pid="k=v"`, `04:05:06.007 x client="" session="two words" listener="\"" pid="k=v"`},
		{"a forged line", logrus.InfoLevel, "x\n<0>y\r", fields{keyClient: "/tmp/\n<0>z"},
			"<6>x�<0>y� client=/tmp/�<0>z", "04:05:06.007 x�<0>y� client=/tmp/�<0>z"},
		{"control characters", logrus.InfoLevel, "\x1b[2J\x00\x7f\u009b\u202e\u2028\ta", nil,
			"<6>�[2J�����\ta", "04:05:06.007 �[2J�����\ta"},
		{"not UTF-8", logrus.InfoLevel, "gr\xfc\xdfe, grüße", nil,
			"<6>gr��e, grüße", "04:05:06.007 gr��e, grüße"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for isJournal, want := range map[bool]string{true: tt.stream, false: tt.byHand} {
				o := Options{IsJournal: isJournal, Format: FormatText, Level: "debug"}
				if got := written(o, tt.level, tt.message, tt.fields); got != want+"\n" {
					t.Errorf("journal %v: got %q\nwant %q", isJournal, got, want+"\n")
				}
			}
		})
	}
}

func TestJSON(t *testing.T) {
	f := fields{keyEvent: &sessionEnds, keyClient: "/tmp/<a>\u202e\"", keySession: uint64(5), keyWait: 1500 * time.Microsecond, keyBytesIn: uint64(1) << 60}
	const want = `{"time":"2026-02-03T04:05:06.0078Z","level":"warning","event":"session-end","message":"left: �",` +
		`"client":"/tmp/<a>�\"","session":5,"wait_usec":1500,"bytes_in":1152921504606846976,"instance":"shop"}` + "\n"
	if got := written(Options{Format: FormatJSON, Instance: "shop"}, logrus.WarnLevel, "left: \n", f); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	got := written(Options{Format: FormatJSON, IsJournal: true}, logrus.WarnLevel, "x", nil)
	line, has := strings.CutPrefix(got, "<4>")
	if !has || !json.Valid([]byte(line)) {
		t.Errorf("the journal's stream gets %q, want a priority and an object", got)
	}
}

func TestLevel(t *testing.T) {
	for level, want := range map[string]string{"error": "e", "warning": "ew", "info": "ewi", "": "ewi", "debug": "ewid"} {
		var got strings.Builder
		for _, l := range []logrus.Level{logrus.ErrorLevel, logrus.WarnLevel, logrus.InfoLevel, logrus.DebugLevel} {
			if written(Options{Level: level}, l, "x", nil) != "" {
				got.WriteByte(l.String()[0])
			}
		}
		if got.String() != want {
			t.Errorf("level %q tells %q, want %q", level, got.String(), want)
		}
	}
}

func TestColours(t *testing.T) {
	e := &logrus.Entry{Time: at, Level: logrus.ErrorLevel, Message: "cannot", Data: fields{keyPID: 7}}
	const want = faint + "04:05:06.007" + reset + " " + red + "error:" + reset + " cannot" + faint + " pid=7" + reset + "\n"
	if got := string(lines{colours: true}.write(e)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	terminal := openTerminal(t)
	if !coloured(terminal) {
		t.Error("no colours on a terminal")
	}
	if coloured(&bytes.Buffer{}) {
		t.Error("colours in a buffer")
	}
	if file, err := os.Create(t.TempDir() + "/log"); err != nil || coloured(file) {
		t.Errorf("colours in a file (%v)", err)
	}
	t.Setenv("TERM", "dumb")
	if coloured(terminal) {
		t.Error("colours on a dumb terminal")
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if coloured(terminal) {
		t.Error("colours in spite of NO_COLOR")
	}
}

// openTerminal opens the master of a new pseudoterminal, which is a terminal
// itself (pty(7)).
func openTerminal(t *testing.T) *os.File {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                              "0s",
		1499 * time.Nanosecond:         "1µs",
		123456 * time.Nanosecond:       "123µs",
		12345678 * time.Nanosecond:     "12.35ms",
		1234567890 * time.Nanosecond:   "1.23s",
		90*time.Minute + time.Second/3: "1h30m0.33s",
	} {
		if got := short(d); got != want {
			t.Errorf("%d ns: got %s, want %s", d, got, want)
		}
	}
}
