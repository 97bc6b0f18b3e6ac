//go:build !race

package gateway

import (
	"strings"
	"testing"
)

// TestWebHitAllocs guards the whole handler on what a site answers from memory: an index, with
// and without a token, the page of an application in the place of an object that is known to be
// absent, the same as a 304, a text of the configuration, and a download.
func TestWebHitAllocs(t *testing.T) {
	origin := siteOrigin(t, map[string]string{"index.html": "app", "dir/index.html": "in the folder", "404.html": "not found", "file.txt": "text"})
	const website = `website: {index: index.html, clean_urls: true, spa: {fallback: index.html, assets: [/assets]}, object_redirects: true, redirects: [{from: "/old/*", to: "/new/*"}], files: {/robots.txt: "x"}, error_documents: [{status: 404, key: 404.html}]}`
	lines := []string{website, "cache: {enabled: true, negative_ttl: 3600}", "download_query: true", `headers: [{match: {path: "*.html"}, set: {X-Own: y}}]`}
	token := "Cookie: session=" + goodToken(`"role":"reader"`)
	for _, c := range []struct {
		name, target, header string
		private              bool
		status               int
		has                  string
	}{
		{"index", "/pub/dir/", "", false, 200, "X-Own: y"},
		{"index with a token", "/pub/dir/", token, true, 200, "Cache-Control: private"},
		{"index, 304", "/pub/dir/", `If-None-Match: "tag-of-dir/index.html"`, false, 304, "X-Own: y"},
		{"fallback", "/pub/deep/link", "", false, 200, "Cache-Control: no-cache"},
		{"fallback with a token", "/pub/deep/link", token, true, 200, "Cache-Control: private, no-cache"},
		{"fallback, 304", "/pub/deep/link", `If-None-Match: "tag-of-index.html"`, false, 304, "Cache-Control: no-cache"},
		{"fallback, a part", "/pub/deep/link", "Range: bytes=0-1", false, 206, "Content-Range: bytes 0-1/3"},
		{"an error's document", "/pub/gone.js", "", false, 404, "Content-Type: text/html"},
		{"a folder without its slash", "/pub/dir", "", false, 302, "Location: /pub/dir/\r\n"},
		{"a rule", "/pub/old/x", "", false, 301, "Location: /pub/new/x\r\n"},
		{"a text of the configuration", "/pub/robots.txt", "", false, 200, "Content-Type: text/plain"},
		{"a download", "/pub/file.txt?download=x%20y.txt", "", false, 200, `Content-Disposition: attachment; filename="x y.txt"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			yaml := siteYAML("/pub", origin, lines...)
			if c.private {
				yaml = privateSiteYAML(origin, lines...)
			}
			g := configuredGateway(t, yaml, "warn")
			head := "GET " + c.target + " HTTP/1.1\r\nHost: gateway.test\r\n"
			warm := request(t, head+strings.TrimSuffix(token+"\r\n", "\r\n")+"\r\n\r\n")
			g.Handle(warm)
			if c.header != "" {
				head += c.header + "\r\n"
			}
			ctx := request(t, head+"\r\n")
			var got []byte
			serve := func() {
				g.Handle(ctx)
				got = ctx.Response.Header.AppendBytes(got[:0])
				if ctx.Response.StatusCode() != c.status || !strings.Contains(string(got), "\r\n"+c.has) {
					t.Fatalf("status %d, %s", ctx.Response.StatusCode(), got)
				}
				ctx.ResetUserValues()
				ctx.Response.Reset()
			}
			for range 10 {
				serve()
			}
			before := len(origin.seen())
			quiet := func() {
				g.Handle(ctx)
				if ctx.Response.StatusCode() != c.status {
					t.Fatalf("status %d", ctx.Response.StatusCode())
				}
				ctx.ResetUserValues()
				ctx.Response.Reset()
			}
			if n := testing.AllocsPerRun(500, quiet); n > 0 {
				t.Errorf("%v allocations, want none", n)
			}
			if n := len(origin.seen()); n != before {
				t.Errorf("the origin was asked %d times meanwhile", n-before)
			}
		})
	}
}
