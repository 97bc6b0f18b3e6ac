package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The origins of pages in these tests.
const (
	app   = "https://app.example.com"
	other = "https://a.example.org"
	evil  = "https://app.example.com.evil.net"
)

// corsLines is a bucket's permission for app, and for any label of example.org.
const corsLines = `    cors: {origins: ["https://app.example.com", "https://*.example.org"]}`

// webOrigin answers as an S3 server does that has the objects x and large, and no other.
func webOrigin(t *testing.T) *testOrigin {
	const etag = `"0123456789abcdef0123456789abcdef"`
	return startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		body := "0123456789"
		switch {
		case strings.HasSuffix(r.URL.Path, "/large"):
			body = strings.Repeat(body, 30<<10)
		case !strings.HasSuffix(r.URL.Path, "/x"):
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		w.Header().Set("ETag", etag)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Vary", "X-Origins-Own")
		w.Header().Set("Access-Control-Allow-Origin", "https://origins-own.example")
		http.ServeContent(w, r, "", time.Unix(1700000000, 0), strings.NewReader(body))
	})
}

// page is a request of a page, or of nobody's with an empty origin.
func (tg *testGateway) page(method, target, origin string, header ...string) *http.Response {
	if origin != "" {
		header = append(header, "Origin: "+origin)
	}
	r, _ := tg.do(method, target, header...)
	return r
}

// allowed reports an answer whose lines do not let the pages of an origin, and of no other, read.
func allowed(t *testing.T, what string, r *http.Response, status int, origin string) {
	t.Helper()
	want := []string{origin}
	if origin == "" {
		want = nil
	}
	if got := r.Header["Access-Control-Allow-Origin"]; r.StatusCode != status || fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(r.Header["Vary"]) != "[Origin]" {
		t.Errorf("%s: status %d, want %d; %q may read, want %q; Vary %q", what, r.StatusCode, status, got, want, r.Header["Vary"])
	}
	if exposed := r.Header.Get("Access-Control-Expose-Headers"); (exposed != "") != (origin != "" && r.StatusCode != http.StatusNoContent) {
		t.Errorf("%s: exposed are %q", what, exposed)
	}
}

// TestWebCORS asks as browsers do for the pages of other sites, with and without a cache. The
// numbers are those of the cases that bit others, in docs/WEB.md.
func TestWebCORS(t *testing.T) {
	for name, more := range map[string]string{"cached": corsLines + "\n    cache: {enabled: true, negative_ttl: 60}", "streamed": corsLines} {
		t.Run(name, func(t *testing.T) {
			origin := webOrigin(t)
			gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+bucketYAML("pub", "/pub", origin.URL)+more+"\n"+

				privateYAML("priv", "/priv", origin.URL)+more+"\n"+bucketYAML("plain", "/plain", origin.URL))
			bearer := "Authorization: Bearer " + goodToken()

			t.Run("01 each origin has its own answer from one object", func(t *testing.T) {
				for range 2 {
					allowed(t, "app", gw.page("GET", "/pub/x", app), 200, app)
					allowed(t, "other", gw.page("GET", "/pub/x", other), 200, other)
				}
			})
			t.Run("02 answers for nobody's page vary too", func(t *testing.T) {
				allowed(t, "none", gw.page("GET", "/pub/large", ""), 200, "")
				allowed(t, "evil", gw.page("GET", "/pub/large", evil), 200, "")
				allowed(t, "app", gw.page("GET", "/pub/large", app), 200, app)
			})
			t.Run("03 a preflight needs no token and no S3", func(t *testing.T) {
				before := len(origin.seen())
				r := gw.page("OPTIONS", "/priv/x", app, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization,range")
				allowed(t, "preflight", r, 204, app)
				if r.Header.Get("Access-Control-Allow-Headers") != "authorization, range" || r.Header.Get("Access-Control-Allow-Methods") != "GET, HEAD" || r.Header.Get("Access-Control-Max-Age") != "7200" {
					t.Errorf("%v", r.Header)
				}
				if n := len(origin.seen()); n != before {
					t.Errorf("S3 is asked %d times", n-before)
				}
			})
			t.Run("04 a preflight of another page is refused", func(t *testing.T) {
				for _, c := range []struct{ origin, method, headers, reason string }{
					{evil, "GET", "", "cors_origin"}, {"null", "GET", "", "cors_origin"}, {app, "PUT", "", "cors_method"}, {app, "get", "", "cors_method"},
					{app, "GET", "authorization, x-own", "cors_headers"}, {app, "GET", strings.Repeat("range,", 200), "cors_headers"},
				} {
					origin := app
					if c.origin != app {
						origin = ""
					}
					allowed(t, c.reason, gw.page("OPTIONS", "/pub/x", c.origin, "Access-Control-Request-Method: "+c.method, "Access-Control-Request-Headers: "+c.headers), 403, origin)
					gw.log.waitFor(t, `"reason":"`+c.reason+`"`)
				}
			})
			t.Run("05 errors have the lines", func(t *testing.T) {
				allowed(t, "404", gw.page("GET", "/pub/none", app), 404, app)
				allowed(t, "404 again", gw.page("GET", "/pub/none", other), 404, other)
				allowed(t, "401", gw.page("GET", "/priv/x", app), 401, app)
				allowed(t, "403", gw.page("GET", "/priv/x", app, "Authorization: Bearer x.y.z"), 403, app)
				allowed(t, "400", gw.page("GET", "/pub/"+strings.Repeat("k", 1025), app), 400, app)
				allowed(t, "no key", gw.page("GET", "/pub/", app), 403, app)
				allowed(t, "412", gw.page("GET", "/pub/x", app, `If-Match: "other"`), 412, app)
				allowed(t, "416", gw.page("GET", "/pub/x", app, "Range: bytes=99-"), 416, app)
				allowed(t, "405", gw.page("POST", "/pub/x", app), 405, app)
			})
			t.Run("06 an origin that begins like one is another", func(t *testing.T) {
				for _, origin := range []string{evil, "https://evil.net", "http://app.example.com", "https://app.example.com:444", "https://example.org", "https://a.b.example.org", "https://.example.org", "https://a.example.org.evil.net", "https://xexample.org", "https://a/.example.org", "HTTPS://APP.EXAMPLE.COM", "*", "null"} {
					allowed(t, origin, gw.page("GET", "/pub/x", origin), 200, "")
				}
			})
			t.Run("07 long lists of headers are refused", func(t *testing.T) {
				preflight := "OPTIONS /pub/x HTTP/1.1\r\nHost: g\r\nOrigin: " + app + "\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: "
				if status := statusOf(gw.raw(preflight + strings.Repeat(",", 8<<10) + "\r\nConnection: close\r\n\r\n")); status != 403 {
					t.Errorf("8 KiB: status %d", status)
				}
				if status := statusOf(gw.raw(preflight + strings.Repeat(",", 1<<20) + "\r\n\r\n")); status != 431 {
					t.Errorf("1 MiB: status %d", status)
				}
			})
			t.Run("08 a 304 and a part have the lines", func(t *testing.T) {
				etag := gw.page("GET", "/pub/x", "").Header.Get("ETag")
				allowed(t, "304", gw.page("GET", "/pub/x", app, "If-None-Match: "+etag), 304, app)
				allowed(t, "304 for another", gw.page("GET", "/pub/x", other, "If-None-Match: "+etag), 304, other)
				allowed(t, "206", gw.page("GET", "/pub/x", app, "Range: bytes=1-2"), 206, app)
				allowed(t, "HEAD", gw.page("HEAD", "/pub/x", app), 200, app)
			})
			t.Run("a token that reads is as good from a page", func(t *testing.T) {
				allowed(t, "GET", gw.page("GET", "/priv/x", app, bearer), 200, app)
				allowed(t, "GET of nobody's page", gw.page("GET", "/priv/x", "", bearer), 200, "")
			})
			t.Run("a bucket without cors says nothing", func(t *testing.T) {
				for _, target := range []string{"/plain/x", "/plain/none"} {
					if r := gw.page("GET", target, app); r.Header["Access-Control-Allow-Origin"] != nil || r.Header["Vary"] != nil {
						t.Errorf("%v", r.Header)
					}
				}
				if r := gw.page("OPTIONS", "/plain/x", app, "Access-Control-Request-Method: GET"); r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD" {
					t.Errorf("status %d, %v", r.StatusCode, r.Header)
				}
				if r := gw.page("OPTIONS", "/pub/x", app); r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
					t.Errorf("status %d, %v", r.StatusCode, r.Header)
				}
			})
		})
	}
}

// TestWebCORSForAll has the answers of a bucket that every page may read, which are the same for
// all, of one that lets cookies come and private networks be read, and of one for pages whose
// origin anybody can have.
func TestWebCORSForAll(t *testing.T) {
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+
		bucketYAML("all", "/all", webOrigin(t).URL)+`    cors: {origins: "*", headers: x-own, expose: "*", max_age: 60}`+"\n"+both+
		bucketYAML("own", "/own", webOrigin(t).URL)+`    cors: {origins: "https://app.example.com", credentials: true, private_network: true}`+"\n"+
		bucketYAML("null", "/null", webOrigin(t).URL)+`    cors: {origins: "null"}`)
	for _, origin := range []string{"", app, evil} {
		r := gw.page("GET", "/all/x", origin)
		if r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header["Vary"] != nil || r.Header.Get("Access-Control-Expose-Headers") != "*" {
			t.Errorf("for %q: %v", origin, r.Header)
		}
	}
	r := gw.page("OPTIONS", "/all/x", evil, "Access-Control-Request-Method: HEAD", "Access-Control-Request-Headers: X-Own", "Access-Control-Request-Private-Network: true")
	if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Access-Control-Max-Age") != "60" || r.Header["Access-Control-Allow-Private-Network"] != nil {
		t.Errorf("status %d, %v", r.StatusCode, r.Header)
	}
	r = gw.page("OPTIONS", "/own/x", app, "Access-Control-Request-Method: HEAD", "Access-Control-Request-Private-Network: true")
	if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != app || r.Header.Get("Access-Control-Allow-Private-Network") != "true" || r.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("status %d, %v", r.StatusCode, r.Header)
	}
	if r = gw.page("GET", "/own/x", app); r.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%v", r.Header)
	}
	if r = gw.page("GET", "/own/x", evil); r.Header["Access-Control-Allow-Credentials"] != nil {
		t.Errorf("%v", r.Header)
	}
	allowed(t, "null", gw.page("GET", "/null/x", "null"), 200, "null")
	if r = gw.page("OPTIONS", "/null/x", "null", "Access-Control-Request-Method: HEAD"); r.StatusCode != 204 || r.Header["Access-Control-Allow-Credentials"] != nil {
		t.Errorf("status %d, %v", r.StatusCode, r.Header)
	}
}
