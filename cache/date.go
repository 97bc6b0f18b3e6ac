package cache

import (
	"bytes"
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
// Unix seconds. Every date is parsed here: of the origin, where one in no valid form means
// the past (RFC 9111 section 5.3), and of conditions, which are ignored with one.
//
// The form is exact, but for the case of names, of which a cache takes any (RFC 9111
// section 4.2), and space around it. The zone is GMT. The name of the day must be one,
// but need not be that of the date. Years of two digits from 69 are of the 20th century,
// as in package time; leap seconds are refused, as there.
//
// Hot path: zero allocations, guarded by TestAssessAllocs.
func ParseDate(v []byte) (unix int64, ok bool) {
	v = trimOWS(v)
	if len(v) < len(time.ANSIC) {
		return 0, false
	}
	switch {
	case len(v) == len(httpDate) && v[3] == ',':
		if !inNames(shortDays, v[:3]) || v[4] != ' ' || v[7] != ' ' || v[11] != ' ' || v[16] != ' ' || !isZone(v[25:]) {
			return 0, false
		}
		return unixTime(number4(v[12:16]), monthOf(v[8:11]), number2(v[5:7]), v[17:25])
	case len(v) == len(time.ANSIC):
		if !inNames(shortDays, v[:3]) || v[3] != ' ' || v[7] != ' ' || v[10] != ' ' || v[19] != ' ' {
			return 0, false
		}
		day := number2(v[8:10])
		if v[8] == ' ' {
			day = digit(v[9])
		}
		return unixTime(number4(v[20:24]), monthOf(v[4:7]), day, v[11:19])
	}
	return parseRFC850(v)
}

// parseRFC850 parses "Sunday, 06-Nov-94 08:49:37 GMT".
func parseRFC850(v []byte) (unix int64, ok bool) {
	day, rest, ok := bytes.Cut(v, []byte(", "))
	if !ok || !inNames(longDays, day) || len(rest) != len("06-Nov-94 08:49:37 GMT") {
		return 0, false
	}
	if rest[2] != '-' || rest[6] != '-' || rest[9] != ' ' || !isZone(rest[18:]) {
		return 0, false
	}
	year := number2(rest[7:9])
	switch {
	case year >= 69:
		year += 1900
	case year >= 0:
		year += 2000
	}
	return unixTime(year, monthOf(rest[3:6]), number2(rest[:2]), rest[10:18])
}

func isZone(v []byte) bool { return bytes.EqualFold(v, []byte(" GMT")) }

// Names in dates, a space after each.
const (
	shortDays  = "Mon Tue Wed Thu Fri Sat Sun "
	longDays   = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday "
	monthNames = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec "
)

func inNames(names string, name []byte) bool {
	for len(names) > 0 {
		n := 0
		for names[n] != ' ' {
			n++
		}
		if bytes.EqualFold(name, []byte(names[:n])) {
			return true
		}
		names = names[n+1:]
	}
	return false
}

// monthOf returns the month of a name of three letters, from 1; 0 if it is none.
func monthOf(name []byte) int {
	for m := range 12 {
		if bytes.EqualFold(name, []byte(monthNames[4*m:4*m+3])) {
			return m + 1
		}
	}
	return 0
}

// noNumber is what is no number; it stays negative in sums.
const noNumber = -1 << 20

func digit(c byte) int {
	if c < '0' || c > '9' {
		return noNumber
	}
	return int(c - '0')
}

func number2(b []byte) int { return 10*digit(b[0]) + digit(b[1]) }
func number4(b []byte) int { return 100*number2(b[:2]) + number2(b[2:4]) }

// daysBefore is the number of days before each month in a year without a leap
// day.
var daysBefore = [...]int{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365}

// unixTime returns Unix seconds; clock is "15:04:05".
func unixTime(year, month, day int, clock []byte) (unix int64, ok bool) {
	hour, minute, second := number2(clock[:2]), number2(clock[3:5]), number2(clock[6:8])
	if clock[2] != ':' || clock[5] != ':' || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, false
	}
	if year < 0 || month == 0 {
		return 0, false
	}
	leap := 0
	if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		leap = 1
	}
	length := daysBefore[month] - daysBefore[month-1]
	if month == 2 {
		length += leap
	}
	if day < 1 || day > length {
		return 0, false
	}
	// Leap days before this year, counted from year 0, which has one itself.
	past := (year+3)/4 - (year+99)/100 + (year+399)/400
	days := 365*year + past + daysBefore[month-1] + day - 1
	if month > 2 {
		days += leap
	}
	const epoch = 719528 // days from 0000-01-01 to 1970-01-01
	return int64(days-epoch)*86400 + int64(3600*hour+60*minute+second), true
}
