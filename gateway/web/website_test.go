package web

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/site"
)

// chainOf returns the keys that stand in for one, in order, by their steps.
func chainOf(w *Website, key string) string {
	names := [...]string{Itself: "itself", Index: "index", Clean: "clean", Folder: "folder", Fallback: "fallback"}
	var chain []string
	for own, step := w.First(nil, []byte(key)); step != NoStep; own, step = w.Next(nil, []byte(key), step) {
		if step == Itself {
			own = []byte(key)
		}
		chain = append(chain, names[step]+" "+string(own))
	}
	return strings.Join(chain, ", ")
}

func TestChain(t *testing.T) {
	all := site.Website{Index: "index.html", TrailingSlash: "redirect", CleanURLs: true, SPA: site.SPA{Fallback: "index.html", Assets: []string{"/assets", "/a/b"}}}
	off, app := all, site.Website{SPA: site.SPA{Fallback: "app"}}
	off.TrailingSlash = "off"
	for _, c := range []struct {
		site      site.Website
		key, want string
	}{
		{all, "", "index index.html"},
		{all, "dir/", "index dir/index.html, fallback index.html"},
		{all, "page", "itself page, clean page.html, folder page/index.html, fallback index.html"},
		{all, "v1.2", "itself v1.2, clean v1.2.html, folder v1.2/index.html, fallback index.html"},
		{all, "app.js", "itself app.js, folder app.js/index.html"},
		{all, "dir/", "index dir/index.html, fallback index.html"},
		{all, "assets", "itself assets, clean assets.html, folder assets/index.html"},
		{all, "assets/x", "itself assets/x, clean assets/x.html, folder assets/x/index.html"},
		{all, "assetsx", "itself assetsx, clean assetsx.html, folder assetsx/index.html, fallback index.html"},
		{all, "a/b/", "index a/b/index.html"},
		{all, "a/bc", "itself a/bc, clean a/bc.html, folder a/bc/index.html, fallback index.html"},
		{off, "page", "itself page, clean page.html, fallback index.html"},
		{app, "", "fallback app"},
		{app, "dir/", "itself dir/, fallback app"},
		{app, "app", "itself app"},
		{site.Website{CleanURLs: true}, "a/", "itself a/"},
		{site.Website{ObjectRedirects: true}, "a", "itself a"},
	} {
		w := newWebsite(&site.Site{Website: c.site}, "/")
		if got := chainOf(w, c.key); got != c.want {
			t.Errorf("%q: %s, want %s", c.key, got, c.want)
		}
	}
	if newWebsite(&site.Site{}, "/") != nil || New(&site.Site{}, "/", nil) != nil {
		t.Error("nothing configured, and a site")
	}
}

func TestDocuments(t *testing.T) {
	w := newWebsite(&site.Site{Website: site.Website{ErrorDocuments: []site.ErrorDocument{{Status: 404, Key: "e/404.html"}, {Status: 403, Key: "403.html"}}}}, "")
	for status, want := range map[int]string{404: "e/404.html", 403: "403.html", 401: "", 502: ""} {
		if got := string(w.AppendDocument(nil, status)); got != want {
			t.Errorf("%d: %q", status, got)
		}
	}
	head := "Content-Type: text/html\r\nETag: \"x\"\r\nContent-Encoding: gzip\r\nCache-Control: max-age=1\r\nDate: d\r\nContent-Language: de\r\nX-Amz-Meta-A: b: c\r\n"
	if got := string(DocumentHead([]byte(head))); got != "Content-Type: text/html\r\nContent-Encoding: gzip\r\nDate: d\r\nContent-Language: de\r\n" {
		t.Errorf("%q", got)
	}
}

func TestFiles(t *testing.T) {
	w := newWebsite(&site.Site{
		ContentTypes: site.ContentTypes{Map: file.Pairs{{Name: ".own", Value: "text/x-own"}}},
		Website:      site.Website{Files: file.Pairs{{Name: "/robots.txt", Value: "a"}, {Name: "/x.own", Value: "b"}, {Name: "/x", Value: "a"}}},
	}, "")
	robots, own, x := w.File([]byte("robots.txt")), w.File([]byte("x.own")), w.File([]byte("x"))
	if string(robots.Type) != "text/plain; charset=utf-8" || string(own.Type) != "text/x-own" || x.Type != nil || w.File([]byte("/x")) != nil {
		t.Errorf("%s, %s, %s", robots.Type, own.Type, x.Type)
	}
	if string(robots.ETag) != string(x.ETag) || string(robots.ETag) == string(own.ETag) || len(x.ETag) != 34 {
		t.Errorf("%s, %s, %s", robots.ETag, own.ETag, x.ETag)
	}
}

func TestMaintenanceAdmits(t *testing.T) {
	b := &site.Site{Maintenance: site.Maintenance{RetryAfter: 1500 * time.Millisecond, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}}}
	if newMaintenance(b) != nil {
		t.Error("it is off, and on")
	}
	b.Maintenance.Enabled = true
	m := newMaintenance(b)
	for client, want := range map[string]bool{"10.1.2.3": true, "11.1.2.3": false, "2001:db8::1": true, "::1": false} {
		if m.Admits(netip.MustParseAddr(client)) != want {
			t.Errorf("%s: %t", client, !want)
		}
	}
	if m.Admits(netip.Addr{}) || m.RetryAfter != 2 || m.Page != nil {
		t.Errorf("%+v", m)
	}
}

func ExampleWebsite_Next() {
	s := New(&site.Site{Website: site.Website{
		Index: "index.html", TrailingSlash: "redirect", CleanURLs: true, SPA: site.SPA{Fallback: "app.html"},
	}}, "/", nil)
	key := []byte("docs/start")
	for own, step := s.Website.Next(nil, key, Itself); step != NoStep; own, step = s.Website.Next(nil, key, step) {
		fmt.Printf("%s\n", own)
	}
	// Output:
	// docs/start.html
	// docs/start/index.html
	// app.html
}
