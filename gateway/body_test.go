package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// smuggledRequest is a body that would be a request, were it taken for the next one.
const smuggledRequest = "GET /pub/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

// bodyKinds are the ways in which a body comes with a request: header lines, and what
// follows the head.
var bodyKinds = []struct{ name, lines, body string }{
	{"none", "", ""},
	{"none, expectation", "Expect: 100-continue\r\n", ""},
	{"length 0", "Content-Length: 0\r\n", ""},
	{"length", fmt.Sprintf("Content-Length: %d\r\n", len(smuggledRequest)), smuggledRequest},
	{"length and expectation", fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n", len(smuggledRequest)), smuggledRequest},
	{"chunked", "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggledRequest), smuggledRequest)},
	{"chunked and expectation", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggledRequest), smuggledRequest)},
	{"chunked and empty", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"},
	{"chunks that are none", "Transfer-Encoding: chunked\r\n", smuggledRequest},
	{"announced", "Content-Length: 5\r\n", ""},
	{"announced with an expectation", "Content-Length: 5\r\nExpect: 100-continue\r\n", ""},
	{"chunks announced", "Transfer-Encoding: chunked\r\n", ""},
	{"a gigabyte announced", "Content-Length: 1073741824\r\n", ""},
	{"a gigabyte announced with an expectation", "Content-Length: 1073741824\r\nExpect: 100-continue\r\n", ""},
}

// TestAnswersDoNotDependOnBodies makes each request with each kind of body: the answer
// is that without one, at once, and the connection is closed with the body unread.
func TestAnswersDoNotDependOnBodies(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	withToken := startGateway(t, strings.Replace(adminYAML(origin.URL, `admin: {token: "`+adminToken+`"}`), "ready: config", "ready: config, trusted_proxies: [127.0.0.1]", 1))
	keyless := startGateway(t, adminYAML(origin.URL))
	const bearer = "Authorization: Bearer " + adminToken + "\r\n"
	main, metrics := withToken.addr, withToken.MetricsAddr().String()
	for _, c := range []struct {
		name, address, method, target, header string
		status                                int
		allow                                 string
		withBody                              int // if a body changes the answer; it is documented
	}{
		{"no token", main, "POST", "/admin/cache/purge", "", 401, "", 0},
		{"no token, metrics listener", metrics, "POST", "/admin/cache/purge", "", 401, "", 0},
		{"wrong token", main, "POST", "/admin/cache/purge", bearer[:len(bearer)-2] + "x\r\n", 401, "", 0},
		{"wrong token, metrics listener", metrics, "POST", "/admin/reload", bearer[:len(bearer)-2] + "x\r\n", 401, "", 0},
		{"another scheme", metrics, "POST", "/admin/reload", "Authorization: Basic " + adminToken + "\r\n", 401, "", 0},
		{"no token, no such call", main, "POST", "/admin/nothing", "", 401, "", 0},
		{"no token, /admin alone", metrics, "POST", "/admin", "", 401, "", 0},
		{"no token, another method", main, "PUT", "/admin/cache/purge", "", 401, "", 0},
		{"no token, DELETE", main, "DELETE", "/admin/cache/prewarm/1", "", 401, "", 0},
		{"no token, GET", main, "GET", "/admin/status", "", 401, "", 0},
		{"no token, HEAD", metrics, "HEAD", "/admin/status", "", 401, "", 0},
		{"no token, escaped path", main, "POST", "/%61dmin/reload", "", 401, "", 0},
		{"no token, absolute form", main, "POST", "http://localhost/admin/reload", "", 401, "", 0},
		{"token, no such call", main, "POST", "/admin/nothing", bearer, 404, "", 0},
		{"token, no such call, metrics listener", metrics, "DELETE", "/admin/nothing", bearer, 404, "", 0},
		{"token, another method", main, "PUT", "/admin/cache/purge", bearer, 405, "POST", 0},
		{"token, another method, metrics listener", metrics, "POST", "/admin/status", bearer, 405, "GET", 0},
		{"token, GET", main, "GET", "/admin/config", bearer, 200, "", 413},
		{"token, HEAD", metrics, "HEAD", "/admin/config", bearer, 200, "", 413},
		{"token, GET of another method's", main, "GET", "/admin/cache/purge", bearer, 405, "POST", 0},
		{"token, GET of no call", main, "GET", "/admin/nothing", bearer, 404, "", 0},
		{"none configured, main listener", keyless.addr, "POST", "/admin/cache/purge", "", 404, "", 0},
		{"none configured, another site's page", keyless.MetricsAddr().String(), "POST", "/admin/cache/purge", "Origin: http://example.com\r\n", 403, "", 0},
		{"bad target under /admin", main, "POST", "/admin/../x", bearer, 405, "GET, HEAD", 0},

		{"bucket, POST", main, "POST", "/pub/x", "", 405, "GET, HEAD", 0},
		{"bucket, PUT without a key", main, "PUT", "/pub/", "", 405, "GET, HEAD", 0},
		{"bucket, DELETE", main, "DELETE", "/pub/x", "", 405, "GET, HEAD", 0},
		{"bucket, a method of nobody", main, "BREW", "/pub/x", "", 405, "GET, HEAD", 0},
		{"bucket, bad target", main, "POST", "/pub/../x", "", 405, "GET, HEAD", 0},
		{"no bucket", main, "POST", "/nowhere/x", "", 404, "", 0},
		{"health", main, "POST", "/health", "", 405, "GET, HEAD", 0},
		{"ready", main, "PUT", "/ready", "", 405, "GET, HEAD", 0},
		{"metrics on the main listener", main, "POST", "/metrics", "", 404, "", 0},
		{"metrics", metrics, "POST", "/metrics", "", 405, "GET, HEAD", 0},
		{"status page", metrics, "POST", "/", "", 405, "GET, HEAD", 0},
		{"health on the metrics listener", metrics, "POST", "/health", "", 405, "GET, HEAD", 0},
		{"no page", metrics, "POST", "/pub/x", "", 404, "", 0},
		{"GET of an object", main, "GET", "/pub/x", "", 200, "", 413},
		{"HEAD of an object", main, "HEAD", "/pub/x", "", 200, "", 413},
		{"GET of nothing", main, "GET", "/nowhere", "", 404, "", 413},
		{"GET of a bad target", main, "GET", "/pub/../x", "", 400, "", 0},
		{"health, GET", main, "GET", "/health", "", 200, "", 413},
		{"metrics, GET", metrics, "GET", "/metrics", "", 200, "", 413},
		{"bad Host", main, "POST", "/pub/x", "Host: a@b\r\n", 400, "", 0},
		{"two Authorizations", main, "POST", "/admin/nothing", bearer + bearer, 400, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.HasPrefix(c.header, "Host: ") {
				c.header = "Host: localhost\r\n" + c.header
			}
			for i, kind := range bodyKinds {
				asked := len(origin.seen())
				head := c.method + " " + c.target + " HTTP/1.1\r\n" + c.header + kind.lines + fmt.Sprintf("X-Forwarded-For: 192.0.2.%d\r\n", i) // few wrong tokens from each
				want := c.status
				switch body := !strings.HasPrefix(kind.name, "none") && kind.name != "length 0"; {
				case !body:
					head += "Connection: close\r\n"
				case c.withBody != 0:
					want = c.withBody
				}
				raw := withToken.rawAt(c.address, 10*time.Second, head+"\r\n"+kind.body)
				if got := statusOf(raw); got != want || strings.Contains(raw, "100 Continue") {
					t.Errorf("%s: status %d, want %d: %.300q", kind.name, got, want, raw)
				}
				if strings.Count(raw, "HTTP/1.1 ") != 1 || !strings.Contains(raw, "\r\nConnection: close\r\n") {
					t.Errorf("%s: not one answer on a closed connection: %.400q", kind.name, raw)
				}
				if c.allow != "" && !strings.Contains(raw, "\r\nAllow: "+c.allow+"\r\n") {
					t.Errorf("%s: no Allow: %s: %.300q", kind.name, c.allow, raw)
				}
				if n := len(origin.seen()) - asked; n != 0 && want != 200 {
					t.Errorf("%s: the origin was asked %d times", kind.name, n)
				}
			}
		})
	}
}

// TestBodiesOfThoseWhoMayCall reads them, in every form, up to the limit.
func TestBodiesOfThoseWhoMayCall(t *testing.T) {
	yaml := adminYAML(startOrigin(t, serveText("hello")).URL, `admin: {token: "`+adminToken+`"}`)
	gw := startGateway(t, yaml)
	hasty := startGateway(t, yaml, func(o *Options) { o.HeaderTimeout = 300 * time.Millisecond })
	const body = `{"bucket": "main", "key": "x"}`
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	const expect, chunked = "Expect: 100-continue\r\n", "Transfer-Encoding: chunked\r\n"
	tooMuch := fmt.Sprintf("Content-Length: %d\r\n", boundAdminBody+1)
	const purge = "POST /admin/cache/purge"
	for _, c := range []struct {
		name, call, lines, body string
		status                  int
		invited                 bool
		has                     string
	}{
		{"none", purge, "", "", 200, false, `"purged":0`},
		{"none, expectation", purge, expect, "", 200, false, `"purged":0`},
		{"length", purge, length, body, 200, false, `"purged":0`},
		{"length and expectation", purge, length + expect, body, 200, true, `"purged":0`},
		{"chunked", purge, chunked, chunks, 200, false, `"purged":0`},
		{"chunked and expectation", purge, chunked + expect, chunks, 200, true, `"purged":0`},
		{"chunked and empty", purge, chunked, "0\r\n\r\n", 200, false, `"purged":0`},
		{"it is understood", purge, "Content-Length: 2\r\n", "{}", 400, false, "say what goes"},
		{"escaped path", "POST /%61dmin/cache/purge", length, body, 200, false, `"purged":0`},
		{"escaped path is understood", "POST /%61dmin/cache/purge", "Content-Length: 2\r\n", "{}", 400, false, "say what goes"},
		{"absolute form", "POST http://localhost/admin/cache/purge", "Content-Length: 2\r\n", "{}", 400, false, "say what goes"},
		{"a call that looks at none", "POST /admin/cache/purge/main", length, body, 200, false, `"purged":0`},
		{"DELETE", "DELETE /admin/cache/prewarm/1", length, body, 404, false, "no_such_job"},
		{"DELETE without one", "DELETE /admin/cache/prewarm/1", "", "", 404, false, "no_such_job"},
		{"another expectation", purge, "Expect: x\r\n", "", 417, false, ""},
		{"another expectation and a body", purge, "Expect: x\r\n" + length, body, 417, false, ""},
		{"T99a another expectation in the same line", purge, "Expect: 100-continue, x\r\n" + length, body, 417, false, "expectation_failed"},
		{"T99a another expectation before it", purge, "Expect: x\r\n" + expect + length, body, 417, false, "expectation_failed"},
		{"T99a another expectation after it", purge, expect + "Expect: x\r\n" + length, body, 417, false, "expectation_failed"},
		{"T99a two framings", purge, expect + length + chunked, body, 400, false, "bad_request"},
		{"T99a a bare LF", purge, expect + "A: b\nC: d\r\n" + length, body, 400, false, "bad_request"},
		{"T99a two credentials", purge, expect + "Authorization: Bearer " + adminToken + "\r\n" + length, body, 400, false, "bad_request"},
		{"T99a the expectation twice", purge, expect + expect + length, body, 200, true, `"purged":0`},
		{"too long", purge, tooMuch, "", 413, false, "body_too_large"},
		{"too long, expectation", purge, tooMuch + expect, "", 413, false, "body_too_large"},
		{"chunks too long", purge, chunked, fmt.Sprintf("%x\r\n%s", boundAdminBody+1, strings.Repeat("x", boundAdminBody+1)), 413, false, "body_too_large"},
		{"chunks that are none", purge, chunked, "x\r\n", 400, false, ""},
		{"it never comes", purge, length, "", 408, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			gw := gw
			if c.status == 408 {
				gw = hasty
			}
			for _, address := range []string{gw.addr, gw.MetricsAddr().String()} {
				raw := gw.rawAt(address, 10*time.Second, c.call+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "+adminToken+"\r\n"+c.lines+"\r\n"+c.body)
				answer, invited := strings.CutPrefix(raw, "HTTP/1.1 100 Continue\r\n\r\n")
				if got := statusOf(answer); got != c.status || invited != c.invited || strings.Count(raw, "100 Continue") > 1 || !strings.Contains(answer, c.has) {
					t.Errorf("status %d, invited %t, want %d, %t and %q: %.400q", got, invited, c.status, c.invited, c.has, raw)
				}
			}
		})
	}
	t.Run("the connection goes on behind one that was read", func(t *testing.T) {
		request := "POST /admin/cache/purge HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + adminToken + "\r\n" + length + "\r\n" + body
		raw := gw.raw(request + request + "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if n := strings.Count(raw, "HTTP/1.1 200 OK"); n != 3 {
			t.Errorf("%d answers: %.600q", n, raw)
		}
	})
}
