package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/html"

	"yatagarasu/loadtest/browser"
	"yatagarasu/loadtest/s3server"
)

// try crawls the site, loads its deep links in a browser, and asks for what is missing.
func (s site) try(ctx context.Context, kind s3server.Kind, base string) error {
	c := crawler{ctx: ctx, below: base + "/" + s.prefix + "/", seen: make(map[string]bool)}
	c.add(c.below, "index.html")
	for len(c.queue) > 0 {
		next := c.queue[0]
		c.queue = c.queue[1:]
		c.visit(next)
	}
	if r, err := get(ctx, c.below+s.missing); err != nil || r.StatusCode != http.StatusNotFound {
		c.faults = append(c.faults, fmt.Sprintf("%s is there, or broken: %v", s.missing, err))
	}
	for _, f := range c.faults {
		fmt.Println("  ", f)
	}
	if len(c.faults) > 0 || len(c.seen) < 10 {
		return fmt.Errorf("%d faults in %d addresses", len(c.faults), len(c.seen))
	}
	complaints, err := s.loadDeepLinks(ctx, c.below)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %s: %d addresses, 0 broken links, 0 wrong types; %d deep links load in a browser, %d complaints\n", kind, s.name, len(c.seen), len(s.deep), complaints)
	return nil
}

// loadDeepLinks loads each deep link by itself, and again, as a reload does.
func (s site) loadDeepLinks(ctx context.Context, below string) (complaints int, err error) {
	b, err := browser.Start(ctx)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	for _, link := range s.deep {
		for range 2 {
			if err := b.Open(below+link, browser.Window{Width: 1000, Scale: 1, Scheme: "light"}); err != nil {
				return 0, err
			}
			if err := b.Await(`document.querySelector('h1') !== null && document.styleSheets.length > 0`, 10*time.Second); err != nil {
				return 0, fmt.Errorf("%s: %w", link, err)
			}
		}
	}
	if all := b.Complaints(); len(all) > 0 {
		return len(all), errors.New(strings.Join(all, "\n"))
	}
	return 0, nil
}

// crawler follows links below an address. Not safe for concurrent use.
type crawler struct {
	ctx    context.Context
	below  string
	queue  []string
	seen   map[string]bool
	faults []string
}

// add queues an address that a document links to, unless it is elsewhere or known.
func (c *crawler) add(from, link string) {
	base, err := url.Parse(from)
	if err != nil {
		return
	}
	u, err := base.Parse(link)
	if err != nil {
		c.faults = append(c.faults, fmt.Sprintf("%s links to %q: %v", from, link, err))
		return
	}
	u.Fragment = ""
	address := u.String()
	switch {
	case u.Scheme != "http" || u.Host != base.Host || c.seen[address]:
	case !strings.HasPrefix(address, c.below):
		c.faults = append(c.faults, fmt.Sprintf("%s links to %s, out of the site", from, address))
	default:
		c.seen[address] = true
		c.queue = append(c.queue, address)
	}
}

// get asks for an address and follows redirects.
func get(ctx context.Context, address string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(request)
}

// types are what browsers need for each extension. A page has none, or that of HTML.
var types = map[string]string{
	"": "text/html", ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json", ".map": "application/json",
	".webmanifest": "application/manifest+json", ".atom": "application/atom+xml", ".txt": "text/plain", ".csv": "text/csv",
}

// visit asks for an address, judges the answer, and queues what it links to.
func (c *crawler) visit(address string) {
	fault := func(format string, args ...any) {
		c.faults = append(c.faults, address+": "+fmt.Sprintf(format, args...))
	}
	r, err := get(c.ctx, address)
	if err != nil {
		fault("%v", err)
		return
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		fault("status %d, %v", r.StatusCode, err)
		return
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if want, known := types[path.Ext(r.Request.URL.Path)]; err != nil || known && kind != want || !known && kind == "application/octet-stream" {
		fault("the type is %q", r.Header.Get("Content-Type"))
	}
	here := r.Request.URL.String() // behind redirects
	switch kind {
	case "text/html":
		c.addFromPage(here, string(body))
	case "text/css":
		for _, m := range cssURL.FindAllStringSubmatch(string(body), -1) {
			c.add(here, m[1])
		}
	case "text/javascript":
		for _, m := range scriptURL.FindAllStringSubmatch(string(body), -1) {
			if m[1] == "" {
				m[1] = m[2] // of its map
			}
			if strings.HasPrefix(m[1], "assets/") { // of Vite, which puts the base before it
				c.add(c.below, m[1])
			} else {
				c.add(here, m[1])
			}
		}
	case "application/manifest+json":
		for _, m := range manifestURL.FindAllStringSubmatch(string(body), -1) {
			c.add(here, m[1])
		}
	case "application/atom+xml":
		for _, m := range feedURL.FindAllStringSubmatch(string(body), -1) {
			c.add(here, html.UnescapeString(m[1]))
		}
	}
}

var (
	cssURL      = regexp.MustCompile(`url\(["']?([^"')]+)["']?\)`)
	scriptURL   = regexp.MustCompile(`["'\x60](\.{0,2}/?[\w./-]+\.(?:js|css|svg|json|map))["'\x60]|//# sourceMappingURL=(\S+)`)
	manifestURL = regexp.MustCompile(`"(?:src|start_url)":\s*"([^"]+)"`)
	feedURL     = regexp.MustCompile(`href="([^"]+)"`)
)

// addFromPage queues what an HTML document links to.
func (c *crawler) addFromPage(from, text string) {
	for z := html.NewTokenizer(strings.NewReader(text)); z.Next() != html.ErrorToken; {
		for _, a := range z.Token().Attr {
			if a.Key == "href" || a.Key == "src" {
				c.add(from, a.Val)
			}
		}
	}
}
