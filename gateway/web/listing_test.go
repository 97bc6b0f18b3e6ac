package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"yatagarasu/gateway/config/site"
)

func TestOffers(t *testing.T) {
	some := newListing(&site.Listing{Enabled: true, Paths: []string{"/pub", "/a/b"}, Formats: []string{"html"}, Hide: []string{".*", "*.map", "exact", "a*z"}})
	all := newListing(&site.Listing{Enabled: true, Paths: []string{"/pub", "/"}, Formats: []string{"html"}})
	for folder, want := range map[string]bool{
		"pub/": true, "pub/x/": true, "a/b/": true, "a/b/c/d/": true, "pub/a/": true,
		"": false, "pubs/": false, "a/": false, "a/bc/": false, "/pub/": false,
		"pub/.git/": false, "pub/.git/x/": false, "pub/x.map/": false, "pub/exact/": false, "pub/exactly/": true, "pub/abz/": false, "pub/az/": false,
	} {
		if got := some.Offers(folder); got != want {
			t.Errorf("%q: %t", folder, got)
		}
		if !all.Offers(folder) {
			t.Errorf("%q is not offered though all are", folder)
		}
	}
	if some.Hides("a") || some.Hides("za") || !some.Hides(".") {
		t.Error("a pattern hides what it does not stand for, or not what it does")
	}
	if newListing(&site.Listing{}) != nil {
		t.Error("there is a listing, though none is enabled")
	}
}

func TestFormat(t *testing.T) {
	html, other := func(first, second string) bool { return first == "text/html" }, func(first, second string) bool { return second == "text/html" }
	none := func(first, second string) bool { return false }
	both := newListing(&site.Listing{Enabled: true, Formats: []string{"html", "json"}})
	programs := newListing(&site.Listing{Enabled: true, Formats: []string{"json", "html"}})
	one := newListing(&site.Listing{Enabled: true, Formats: []string{"json"}})
	for name, ok := range map[string]bool{
		"both, people":           both.Format(html) == HTML,
		"both, programs":         both.Format(other) == JSON,
		"both, anything":         both.Format(none) == HTML,
		"JSON first, anything":   programs.Format(none) == JSON,
		"JSON first, people":     programs.Format(html) == HTML,
		"JSON alone, people":     one.Format(html) == JSON,
		"only two are to choose": both.negotiates() && programs.negotiates() && !one.negotiates(),
	} {
		if !ok {
			t.Error(name)
		}
	}
}

// nasty are names that a page must show as they are, and link to.
var nasty = []string{
	"plain.txt", "a b", "a+b", "a#b", "a%b", "a%2Fb", "a:b", "a?b=c&d", "javascript:alert(1)", "//evil", "\\evil", "é 日本語", "'\"`",
	"<img src=x onerror=alert(1)>", "</a></style><script>alert(1)</script>", "{{.}}", "&lt;b&gt;", "http://evil/", "a;b,c=d@e!$(*)~", "\u202etxt.exe",
}

func nastyPage() *Page {
	p := &Page{Bucket: "/pub", Folder: "in/side/", Next: "in/side/<&\"'+ é", More: true}
	for _, name := range nasty {
		p.Entries = append(p.Entries, Entry{Key: "in/side/" + name, Size: 1536, Modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Linked: true},
			Entry{Key: "in/side/" + name + "/", Folder: true, Linked: true})
	}
	return p
}

// TestLinks resolves the links of a page as a browser does: each is that of its key.
func TestLinks(t *testing.T) {
	base, _ := url.Parse("https://host/pub/in/side/?start-after=x")
	p := nastyPage()
	for i := range p.Entries {
		e := &p.Entries[i]
		u, err := base.Parse(e.link(p.Folder))
		if err != nil || u.Host != "host" || u.Scheme != "https" || u.Path != "/pub/"+e.Key || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q: %q leads to %v, %v", e.Key, e.link(p.Folder), u, err)
		}
	}
	u, err := base.Parse(p.next())
	if err != nil || u.Path != "/pub/in/side/" || u.RawQuery != "start-after=in%2Fside%2F%3C%26%22%27%2B%20%C3%A9" {
		t.Errorf("%q leads to %v, %v", p.next(), u, err)
	}
}

// TestListingHTML reads the page with another parser: it has the text and the links that it
// should have, and no element or attribute that a name made.
func TestListingHTML(t *testing.T) {
	l := newListing(&site.Listing{Enabled: true, Formats: []string{"html"}})
	p := nastyPage()
	page := string(l.Write(HTML, p))
	texts, links, elements := parsed(t, page)
	for i := range p.Entries {
		e := &p.Entries[i]
		want, link := strings.ReplaceAll(e.name(p.Folder), "\u202e", "\ufffd"), e.link(p.Folder)
		if !texts[want] || !links[link] {
			t.Errorf("%q is not there as text: %t, or not as link %q: %t", want, texts[want], link, links[link])
		}
	}
	for _, link := range []string{"./", "../", "../../", p.next()} {
		if !links[link] {
			t.Errorf("there is no link to %q", link)
		}
	}
	for _, name := range []string{"img", "script", "b"} {
		if elements[name] > 0 {
			t.Errorf("a name has made an element %s", name)
		}
	}
	if elements["style"] != 1 || elements["tr"] != 2+len(p.Entries) {
		t.Errorf("elements: %v", elements)
	}
	for _, want := range []string{`<meta name="robots" content="noindex">`, "1.5 KiB", `title="1536 bytes"`, `<time datetime="2026-01-02T03:04:05Z">2026-01-02 03:04:05</time>`, "<title>/pub/in/side/</title>", "40 entries on this page"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Index(page, "plain.txt</bdi>/") > strings.Index(page, "plain.txt</bdi></a>") {
		t.Error("folders are not first")
	}
}

// parsed returns the texts of a page, the addresses of its links, and how many elements of each
// name it has.
func parsed(t *testing.T, page string) (texts, links map[string]bool, elements map[string]int) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	texts, links, elements = make(map[string]bool), make(map[string]bool), make(map[string]int)
	for n := range root.Descendants() {
		switch n.Type {
		case html.TextNode:
			texts[n.Data] = true
		case html.ElementNode:
			elements[n.Data]++
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" {
					t.Errorf("an element %s has the attribute %s", n.Data, a.Key)
				}
				if n.Data == "a" && a.Key == "href" {
					links[a.Val] = true
				}
			}
		}
	}
	return texts, links, elements
}

// TestListingWithoutLinks shows keys that clients cannot ask for: readable, and without a link.
func TestListingWithoutLinks(t *testing.T) {
	l := newListing(&site.Listing{Enabled: true, Formats: []string{"html"}, Paths: []string{"/in"}})
	p := &Page{Bucket: "/", Folder: "in/", Entries: []Entry{{Key: "in/a\x01\nb"}, {Key: "in/\xffc"}, {Key: "in/../", Folder: true}, {Key: "in/\u202ed\u200b\u2066e\u2028\ufeff"}}}
	page := string(l.Write(HTML, p))
	texts, links, _ := parsed(t, page)
	for _, want := range []string{"a\ufffd\ufffdb", "\ufffdc", "..", "\ufffdd\ufffd\ufffde\ufffd\ufffd"} {
		if !texts[want] {
			t.Errorf("%q is not shown", want)
		}
	}
	if len(links) != 1 || !links["./"] || strings.Contains(page, "Parent folder") {
		t.Errorf("links: %v; only the folder itself has a listing", links)
	}
	if strings.Contains(page, "<time") {
		t.Error("there is a time where none is known")
	}
	var doc struct{ Entries []map[string]any }
	if err := json.Unmarshal(l.Write(JSON, p), &doc); err != nil {
		t.Fatal(err)
	}
	for _, e := range doc.Entries {
		if e["link"] != nil || e["last_modified"] != nil {
			t.Errorf("%v", e)
		}
	}
}

func TestListingJSON(t *testing.T) {
	l := newListing(&site.Listing{Enabled: true, Formats: []string{"json"}})
	got := string(l.Write(JSON, &Page{Folder: "d/", More: true, Next: "d/<b", Entries: []Entry{
		{Key: "d/a/", Folder: true, Linked: true}, {Key: "d/<b", Modified: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Linked: true},
	}}))
	const want = `{"folder":"d/","entries":[{"name":"a","key":"d/a/","type":"folder","link":"./a/"},` +
		`{"name":"\u003cb","key":"d/\u003cb","type":"file","size":0,"last_modified":"2026-01-02T03:04:05Z","link":"./%3Cb"}],"next":"?start-after=d%2F%3Cb"}` + "\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got = string(l.Write(JSON, new(Page))); got != `{"folder":"","entries":[]}`+"\n" {
		t.Errorf("an empty page: %s", got)
	}
}

// TestListingSize has pages of what takes most room be no larger than it is said, and pages of what is
// usual not much smaller.
func TestListingSize(t *testing.T) {
	l := newListing(&site.Listing{Enabled: true, Formats: []string{"html"}})
	for _, folder := range []string{"", "f/", strings.Repeat("a/", 300), strings.Repeat("<", 700) + "/"} {
		for _, name := range []string{"key-000001.txt", "x", "<", "\"", "&", "+", "'", "\x01", "\xff", "é", "\u2028", "\U0001F600", "%"} {
			for _, times := range []int{1, 20, 200} {
				p := &Page{Bucket: "/" + strings.Repeat("&", 100), Folder: folder, Continued: true, More: true, Next: folder + strings.Repeat("<", 200)}
				keys := 0
				for i := range 200 {
					e := Entry{Key: folder + strings.Repeat(name, times), Size: 1<<63 - 1, Modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Linked: true, Folder: i%2 == 0}
					if e.Folder {
						e.Key += "/"
					}
					p.Entries, keys = append(p.Entries, e), keys+len(e.Key)
				}
				for _, f := range []Format{HTML, JSON} {
					said, is := l.Size(f, p, len(p.Entries), keys), len(l.Write(f, p))
					if is > said || folder == "f/" && len(name) == 14 && times == 1 && is < said/4 {
						t.Errorf("%d times %q in %.20q, format %d: %d bytes, said are %d", times, name, folder, f, is, said)
					}
				}
			}
		}
	}
}

// TestListingPolicy has the policy let the page's own style through, whatever the page shows.
func TestListingPolicy(t *testing.T) {
	l := newListing(&site.Listing{Enabled: true, Formats: []string{"html"}})
	for _, p := range []*Page{new(Page), nastyPage()} {
		style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindSubmatch(l.Write(HTML, p))
		sum := sha256.Sum256(style[1])
		if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(listingPolicy(), want) {
			t.Errorf("the policy %s lacks %s", listingPolicy(), want)
		}
	}
	if !strings.HasPrefix(listingPolicy(), "default-src 'none'; ") {
		t.Error(listingPolicy())
	}
}

func TestEmptyPages(t *testing.T) {
	l := newListing(&site.Listing{Enabled: true, Formats: []string{"html"}})
	for want, p := range map[string]*Page{
		"This folder is empty.":             {},
		"There are no more entries.":        {Continued: true},
		"Nothing on this page can be shown": {More: true, Next: "x"},
	} {
		if page := string(l.Write(HTML, p)); !strings.Contains(page, want) {
			t.Errorf("%+v lacks %q", p, want)
		}
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10189: "10 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB",
		5 << 30: "5.0 GiB", 1<<63 - 1: "8.0 EiB", 1000 << 20: "1000 MiB", 1023 << 20: "1023 MiB",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
