package config

import (
	"strings"
	"testing"
	"time"
)

// What is accepted here and what is refused was held against
// "systemd-analyze timespan"; ours alone are never, ns, and the upper bound.
func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0":                     0,
		"50":                    50 * time.Second,
		"500ms":                 500 * time.Millisecond,
		"2min 30s":              150 * time.Second,
		"2 h":                   2 * time.Hour,
		"1h30m":                 90 * time.Minute,
		"300ms20s 5day":         5*24*time.Hour + 20*time.Second + 300*time.Millisecond,
		"1y 12month":            2 * year,
		"1w":                    7 * 24 * time.Hour,
		"1M":                    2629800 * time.Second,
		"1.5":                   1500 * time.Millisecond,
		".5s":                   500 * time.Millisecond,
		"1.5h":                  90 * time.Minute,
		"1 2s":                  3 * time.Second,
		"1sec2":                 3 * time.Second,
		"5µs":                   5 * time.Microsecond,
		"5 μs":                  5 * time.Microsecond,
		"1.9ns":                 1,
		" 1s ":                  time.Second,
		"infinity":              Never,
		" infinity ":            Never,
		"never":                 Never,
		"9223372036854775806ns": Never - 1,
		"292y":                  292 * year,
	} {
		if got, err := ParseSpan(text); got != want || err != nil {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseSpanRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "empty time span",
		"  ":                     "empty time span",
		"-1s":                    "negative",
		"1s -1s":                 "negative",
		"s":                      "want a number before \"s\"",
		"5 s s":                  "want a number before \"s\"",
		"+5s":                    "want a number",
		"0x10":                   "unknown unit \"x\"",
		"5.":                     "\"5.\" is not a number",
		"3.sec":                  "\"3.\" is not a number",
		"1.5.5s":                 "\"1.5.5\" is not a number",
		"1,5s":                   "want a number before \",5s\"",
		"1_0s":                   "want a number",
		"1S":                     "unknown unit \"S\"",
		"5 parsecs":              "unknown unit \"parsecs\"",
		"infinity 1s":            "want a number",
		"1s infinity":            "want a number",
		"Infinity":               "want a number",
		"9223372036854775807ns":  "too long",
		"293y":                   "too long",
		"200y 200y":              "too long",
		"18446744073709551616":   "too long",
		"9223372036.854775807":   "too long",
		"18446744074":            "too long", // just over 2^64 ns
		"9223372036.9":           "too long",
		"99999999999999999999ns": "too long",
	} {
		got, err := ParseSpan(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestFormatSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0",
		1:                       "1ns",
		500 * time.Millisecond:  "500ms",
		30 * time.Second:        "30s",
		90 * time.Minute:        "1h 30min",
		36 * time.Hour:          "1d 12h",
		1500 * time.Microsecond: "1ms 500us",
		Never:                   "infinity",
	} {
		if got := FormatSpan(d); got != want {
			t.Errorf("%d: got %q, want %q", d, got, want)
		}
	}
}

func FuzzSpan(f *testing.F) {
	for _, seed := range []string{"500ms", "2min 30s", "1.5h", "infinity", "292y 5M", ".000000001", "1.", "9223372036.854775807", "-1", "5µs"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseSpan(text)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q: negative span %d", text, d)
		}
		if again, err := ParseSpan(FormatSpan(d)); again != d || err != nil {
			t.Errorf("%q is %d, written %q, read again %d, %v", text, d, FormatSpan(d), again, err)
		}
	})
}
