package config

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	day   = 24 * time.Hour
	year  = 365*day + 6*time.Hour // 365.25 days, systemd.time(7)
	month = year / 12             // which that page rounds to 30.44 days
)

// units are the names of systemd.time(7), and its "ns" for what is shorter than
// systemd's own settings can say. A bare number is seconds.
var units = map[string]time.Duration{
	"ns": time.Nanosecond, "nsec": time.Nanosecond,
	"us": time.Microsecond, "usec": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond,
	"ms": time.Millisecond, "msec": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second, "": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": day, "day": day, "days": day,
	"w": 7 * day, "week": 7 * day, "weeks": 7 * day,
	"M": month, "month": month, "months": month,
	"y": year, "year": year, "years": year,
}

var errTooLong = errors.New("too long; the longest is 292y, or write infinity")

// ParseSpan reads a time span as systemd.time(7) has it: "500ms", "2min 30s",
// "1.5h"; a bare number is seconds, and what is said is added up. "infinity",
// or "never", is [Never]. What is shorter than 1 ns is dropped. The span is
// never negative; one of 292 years or more is an error.
func ParseSpan(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	switch rest {
	case "":
		return 0, errors.New("empty time span; want a number and a unit, such as 30s")
	case "infinity", "never":
		return Never, nil
	}
	var sum time.Duration
	for rest != "" {
		d, after, err := spanPart(rest)
		if err == nil && d >= Never-sum {
			err = errTooLong
		}
		if err != nil {
			return 0, fmt.Errorf("time span %.60q: %w", s, err)
		}
		sum += d
		rest = strings.TrimSpace(after)
	}
	return sum, nil
}

// spanPart reads one number with its unit and returns what follows it.
func spanPart(s string) (d time.Duration, rest string, err error) {
	if s[0] == '-' {
		return 0, "", errors.New("cannot be negative")
	}
	number, rest := leading(s, func(r rune) bool { return '0' <= r && r <= '9' || r == '.' })
	whole, fraction, dot := strings.Cut(number, ".")
	switch {
	case number == "":
		return 0, "", fmt.Errorf("want a number before %.60q", s)
	case strings.Contains(fraction, ".") || dot && fraction == "":
		return 0, "", fmt.Errorf("%.60q is not a number", number)
	}
	name, rest := leading(strings.TrimSpace(rest), unicode.IsLetter)
	unit, ok := units[name]
	if !ok {
		return 0, "", fmt.Errorf("unknown unit %.60q; want us, ms, s, min, h, d, w, month or y", name)
	}
	d, err = times(whole, fraction, unit)
	return d, rest, err
}

// times multiplies a decimal number, given as the digits before and after its
// point, with a unit.
func times(whole, fraction string, unit time.Duration) (time.Duration, error) {
	n, err := strconv.ParseUint("0"+whole, 10, 64)
	if err != nil {
		return 0, errTooLong
	}
	over, low := bits.Mul64(n, uint64(unit))
	if over != 0 || low >= uint64(Never) {
		return 0, errTooLong
	}
	d := time.Duration(low)
	for _, digit := range fraction {
		unit /= 10
		d += time.Duration(digit-'0') * unit
		if d < 0 {
			return 0, errTooLong
		}
	}
	return d, nil
}

// leading cuts s behind the runes that belong.
func leading(s string, belongs func(rune) bool) (head, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool { return !belongs(r) })
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// FormatSpan writes d, which is 0 or more, as [ParseSpan] reads it: "2min 30s",
// "0", "infinity".
func FormatSpan(d time.Duration) string {
	switch d {
	case 0:
		return "0"
	case Never:
		return "infinity"
	}
	var parts []string
	for _, name := range []string{"d", "h", "min", "s", "ms", "us", "ns"} {
		if n := d / units[name]; n > 0 {
			parts = append(parts, strconv.FormatInt(int64(n), 10)+name)
			d %= units[name]
		}
	}
	return strings.Join(parts, " ")
}
