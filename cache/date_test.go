package cache

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	for value, want := range map[string]int64{
		sentDate:                            784111777, // the three examples of RFC 9110, 5.6.7
		"Sunday, 06-Nov-94 08:49:37 GMT":    784111777,
		"Sun Nov  6 08:49:37 1994":          784111777,
		"sun, 06 nov 1994 08:49:37 gmt":     784111777,
		" Sun, 06 Nov 1994 08:49:37 GMT\t":  784111777,
		"Mon, 06 Nov 1994 08:49:37 GMT":     784111777, // not a Monday: harmless
		"WEDNESDAY, 06-nov-94 08:49:37 gmt": 784111777,
		"Sun Nov 16 08:49:37 1994":          784111777 + 10*86400,
		"Thu, 01 Jan 1970 00:00:00 GMT":     0,
		"Wed, 31 Dec 1969 23:59:59 GMT":     -1,
		"Wednesday, 31-Dec-69 23:59:59 GMT": -1,
		"Tue, 29 Feb 2000 00:00:00 GMT":     951782400,
		"Sat Feb 29 00:00:00 2020":          1582934400,
		"Sunday, 06-Nov-68 08:49:37 GMT":    3119417377,
		"Thursday, 06-Nov-69 08:49:37 GMT":  -4806623,
		"Sat, 01 Jan 0000 00:00:00 GMT":     -62167219200,
		"Fri, 31 Dec 9999 23:59:59 GMT":     253402300799,
	} {
		if got, ok := ParseDate([]byte(value)); !ok || got != want {
			t.Errorf("%q: %d %v, want %d", value, got, ok, want)
		}
	}
	for _, bad := range []string{
		// Dates that package time reads, and RFC 9110 does not have.
		"Sat, 28 Nov 2026 15:16:03 UTC", "Sat, 28 Nov 2026 5:16:03 GMT", "Sat, 28  Nov 2026 15:16:03 GMT", "Sat,  28 Nov 2026 15:16:03 GMT",
		"Sat, 8 Nov 2026 15:16:03 GMT", "Sat Nov 28  15:16:03 2026", "Sat Nov 28 5:16:03 2026", "Sat Nov 8 15:16:03 2026", "Saturday, 8-Nov-26 15:16:03 GMT",
		"Saturday, 28-Nov-26 5:16:03 GMT", "Saturday,  28-Nov-26 15:16:03 GMT", "Sat, 28 Nov 2026 15:16:03.5 GMT", "Sat, 28 Nov 2026 15:16:03 gmt+1",
		"-1", "now", "784111777", "1994-11-06T08:49:37Z", strings.Repeat("Sun, ", 20), strings.Repeat(",", 29), "Sun, 06 Nov 1994 08:49:37GMT ",
		"Sun, 6 Nov 94 08:49:37 GMT", "Someday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994 GMT", "SUN, 06 NOV 1994 08:49:37 UTC", "WEDNESDAY, 06-nov-94 08:49:37 utc",
		"", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 +0000",
		"Son, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:60 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 31 Nov 1994 08:49:37 GMT", "Wed, 29 Feb 1900 12:00:00 GMT", "Sun, 29 Feb 2023 12:00:00 GMT",
		"Sun, 06-Nov 1994 08:49:37 GMT", "Sun, 06 Nov-1994 08:49:37 GMT", "Sun,006 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08.49.37 GMT", "Sun, 06 Nov 199x 08:49:37 GMT", "Sun, x6 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 x8:49:37 GMT", "Sun, 06 Nov 1994 08:x9:37 GMT", "Sun, 06 Nov 1994 08:49:3x GMT",
		"Sun, 06 Nov 1994 08:49:37 GMTx", "Sun, 06 Jab 1994 08:49:37 GMT",
		"Sun Nov  6 08:49:37 94  ", "Sun Nov -6 08:49:37 1994", "Sun Nov 6  08:49:37 1994", "Sun Nov  6 08:49:37.1994",
		"Sun,Nov  6 08:49:37 1994", "Sunday, 06 Nov 94 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 EST",
		"Sun, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunday, 06-Nov-x4 08:49:37 GMT",
		"Sun, 06 Nov 1994x08:49:37 GMT", "Sunday: 06-Nov-94 08:49:37 GMT  ", "-un, 06 Nov -994 08:49:37 GMT",
	} {
		if got, ok := ParseDate([]byte(bad)); ok {
			t.Errorf("%q was taken as %d", bad, got)
		}
	}
}

func TestDateAgainstTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	forms := []struct {
		layout   string
		from, to int // years
	}{
		{http.TimeFormat, 0, 10000}, {time.ANSIC, 0, 10000}, {"Monday, 02-Jan-06 15:04:05 GMT", 1969, 2069},
	}
	for range 10000 {
		f := forms[rng.IntN(len(forms))]
		first := time.Date(f.from, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
		unix := first + rng.Int64N(time.Date(f.to, 1, 1, 0, 0, 0, 0, time.UTC).Unix()-first)
		v := time.Unix(unix, 0).UTC().Format(f.layout)
		if got, ok := ParseDate([]byte(v)); !ok || got != unix {
			t.Fatalf("%q: %d, %v; want %d", v, got, ok, unix)
		}
		if got := AppendDate([]byte("x"), unix); string(got) != "x"+time.Unix(unix, 0).UTC().Format(http.TimeFormat) {
			t.Fatalf("%d became %q", unix, got)
		}
		// One byte changed: what is still taken must be what package time reads.
		b := []byte(v)
		b[rng.IntN(len(b))] = " ,:-0123456789JanGMTx"[rng.IntN(21)]
		if got, ok := ParseDate(b); ok {
			if want, err := time.Parse(f.layout, strings.TrimSpace(string(b))); err != nil || want.Unix() != got {
				t.Fatalf("%q was taken as %d, package time says %d, %v", b, got, want.Unix(), err)
			}
		}
	}
}
