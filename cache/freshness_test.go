package cache

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// The times of the tests in this file. sentDate is that of sent.
const sentDate = "Sun, 06 Nov 1994 08:49:37 GMT"

var sent = time.Unix(784111777, 0)

// response makes a response of lines "name: value".
func response(status int, lines ...string) (r Response) {
	r.Reset(status)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.AddField([]byte(name), []byte(value))
	}
	return r
}

func TestAssessStorable(t *testing.T) {
	keep404 := Policy{TTL: time.Hour, NegativeTTL: time.Minute}
	for _, tc := range []struct {
		name   string
		policy Policy
		status int
		lines  []string
		want   Reason
	}{
		{"200", Policy{}, 200, nil, Storable},
		{"404 with a negative TTL", keep404, 404, nil, Storable},
		{"404 without one", Policy{TTL: time.Hour}, 404, nil, ReasonStatus},
		{"404 with a negative TTL below 0", Policy{NegativeTTL: -1}, 404, nil, ReasonStatus},
		{"206", keep404, 206, nil, ReasonPartial},
		{"206 with a Content-Range", keep404, 206, []string{"Content-Range: bytes 0-1/2"}, ReasonPartial},
		{"200 with a Content-Range", keep404, 200, []string{"content-range: bytes 0-1/2"}, ReasonPartial},
		{"404 with a Content-Range", keep404, 404, []string{"Content-Range: bytes */2"}, ReasonPartial},
		{"no status", keep404, 0, nil, ReasonStatus},
		{"203", keep404, 203, nil, ReasonStatus},
		{"204", keep404, 204, nil, ReasonStatus},
		{"301", keep404, 301, nil, ReasonStatus},
		{"304", keep404, 304, []string{"Cache-Control: public, max-age=60"}, ReasonStatus},
		{"307", keep404, 307, nil, ReasonStatus},
		{"403", keep404, 403, nil, ReasonStatus},
		{"410", keep404, 410, []string{"Cache-Control: public, max-age=60"}, ReasonStatus},
		{"416", keep404, 416, nil, ReasonStatus},
		{"500", keep404, 500, nil, ReasonStatus},
		{"503", keep404, 503, nil, ReasonStatus},

		{"no-store", keep404, 200, []string{"Cache-Control: no-store"}, ReasonNoStore},
		{"no-store in a second line", keep404, 200, []string{"Cache-Control: max-age=60", "cache-control: no-store"}, ReasonNoStore},
		{"404 with no-store", keep404, 404, []string{"Cache-Control: no-store"}, ReasonNoStore},
		{"private", keep404, 200, []string{"Cache-Control: private, max-age=60"}, ReasonPrivate},
		{"private with fields", keep404, 200, []string{`Cache-Control: private="X-A", max-age=60`}, ReasonPrivate},
		{"private and public", keep404, 200, []string{"Cache-Control: public, private"}, ReasonPrivate},
		{"Set-Cookie", keep404, 200, []string{"Set-Cookie: a=b"}, ReasonSetCookie},
		{"empty Set-Cookie", keep404, 200, []string{"set-cookie: "}, ReasonSetCookie},
		{"Set-Cookie on what is public", keep404, 200, []string{"Cache-Control: public", "Set-Cookie: a=b"}, ReasonSetCookie},
		{"no-store comes before private", keep404, 200, []string{"Cache-Control: private, no-store", "Set-Cookie: a=b", "Vary: *"}, ReasonNoStore},

		{"Vary: Origin", keep404, 200, []string{"Vary: Origin"}, Storable},
		{"Vary: Accept-Encoding in another case", keep404, 200, []string{"VARY: accept-ENCODING"}, Storable},
		{"Vary: both in a list", keep404, 200, []string{"Vary: ,Origin\t,, Accept-Encoding ,"}, Storable},
		{"Vary: both in two lines", keep404, 200, []string{"Vary: Origin", "Vary: Accept-Encoding"}, Storable},
		{"Vary: nothing", keep404, 200, []string{"Vary: "}, Storable},
		{"Vary: any", keep404, 200, []string{"Vary: *"}, ReasonVary},
		{"Vary: any in a list", keep404, 200, []string{"Vary: Origin, *"}, ReasonVary},
		{"Vary: another field", keep404, 200, []string{"Vary: Accept"}, ReasonVary},
		{"Vary: another field in a list", keep404, 200, []string{"Vary: Accept-Encoding, Cookie"}, ReasonVary},
		{"Vary: another field in the first line", keep404, 200, []string{"Vary: Cookie", "Vary: Origin"}, ReasonVary},
		{"Vary: a field that begins alike", keep404, 200, []string{"Vary: Origins"}, ReasonVary},
		{"Vary: quoted", keep404, 200, []string{`Vary: "Origin"`}, ReasonVary},
		{"404 with Vary", keep404, 404, []string{"Vary: Cookie"}, ReasonVary},

		{"no-cache may be stored", Policy{}, 200, []string{"Cache-Control: no-cache"}, Storable},
		{"max-age=0 may be stored", Policy{}, 200, []string{"Cache-Control: max-age=0"}, Storable},
		{"unknown fields do not matter", Policy{}, 200, []string{"X-Vary: *", "Pragma: no-cache", "A-Name-Longer-Than-All-Known-Ones: no-store"}, Storable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := response(tc.status, tc.lines...)
			f, why := tc.policy.Assess(&r, sent)
			if why != tc.want {
				t.Errorf("%d %q: %v, want %v", tc.status, tc.lines, why, tc.want)
			}
			if why != Storable && f != (Freshness{}) {
				t.Errorf("%+v for what may not be stored", f)
			}
		})
	}
}

func TestAssessFreshness(t *testing.T) {
	const most = MaxSeconds * time.Second
	hour, minute := time.Hour, time.Minute
	stale := Policy{TTL: hour, StaleWhileRevalidate: 3 * minute, StaleIfError: 5 * minute, NegativeTTL: 7 * minute}
	type d = time.Duration
	for _, tc := range []struct {
		name                     string
		status                   int
		lines                    []string
		received, lifetime       d
		whileRevalidate, ifError d
		neverStale               bool
	}{
		{"nothing named: the policy", 200, nil, 0, hour, 3 * minute, 5 * minute, false},
		{"Last-Modified alone: no heuristic", 200, []string{"Last-Modified: Sun, 06 Nov 1983 08:49:37 GMT"}, 0, hour, 3 * minute, 5 * minute, false},
		{"max-age", 200, []string{"Cache-Control: max-age=60"}, 0, minute, 3 * minute, 5 * minute, false},
		{"max-age saturates", 200, []string{"Cache-Control: max-age=99999999999"}, 0, most, 3 * minute, 5 * minute, false},
		{"s-maxage wins over max-age", 200, []string{"Cache-Control: max-age=60, s-maxage=120"}, 0, 2 * minute, 0, 0, true},
		{"invalid s-maxage wins over max-age", 200, []string{"Cache-Control: max-age=60, s-maxage=x"}, 0, 0, 0, 0, true},
		{"max-age wins over Expires", 200, []string{"Expires: Sun, 06 Nov 1994 08:51:37 GMT", "Cache-Control: max-age=60"}, 0, minute, 3 * minute, 5 * minute, false},
		{"invalid max-age wins over Expires", 200, []string{"Expires: Sun, 06 Nov 1994 08:51:37 GMT", "Cache-Control: max-age=x"}, 0, 0, 0, 5 * minute, false},
		{"public and immutable name no lifetime", 200, []string{"Cache-Control: public, immutable"}, 0, hour, 3 * minute, 5 * minute, false},

		{"Expires less Date", 200, []string{"Date: Sun, 06 Nov 1994 08:50:37 GMT", "Expires: Sun, 06 Nov 1994 08:52:37 GMT"}, 0, 2 * minute, 3 * minute, 5 * minute, false},
		{"Expires without Date is less the time of the request", 200, []string{"Expires: Sun, 06 Nov 1994 08:51:37 GMT"}, 0, 2 * minute, 3 * minute, 5 * minute, false},
		{"Expires with an invalid Date likewise", 200, []string{"Date: now", "Expires: Sun, 06 Nov 1994 08:51:37 GMT"}, 0, 2 * minute, 3 * minute, 5 * minute, false},
		{"Expires in RFC 850's form", 200, []string{"Expires: Sunday, 06-Nov-94 08:51:37 GMT"}, 0, 2 * minute, 3 * minute, 5 * minute, false},
		{"Expires in asctime's form", 200, []string{"Expires: Sun Nov  6 08:51:37 1994"}, 0, 2 * minute, 3 * minute, 5 * minute, false},
		{"Expires far away saturates", 200, []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT"}, 0, most, 3 * minute, 5 * minute, false},
		{"Expires at Date", 200, []string{"Date: " + sentDate, "Expires: " + sentDate}, 0, 0, 0, 5 * minute, false},
		{"Expires before Date", 200, []string{"Date: " + sentDate, "Expires: Sun, 06 Nov 1994 08:49:36 GMT"}, 0, 0, 0, 5 * minute, false},
		{"Expires: 0", 200, []string{"Expires: 0"}, 0, 0, 0, 5 * minute, false},
		{"Expires: -1", 200, []string{"Expires: -1"}, 0, 0, 0, 5 * minute, false},
		{"empty Expires", 200, []string{"Expires: "}, 0, 0, 0, 5 * minute, false},
		{"Expires of another zone", 200, []string{"Expires: Sun, 06 Nov 1994 08:51:37 EST"}, 0, 0, 0, 5 * minute, false},
		{"same Expires twice", 200, []string{"Expires: Sun, 06 Nov 1994 08:51:37 GMT", "Expires: Sunday, 06-Nov-94 08:51:37 GMT"}, 0, 2 * minute, 3 * minute, 5 * minute, false},
		{"two Expires", 200, []string{"Expires: Sun, 06 Nov 1994 08:51:37 GMT", "Expires: Sun, 06 Nov 1994 08:51:38 GMT"}, 0, 0, 0, 5 * minute, false},
		{"Expires in another zone", 200, []string{"Expires: Sun, 06 Nov 1994 09:49:37 UTC"}, 0, 0, 0, 5 * minute, false},
		{"Expires with a doubled space", 200, []string{"Expires: Sun, 06 Nov 1994  09:49:37 GMT"}, 0, 0, 0, 5 * minute, false},
		{"Expires with an hour of one digit", 200, []string{"Expires: Sun, 06 Nov 1994 9:49:37 GMT"}, 0, 0, 0, 5 * minute, false},
		{"two Expires, and the first again", 200, []string{"Expires: " + sentDate, "Expires: 0", "Expires: " + sentDate}, 0, 0, 0, 5 * minute, false},
		{"the first of two Dates", 200, []string{"Date: Sun, 06 Nov 1994 08:50:37 GMT", "Date: " + sentDate, "Expires: Sun, 06 Nov 1994 08:52:37 GMT"}, 0, 2 * minute, 3 * minute, 5 * minute, false},

		{"Age", 200, []string{"Age: 50"}, 50 * time.Second, hour, 3 * minute, 5 * minute, false},
		{"Age saturates", 200, []string{"Age: 99999999999999999999"}, most, hour, 3 * minute, 5 * minute, false},
		{"the first member of Age", 200, []string{"Age: 50, 60"}, 50 * time.Second, hour, 3 * minute, 5 * minute, false},
		{"the first line of Age", 200, []string{"Age: 50", "Age: 60"}, 50 * time.Second, hour, 3 * minute, 5 * minute, false},
		{"invalid Age is ignored", 200, []string{"Age: -50"}, 0, hour, 3 * minute, 5 * minute, false},
		{"empty Age is ignored", 200, []string{"Age: "}, 0, hour, 3 * minute, 5 * minute, false},

		{"no-cache", 200, []string{"Cache-Control: no-cache, max-age=60, stale-while-revalidate=60, stale-if-error=60"}, 0, 0, 0, 0, true},
		{"no-cache with fields", 200, []string{`Cache-Control: no-cache="X-A", max-age=60`}, 0, 0, 0, 0, true},
		{"max-age=0: not the policy's stale-while-revalidate", 200, []string{"Cache-Control: max-age=0"}, 0, 0, 0, 5 * minute, false},
		{"max-age=0 with its own stale-while-revalidate", 200, []string{"Cache-Control: max-age=0, stale-while-revalidate=60"}, 0, 0, minute, 5 * minute, false},
		{"the response's stale times win", 200, []string{"Cache-Control: stale-while-revalidate=1, stale-if-error=2"}, 0, hour, time.Second, 2 * time.Second, false},
		{"the response's stale times win with 0", 200, []string{"Cache-Control: stale-while-revalidate=0, stale-if-error=0"}, 0, hour, 0, 0, false},
		{"the response's invalid stale times win with 0", 200, []string{"Cache-Control: stale-while-revalidate, stale-if-error=x"}, 0, hour, 0, 0, false},
		{"must-revalidate", 200, []string{"Cache-Control: must-revalidate, stale-while-revalidate=60"}, 0, hour, 0, 0, true},
		{"proxy-revalidate", 200, []string{"Cache-Control: proxy-revalidate, stale-if-error=60"}, 0, hour, 0, 0, true},
		{"s-maxage", 200, []string{"Cache-Control: s-maxage=60, stale-if-error=60"}, 0, minute, 0, 0, true},

		{"404", 404, nil, 0, 7 * minute, 0, 0, true},
		{"404 with a shorter lifetime", 404, []string{"Cache-Control: max-age=60"}, 0, minute, 0, 0, true},
		{"404 with a longer lifetime", 404, []string{"Cache-Control: max-age=6000, stale-if-error=60"}, 0, 7 * minute, 0, 0, true},
		{"404 with no-cache", 404, []string{"Cache-Control: no-cache"}, 0, 0, 0, 0, true},
		{"404 of some age", 404, []string{"Age: 60"}, minute, 7 * minute, 0, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := response(tc.status, tc.lines...)
			got, why := stale.Assess(&r, sent)
			want := Freshness{sent, tc.received, tc.lifetime, tc.whileRevalidate, tc.ifError, tc.neverStale}
			if why != Storable || got != want {
				t.Errorf("%q: %v\n got %+v\nwant %+v", tc.lines, why, got, want)
			}
		})
	}
}

func TestMaxTTL(t *testing.T) {
	const day = 24 * time.Hour
	p := Policy{TTL: time.Hour, StaleWhileRevalidate: time.Minute, StaleIfError: 2 * time.Hour, NegativeTTL: 90 * day, MaxTTL: 30 * day}
	type d = time.Duration
	for _, tc := range []struct {
		name                               string
		status                             int
		line                               string
		lifetime, whileRevalidate, ifError d
	}{
		{"nothing", 200, "", time.Hour, time.Minute, 2 * time.Hour},
		{"less", 200, "Cache-Control: max-age=60", time.Minute, time.Minute, 2 * time.Hour},
		{"68 years", 200, "Cache-Control: max-age=2147483648", 30 * day, time.Minute, 2 * time.Hour},
		{"more than can be counted", 200, "Cache-Control: max-age=99999999999999999999", 30 * day, time.Minute, 2 * time.Hour},
		{"Expires", 200, "Expires: Fri, 31 Dec 9999 23:59:59 GMT", 30 * day, time.Minute, 2 * time.Hour},
		{"s-maxage", 200, "Cache-Control: s-maxage=2147483648", 30 * day, 0, 0},
		{"long stale times of what is fresh for long", 200, "Cache-Control: max-age=2147483648, stale-while-revalidate=2147483648, stale-if-error=2147483648", 30 * day, time.Minute, 2 * time.Hour},
		{"long stale times of what is soon stale", 200, "Cache-Control: max-age=86400, stale-while-revalidate=2147483648, stale-if-error=2147483648", day, 29*day + time.Minute, 29*day + 2*time.Hour},
		{"stale times that fit", 200, "Cache-Control: max-age=86400, stale-while-revalidate=86400, stale-if-error=86400", day, day, day},
		{"404", 404, "Cache-Control: max-age=2147483648", 30 * day, 0, 0},
		{"404, by the configuration", 404, "", 90 * day, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := response(tc.status, tc.line)
			f, why := p.Assess(&r, sent)
			if why != Storable || f.Lifetime != tc.lifetime || f.StaleWhileRevalidate != tc.whileRevalidate || f.StaleIfError != tc.ifError {
				t.Errorf("%v, %+v", why, f)
			}
		})
	}
}

func TestPolicyIsClamped(t *testing.T) {
	r := response(200)
	low, high := time.Duration(math.MinInt64), time.Duration(math.MaxInt64)
	if f, _ := (&Policy{low, low, low, 0, low}).Assess(&r, sent); f != (Freshness{Sent: sent}) {
		t.Errorf("below 0: %+v", f)
	}
	const most = MaxSeconds * time.Second
	f, _ := (&Policy{high, high, high, high, high}).Assess(&r, sent)
	if f != (Freshness{sent, 0, most, most, most, false}) {
		t.Errorf("beyond the largest: %+v", f)
	}
	f.Received = most
	if state := f.State(sent.Add(high)); state != Expired || f.Age(sent.Add(high)) != MaxSeconds {
		t.Errorf("at the end of all times: state %v, age %v", state, f.Age(sent.Add(high)))
	}
}

func TestState(t *testing.T) {
	const s, ns = time.Second, time.Nanosecond
	plain := Freshness{Sent: sent, Lifetime: 60 * s}
	stale := Freshness{Sent: sent, Lifetime: 60 * s, StaleWhileRevalidate: 10 * s, StaleIfError: 30 * s}
	never := Freshness{Sent: sent, Lifetime: 60 * s, StaleWhileRevalidate: 10 * s, StaleIfError: 30 * s, NeverStale: true}
	older := Freshness{Sent: sent, Received: 50 * s, Lifetime: 60 * s}
	for _, tc := range []struct {
		name     string
		f        Freshness
		after    time.Duration
		want     State
		age, ttl int64
	}{
		{"zero value", Freshness{}, 0, Expired, MaxSeconds, -MaxSeconds},
		{"at once", plain, 0, Fresh, 0, 60},
		{"ages are whole seconds", plain, 1999 * time.Millisecond, Fresh, 1, 59},
		{"just fresh", plain, 60*s - ns, Fresh, 59, 1},
		{"just not", plain, 60 * s, Expired, 60, 0},
		{"long since", plain, 100 * s, Expired, 100, -40},
		{"the clock was set back", plain, -100 * s, Fresh, 0, 60},
		{"the clock was set back, and it came old", older, -100 * s, Fresh, 50, 10},
		{"Age is subtracted: just fresh", older, 10*s - ns, Fresh, 59, 1},
		{"Age is subtracted: just not", older, 10 * s, Expired, 60, 0},
		{"fresh until stale", stale, 60*s - ns, Fresh, 59, 1},
		{"stale, from then", stale, 60 * s, StaleRevalidate, 60, 0},
		{"stale, the last time", stale, 70*s - ns, StaleRevalidate, 69, -9},
		{"on an error, from then", stale, 70 * s, StaleError, 70, -10},
		{"on an error, the last time", stale, 90*s - ns, StaleError, 89, -29},
		{"no more", stale, 90 * s, Expired, 90, -30},
		{"never stale: fresh", never, 60*s - ns, Fresh, 59, 1},
		{"never stale", never, 60 * s, Expired, 60, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := sent.Add(tc.after)
			if got := tc.f.State(now); got != tc.want {
				t.Errorf("state %v, want %v", got, tc.want)
			}
			if age, ttl := tc.f.Age(now), tc.f.TTL(tc.f.Age(now)); age != tc.age || ttl != tc.ttl {
				t.Errorf("age %d, ttl %d; want %d, %d", age, ttl, tc.age, tc.ttl)
			}
			request := control()
			if got := Apply(&request, &tc.f, now); got != tc.want {
				t.Errorf("to a client without wishes: state %v, want %v", got, tc.want)
			}
		})
	}
}

func TestApply(t *testing.T) {
	const s, ns = time.Second, time.Nanosecond
	plain := Freshness{Sent: sent, Lifetime: 60 * s}
	stale := Freshness{Sent: sent, Lifetime: 60 * s, StaleWhileRevalidate: 10 * s, StaleIfError: 30 * s}
	never := Freshness{Sent: sent, Lifetime: 60 * s, NeverStale: true}
	for _, tc := range []struct {
		name, request string
		f             *Freshness
		after         time.Duration
		want          State
	}{
		{"nothing stored", "", nil, 0, Expired},
		{"nothing stored, only-if-cached", "only-if-cached", nil, 0, Refused},

		{"no-cache, fresh", "no-cache", &plain, s, Expired},
		{"no-cache, fresh, good on an error", "no-cache", &stale, s, StaleError},
		{"no-cache, stale", "no-cache", &stale, 65 * s, StaleError},
		{"no-cache, expired", "no-cache", &stale, 90 * s, Expired},
		{"no-cache, never stale", "no-cache", &never, s, Expired},
		{"no-cache wins over max-stale", "no-cache, max-stale", &plain, 65 * s, Expired},
		{"no-store is not for what is stored", "no-store", &plain, s, Fresh},

		{"max-age: younger", "max-age=30", &plain, 30*s - ns, Fresh},
		{"max-age: equal", "max-age=30", &plain, 30 * s, Fresh},
		{"max-age: older", "max-age=30", &plain, 30*s + ns, Expired},
		{"max-age: older, good on an error", "max-age=30", &stale, 31 * s, StaleError},
		{"max-age=0", "max-age=0", &plain, ns, Expired},
		{"invalid max-age", "max-age=x", &plain, ns, Expired},
		{"max-age beyond the lifetime does not extend it", "max-age=100", &plain, 60 * s, Expired},
		{"max-age wants nothing stale", "max-age=100", &stale, 65 * s, StaleError},
		{"max-age with max-stale does", "max-age=100, max-stale=10", &stale, 65 * s, StaleRevalidate},
		{"max-age limits max-stale", "max-age=62, max-stale=10", &plain, 65 * s, Expired},

		{"min-fresh: left", "min-fresh=20", &plain, 39 * s, Fresh},
		{"min-fresh: just left", "min-fresh=20", &plain, 40 * s, Fresh},
		{"min-fresh: not left", "min-fresh=20", &plain, 40*s + ns, Expired},
		{"min-fresh: not left, good on an error", "min-fresh=20", &stale, 41 * s, StaleError},
		{"min-fresh=0 wants nothing stale", "min-fresh=0", &stale, 65 * s, StaleError},
		{"invalid min-fresh", "min-fresh=x", &plain, 0, Expired},
		{"min-fresh wins over max-stale", "min-fresh=1, max-stale", &plain, 65 * s, Expired},

		{"max-stale: fresh", "max-stale=5", &plain, s, Fresh},
		{"max-stale: accepted", "max-stale=5", &plain, 65 * s, StaleRevalidate},
		{"max-stale: too stale", "max-stale=5", &plain, 65*s + ns, Expired},
		{"max-stale without bound", "max-stale", &plain, 1e6 * s, StaleRevalidate},
		{"max-stale beyond the response's own", "max-stale=50", &stale, 100 * s, StaleRevalidate},
		{"max-stale below the response's own", "max-stale=5", &stale, 66 * s, StaleError},
		{"max-stale, never stale", "max-stale", &never, 60 * s, Expired},
		{"max-stale, never stale, fresh", "max-stale", &never, s, Fresh},

		{"only-if-cached, fresh", "only-if-cached", &plain, s, Fresh},
		{"only-if-cached, stale", "only-if-cached", &stale, 65 * s, StaleRevalidate},
		{"only-if-cached, good on an error alone", "only-if-cached", &stale, 75 * s, Refused},
		{"only-if-cached, expired", "only-if-cached", &plain, 65 * s, Refused},
		{"only-if-cached with no-cache", "only-if-cached, no-cache", &plain, s, Refused},
		{"only-if-cached with max-stale", "only-if-cached, max-stale=10", &plain, 65 * s, StaleRevalidate},

		{"a response's directives mean nothing", "private, must-revalidate, s-maxage=0, immutable, stale-while-revalidate=99, stale-if-error=99", &plain, s, Fresh},
		{"stale-if-error of a request is not heeded", "stale-if-error=99", &plain, 65 * s, Expired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			request := control(tc.request)
			if got := Apply(&request, tc.f, sent.Add(tc.after)); got != tc.want {
				t.Errorf("%q after %v: state %v, want %v", tc.request, tc.after, got, tc.want)
			}
		})
	}
}

func TestStateNames(t *testing.T) {
	for state, want := range map[State]string{
		Expired: "expired", Fresh: "fresh", StaleRevalidate: "stale_while_revalidate", StaleError: "stale_if_error", Refused: "refused",
	} {
		if got := state.String(); got != want {
			t.Errorf("%d is %q, want %q", uint8(state), got, want)
		}
	}
}

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range Reason(numReasons) {
		name := r.String()
		if name == "" || name == "unknown" || seen[name] {
			t.Errorf("reason %d is named %q", r, name)
		}
		seen[name] = true
	}
	if name := Reason(numReasons).String(); name != "unknown" {
		t.Errorf("no reason is named %q", name)
	}
}

func ExamplePolicy_Assess() {
	policy := Policy{TTL: time.Hour, StaleIfError: time.Minute}
	sent := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

	var r Response
	r.Reset(200)
	r.AddField([]byte("Cache-Control"), []byte("public, max-age=60"))
	r.AddField([]byte("Age"), []byte("20"))
	f, why := policy.Assess(&r, sent)
	fmt.Println(why, f.Lifetime, f.TTL(f.Age(sent)))

	var request Control
	request.Reset()
	for _, after := range []time.Duration{39 * time.Second, 41 * time.Second, 2 * time.Minute} {
		now := sent.Add(after)
		fmt.Println(f.Age(now), Apply(&request, &f, now) == Fresh, Apply(&request, &f, now) == StaleError)
	}
	// Output:
	// storable 1m0s 40
	// 59 true false
	// 61 false true
	// 140 false false
}
