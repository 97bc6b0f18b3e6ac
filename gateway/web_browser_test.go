package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"yatagarasu/loadtest/browser"
	"yatagarasu/loadtest/browser/pagetest"
)

// TestWebInBrowser has a page of another origin read through the gateway by fetch, in a real
// browser, if there is one: what the lines are for is for it to judge.
func TestWebInBrowser(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>page</title><link rel=icon href=data:,>")
	}))
	defer page.Close()
	elsewhere := httptest.NewServer(page.Config.Handler) // which no bucket lets read
	defer elsewhere.Close()
	cors := fmt.Sprintf("    cors: {origins: [%q]}\n", page.URL)
	origin := webOrigin(t)
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+bucketYAML("pub", "/pub", origin.URL)+cors+"    headers: [{set: {Cache-Control: max-age=600}}]\n"+both+
		privateYAML("priv", "/priv", origin.URL)+cors+bucketYAML("plain", "/plain", origin.URL))
	b := pagetest.Start(t)
	open := func(url string) {
		t.Helper()
		if err := b.Open(url, browser.Window{Width: 800, Scale: 1, Scheme: "light"}); err != nil {
			t.Fatal(err)
		}
	}
	// reads has a script of the page return want.
	reads := func(what, script, want string) {
		t.Helper()
		call := fmt.Sprintf(`(async () => { %s })().then(v => document.title = 'got ' + v, e => document.title = 'got ' + e), true`, script)
		if err := b.Await(call, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := b.Await(fmt.Sprintf(`document.title === %q`, "got "+want), 10*time.Second); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	at := gw.url
	open(page.URL)
	reads("an object", fmt.Sprintf(`const r = await fetch(%q); return r.status + (await r.text()) + r.headers.get('etag').length`, at("/pub/x")), "200012345678934")
	reads("a range", fmt.Sprintf(`const r = await fetch(%q, {headers: {Range: 'bytes=2-4'}}); return r.status + (await r.text()) + r.headers.get('content-range')`, at("/pub/x?2")), "206234bytes 2-4/10")
	reads("an error", fmt.Sprintf(`const r = await fetch(%q); return r.status + (await r.json()).error`, at("/pub/none")), "404not_found")
	reads("03 a private object, after a preflight", fmt.Sprintf(`const r = await fetch(%q, {headers: {Authorization: 'Bearer %s'}}); return r.status + await r.text()`, at("/priv/x"), goodToken()), "2000123456789")
	reads("a private object without token", fmt.Sprintf(`const r = await fetch(%q); return r.status + (await r.json()).error`, at("/priv/x?none")), "401token_required")
	reads("a header that is not allowed", fmt.Sprintf(`await fetch(%q, {headers: {'X-Own': '1'}})`, at("/pub/x")), "TypeError: Failed to fetch")
	reads("another method", fmt.Sprintf(`await fetch(%q, {method: 'DELETE'})`, at("/pub/x")), "TypeError: Failed to fetch")
	reads("08 a 304", fmt.Sprintf(`const url = %q; await (await fetch(url)).text(); const r = await fetch(url, {cache: 'no-cache'}); return r.status + await r.text()`, at("/pub/x?8")), "2000123456789")
	if !slices.ContainsFunc(origin.seen(), func(r *http.Request) bool { return r.Method == "GET" }) || !strings.Contains(gw.log.String(), `"status":304`) {
		t.Error("the browser has not validated its copy")
	}
	reads("a bucket without cors", fmt.Sprintf(`await fetch(%q)`, at("/plain/x")), "TypeError: Failed to fetch")
	// What the browser keeps of an answer for nobody's page must not keep the page from reading.
	reads("02 an image first, then fetch", fmt.Sprintf(`const url = %q; await new Promise(done => { const i = new Image(); i.onload = i.onerror = done; i.src = url }); const r = await fetch(url); return r.status + await r.text()`, at("/pub/x?2nd")), "2000123456789")
	open(elsewhere.URL)
	reads("04 another page", fmt.Sprintf(`await fetch(%q)`, at("/pub/x")), "TypeError: Failed to fetch")
	if token := goodToken(); strings.Contains(gw.log.String(), token) {
		t.Error("the token is logged")
	}
}

// TestWebsiteInBrowser opens addresses of a site in a real browser, if there is one.
func TestWebsiteInBrowser(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/things/index.html", "/things/%2Fevil.example/index.html", "/things//evil.example/index.html", `/things/\evil.example/index.html`, "/things/docs/index.html":
			w.Header().Set("ETag", `"0123456789abcdef"`)
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<!doctype html><link rel=icon href=data:,><title>app</title><body><script>document.body.textContent = location.host + ' ' + location.pathname</script>")
		default:
			s3Refusal(404, "NoSuchKey")(w, r)
		}
	})
	gw := startGateway(t, oneBucket("/", origin.URL)+"    website: {index: index.html, spa: {fallback: index.html}}\n")
	b := pagetest.Start(t)
	for _, c := range []struct{ name, path, want string }{
		{"10 a dot in a page is no extension", "/docs/v1.2", "/docs/v1.2"},
		{"a folder", "/docs?a=b", "/docs/"},
		{"14 an encoded slash", "/%2Fevil.example", "/%2Fevil.example/"},
		{"14 a backslash", "/%5Cevil.example", "/%5Cevil.example/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := b.Open(gw.url(c.path), browser.Window{Width: 800, Scale: 1, Scheme: "light"}); err != nil {
				t.Fatal(err)
			}
			if err := b.Await(fmt.Sprintf(`document.title === 'app' && document.body.textContent === %q`, gw.addr+" "+c.want), 10*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}
