package gateway

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// siteOrigin is an origin of the objects of a site. An object's text may begin with lines of a
// head and an empty line. Objects whose text is "500" fail.
func siteOrigin(t *testing.T, objects map[string]string) *testOrigin {
	return startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.URL.Path, "/things/")
		text, ok := objects[key]
		switch {
		case !ok:
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		case text == "500":
			s3Refusal(500, "InternalError")(w, r)
			return
		case text == "403":
			s3Refusal(403, "AccessDenied")(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("ETag", fmt.Sprintf("%q", "tag-of-"+key))
		if head, body, ok := strings.Cut(text, "\n\n"); ok {
			for line := range strings.Lines(head) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				w.Header().Set(name, value)
			}
			text = body
		}
		http.ServeContent(w, r, "", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), strings.NewReader(text))
	})
}

// siteYAML is a configuration with a site at prefix; lines are further keys of the bucket.
func siteYAML(prefix string, origin *testOrigin, lines ...string) string {
	s := onceYAML(oneBucket(prefix, origin.URL))
	for _, l := range lines {
		s += "    " + l + "\n"
	}
	return s
}

// eachCache runs a test with objects from a cache, where that absent ones are noted, too, and
// with streamed ones.
func eachCache(t *testing.T, test func(t *testing.T, cache string)) {
	t.Run("from memory", func(t *testing.T) { test(t, "cache: {enabled: true, negative_ttl: 60}") })
	t.Run("streamed", func(t *testing.T) { test(t, "cache: {enabled: false}") })
}

// siteCase is a request to a site, and what comes of it.
type siteCase struct {
	target string // after an optional method and a space
	header string // further lines of the head, separated by \r\n
	status int
	want   string   // of the body; "" is not compared
	has    []string // lines of the answer's head; with ! before it, none begins so
}

// check sends the request twice, the second time with objects in memory if there is a cache.
func (c *siteCase) check(t *testing.T, gw *testGateway) {
	t.Helper()
	method, target, ok := strings.Cut(c.target, " ")
	if !ok {
		method, target = "GET", c.target
	}
	var header []string
	if c.header != "" {
		header = strings.Split(c.header, "\r\n")
	}
	for _, time := range []string{"first", "second"} {
		r, body := gw.do(method, target, header...)
		var head strings.Builder
		r.Header.Write(&head)
		if r.StatusCode != c.status || c.want != "" && string(body) != c.want {
			t.Errorf("%s %s, %s time: status %d, %q, want %d, %q; %s", method, target, time, r.StatusCode, body, c.status, c.want, head.String())
		}
		for _, line := range c.has {
			absent, none := strings.CutPrefix(line, "!")
			if found := strings.Contains("\r\n"+head.String(), "\r\n"+absent); found == none {
				t.Errorf("%s %s, %s time: want %s in %s", method, target, time, line, head.String())
			}
		}
	}
}

func TestWeb(t *testing.T) {
	t.Run("05_slash_redirect_has_CORS_lines", testWebCORSOfRedirects)
	t.Run("09_missing_asset_is_404", testWebMissingAssets)
	t.Run("10_dot_in_a_page_is_no_extension", testWebDotsInPages)
	t.Run("11_private_index_without_token", testWebPrivateIndex)
	t.Run("12_error_document_is_whole", testWebErrorDocument)
	t.Run("13_query_goes_along", testWebQuery)
	t.Run("14_no_open_redirect", testWebOpenRedirects)
	t.Run("15_location_is_encoded_once", testWebEncodedOnce)
	t.Run("17_key_prefix_and_index", testWebKeyPrefix)
}

func testWebCORSOfRedirects(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"dir/index.html": "index"})
	gw := startGateway(t, siteYAML("/pub", origin, `cors: {origins: ["https://app.example.com"]}`, "website: {index: index.html}"))
	for _, c := range []siteCase{
		{"/pub/dir", "Origin: https://app.example.com", 302, "", []string{"Location: /pub/dir/\r\n", "Access-Control-Allow-Origin: https://app.example.com", "Vary: Origin"}},
		{"/pub/dir", "", 302, "", []string{"Location: /pub/dir/\r\n", "!Access-Control-Allow-Origin", "Vary: Origin"}},
		{"/pub/none", "Origin: https://app.example.com", 404, "", []string{"Access-Control-Allow-Origin: https://app.example.com", "Vary: Origin"}},
	} {
		c.check(t, gw)
	}
}

func testWebMissingAssets(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{"index.html": "app"})
		gw := startGateway(t, siteYAML("/", origin, cache, `website: {index: index.html, spa: {fallback: index.html, assets: [/assets]}}`,
			`headers: [{match: {path: "/assets/*"}, set: {Cache-Control: "public, max-age=31536000, immutable"}}]`))
		for _, target := range []string{"/assets/old-hash.js", "/assets/old", "/assets", "/app.9f2c.js", "/a/b/logo.SVG", "HEAD /assets/x"} {
			(&siteCase{target, "", 404, "", []string{"!Cache-Control", "Content-Type: application/json"}}).check(t, gw)
		}
		(&siteCase{"/assetsfolder", "", 200, "app", nil}).check(t, gw)
	})
}

func testWebDotsInPages(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{"index.html": "app", "docs/v1.3.html": "v1.3", "notes": "Cache-Control: max-age=9\n\nnotes"})
		gw := startGateway(t, siteYAML("/", origin, cache, `website: {clean_urls: true, spa: {fallback: index.html}}`))
		for _, c := range []siteCase{
			{"/docs/v1.2", "", 200, "app", []string{"Cache-Control: no-cache\r\n", `Etag: "tag-of-index.html"`, "Content-Type: text/html"}},
			{"HEAD /docs/v1.2", "", 200, "", []string{"Cache-Control: no-cache\r\n", `Etag: "tag-of-index.html"`, "Content-Length: 3"}},
			{"/docs/v1.2", `If-None-Match: "tag-of-index.html"`, 304, "", []string{"Cache-Control: no-cache\r\n"}},
			{"/docs/v1.2", "Range: bytes=1-1", 206, "p", []string{"Content-Range: bytes 1-1/3", "Cache-Control: no-cache"}},
			{"/docs/v1.2", "Range: bytes=7-", 416, "", nil},
			{"/docs/v1.3", "", 200, "v1.3", []string{"!Cache-Control"}},
			{"/docs/v1.3", `If-None-Match: "tag-of-docs/v1.3.html"`, 304, "", nil},
			{"/", "", 200, "app", nil},
			{"/any/page/", "", 200, "app", nil},
			{"/notes", "", 200, "notes", []string{"Cache-Control: max-age=9"}},
		} {
			c.check(t, gw)
		}
	})
}

// privateSiteYAML is a site at /pub whose tokens are in a cookie. What is below /public needs
// none.
func privateSiteYAML(origin *testOrigin, lines ...string) string {
	s := "server: {ready: config}\nbuckets:\n" + onceYAML(privateYAML("main", "/pub", origin.URL, "token_sources: [{type: cookie, name: session}]",
		`claims: [{claim: role, operator: equals, value: reader}]`)) + "      rules:\n        - {path: /public, enabled: false}\n        - {path: /open, enabled: false}\n        - {path: /open/index.html, claims: [{claim: level, operator: equals, value: top}]}\n"
	for _, l := range lines {
		s += "    " + l + "\n"
	}
	return s
}

func testWebPrivateIndex(t *testing.T) {
	reader, stranger := "Cookie: session="+goodToken(`"role":"reader"`), "Cookie: session="+goodToken()
	top := "Cookie: session=" + goodToken(`"role":"reader"`, `"level":"top"`)
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{
			"index.html": "secret index", "dir/index.html": "secret dir", "open/index.html": "top secret",
			"public/401.html": "please log in", "public/403.html": "not for you", "public/404.html": "nothing here",
		})
		gw := startGateway(t, privateSiteYAML(origin, cache, `website: {index: index.html, spa: {fallback: index.html}, error_documents: [{status: 401, key: public/401.html}, {status: 403, key: public/403.html}, {status: 404, key: public/404.html}]}`))
		for _, c := range []siteCase{
			{"/pub/", "", 401, "please log in", []string{"Content-Type: text/html", "Www-Authenticate: Bearer realm=", "Cache-Control: private", "!Etag", "!Last-Modified"}},
			{"HEAD /pub/", "", 401, "", []string{"Content-Length: 13", "Www-Authenticate: Bearer realm="}},
			{"/pub/dir", "", 401, "please log in", []string{"!Location"}},
			{"/pub/deep/link", "", 401, "please log in", nil},
			{"/pub/", "Cookie: session=bad", 403, "not for you", []string{`Www-Authenticate: Bearer error="invalid_token"`}},
			{"/pub/", stranger, 403, "not for you", []string{`Www-Authenticate: Bearer error="insufficient_scope"`}},
			{"/pub/", reader, 200, "secret index", []string{"Cache-Control: private"}},
			{"/pub/deep/link", reader, 200, "secret index", []string{"Cache-Control: private, no-cache"}},
			{"/pub/dir", reader, 302, "", []string{"Location: /pub/dir/\r\n", "Cache-Control: private"}},
			{"/pub/gone.js", reader, 404, "nothing here", []string{"Cache-Control: private"}}, // that it is gone depends on the token
			// A substitute is judged by its own rule, though the key that is asked for is public.
			{"/pub/open/", "", 401, "please log in", nil},
			{"/pub/open", "", 401, "please log in", []string{"!Location"}},
			{"/pub/open/", reader, 403, "not for you", nil},
			{"/pub/open/", top, 200, "top secret", []string{"Cache-Control: private"}},
			{"/pub/open", top, 302, "", []string{"Location: /pub/open/\r\n"}},
			{"/pub/public/gone", "", 401, "please log in", nil}, // the fallback is private
			{"/pub/public/gone.js", "", 404, "nothing here", []string{"!Cache-Control"}},
		} {
			c.check(t, gw)
		}
		gw.log.waitFor(t, `"status":401`)
		for _, secret := range []string{"index.html", "dir/index.html", "open/index.html"} {
			n := 0
			for _, r := range origin.seen() {
				if r.URL.Path == "/things/"+secret {
					n++
				}
			}
			if n == 0 {
				t.Errorf("%s was never asked for", secret)
			}
		}
	})
}

func testWebErrorDocument(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{
			"404.html":   "Cache-Control: max-age=31536000\nX-Amz-Meta-Color: blue\nContent-Language: de\n\nnot found",
			"denied.txt": "403", "broken": "500",
		})
		gw := startGateway(t, siteYAML("/", origin, cache, `website: {error_documents: [{status: 404, key: 404.html}, {status: 403, key: 403.html}]}`))
		whole := []string{"Content-Type: text/html", "Content-Language: de", "!Etag", "!Last-Modified", "!Cache-Control", "!Accept-Ranges", "!X-Amz-Meta", "!Content-Range"}
		for _, c := range []siteCase{
			{"/gone", "", 404, "not found", whole},
			{"/gone", `If-None-Match: "tag-of-404.html"`, 404, "not found", whole},
			{"/gone", "If-None-Match: *", 404, "not found", whole},
			{"/gone", "If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT", 404, "not found", whole},
			{"/gone", "Range: bytes=0-1", 404, "not found", whole},
			{"/gone", "Range: bytes=100-", 404, "not found", whole},
			{"/gone", "Range: bytes=0-0,2-2", 404, "not found", whole},
			{"HEAD /gone", "", 404, "", append([]string{"Content-Length: 9"}, whole...)},
			{"/404.html", `If-None-Match: "tag-of-404.html"`, 304, "", nil},
			{"/404.html", "", 200, "not found", []string{"Cache-Control: max-age=31536000", "X-Amz-Meta-Color: blue"}},
			{"/denied.txt", "", 403, "", []string{"Content-Type: application/json"}}, // the document is missing
			{"/broken", "", 502, "", []string{"Content-Type: application/json"}},
			{"/", "", 403, "", []string{"Content-Type: application/json"}},
		} {
			c.check(t, gw)
		}
		gw.log.waitFor(t, `"reason":"no_such_key"`)
		gw.log.waitFor(t, `"reason":"access_denied"`)
		gw.log.waitFor(t, `"reason":"no_object_key"`)
	})
}

func testWebQuery(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{"dir/index.html": "in the folder"})
		for _, prefix := range []string{"/", "/pub"} {
			gw := startGateway(t, siteYAML(prefix, origin, cache, `website: {index: index.html}`))
			at := strings.TrimSuffix(prefix, "/")
			for _, c := range []siteCase{
				{at + "/dir?a=b", "", 302, "", []string{"Location: " + at + "/dir/?a=b\r\n", "!Etag"}},
				{"HEAD " + at + "/dir?a=b", "", 302, "", []string{"Location: " + at + "/dir/?a=b\r\n"}},
				{at + "/dir?a=b", `If-None-Match: "tag-of-dir/index.html"`, 302, "", nil},
				{at + "/dir?a=b", "If-None-Match: *", 302, "", nil},
				{at + "/dir", "Range: bytes=0-0", 302, "", nil},
				{at + "/dir?", "", 302, "", []string{"Location: " + at + "/dir/\r\n"}},
				{at + "/dir?a=%C3%A9&b[]=%22\"x&c=/?", "", 302, "", []string{"Location: " + at + "/dir/?a=%C3%A9&b[]=%22%22x&c=/?\r\n"}},
				{at + "/dir/?a=b", "", 200, "in the folder", nil},
				{at + "/dir/", "Range: bytes=0-1", 206, "in", nil},
				{at + "/dir/", `If-None-Match: "tag-of-dir/index.html"`, 304, "", nil},
				{at + "/none", "", 404, "", []string{"!Location"}},
				{at + "/none/", "", 404, "", []string{"!Location"}},
			} {
				c.check(t, gw)
			}
		}
		gw := startGateway(t, siteYAML("/pub", origin, cache, `website: {index: index.html}`))
		for _, c := range []siteCase{
			{"/pub?x", "", 302, "", []string{"Location: /pub/?x\r\n"}},
			{"/pub/", "", 404, "", nil},
		} {
			c.check(t, gw)
		}
		for _, slash := range []string{"serve", "off"} {
			gw := startGateway(t, siteYAML("/pub", origin, cache, `website: {index: index.html, trailing_slash: `+slash+`}`))
			want := map[string]int{"serve": 200, "off": 404}[slash]
			(&siteCase{"/pub/dir", "", want, "", []string{"!Location"}}).check(t, gw)
			(&siteCase{"/pub/dir/", "", 200, "in the folder", nil}).check(t, gw)
			(&siteCase{"/pub", "", 404, "", nil}).check(t, gw)
		}
	})
}

func testWebOpenRedirects(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := startOrigin(t, serveText("an index, whatever the folder")) // each key but those without a slash
		absent := siteOrigin(t, nil)
		both := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/index.html") {
				origin.Config.Handler.ServeHTTP(w, r)
			} else {
				absent.Config.Handler.ServeHTTP(w, r)
			}
		})
		gw := startGateway(t, siteYAML("/", both, cache, `website: {index: index.html, redirects: [{from: "/r/*.old", to: "/*.new"}, {from: "/s*.old", to: "/*.new", status: 302}, {from: "/b/*.out", to: "https://example.com/b/*"}]}`))
		for target, want := range map[string]string{
			"/%2Fevil.com":         "/%2Fevil.com/",
			"/%2fevil.com/%2e.x":   "/%2fevil.com/%2e.x/",
			`/\evil.com`:           "/%5Cevil.com/",
			"/%5Cevil.com":         "/%5Cevil.com/",
			"/%5c%5cevil.com":      "/%5c%5cevil.com/",
			"/x//evil.com":         "/x//evil.com/",
			"/https:evil.com":      "/https:evil.com/",
			"/https://evil.com":    "/https://evil.com/",
			"/r//evil.com.old":     "/%2Fevil.com.new",
			"/r/%2Fevil.com.old":   "/%2Fevil.com.new",
			`/r/\evil.com.old`:     "/%5Cevil.com.new",
			"/r/%5Cevil.com.old":   "/%5Cevil.com.new",
			"/s/evil.com.old":      "/%2Fevil.com.new",
			"/s%5c/evil.com.old":   "/%5C/evil.com.new",
			"/s../x.old":           "/s../x.old/", // the rule would lead out of the bucket
			"/b/%0D@evil.com.out":  "",            // 400
			"/b/@evil.com.out":     "https://example.com/b/@evil.com",
			"http://evil.com":      "", // the root, of which there is an index
			"http://evil.com/dir":  "/dir/",
			"http://evil.com//dir": "", // 400
			"//evil.com":           "", // 400
			"//evil.com/%2e%2e":    "", // 400
			"/r/%252e%252e/x.old":  "/%252e%252e/x.new",
		} {
			got := gw.raw("GET " + target + " HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
			_, location, _ := strings.Cut(got, "\r\nLocation: ")
			location, _, _ = strings.Cut(location, "\r\n")
			if location != want || strings.HasPrefix(location, "//") || strings.HasPrefix(location, `/\`) || want == "" && statusOf(got) != 400 && statusOf(got) != 200 {
				t.Errorf("%s: Location %q, want %q; status %d", target, location, want, statusOf(got))
			}
		}
	})
}

func testWebEncodedOnce(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{"é ü/index.html": "index", "neu/é b.txt": "moved", "100%/index.html": "percent"})
		gw := startGateway(t, siteYAML("/pübli c", origin, cache, `website: {index: index.html, redirects: [{from: "/alt/*", to: "/neu/*"}, {from: "/alt é", to: "/neu é"}]}`))
		for _, c := range []siteCase{
			{"/p%C3%BCbli%20c/%C3%A9%20%C3%BC", "", 302, "", []string{"Location: /p%C3%BCbli%20c/%C3%A9%20%C3%BC/\r\n"}},
			{"/pübli%20c/é%20ü", "", 302, "", []string{"Location: /p%C3%BCbli%20c/%C3%A9%20%C3%BC/\r\n"}},
			{"/p%C3%BCbli%20c/100%25", "", 302, "", []string{"Location: /p%C3%BCbli%20c/100%25/\r\n"}},
			{"/p%C3%BCbli%20c/alt/%C3%A9%20b.txt", "", 301, "", []string{"Location: /p%C3%BCbli%20c/neu/%C3%A9%20b.txt\r\n"}},
			{"/pübli%20c/alt/é%20b.txt?q=é", "", 301, "", []string{"Location: /p%C3%BCbli%20c/neu/%C3%A9%20b.txt?q=%C3%A9\r\n"}},
			{"/p%C3%BCbli%20c/alt%20%C3%A9", "", 301, "", []string{"Location: /p%C3%BCbli%20c/neu%20%C3%A9\r\n"}},
			{"/p%C3%BCbli%20c/alt/100%25%3Fx%23", "", 301, "", []string{"Location: /p%C3%BCbli%20c/neu/100%25%3Fx%23\r\n"}},
			{"/p%C3%BCbli%20c", "", 302, "", []string{"Location: /p%C3%BCbli%20c/\r\n"}},
		} {
			c.check(t, gw)
		}
	})
}

func testWebKeyPrefix(t *testing.T) {
	eachCache(t, func(t *testing.T, cache string) {
		origin := siteOrigin(t, map[string]string{"site/v42/index.html": "home", "site/v42/dir/index.html": "dir", "site/v42/a.html": "a", "site/v42/404.html": "none"})
		yaml := strings.Replace(siteYAML("/pub", origin, cache, `website: {index: index.html, clean_urls: true, error_documents: [{status: 404, key: 404.html}]}`), "    s3:\n", "    s3:\n      key_prefix: site/v42/\n", 1)
		gw := startGateway(t, yaml)
		for _, c := range []siteCase{
			{"/pub/", "", 200, "home", nil},
			{"/pub/dir/", "", 200, "dir", nil},
			{"/pub/dir", "", 302, "", []string{"Location: /pub/dir/\r\n"}},
			{"/pub/a", "", 200, "a", nil},
			{"/pub/site/v42/index.html", "", 404, "none", nil},
			{"/pub", "", 302, "", []string{"Location: /pub/\r\n"}},
		} {
			c.check(t, gw)
		}
		for _, r := range origin.seen() {
			if !strings.HasPrefix(r.URL.Path, "/things/site/v42/") || strings.Count(r.URL.Path, "site/v42") > 1 && !strings.HasPrefix(r.URL.Path, "/things/site/v42/site/v42/index.html") {
				t.Errorf("the origin was asked for %s", r.URL.Path)
			}
		}
	})
}

// writePage writes a page and returns its path.
func writePage(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
