package gateway

import (
	"bytes"
	"time"
)

// preconditions are the conditional headers of a request, raw; nil: absent.
// Several lines of If-Match or If-None-Match are one value, joined by ", ". The
// values are borrowed from the request.
type preconditions struct {
	ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince, ifRange []byte
}

// empty tells whether no precondition is given; If-Range is none.
func (p *preconditions) empty() bool {
	return p.ifMatch == nil && p.ifNoneMatch == nil && p.ifModifiedSince == nil && p.ifUnmodifiedSince == nil
}

// verdict is what preconditions make of a GET or HEAD request.
type verdict uint8

const (
	proceed            verdict = iota
	notModified                // 304
	preconditionFailed         // 412
)

// evaluate applies the preconditions to an object that exists, in the order of
// RFC 9110 section 13.2.2. etag is the object's, quoted; empty if unknown.
// modified is its Last-Modified in Unix seconds; 0 or less if unknown.
//
// Dates that are none, or have nothing to be compared with, are ignored
// (sections 13.1.3, 13.1.4). A malformed list of tags matches nothing, so that
// a request is refused or answered in full, but never taken for one that the
// client did not make.
//
// Hot path: zero allocations, guarded by TestPreconditionAllocs.
func (p *preconditions) evaluate(etag []byte, modified int64) verdict {
	if p.ifMatch != nil {
		if !matchesTag(p.ifMatch, etag, true) {
			return preconditionFailed
		}
	} else if t, ok := parseHTTPDate(p.ifUnmodifiedSince); ok && modified > 0 && modified > t {
		return preconditionFailed
	}
	if p.ifNoneMatch != nil {
		if matchesTag(p.ifNoneMatch, etag, false) {
			return notModified
		}
	} else if t, ok := parseHTTPDate(p.ifModifiedSince); ok && modified > 0 && modified <= t {
		return notModified
	}
	return proceed
}

// ifRangeHolds tells whether a part may be sent to a client that has other
// parts of the object with validator v, RFC 9110 section 13.1.5: a strong tag
// that is the object's, or exactly its Last-Modified.
func ifRangeHolds(v, etag []byte, modified int64) bool {
	if tag, weak, ok := singleTag(v); ok {
		return !weak && bytes.Equal(tag, etag)
	}
	t, ok := parseHTTPDate(v)
	return ok && modified > 0 && t == modified
}

// matchesTag tells whether list, "*" or a list of entity tags, has etag, by
// strong or weak comparison (RFC 9110 section 8.8.3.2). A list with an error
// anywhere has nothing.
func matchesTag(list, etag []byte, strong bool) bool {
	list = trimOWS(list)
	if string(list) == "*" {
		return true
	}
	opaque, weak := bytes.CutPrefix(etag, []byte("W/"))
	found := false
	for len(list) > 0 {
		if list[0] == ',' || list[0] == ' ' || list[0] == '\t' {
			list = list[1:]
			continue
		}
		tag, tagWeak, rest, ok := cutTag(list)
		if !ok {
			return false
		}
		if bytes.Equal(tag, opaque) && !(strong && (weak || tagWeak)) {
			found = true
		}
		if rest = trimOWS(rest); len(rest) > 0 && rest[0] != ',' {
			return false
		}
		list = rest
	}
	return found
}

// tagBytes are the bytes between the quotes of an entity tag, RFC 9110 section
// 8.8.3.
var tagBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = c > ' ' && c != '"' && c != 0x7f
	}
	return t
}()

// cutTag takes one entity tag from the front of b; tag is without W/.
func cutTag(b []byte) (tag []byte, weak bool, rest []byte, ok bool) {
	b, weak = bytes.CutPrefix(b, []byte("W/"))
	if len(b) < 2 || b[0] != '"' {
		return nil, false, nil, false
	}
	i := 1
	for i < len(b) && tagBytes[b[i]] {
		i++
	}
	if i == len(b) || b[i] != '"' {
		return nil, false, nil, false
	}
	return b[:i+1], weak, b[i+1:], true
}

// singleTag returns the opaque tag, quotes included, if v is exactly one entity
// tag; weak tells whether it had the prefix W/. The tag aliases v.
func singleTag(v []byte) (tag []byte, weak, ok bool) {
	tag, weak, rest, ok := cutTag(trimOWS(v))
	if !ok || len(rest) > 0 {
		return nil, false, false
	}
	return tag, weak, true
}

// httpDate is the preferred form of a date, IMF-fixdate.
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// appendHTTPDate appends the preferred form of a date, RFC 9110 section 5.6.7.
func appendHTTPDate(dst []byte, unix int64) []byte {
	return time.Unix(unix, 0).UTC().AppendFormat(dst, httpDate)
}

// parseHTTPDate parses a date in any of the three forms of RFC 9110 section
// 5.6.7 and returns Unix seconds. The name of the day must be one, but need not
// be that of the date. Years of two digits from 69 are of the 20th century, as
// in package time; leap seconds are refused, as there.
//
// Hot path: zero allocations, guarded by TestPreconditionAllocs.
func parseHTTPDate(v []byte) (unix int64, ok bool) {
	if len(v) < len("Mon Jan _2 15:04:05 2006") {
		return 0, false
	}
	switch {
	case len(v) == len(httpDate) && v[3] == ',':
		if !inNames(shortDays, v[:3]) || v[4] != ' ' || v[7] != ' ' || v[11] != ' ' || v[16] != ' ' || string(v[25:]) != " GMT" {
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
	if rest[2] != '-' || rest[6] != '-' || rest[9] != ' ' || string(rest[18:]) != " GMT" {
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

// Names in dates, a space after each. They are sensitive to case.
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
		if string(name) == names[:n] {
			return true
		}
		names = names[n+1:]
	}
	return false
}

// monthOf returns the month of a name of three letters, from 1; 0 if it is none.
func monthOf(name []byte) int {
	for m := range 12 {
		if string(name) == monthNames[4*m:4*m+3] {
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
