package observe

import (
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

func TestFormat(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7_800_000, time.UTC)
	for _, tt := range []struct {
		name              string
		level             logrus.Level
		message           string
		fields            fields
		journal, terminal string
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
		{"fields in order", logrus.InfoLevel, "x", fields{"pid": 7, "client": "[::1]:9", "in": uint64(3)},
			"<6>x client=[::1]:9 in=3 pid=7", "04:05:06.007 x client=[::1]:9 in=3 pid=7"},
		{"values that need quotes", logrus.InfoLevel, "x", fields{"a": "", "b": "two words", "c": `"`, "d": "k=v"},
			`<6>x a="" b="two words" c="\"" d="k=v"`, `04:05:06.007 x a="" b="two words" c="\"" d="k=v"`},
		{"a forged line", logrus.InfoLevel, "x\n<0>y\r", fields{"client": "/tmp/\n<0>z"},
			"<6>x�<0>y� client=/tmp/�<0>z", "04:05:06.007 x�<0>y� client=/tmp/�<0>z"},
		{"control characters", logrus.InfoLevel, "\x1b[2J\x00\x7f\u009b\u202e\u2028\ta", nil,
			"<6>�[2J�����\ta", "04:05:06.007 �[2J�����\ta"},
		{"not UTF-8", logrus.InfoLevel, "gr\xfc\xdfe, grüße", nil,
			"<6>gr��e, grüße", "04:05:06.007 gr��e, grüße"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entry := &logrus.Entry{Time: at, Level: tt.level, Message: tt.message, Data: tt.fields}
			for journal, want := range map[bool]string{true: tt.journal, false: tt.terminal} {
				got, err := formatter{journal}.Format(entry)
				if err != nil || string(got) != want+"\n" {
					t.Errorf("journal %v: got %q, %v\nwant %q", journal, got, err, want+"\n")
				}
			}
		})
	}
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
