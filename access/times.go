package access

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Times are spans of the day, made by [ParseTimes]. Empty: always.
type Times []daySpan

// daySpan is from begin, inclusive, to end, exclusive, in minutes of the wall
// clock since midnight. They differ; an end before the begin is on the next day.
type daySpan struct {
	begin int // 0 to 1439
	end   int // 0 to 1440
}

const minutesOfDay = 24 * 60

// ParseTimes reads spans such as 08:00-18:00, separated by blanks or commas. One
// that ends before it begins passes midnight (22:00-06:00); 24:00 is the end of
// the day. No text is no Times.
//
// Its errors name the word; they do not know the setting.
func ParseTimes(text string) (Times, error) {
	list, err := words(text)
	if err != nil {
		return nil, err
	}
	var t Times
	for _, word := range list {
		from, to, _ := strings.Cut(word, "-")
		begin, ok1 := parseClock(from)
		end, ok2 := parseClock(to)
		switch {
		case !ok1 || !ok2 || begin == minutesOfDay:
			return nil, fmt.Errorf("%.60q is no span of the day; want one such as 08:00-18:00, from 00:00 to 24:00", word)
		case begin == end:
			return nil, fmt.Errorf("%.60q ends when it begins; write 00:00-24:00 for the whole day", word)
		}
		t = append(t, daySpan{begin: begin, end: end})
	}
	return t, nil
}

// Contains tells whether t is within one of the spans, or there are none. It is
// the wall clock in t's own location that counts, which is the machine's for
// [time.Now]: on a day that changes the clock a span is longer or shorter by
// that.
func (t Times) Contains(at time.Time) bool {
	hour, minute, _ := at.Clock()
	minute += hour * 60
	for _, s := range t {
		after, before := s.begin <= minute, minute < s.end
		if after && before || s.end < s.begin && (after || before) {
			return true
		}
	}
	return len(t) == 0
}

// String writes the spans as ParseTimes reads them.
func (t Times) String() string {
	var b strings.Builder
	for i, s := range t {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%02d:%02d-%02d:%02d", s.begin/60, s.begin%60, s.end/60, s.end%60)
	}
	return b.String()
}

// parseClock reads hours and minutes, 8:00 or 08:00, up to 24:00.
func parseClock(s string) (minutes int, ok bool) {
	hourText, minuteText, _ := strings.Cut(s, ":")
	hour, err1 := strconv.ParseUint(hourText, 10, 8)
	minute, err2 := strconv.ParseUint(minuteText, 10, 8)
	minutes = int(hour)*60 + int(minute)
	ok = err1 == nil && err2 == nil && len(hourText) <= 2 && len(minuteText) == 2 && minute < 60 && minutes <= minutesOfDay
	return minutes, ok
}
