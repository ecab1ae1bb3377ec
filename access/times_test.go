package access

import (
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the clock changes where there is no /usr/share/zoneinfo, too
)

func TestTimes(t *testing.T) {
	for _, tt := range []struct {
		text     string
		written  string // as String has it; "": as text
		in, out  string // clocks
		isAlways bool
	}{
		{text: "", in: "00:00 12:00 23:59", isAlways: true},
		{text: "08:00-18:00", in: "08:00 17:59", out: "07:59 18:00 00:00"},
		{text: "8:00-9:30", written: "08:00-09:30", in: "08:00 09:29", out: "09:30"},
		{text: "08:00-12:00 13:00-18:00", in: "11:59 13:00", out: "12:00 12:59"},
		{text: "08:00-12:00,13:00-18:00", written: "08:00-12:00 13:00-18:00", in: "11:59", out: "12:00"},
		{text: "22:00-06:00", in: "22:00 23:59 00:00 05:59", out: "06:00 21:59 12:00"},
		{text: "22:00-24:00", in: "22:00 23:59", out: "00:00 21:59"},
		{text: "22:00-00:00", in: "22:00 23:59", out: "00:00 21:59"},
		{text: "00:00-24:00", in: "00:00 12:00 23:59"},
		{text: "00:00-00:01", in: "00:00", out: "00:01 23:59"},
		{text: "23:59-24:00", in: "23:59", out: "23:58 00:00"},
		{text: "00:01-00:00", in: "00:01 23:59", out: "00:00"},
		{text: "08:00-18:00 12:00-20:00", in: "12:00 19:59", out: "20:00"},
	} {
		s := times(t, tt.text)
		for _, clock := range strings.Fields(tt.in) {
			if !s.Contains(clockOf(t, clock)) {
				t.Errorf("%q does not contain %s", tt.text, clock)
			}
		}
		for _, clock := range strings.Fields(tt.out) {
			if s.Contains(clockOf(t, clock)) {
				t.Errorf("%q contains %s", tt.text, clock)
			}
		}
		if want := tt.written; want != "" && s.String() != want || want == "" && s.String() != tt.text {
			t.Errorf("%q is written %q", tt.text, s)
		}
		if (len(s) == 0) != tt.isAlways {
			t.Errorf("%q: got %v", tt.text, s)
		}
	}
}

// clockOf is the last moment of a minute.
func clockOf(t *testing.T, clock string) time.Time {
	t.Helper()
	c, err := time.Parse("15:04", clock)
	if err != nil {
		t.Fatal(err)
	}
	return c.Add(time.Minute - 1)
}

func TestParseTimesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"08:00-08:00":       `"08:00-08:00" ends when it begins; write 00:00-24:00`,
		"00:00-00:00":       `"00:00-00:00" ends when it begins`,
		"24:00-24:00":       `"24:00-24:00" is no span`,
		"24:00-06:00":       `"24:00-06:00" is no span of the day; want one such as 08:00-18:00`,
		"08:00-24:01":       `"08:00-24:01" is no span`,
		"08:00-25:00":       `"08:00-25:00" is no span`,
		"08:60-18:00":       `"08:60-18:00" is no span`,
		"8-18":              `"8-18" is no span`,
		"08:00":             `"08:00" is no span`,
		"08:00-":            `"08:00-" is no span`,
		"-18:00":            `"-18:00" is no span`,
		"08:00-12:00-18:00": `"08:00-12:00-18:00" is no span`,
		"08:0-18:00":        `"08:0-18:00" is no span`,
		"008:00-18:00":      `"008:00-18:00" is no span`,
		"08:00:00-18:00":    `"08:00:00-18:00" is no span`,
		"+8:00-18:00":       `"+8:00-18:00" is no span`,
		"08:00–18:00":       `"08:00–18:00" is no span`,
		"08:00 - 18:00":     `"08:00" is no span`,
		"08:00-12:00 noon":  `"noon" is no span`,
		"08:00-12:00,":      "empty word beside a comma",
	} {
		if s, err := ParseTimes(text); err == nil || s != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want %q", text, s, err, want)
		}
	}
}

// On the days that change the clock it is what the clock on the wall shows that
// counts: in Berlin 02:00 to 03:00 is left out on 2026-03-29, and comes twice on
// 2026-10-25.
func TestTimesWhenTheClockChanges(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text string
		date time.Time
		want int // minutes of that day
	}{
		{"02:00-03:00", time.Date(2026, 3, 28, 0, 0, 0, 0, berlin), 60},
		{"02:00-03:00", time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), 0},
		{"02:00-03:00", time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), 120},
		{"08:00-18:00", time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), 600},
		{"08:00-18:00", time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), 600},
		{"22:00-06:00", time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), 420},
		{"00:00-24:00", time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), 1500},
	} {
		s, open := times(t, tt.text), 0
		for now := tt.date; now.Before(tt.date.AddDate(0, 0, 1)); now = now.Add(time.Minute) {
			if s.Contains(now) {
				open++
			}
		}
		if open != tt.want {
			t.Errorf("%s on %s: %d minutes, want %d", tt.text, tt.date.Format(time.DateOnly), open, tt.want)
		}
	}
}

// FuzzTimes checks that what is parsed says the same when it is written down and
// parsed again, and is open for as many minutes as its spans are long.
func FuzzTimes(f *testing.F) {
	for _, text := range []string{
		"", "08:00-18:00", "22:00-06:00,8:00-9:00", "00:00-24:00", "22:00-00:00", "24:00-06:00", "08:00-08:00", "0:00-0:01 ,",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseTimes(text)
		if err != nil {
			if s != nil {
				t.Fatalf("%q: %v with an error", text, s)
			}
			return
		}
		if again := times(t, s.String()); !slices.Equal(s, again) {
			t.Fatalf("%q: %v became %v", text, s, again)
		}
		var open [minutesOfDay]bool
		for _, span := range s {
			for m := span.begin; m%minutesOfDay != span.end%minutesOfDay || m == span.begin; m++ {
				open[m%minutesOfDay] = true
			}
		}
		for m, want := range open {
			if got := s.Contains(at(0, m)); got != (want || len(s) == 0) {
				t.Fatalf("%q: %02d:%02d is open: %v", text, m/60, m%60, got)
			}
		}
	})
}
