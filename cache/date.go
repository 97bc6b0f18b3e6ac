package cache

import (
	"bytes"
	"strings"
	"time"
)

// httpDate is the preferred form of a date, IMF-fixdate.
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// AppendDate appends the preferred form of a date, of Unix seconds (RFC 9110 section
// 5.6.7).
func AppendDate(dst []byte, unix int64) []byte {
	return time.Unix(unix, 0).UTC().AppendFormat(dst, httpDate)
}

// ParseDate parses a date in any of the three forms of RFC 9110 section 5.6.7 and returns
// Unix seconds. Every date is parsed here: the origin's, where an invalid one means the
// past (RFC 9111 section 5.3), and those of conditions, which are ignored if invalid.
//
// The form is exact, but for the case of names, of which a cache takes any (RFC 9111
// section 4.2), and space around it. The zone is GMT. The name of the day must be one,
// but need not be that of the date. Years of two digits from 69 are of the 20th century,
// as in package time; leap seconds are refused, as there.
//
// Hot path: zero allocations, guarded by TestAssessAllocs.
func ParseDate(v []byte) (unix int64, ok bool) {
	v = TrimOWS(v)
	if matches(v, "xxx, 00 xxx 0000 00:00:00 gmt") {
		return unixTime(v[:3], number(v[12:16]), v[8:11], v[5:7], v[17:25])
	}
	day, rest, _ := bytes.Cut(v, []byte(", "))
	switch {
	case matches(v, "xxx xxx _0 00:00:00 0000"): // asctime
		return unixTime(v[:3], number(v[20:]), v[4:7], v[8:10], v[11:19])
	case matches(rest, "00-xxx-00 00:00:00 gmt") && len(day) >= len("Sunday"): // RFC 850
		if n, _ := nameIndex(shortDays, day); !strings.EqualFold(time.Weekday(n).String(), string(day)) {
			return 0, false
		}
		year := 1900 + number(rest[7:9])
		if year < 1969 {
			year += 100
		}
		return unixTime(day, year, rest[3:6], rest[:2], rest[10:18])
	}
	return 0, false
}

// matches tells whether v has the form of pattern, where 0 is a digit, _ a digit or a
// space, x any byte, and another letter that letter in any case.
func matches(v []byte, pattern string) bool {
	if len(v) != len(pattern) {
		return false
	}
	for i, c := range v {
		p := pattern[i]
		switch d := c - p; { // how far c is above p
		case p == '0' && d <= 9, p == 'x', d == 0 && p != '_', p >= 'a' && c|0x20 == p:
		case p == '_' && (c == ' ' || '0' <= c && c <= '9'):
		default:
			return false
		}
	}
	return true
}

// Short names in dates, four bytes for each.
const (
	shortDays   = "sun mon tue wed thu fri sat"
	shortMonths = "jan feb mar apr may jun jul aug sep oct nov dec"
)

// nameIndex returns which of names the three letters of name are, in any case; ok is
// false for none.
func nameIndex(names string, name []byte) (i int, ok bool) {
	for a, b, c := name[0]|0x20, name[1]|0x20, name[2]|0x20; i < len(names); i += 4 {
		if names[i] == a && names[i+1] == b && names[i+2] == c {
			return i / 4, true
		}
	}
	return 0, false
}

// number returns the value of digits, of which a space counts as 0.
func number(digits []byte) (n int) {
	for _, c := range digits {
		n = 10*n + int(c&0x0f)
	}
	return n
}

// unixTime returns Unix seconds; clock is "15:04:05".
func unixTime(weekday []byte, year int, month, day, clock []byte) (unix int64, ok bool) {
	_, isDay := nameIndex(shortDays, weekday)
	m, isMonth := nameIndex(shortMonths, month)
	d, hour, minute, second := number(day), number(clock[:2]), number(clock[3:5]), number(clock[6:])
	if !isDay || !isMonth || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	t := time.Date(year, time.January+time.Month(m), d, hour, minute, second, 0, time.UTC)
	return t.Unix(), t.Day() == d // which 31 November is not
}
