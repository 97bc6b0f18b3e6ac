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
// Unix seconds. Every date is parsed here: the origin's, where an invalid one means the
// past (RFC 9111 section 5.3), and those of conditions, which are ignored if invalid.
//
// The form is exact, but for the case of names, of which a cache takes any (RFC 9111
// section 4.2), and space around it. The zone is GMT. The name of the day must be one,
// but need not be that of the date. Years of two digits from 69 are of the 20th century,
// as in package time; leap seconds are refused, as there.
//
// Hot path: zero allocations for what has the form of a date, guarded by TestAssessAllocs.
func ParseDate(v []byte) (unix int64, ok bool) {
	v = trimOWS(v)
	_, rest, _ := bytes.Cut(v, []byte(", "))
	var layout string
	switch {
	case matches(rest, "00 xxx 0000 00:00:00 gmt"):
		layout = "Mon, 02 Jan 2006 15:04:05"
	case matches(rest, "00-xxx-00 00:00:00 gmt"): // RFC 850
		layout = "Monday, 02-Jan-06 15:04:05"
	case matches(v, "xxx xxx _0 00:00:00 0000"):
		t, err := time.Parse(time.ANSIC, string(v))
		return t.Unix(), err == nil
	default:
		return 0, false
	}
	// The zone, which package time wants in capitals, has been seen.
	t, err := time.Parse(layout, string(v[:len(v)-len(" GMT")]))
	return t.Unix(), err == nil
}

// matches tells whether v has the form of pattern, where 0 is a digit, _ a digit or a
// space, x any byte, and another letter that letter in any case.
func matches(v []byte, pattern string) bool {
	if len(v) != len(pattern) {
		return false
	}
	for i, c := range v {
		switch p := pattern[i]; {
		case p == 'x', p == '_' && c == ' ':
		case p == '0', p == '_':
			if c < '0' || c > '9' {
				return false
			}
		case c != p && (p < 'a' || c|0x20 != p):
			return false
		}
	}
	return true
}
