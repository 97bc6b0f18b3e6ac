package gateway

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestListingHeaders has the lines of a listing, of GET and HEAD.
func TestListingHeaders(t *testing.T) {
	var keys []string
	for i := range 1500 {
		keys = append(keys, fmt.Sprintf("large/key-%04d", i))
	}
	o := startLister(t, &lister{keys: append(keys, "a")})
	rules := `    headers: [{set: {Cache-Control: "max-age=31536000", X-Object: "yes"}}, {set: {X-Any: "yes"}, when: always}]` + "\n    cors: {origins: [\"https://app.example.com\"]}\n"
	gw := startGateway(t, withListing(oneBucket("/pub", o.URL)+rules))
	at := time.Now()
	gw.Now = func() time.Time { return at }
	for target, least := range map[string]int{"/pub/": 1000, "/pub/large/": 200_000} {
		r, body := gw.do("GET", target, "Origin: https://app.example.com", "Range: bytes=0-1", "If-None-Match: *")
		if r.StatusCode != 200 || len(body) < least || r.ContentLength != int64(len(body)) {
			t.Errorf("%s: status %d, %d bytes, Content-Length %d", target, r.StatusCode, len(body), r.ContentLength)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "max-age=5", "X-Robots-Tag": "noindex", "X-Content-Type-Options": "nosniff",
			"X-Any": "yes", "X-Object": "", "ETag": "", "Accept-Ranges": "", "Access-Control-Allow-Origin": "https://app.example.com",
		} {
			if got := strings.Join(r.Header.Values(name), "|"); got != want {
				t.Errorf("%s: %s: %q, want %q", target, name, got, want)
			}
		}
		if v := strings.Join(r.Header.Values("Vary"), ", "); !strings.Contains(v, "Accept") || !strings.Contains(v, "Origin") {
			t.Errorf("Vary: %s", v)
		}
		csp := r.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "style-src 'sha256-", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(csp, part) || strings.Contains(csp, "unsafe") {
				t.Errorf("Content-Security-Policy: %s", csp)
			}
		}
		h, none := gw.do("HEAD", target, "Origin: https://app.example.com")
		if len(none) > 0 || h.StatusCode != 200 || h.ContentLength != r.ContentLength {
			t.Errorf("HEAD of %s: status %d, %d bytes, Content-Length %d", target, h.StatusCode, len(none), h.ContentLength)
		}
		for name := range r.Header {
			if name != "X-Request-Id" && name != "Date" && strings.Join(r.Header[name], "|") != strings.Join(h.Header[name], "|") {
				t.Errorf("%s is %q with GET, %q with HEAD", name, r.Header[name], h.Header[name])
			}
		}
		if len(h.Header) != len(r.Header) {
			t.Errorf("GET has %v, HEAD %v", r.Header, h.Header)
		}
	}
	if n := len(o.lists()); n != 2 {
		t.Errorf("S3 was asked for %d lists, want 2", n)
	}
}

// TestListingSaysHowLongItIsFresh has a page in memory go out with what is left of its time.
func TestListingSaysHowLongItIsFresh(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"a"}})
	gw := startGateway(t, withListing(oneBucket("/pub", o.URL)))
	at, past := time.Now(), new(atomic.Int64)
	gw.Now = func() time.Time { return at.Add(time.Duration(past.Load())) }
	for _, c := range []struct {
		after time.Duration
		want  string
		lists int
	}{{0, "max-age=5", 1}, {100 * time.Millisecond, "max-age=4", 1}, {4700 * time.Millisecond, "max-age=0", 1}, {200 * time.Millisecond, "max-age=5", 2}} {
		past.Add(int64(c.after))
		r, _ := gw.do("GET", "/pub/")
		if got := r.Header.Get("Cache-Control"); got != c.want || r.Header.Get("Age") != "" || len(o.lists()) != c.lists {
			t.Errorf("%v later: Cache-Control %q, want %q; S3 was asked for %d lists", c.after, got, c.want, len(o.lists()))
		}
	}
}

// TestListingIsAsDocumented has the answer that the documentation shows.
func TestListingIsAsDocumented(t *testing.T) {
	gw := startGateway(t, withListing(oneBucket("/files", startLister(t, &lister{keys: []string{"pub/a b.txt", "pub/old/x"}}).URL)))
	_, body := gw.do("GET", "/files/pub/", "Accept: application/json")
	if doc, err := os.ReadFile("../docs/WEB.md"); err != nil || !strings.Contains(string(doc), "\n"+string(body)) {
		t.Errorf("docs/WEB.md lacks %s", body)
	}
}

// TestListingFormats has Accept decide, where there is a choice.
func TestListingFormats(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"a"}})
	for formats, cases := range map[string]map[string]string{
		"[html, json]": {
			"": "html", "*/*": "html", "application/json": "json", "text/html": "html", "application/*": "json", "text/*;q=0.5, application/json;q=0.4": "html",
			"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "html", "application/json, text/html;q=0.9": "json", "text/html;q=0, */*": "json", "image/png": "html", "application/json;q=x": "html",
		},
		"[json, html]": {"": "json", "*/*": "json", "text/html": "html"},
		"[json]":       {"": "json", "text/html": "json"},
		"[html]":       {"": "html", "application/json": "html"},
	} {
		gw := startGateway(t, withListing(oneBucket("/pub", o.URL), "formats: "+formats))
		for accept, want := range cases {
			r, _ := gw.do("GET", "/pub/", "Accept: "+accept)
			if got := r.Header.Get("Content-Type"); !strings.Contains(got, want) || (r.Header.Get("Vary") == "Accept") != strings.Contains(formats, ",") {
				t.Errorf("%s, Accept %q: %s, Vary %q", formats, accept, got, r.Header.Get("Vary"))
			}
		}
	}
}

// TestListingAddresses has the folder's address end in a slash, and start-after be a key in it.
func TestListingAddresses(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"a", "b/c"}})
	gw := startGateway(t, withListing(oneBucket("/pub ü", o.URL))+"  - {name: root, hosts: [gateway.test], s3: {bucket: things, region: us-east-1, endpoint: \""+o.URL+"\", access_key: id, secret_key: s}, listing: {enabled: true}}\n")
	for target, want := range map[string]string{
		"/pub%20%C3%BC":       "./pub%20%C3%BC/",
		"/pub%20\xc3\xbc?a=b": "./pub%20%C3%BC/?a=b",
		"/pub%20%C3%BC/b%2F":  "./b/",
	} {
		r, body := gw.do("GET", strings.Replace(target, "/", "http://other.test/", 1))
		if r.StatusCode != 302 || r.Header.Get("Location") != want || len(body) > 0 {
			t.Errorf("%s: status %d, Location %q", target, r.StatusCode, r.Header.Get("Location"))
		}
	}
	for _, target := range []string{"/", "http://gateway.test", "http://gateway.test?x"} {
		wantNames(t, gw.list(t, target).names(), "a", "b/")
	}
	asked := len(o.seen())
	for _, query := range []string{"start-after=a", "start-after=b/c&start-after=b/c", "start-after=b/%zz", "start-after=b/%ff", "start-after=b/" + strings.Repeat("x", 1024), "start-after="} {
		if r, body := gw.do("GET", "/b/?"+query); r.StatusCode != 400 || !strings.Contains(string(body), `"error":"bad_target"`) {
			t.Errorf("%s: status %d, %s", query, r.StatusCode, body)
		}
	}
	if n := len(o.seen()); n != asked {
		t.Errorf("S3 is asked %d times for what is no page", n-asked)
	}
	for _, target := range []string{"/b/c", "/b/c?start-after=x"} {
		if r, body := gw.do("GET", target); r.StatusCode != 200 || string(body) != "b/c" {
			t.Errorf("%s: status %d, %s", target, r.StatusCode, body)
		}
	}
	if r, body := gw.do("POST", "/"); r.StatusCode != 405 {
		t.Errorf("POST: status %d, %s", r.StatusCode, body)
	}
	wantNames(t, gw.list(t, "/?start-after=zzz").names())
}

// TestNoListing has all as it was where a bucket has no listings.
func TestNoListing(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"a/"}})
	gw := startGateway(t, oneBucket("/pub", o.URL))
	for target, status := range map[string]int{"/pub": 403, "/pub/": 403, "/pub/a/": 200, "/pub/b/": 404, "/pub/?list-type=2": 403} {
		if r, body := gw.do("GET", target); r.StatusCode != status {
			t.Errorf("%s: status %d, want %d: %s", target, r.StatusCode, status, body)
		}
	}
	if n := len(o.lists()); n != 0 {
		t.Errorf("S3 is asked for %d lists", n)
	}
}

func TestExplainListing(t *testing.T) {
	g := configuredGateway(t, withListing("buckets:\n"+bucketYAML("pub", "/pub", "http://origin.test", "key_prefix: v1/"), "paths: [/docs]", "page_size: 50")+
		withListing(privateYAML("files", "/files", "http://origin.test")), "warn")
	const list = "upstream:  GET http://origin.test/things?delimiter=%2F&encoding-type=url&list-type=2&max-keys="
	for _, c := range []struct {
		url, token string
		served     bool
		want       []string
	}{
		{"/pub/docs/a%20b/", "", true, []string{"a listing of the folder", list + "51&prefix=v1%2Fdocs%2Fa%20b%2F"}},
		{"/pub/", "", false, []string{"answer:    403", "listings are not offered"}},
		{"/pub/other/", "", true, []string{"GET http://origin.test/things/v1/other/"}},
		{"/files/", "", false, []string{"answer:    401"}},
		{"/files/", goodToken(), true, []string{"a listing of the folder", list + "1000&prefix="}},
		{"/files", goodToken(), false, []string{"302"}},
	} {
		explains(t, g, c.url, c.token, c.served, c.want)
	}
}
