package cache

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FuzzParseDate takes package time as the model: what it reads and writes back unchanged
// must be taken, but for case, and nothing may be taken that it reads otherwise.
func FuzzParseDate(f *testing.F) {
	for _, v := range []string{
		sentDate, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Tue, 29 Feb 2000 23:59:59 GMT", "sun, 29 FEB 2000 23:59:59 gmt",
		"Mon, 06 Nov 1994 24:00:60 UTC", "Sat, 28  Nov 2026 5:16:03 GMT", "0",
	} {
		f.Add(v)
	}
	layouts := []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC}
	f.Fuzz(func(t *testing.T, v string) {
		got, ok := ParseDate([]byte(v))
		plain := strings.Trim(v, " \t")
		if n := len(plain) - len("GMT"); n > 0 && strings.EqualFold(plain[n:], "GMT") {
			plain = plain[:n] + "GMT"
		}
		for _, layout := range layouts {
			want, err := time.Parse(layout, plain)
			if err != nil {
				continue
			}
			if ok && (got != want.Unix() || len(want.Format(layout)) != len(plain) && layout != layouts[1]) {
				t.Fatalf("%q: %d, package time says %d", v, got, want.Unix())
			}
			if !ok && want.Format(layout) == plain {
				t.Fatalf("%q is not taken", v)
			}
			return
		}
		if ok {
			t.Fatalf("%q is taken as %d, and no date to package time", v, got)
		}
	})
}

// assessNaive is the model of Assess, State and Apply together: what a request
// gets that comes after seconds after sent. Cache-Control and dates have models of
// their own.
func assessNaive(p Policy, status int, cc, expires, date, age, vary, request string, after int64) (Reason, State) {
	c, q := control(cc), control(request)
	switch {
	case status == 206:
		return ReasonPartial, Expired
	case status != 200 && (status != 404 || p.NegativeTTL <= 0):
		return ReasonStatus, Expired
	case c.NoStore:
		return ReasonNoStore, Expired
	case c.Private:
		return ReasonPrivate, Expired
	}
	for _, name := range strings.Split(vary, ",") {
		if name = strings.ToLower(strings.Trim(name, " \t")); name != "" && name != "origin" && name != "accept-encoding" {
			return ReasonVary, Expired
		}
	}

	lifetime := int64(-1)
	if expires != "-" {
		lifetime = 0
		if e, ok := ParseDate([]byte(expires)); ok {
			d, ok := ParseDate([]byte(date))
			if !ok {
				d = sent.Unix()
			}
			lifetime = min(max(e-d, 0), MaxSeconds)
		}
	}
	if c.MaxAge >= 0 {
		lifetime = c.MaxAge
	}
	if c.SMaxAge >= 0 {
		lifetime = c.SMaxAge
	}
	longest := int64(MaxSeconds)
	if p.MaxTTL > 0 {
		longest = int64(p.MaxTTL / time.Second)
	}
	lifetime = min(lifetime, longest)
	untilRevalidated, untilError := longest+int64(p.StaleWhileRevalidate/time.Second), longest+int64(p.StaleIfError/time.Second)
	whileRevalidate, ifError := int64(p.StaleWhileRevalidate/time.Second), int64(p.StaleIfError/time.Second)
	if lifetime == 0 {
		whileRevalidate = 0
	}
	if status == 404 {
		if negative := int64(p.NegativeTTL / time.Second); lifetime < 0 || lifetime > negative {
			lifetime = negative
		}
	}
	if lifetime < 0 {
		lifetime = min(int64(p.TTL/time.Second), longest)
	}
	if c.NoCache {
		lifetime = 0
	}
	if c.StaleWhileRevalidate >= 0 {
		whileRevalidate = c.StaleWhileRevalidate
	}
	if c.StaleIfError >= 0 {
		ifError = c.StaleIfError
	}
	mayStale := status == 200 && !c.NoCache && !c.MustRevalidate && !c.ProxyRevalidate && c.SMaxAge < 0

	received, ok := parseSeconds([]byte(strings.Trim(strings.Split(age, ",")[0], " \t")))
	if !ok {
		received = 0
	}
	staleness := received + max(after, 0) - lifetime // negative: still fresh
	wanted := !q.NoCache && (q.MaxAge < 0 || staleness+lifetime <= q.MaxAge) && (q.MinFresh < 0 || -staleness >= q.MinFresh)
	permitted := staleness < whileRevalidate && staleness+lifetime < untilRevalidated && q.MaxAge < 0 && q.MaxStale < 0
	accepted := q.MaxStale == MaxSeconds || staleness <= q.MaxStale
	switch {
	case wanted && staleness < 0:
		return Storable, Fresh
	case wanted && mayStale && (permitted || accepted):
		return Storable, StaleRevalidate
	case q.OnlyIfCached:
		return Storable, Refused
	case mayStale && staleness < ifError && ifError > 0 && lifetime < untilError && staleness+lifetime < untilError:
		return Storable, StaleError
	}
	return Storable, Expired
}

func FuzzAssess(f *testing.F) {
	add := func(cc, expires, age, vary, request string, after int32) {
		for _, status := range []int{200, 404, 206, 500} {
			f.Add(status, cc, expires, sentDate, age, vary, request, after, uint16(60), uint16(10), uint16(30), uint16(5), uint16(len(cc)*10))
		}
	}
	add("max-age=60, stale-while-revalidate=10, stale-if-error=30", "-", "5", "Origin", "max-stale=5", 65)
	add("", "Sun, 06 Nov 1994 08:51:37 GMT", "", "", "min-fresh=20", 110)
	add("no-cache", "0", "1, 2", "Cookie", "only-if-cached", 0)
	add("s-maxage=5, must-revalidate", "-", "x", ",", "no-cache, max-age=1", -5)
	add("max-age=0, private, no-store", "Sunday, 06-Nov-94 08:49:37 GMT", "-1", "*", "max-stale, max-age=99", 2147483647)
	f.Fuzz(checkAssess)
}

// TestAssessAgainstModel goes where the fuzzer seldom comes: many directives that
// are valid.
func TestAssessAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	list := func(names string) string {
		var v []string
		for _, name := range strings.Fields(names) {
			if rnd.IntN(4) == 0 {
				if strings.HasSuffix(name, "=") {
					name += strconv.Itoa(rnd.IntN(5) * 10)
				}
				v = append(v, name)
			}
		}
		return strings.Join(v, ", ")
	}
	small := func() uint16 { return uint16(rnd.IntN(5) * 10) }
	for range 30_000 {
		status := []int{200, 200, 200, 404, 404, 206, 503}[rnd.IntN(7)]
		cc := list("max-age= max-age= s-maxage= stale-while-revalidate= stale-if-error= public immutable")
		if rnd.IntN(3) == 0 {
			cc += ", " + pick("no-cache", "must-revalidate", "proxy-revalidate", "private", "no-store")
		}
		expires := pick("-", "-", "0", "Sun, 06 Nov 1994 08:49:57 GMT", "Sun Nov  6 08:49:47 1994")
		date := pick("", sentDate, "Sunday, 06-Nov-94 08:49:27 GMT")
		request := list("max-age= max-stale= max-stale min-fresh= no-cache only-if-cached no-store")
		checkAssess(t, status, cc, expires, date, pick("", "", "10", "20, 5"), pick("", "Origin", "Cookie"), request,
			int32(rnd.IntN(100)-5), small(), small(), small(), small(), small())
	}
}

// checkAssess compares Assess and Apply with the model. Expires is absent for "-".
func checkAssess(t *testing.T, status int, cc, expires, date, age, vary, request string, after int32, ttl, swr, sie, negative, longest uint16) {
	p := Policy{seconds(int64(ttl)), seconds(int64(swr)), seconds(int64(sie)), seconds(int64(negative)), seconds(int64(longest))}
	r := response(status, "Cache-Control: "+cc, "Date: "+date, "Age: "+age, "Vary: "+vary)
	if expires != "-" {
		r.AddField([]byte("Expires"), []byte(expires))
	}
	f, why := p.Assess(&r, sent)
	wantWhy, want := assessNaive(p, status, cc, expires, date, age, vary, request, int64(after))
	if why != wantWhy {
		t.Fatalf("%d %q: %v, the model says %v", status, cc, why, wantWhy)
	}
	q := control(request)
	if why != Storable {
		return
	}
	if got := Apply(&q, &f, sent.Add(seconds(int64(after)))); got != want {
		t.Fatalf("%d %q with %+v, Expires %q, Date %q, Age %q: %+v\nafter %d s to %q: state %v, the model says %v",
			status, cc, p, expires, date, age, f, after, request, got, want)
	}
}
