package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestNotModifiedOfTheOriginKeepsItsLines has an origin answer 304 with Cache-Control
// in two lines.
func TestNotModifiedOfTheOriginKeepsItsLines(t *testing.T) {
	origin := startScripted(t, version("v", "Cache-Control: max-age=60", "Cache-Control: private"))
	r, _ := startGateway(t, oneBucket("/pub", origin.URL)).do("GET", "/pub/x", `If-None-Match: "v"`)
	if got := strings.Join(r.Header["Cache-Control"], ", "); r.StatusCode != 304 || got != "max-age=60, private" {
		t.Errorf("%d, Cache-Control %q", r.StatusCode, got)
	}
}

// TestUpdateKeepsOneLine has an origin answer 304 with two lines of a header, of which the first
// says nothing: the stored one stays, and alone.
func TestUpdateKeepsOneLine(t *testing.T) {
	origin, gw := staleGateway(t, version("v", "X-Amz-Version-Id: 1"), "v")
	origin.set(version("v", "X-Amz-Version-Id: ", "X-Amz-Version-Id: 2"))
	r := gw.expect(t, "/pub/x", 200, "v", "REVALIDATED")
	if got := r.Header["X-Amz-Version-Id"]; len(got) != 1 || got[0] != "1" {
		t.Errorf("X-Amz-Version-Id %q", got)
	}
}

// TestHeadWithRangeIsAskedOnce has a stored object become one that is not for the cache,
// and asks for its head. Range means nothing there (RFC 9110, 14.2).
func TestHeadWithRangeIsAskedOnce(t *testing.T) {
	origin, gw := staleGateway(t, version("old"), "old")
	origin.set(version("new one", "Cache-Control: no-store"))
	before := len(origin.seen())
	r, _ := gw.do("HEAD", "/pub/x", "Range: bytes=0-1")
	if n := len(origin.seen()) - before; r.StatusCode != 200 || r.ContentLength != int64(len("new one")) || n != 1 {
		t.Errorf("%d, Content-Length %d, %d requests to the origin", r.StatusCode, r.ContentLength, n)
	}
}

// TestRequestWithNoStore has a client ask that nothing be stored: what is stored is good
// for it, what is fetched for it is not stored (RFC 9111, 5.2.1.5).
func TestRequestWithNoStore(t *testing.T) {
	for _, c := range []struct{ heed, first, then string }{
		{"true", "BYPASS", "MISS"},
		{"false", "MISS", "HIT"},
	} {
		origin := startScripted(t, version("v"))
		gw := startGateway(t, cachedYAML(origin.URL, "client_directives: "+c.heed, "fill_on_range: true"))
		gw.expect(t, "/pub/x", 200, "v", c.first, "Cache-Control: no-store")
		gw.expect(t, "/pub/y", 206, "v", c.first, "Cache-Control: no-store", "Range: bytes=0-0")
		gw.awaitBackground()
		gw.expect(t, "/pub/x", 200, "v", c.then)
		gw.expect(t, "/pub/y", 200, "v", c.then)
		gw.expect(t, "/pub/x", 200, "v", "HIT", "Cache-Control: no-store")
	}
}

// TestValidatedByDateOfAnother has an object without an entity tag be replaced by one
// that is older, and so has not been modified since (RFC 9111, 4.3.4).
func TestValidatedByDateOfAnother(t *testing.T) {
	dated := func(text, etag string, day int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if etag != "" {
				w.Header().Set("ETag", etag)
			}
			http.ServeContent(w, r, "", time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC), strings.NewReader(text))
		}
	}
	for name, c := range map[string]struct {
		then         http.HandlerFunc
		body, xcache string
	}{
		"the same object":       {dated("stored", "", 9), "stored", "REVALIDATED"},
		"one that is newer":     {dated("other", "", 10), "other", "MISS"},
		"one that is older":     {dated("other", "", 8), "other", "MISS"},
		"one with a tag":        {dated("other", `"other"`, 8), "other", "MISS"},
		"one with a tag, dated": {dated("other", `"other"`, 9), "other", "MISS"},
	} {
		t.Run(name, func(t *testing.T) {
			origin, gw := staleGateway(t, dated("stored", "", 9), "stored")
			origin.set(c.then)
			gw.expect(t, "/pub/x", 200, c.body, c.xcache)
			gw.expect(t, "/pub/x", 200, c.body, "HIT")
		})
	}
}

// TestValidationRenewsTheDate has an object be written again with the same bytes: its
// entity tag stays, its Last-Modified does not (RFC 9111, 3.2).
func TestValidationRenewsTheDate(t *testing.T) {
	written := func(day int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"same"`)
			w.Header().Set("Last-Modified", fmt.Sprintf("Fri, %02d Jan 2026 00:00:00 GMT", day))
			w.Header().Set("X-Amz-Website-Redirect-Location", fmt.Sprint("/", day))
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(304)
				return
			}
			fmt.Fprint(w, "0123456789")
		}
	}
	origin, gw := staleGateway(t, written(2), "0123456789")
	origin.set(written(9))
	const date = "Fri, 09 Jan 2026 00:00:00 GMT"
	for _, xcache := range []string{"REVALIDATED", "HIT"} {
		r := gw.expect(t, "/pub/x", 200, "0123456789", xcache)
		if r.Header.Get("Last-Modified") != date || r.Header.Get("X-Amz-Website-Redirect-Location") != "/9" {
			t.Errorf("%s: %v", xcache, r.Header)
		}
	}
	gw.expect(t, "/pub/x", 206, "01", "HIT", "Range: bytes=0-1", "If-Range: "+date)
	gw.expect(t, "/pub/x", 200, "", "HIT", "If-Unmodified-Since: "+date)
	gw.expect(t, "/pub/x", 200, "", "HIT", "If-Modified-Since: Fri, 02 Jan 2026 00:00:00 GMT")
}

// TestAgeOfWhatMayNoLongerBeStored has an origin that is itself a cache say of a stored
// object that it must not be stored.
func TestAgeOfWhatMayNoLongerBeStored(t *testing.T) {
	origin, gw := staleGateway(t, version("v", "Age: 7"), "v")
	origin.set(version("v", "Age: 9", "Cache-Control: no-store"))
	if r := gw.expect(t, "/pub/x", 200, "v", "REVALIDATED"); r.Header.Get("Age") != "9" {
		t.Errorf("Age %q", r.Header.Get("Age"))
	}
	gw.expect(t, "/pub/x", 200, "v", "BYPASS")
}

// TestVaryOfValidation has a 304 say that the answer is no longer the same for all.
func TestVaryOfValidation(t *testing.T) {
	for _, field := range []string{"Vary: Cookie", "Vary: *", "Set-Cookie: a=b"} {
		origin, gw := staleGateway(t, version("v"), "v")
		origin.set(version("v", "Vary: Origin", field))
		gw.expect(t, "/pub/x", 200, "v", "REVALIDATED")
		gw.expect(t, "/pub/x", 200, "v", "BYPASS")
	}
}

// TestCacheStatus has an answer say why the origin was asked, and no more than that
// (RFC 9211, 2.1 to 2.3).
func TestCacheStatus(t *testing.T) {
	origin := startScripted(t, version("v1"))
	gw := startGateway(t, onceYAML(cachedYAML(origin.URL, "ttl: 60s", "stale_while_revalidate: 60s", "stale_if_error: 600s", "client_directives: true")))
	clock := gw.withClock()
	ask := func(status int, says, want string, headers ...string) {
		t.Helper()
		r := gw.expect(t, "/pub/x", status, "", says, headers...)
		if got := r.Header.Get("Cache-Status"); got != want {
			t.Errorf("Cache-Status %q, want %q", got, want)
		}
		gw.awaitBackground()
	}
	const now = "Cache-Control: no-cache"
	ask(504, "BYPASS", "yatagarasu", "Cache-Control: only-if-cached")
	ask(200, "MISS", "yatagarasu; fwd=miss; fwd-status=200")
	ask(200, "HIT", "yatagarasu; hit; ttl=60")
	ask(200, "REVALIDATED", "yatagarasu; fwd=request; fwd-status=304", now)
	origin.set(s3Answer(500, "InternalError"))
	ask(200, "STALE", "yatagarasu; fwd=request; fwd-status=500", now)
	clock.advance(61 * time.Second)
	ask(200, "STALE", "yatagarasu; hit; ttl=-1")
	clock.advance(60 * time.Second)
	ask(200, "STALE", "yatagarasu; fwd=stale; fwd-status=500")
	origin.set(version("v1"))
	ask(200, "REVALIDATED", "yatagarasu; fwd=stale; fwd-status=304")
	origin.set(version("v2"))
	ask(200, "MISS", "yatagarasu; fwd=request; fwd-status=200", now)
	clock.advance(121 * time.Second)
	origin.set(version("v3", "Cache-Control: no-store"))
	ask(200, "MISS", "yatagarasu; fwd=stale; fwd-status=200")
	ask(200, "BYPASS", "yatagarasu; fwd=bypass")
	clock.advance(time.Hour)
	origin.Close()
	ask(502, "MISS", "yatagarasu; fwd=miss")
}

// TestRepeatedLines has an origin repeat fields that are no lists, and one that is: past
// the cache, into it, out of it and after a validation the answer is the same, and none
// has two lines of what can only be one.
func TestRepeatedLines(t *testing.T) {
	origin := startScripted(t, version("v", "X-Amz-Meta-A: 1", "X-Amz-Meta-A: 2", "X-Amz-Version-Id: v", "X-Amz-Version-Id: w", "Content-Language: de", "Content-Language: en"))
	gw := startGateway(t, cachedYAML(origin.URL, "ttl: 60s"))
	clock := gw.withClock()
	past, _ := gw.do("HEAD", "/pub/x")
	want := without(past.Header)
	if got := past.Header; len(got["X-Amz-Meta-A"]) != 1 || got.Get("X-Amz-Meta-A") != "1" || len(got["X-Amz-Version-Id"]) != 1 || len(got["Content-Language"]) != 2 {
		t.Errorf("past the cache: %v", got)
	}
	for _, says := range []string{"MISS", "HIT", "REVALIDATED", "HIT"} {
		if says == "REVALIDATED" {
			clock.advance(61 * time.Second)
		}
		if got := without(gw.expect(t, "/pub/x", 200, "v", says).Header); got != want {
			t.Errorf("%s has\n%s, past the cache it is\n%s", says, got, want)
		}
	}
}
