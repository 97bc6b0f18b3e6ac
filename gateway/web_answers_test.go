package gateway

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"yatagarasu/gateway/config"
)

func TestWebRules(t *testing.T) {
	t.Run("16_rule_into_itself_is_refused", func(t *testing.T) {
		for rules, want := range map[string]string{
			`{from: "/a/*", to: "/a/b/*"}`:                                              `redirects[0].to: leads to a path which this rule matches again`,
			`{from: "/a", to: "/b"}, {from: "/b", to: "/a"}`:                            `redirects[0].to: leads to a path which the rule for "/b" matches`,
			`{from: "/a/*", to: "/b/*"}, {from: "/*/x", to: "https://example.com/"}`:    `redirects[0].to: leads to a path which the rule for "/*/x" matches`,
			`{from: "/a", to: "/b/c"}, {from: "/b/*", to: "/d"}`:                        `redirects[0].to: leads to a path which the rule for "/b/*" matches`,
			`{from: "/a/*", to: "/b/*"}, {from: "/c/*", to: "/d/*"}`:                    "",
			`{from: "/a", to: "/a/"}`:                                                   "",
			`{from: "/*.htm", to: "/*.html"}`:                                           "",
			`{from: "/*", to: "https://example.com/*"}, {from: "/a/*", to: "http://x"}`: "",
		} {
			_, err := config.Parse("f", []byte(oneBucket("/pub", "http://127.0.0.1:1")+"    website: {redirects: ["+rules+"]}\n"), nil)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", rules, err, want)
			}
		}
	})
	t.Run("rules come after authorisation and before S3", testWebRuleOrder)
	t.Run("texts of the configuration", testWebFiles)
	t.Run("objects that redirect", testWebObjectRedirects)
}

func testWebRuleOrder(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"new/x": "x"})
	website := `website: {redirects: [{from: "/old/keep*", to: "/kept", status: 308}, {from: "/old/*", to: "/new/*"}, {from: "/old/x", to: "/never"}, {from: "/gone", to: "https://example.com/a?b=c", status: 302}, {from: "/", to: "/new/x", status: 307}], error_documents: [{status: 404, key: none.html}]}`
	gw := startGateway(t, siteYAML("/pub", origin, website))
	for _, c := range []siteCase{
		{"/pub/old/x", "", 301, "", []string{"Location: /pub/new/x\r\n", "Content-Length: 0\r\n", "!Content-Type", "!X-Cache", "!Cache-Control"}},
		{"HEAD /pub/old/x?q=1", "", 301, "", []string{"Location: /pub/new/x?q=1\r\n"}},
		{"/pub/old/", "If-None-Match: *\r\nRange: bytes=0-1", 301, "", []string{"Location: /pub/new/\r\n"}},
		{"/pub/old/keepers", "", 308, "", []string{"Location: /pub/kept\r\n"}},
		{"/pub/gone?token=secret", "", 302, "", []string{"Location: https://example.com/a?b=c\r\n"}}, // the token stays here
		{"/pub/", "", 307, "", []string{"Location: /pub/new/x\r\n"}},
		{"/pub", "", 307, "", []string{"Location: /pub/new/x\r\n"}},
		{"POST /pub/old/x", "", 405, "", []string{"!Location"}},
	} {
		c.check(t, gw)
	}
	if n := len(origin.seen()); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	if got := gw.metricValue(`yatagarasu_requests_total{bucket="main",method="GET",code="301"}`); got != 4 {
		t.Errorf("%v redirects are counted", got)
	}
	private := startGateway(t, privateSiteYAML(origin, website))
	(&siteCase{"/pub/old/x", "", 401, "", []string{"!Location"}}).check(t, private)
	(&siteCase{"/pub/old/x", "Cookie: session=" + goodToken(`"role":"reader"`), 301, "", []string{"Location: /pub/new/x\r\n", "Cache-Control: private"}}).check(t, private)
}

func testWebFiles(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"robots.txt": "not this one"})
	gw := startGateway(t, siteYAML("/pub", origin, `website: {files: {/robots.txt: "User-agent: *\nDisallow: /\n", /.well-known/x.own: "own", /noext: "é"}}`,
		`content_types: {map: {.own: "text/x-own"}}`, `headers: [{match: {path: "/robots.txt"}, set: {Cache-Control: max-age=60}}]`))
	const robots = "User-agent: *\nDisallow: /\n"
	r, _ := gw.do("GET", "/pub/robots.txt")
	tag := r.Header.Get("Etag")
	for _, c := range []siteCase{
		{"/pub/robots.txt", "", 200, robots, []string{"Content-Type: text/plain; charset=utf-8", "Cache-Control: max-age=60", "Content-Length: 26", "Date: ", "X-Request-Id: "}},
		{"HEAD /pub/robots.txt", "", 200, "", []string{"Content-Type: text/plain; charset=utf-8", "Content-Length: 26", "Etag: " + tag}},
		{"/pub/robots.txt", "If-None-Match: " + tag, 304, "", []string{"Etag: " + tag, "Cache-Control: max-age=60"}},
		{"/pub/robots.txt", "If-None-Match: W/" + tag, 304, "", nil},
		{"/pub/robots.txt", `If-Match: "other"`, 412, "", nil},
		{"/pub/robots.txt", "Range: bytes=0-1", 200, robots, nil},
		{"/pub/.well-known/x.own", "", 200, "own", []string{"Content-Type: text/x-own", "!Cache-Control"}},
		{"/pub/noext", "", 200, "é", []string{"!Content-Type"}},
	} {
		c.check(t, gw)
	}
	own := startGateway(t, siteYAML("/pub", origin, `website: {index: index.html, error_documents: [{status: 404, key: e.html}], files: {/index.html: home, /dir/index.html: dir, /e.html: "not found"}}`))
	for _, c := range []siteCase{
		{"/pub/", "", 200, "home", []string{"Content-Type: text/html", "Etag: "}},
		{"/pub/dir/", "", 200, "dir", nil},
		{"/pub/e.html", "", 200, "not found", []string{"Etag: "}},
	} {
		c.check(t, own)
	}
	if n := len(origin.seen()); n != 0 || len(tag) < 10 || tag[0] != '"' {
		t.Errorf("the origin was asked %d times; tag %s", n, tag)
	}
	(&siteCase{"/pub/dir", "", 302, "", []string{"Location: /pub/dir/\r\n"}}).check(t, own)
	(&siteCase{"/pub/gone", "If-None-Match: *", 404, "not found", []string{"!Etag", "Content-Type: text/html"}}).check(t, own)
}

func testWebObjectRedirects(t *testing.T) {
	objects := map[string]string{"target": "here"}
	for key, location := range map[string]string{
		"path": "/target?q#f", "url": "https://example.com/é x", "http": "HTTP://example.com", "spaces": "/a b/\\é%20",
		"other": "ftp://example.com/", "script": "javascript:alert(1)", "relative": "target", "slashes": "//evil.com/", "up": "/../other", "encoded-up": "/a/%2e%2E/b", "backslash": "/..\\x", "user": "http://@evil.com", "bare": "http://",
	} {
		objects[key] = "X-Amz-Website-Redirect-Location: " + location + "\n\nbody of " + key
	}
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, objects)
		for _, prefix := range []string{"/", "/pub"} {
			gw := startGateway(t, siteYAML(prefix, origin, cache, `website: {object_redirects: true}`))
			at := strings.TrimSuffix(prefix, "/")
			for _, c := range []siteCase{
				{at + "/path", "", 301, "", []string{"Location: " + at + "/target?q#f\r\n", "!Etag", "!X-Amz-Website", "Content-Length: 0"}},
				{"HEAD " + at + "/path", "", 301, "", []string{"Location: " + at + "/target?q#f\r\n"}},
				{at + "/path?a=b", "Range: bytes=0-1", 301, "", []string{"Location: " + at + "/target?q#f\r\n"}},
				{at + "/url", "", 301, "", []string{"Location: https://example.com/%C3%A9%20x\r\n"}},
				{at + "/http", "", 301, "", []string{"Location: HTTP://example.com\r\n"}},
				{at + "/spaces", "", 301, "", []string{"Location: " + at + "/a%20b/%5C%C3%A9%20\r\n"}},
				{at + "/target", "", 200, "here", nil},
			} {
				c.check(t, gw)
			}
			for _, key := range []string{"other", "script", "relative", "slashes", "up", "encoded-up", "backslash", "user", "bare"} {
				(&siteCase{at + "/" + key, "", 200, "body of " + key, []string{"!Location", "Etag: "}}).check(t, gw)
			}
			gw.log.waitFor(t, `"reason":"object_redirect"`)
		}
		off := startGateway(t, siteYAML("/", origin, cache))
		(&siteCase{"/path", "", 200, "body of path", []string{"!Location", "X-Amz-Website-Redirect-Location: /target"}}).check(t, off)
	})
}

// TestWebFailuresAreSeen has an origin that fails, which no substitute hides, and one whose
// substitutes fail.
func TestWebFailuresAreSeen(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{"index.html": "app", "broken": "500", "denied": "403", "half.html": "500", "dir/index.html": "500", "404.html": "not found"})
		const website = `website: {index: index.html, clean_urls: true, spa: {fallback: index.html}, error_documents: [{status: 404, key: 404.html}, {status: 403, key: broken}]}`
		gw := startGateway(t, siteYAML("/", origin, cache, website))
		for _, c := range []siteCase{
			{"/broken", "", 502, "", []string{"Content-Type: application/json"}},
			{"HEAD /broken", "", 502, "", nil},
			{"/half", "", 502, "", []string{"Content-Type: application/json"}},
			{"/dir", "", 502, "", []string{"!Location"}},
			{"/dir/", "", 502, "", nil},
			{"/denied", "", 403, "", []string{"Content-Type: application/json"}}, // its document fails
			{"/x", "", 200, "app", nil},
			{"/x.css", "", 404, "not found", nil},
		} {
			c.check(t, gw)
		}
		gw.log.waitFor(t, `"reason":"access_denied"`)
		hidden := startGateway(t, strings.Replace(siteYAML("/", origin, cache, website), "    s3:\n", "    s3:\n      access_denied: 404\n", 1))
		(&siteCase{"/denied", "", 200, "app", nil}).check(t, hidden)
		down := startGateway(t, strings.Replace(siteYAML("/", origin, cache, website), origin.URL, "http://127.0.0.1:1", 1))
		(&siteCase{"/x", "", 502, "", nil}).check(t, down)
	})
}

// TestWebFallbackFails has an application whose page cannot be had.
func TestWebFallbackFails(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		objects := map[string]string{"app.html": "500", "404.html": "not found"}
		gw := startGateway(t, siteYAML("/", siteOrigin(t, objects), cache, `website: {spa: {fallback: app.html}, error_documents: [{status: 404, key: 404.html}]}`))
		(&siteCase{"/x", "", 502, "", nil}).check(t, gw)
		(&siteCase{"/", "", 502, "", nil}).check(t, gw)
		missing := startGateway(t, siteYAML("/", siteOrigin(t, map[string]string{"404.html": "500"}), cache, `website: {spa: {fallback: app.html}, error_documents: [{status: 404, key: 404.html}]}`))
		(&siteCase{"/x", "", 404, "", []string{"Content-Type: application/json"}}).check(t, missing)
		missing.log.waitFor(t, `"reason":"no_such_key"`)
	})
}

// TestWebFailover asks each replica for each substitute, though they all lacked the object before.
func TestWebFailover(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		near, far := siteOrigin(t, nil), siteOrigin(t, map[string]string{"index.html": "app"})
		gw := startGateway(t, replicasYAML([]string{near.URL, far.URL}, "failover_on_404: true")+"    "+cache+"\n    website: {spa: {fallback: index.html}}\n")
		(&siteCase{"/pub/deep/link", "", 200, "app", nil}).check(t, gw)
	})
}

// TestWebCounts has one line and one count for each request, however many objects stood in.
func TestWebCounts(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"index.html": "app", "404.html": "not found"})
	gw := startGateway(t, siteYAML("/", origin, "cache: {enabled: true}", `website: {index: index.html, clean_urls: true, spa: {fallback: index.html}, error_documents: [{status: 404, key: 404.html}]}`))
	for _, target := range []string{"/deep/link", "/gone.js", "/", "/deep"} {
		gw.do("GET", target)
	}
	gw.log.waitFor(t, `"path":"/deep"`)
	if n := strings.Count(gw.log.String(), `"message":"request"`); n != 4 {
		t.Errorf("%d lines, want 4: %s", n, gw.log.String())
	}
	for code, want := range map[string]float64{"200": 3, "404": 1, "302": 0} {
		if got := gw.metricValue(`yatagarasu_requests_total{bucket="main",method="GET",code="` + code + `"}`); got != want {
			t.Errorf("%v requests with %s, want %v", got, code, want)
		}
	}
	var asked []string
	for _, r := range origin.seen() {
		asked = append(asked, strings.TrimPrefix(r.URL.Path, "/things"))
	}
	want := "/deep/link /deep/link.html /deep/link/index.html /index.html /gone.js /gone.js/index.html /404.html /deep /deep.html /deep/index.html"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("the origin was asked for\n%s, want\n%s", got, want)
	}
}

func TestWebDownload(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{"a/é b.txt": "Content-Disposition: inline\n\ntext", "index.html": "app", "ruled": "ruled"})
		gw := startGateway(t, siteYAML("/pub", origin, cache, "download_query: true", "headers: [{match: {path: /ruled}, set: {Content-Disposition: inline}}]", "website: {index: index.html, error_documents: [{status: 404, key: index.html}]}"))
		const at = "/pub/a/%C3%A9%20b.txt"
		own := `Content-Disposition: attachment; filename="_ b.txt"; filename*=UTF-8''%C3%A9%20b.txt` + "\r\n"
		for _, c := range []siteCase{
			{at, "", 200, "text", []string{"Content-Disposition: inline\r\n"}},
			{at + "?downloads", "", 200, "text", []string{"Content-Disposition: inline\r\n"}},
			{at + "?x&download", "", 200, "text", []string{own}},
			{at + "?download=", "", 200, "text", []string{own}},
			{"HEAD " + at + "?download", "", 200, "", []string{own}},
			{at + "?download", "Range: bytes=0-1", 206, "te", []string{own}},
			{at + "?download", "If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT", 304, "", []string{"!Content-Disposition"}},
			{at + "?download=x.pdf", "", 200, "text", []string{`Content-Disposition: attachment; filename="x.pdf"; filename*=UTF-8''x.pdf` + "\r\n"}},
			{at + "?download=..%2F..%5Cetc/pass%22wd", "", 200, "text", []string{`Content-Disposition: attachment; filename="pass_wd"; filename*=UTF-8''pass%22wd` + "\r\n"}},
			{at + "?download=a%0D%0AX-Evil:1", "", 200, "text", []string{own, "!X-Evil"}},
			{at + "?download=%ff", "", 200, "text", []string{own}},
			{at + "?download=%2e%2e", "", 200, "text", []string{own}},
			{at + "?download=" + strings.Repeat("x", 256), "", 200, "text", []string{own}},
			{"/pub/ruled?download", "", 200, "ruled", []string{`Content-Disposition: attachment; filename="ruled"`, "!Content-Disposition: inline"}},
			{"/pub/ruled", "", 200, "ruled", []string{"Content-Disposition: inline"}},
			{"/pub/?download", "", 200, "app", []string{`Content-Disposition: attachment; filename="index.html"`}},
			{"/pub/gone?download", "", 404, "app", []string{"!Content-Disposition"}},
		} {
			c.check(t, gw)
		}
		for _, r := range origin.seen() {
			if r.URL.RawQuery != "" {
				t.Errorf("the origin got the query %s", r.URL.RawQuery)
			}
		}
		off := startGateway(t, siteYAML("/pub", origin, cache))
		(&siteCase{at + "?download", "", 200, "text", []string{"Content-Disposition: inline\r\n"}}).check(t, off)
	})
}

func TestMaintenance(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"x": "x"})
	page := writePage(t, "m.html", "<p>back soon")
	lines := []string{`cors: {origins: ["*"]}`, `headers: [{set: {Cache-Control: max-age=60, X-Own: y}, when: always}]`}
	yaml := func(more string) string {
		return strings.Replace(siteYAML("/pub", origin, append(lines, "maintenance: {enabled: true, "+more+"}")...), "ready: config", "ready: config, trusted_proxies: [127.0.0.1]", 1)
	}
	gw := startGateway(t, yaml(fmt.Sprintf("page: %q, retry_after: 90s, allow: [192.0.2.0/24]", page)))
	closed := []string{"Retry-After: 90\r\n", "Cache-Control: no-store\r\n", "!Cache-Control: max-age", "X-Own: y", "Access-Control-Allow-Origin: *"}
	for _, c := range []siteCase{
		{"/pub/x", "", 503, "<p>back soon", append([]string{"Content-Type: text/html; charset=utf-8"}, closed...)},
		{"HEAD /pub/x", "", 503, "", append([]string{"Content-Length: 12"}, closed...)},
		{"/pub", "", 503, "<p>back soon", closed},
		{"/pub/%00", "", 400, "", nil},
		{"OPTIONS /pub/x", "Origin: https://a\r\nAccess-Control-Request-Method: GET", 204, "", nil},
		{"POST /pub/x", "", 405, "", nil},
		{"/pub/x", "X-Forwarded-For: 192.0.2.7", 200, "x", []string{"Cache-Control: max-age=60"}},
		{"/pub/x", "X-Forwarded-For: 192.0.3.7", 503, "<p>back soon", closed},
		{"/health", "", 200, "", nil},
		{"/ready", "", 200, "", nil},
	} {
		c.check(t, gw)
	}
	if n := len(origin.seen()); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
	gw.log.waitFor(t, `"reason":"maintenance"`)

	plain := startGateway(t, yaml("retry_after: 1s"))
	(&siteCase{"/pub/x", "", 503, "", []string{"Retry-After: 1\r\n", "Content-Type: application/json", "Cache-Control: no-store"}}).check(t, plain)
	(&siteCase{"/pub/x", "Accept: text/plain", 503, "", []string{"Content-Type: text/plain"}}).check(t, plain)
	off := startGateway(t, strings.Replace(yaml("page: /nowhere"), "enabled: true", "enabled: false", 1))
	(&siteCase{"/pub/x", "", 200, "x", nil}).check(t, off)
}

// TestMaintenanceReload has a page that is read again at a reload, and one that is gone.
func TestMaintenanceReload(t *testing.T) {
	page := writePage(t, "m.html", "one")
	origin := siteOrigin(t, nil)
	gw, _ := fileGateway(t, siteYAML("/", origin, fmt.Sprintf("maintenance: {enabled: true, page: %q}", page)))
	(&siteCase{"/x", "", 503, "one", nil}).check(t, gw)
	if err := os.WriteFile(page, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := gw.requestReload(); len(r.Errors) > 0 {
		t.Error(r.Errors)
	}
	(&siteCase{"/x", "", 503, "two", nil}).check(t, gw)
	if err := os.Remove(page); err != nil {
		t.Fatal(err)
	}
	if r := gw.requestReload(); len(r.Errors) == 0 {
		t.Error("a page that is gone is no error")
	}
	(&siteCase{"/x", "", 503, "two", nil}).check(t, gw)
}

// TestWebOff has a bucket that is no site, and answers as ever.
func TestWebOff(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"index.html": "app", "dir/index.html": "x"})
	gw := startGateway(t, siteYAML("/pub", origin))
	for _, c := range []siteCase{
		{"/pub", "", 403, "", nil},
		{"/pub/", "", 403, "", nil},
		{"/pub/dir", "", 404, "", []string{"!Location"}},
		{"/pub/dir/", "", 404, "", nil},
	} {
		c.check(t, gw)
	}
	if b := gw.Generation.Load().Buckets[0]; b.Site != nil || b.Website != nil {
		t.Error("the bucket is a site")
	}
}
