package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"yatagarasu/loadtest/browser"
)

// siteBase is where the site is below its host, as on the forge's.
const siteBase = "/yatagarasu/"

// pictured are the pages of which there are pictures to look at, one of each kind.
var pictured = []string{"", "START/", "tasks/", "tasks/watch/", "CONFIGURATION/", "COMMANDS/", "ARCHITECTURE/", "PERFORMANCE/"}

// sitePage is what a page of the site has.
type sitePage struct {
	IDs   []string `json:"ids"`
	Links []string `json:"links"`
}

// contents has the browser tell what a page has; URLs are absolute.
const contents = `({
  ids: [...document.querySelectorAll('[id], a[name]')].map(e => e.id || e.name),
  links: [...document.querySelectorAll('[href], [src], [srcset]')]
    .flatMap(e => [e.getAttribute('href'), e.getAttribute('src'), ...(e.getAttribute('srcset') || '').split(',').map(s => s.trim().split(' ')[0])])
    .filter(s => s).map(s => new URL(s, document.baseURI).href),
})`

// trySite builds the site, and follows every link of it in a browser, to which the site's policy
// forbids all that comes from elsewhere.
func trySite(t *trial) error {
	if err := t.debian("chromium"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(t.root, "bin", "site-python")); err != nil {
		if err := t.debian("python3", "python3-venv"); err != nil { // no program is called so: it is asked for each time
			return err
		}
	}
	if err := t.run("make", "-s", "site"); err != nil {
		return err
	}
	base, err := t.serveSite()
	if err != nil {
		return err
	}
	b, err := browser.Start(t.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	v := &visit{b: b, base: base, dir: t.dir, pages: make(map[string]sitePage)}
	if err := v.crawl(); err != nil {
		return err
	}
	if err := checkLinks(t, base, v.pages); err != nil {
		return err
	}
	for address := range v.pages {
		for _, w := range []browser.Window{phone, phoneDark, desktopDark} {
			if w.Scheme == "dark" && !slices.Contains(pictured, strings.TrimPrefix(address, base)) {
				continue
			}
			if err := v.show(address, w); err != nil {
				return fmt.Errorf("%s: %w", address, err)
			}
		}
	}
	t.say("%d pages, no dead link, at %d and %d pixels; %d pictures in bin/ship/site", len(v.pages), phone.Width, desktop.Width, v.pictures)
	return search(b, base)
}

var (
	phone       = browser.Window{Width: 390, Scale: 1, Scheme: "light"}
	phoneDark   = browser.Window{Width: 390, Scale: 1, Scheme: "dark"}
	desktop     = browser.Window{Width: 1280, Scale: 1, Scheme: "light"}
	desktopDark = browser.Window{Width: 1280, Scale: 1, Scheme: "dark"}
)

// visit is a visit to the site.
type visit struct {
	b        *browser.Browser
	base     string
	dir      string // of the pictures
	pages    map[string]sitePage
	pictures int
}

// serveSite serves the site on loopback, and returns its address.
func (t *trial) serveSite() (base string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	files := http.StripPrefix(siteBase, http.FileServer(http.Dir(filepath.Join(t.root, "bin", "site"))))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self' 'unsafe-inline' data:")
		files.ServeHTTP(w, r)
	})}
	go server.Serve(listener) // ends with the step
	t.atEnd(server.Close)
	return "http://" + listener.Addr().String() + siteBase, nil
}

// crawl opens the first page and all that can be reached from there, and notes what they have.
func (v *visit) crawl() error {
	for queue := []string{v.base, v.base + "404.html"}; len(queue) > 0; queue = queue[1:] {
		address := queue[0]
		if _, ok := v.pages[address]; ok {
			continue
		}
		if err := v.show(address, desktop); err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
		found, err := chromedp.Run(v.b.Page, chromedp.Evaluate[sitePage](contents))
		if err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
		v.pages[address] = found
		for _, link := range found.Links {
			link, _, _ = strings.Cut(link, "#")
			if strings.HasPrefix(link, v.base) && strings.HasSuffix(link, "/") {
				queue = append(queue, link)
			}
		}
	}
	if len(v.pages) < 20 {
		return fmt.Errorf("only %d pages can be reached from %s", len(v.pages), v.base)
	}
	return nil
}

// checkLinks has every link of the pages lead somewhere. Links to other hosts are to the forge
// and the documents that the pages name; they are not asked for.
func checkLinks(t *trial, base string, pages map[string]sitePage) error {
	client := &http.Client{Timeout: 5 * time.Second}
	files := make(map[string]error) // what is no page
	hosts := make(map[string]int)
	var dead []error
	for address, found := range pages {
		for _, link := range found.Links {
			u, err := url.Parse(link)
			if err != nil {
				return err
			}
			plain, _, _ := strings.Cut(link, "#")
			target, isPage := pages[plain]
			switch {
			case u.Scheme == "data":
			case !strings.HasPrefix(link, "http://"+u.Host+siteBase) || !strings.HasPrefix(base, "http://"+u.Host+"/"):
				hosts[u.Host]++
				local := strings.HasPrefix(u.Host, "localhost:") // examples for the reader's own machine
				if u.Scheme != "https" && !local {
					dead = append(dead, fmt.Errorf("%s: %s is no https", address, link))
				}
			case isPage:
				if id, _ := url.PathUnescape(u.EscapedFragment()); id != "" && !slices.Contains(target.IDs, id) {
					dead = append(dead, fmt.Errorf("%s: %s: there is no such anchor", address, link))
				}
			default:
				if _, asked := files[plain]; !asked {
					_, files[plain] = get(client, plain, http.StatusOK)
				}
				if files[plain] != nil {
					dead = append(dead, fmt.Errorf("%s: %w", address, files[plain]))
				}
			}
		}
	}
	fmt.Fprintln(t.log, "links to other hosts:", hosts)
	return errors.Join(dead...)
}

// show opens a page, and returns an error if it complains, is wider than the window, or does not
// draw its diagrams. It takes a picture of some pages.
func (v *visit) show(address string, w browser.Window) error {
	if err := v.b.Open(address, w); err != nil {
		return err
	}
	// The theme puts a drawn diagram in the place of its text.
	if err := v.b.Await(`document.querySelector('pre.mermaid') === null && [...document.querySelectorAll('.mermaid')].every(e => e.offsetHeight > 100)`, 15*time.Second); err != nil {
		return err
	}
	dark, err := chromedp.Run(v.b.Page, chromedp.Evaluate[bool](`document.body.dataset.mdColorScheme === 'slate'`))
	if err != nil {
		return err
	}
	if dark != (w.Scheme == "dark") {
		return fmt.Errorf("the page is dark: %v, in a system that is %s", dark, w.Scheme)
	}
	if over, err := v.b.Overflow(w); err != nil || over > 0 {
		return fmt.Errorf("it is %d pixels wider than a window of %d (%v)", over, w.Width, err)
	}
	if all := v.b.Complaints(); len(all) > 0 {
		return fmt.Errorf("it complains: %s", strings.Join(all, "\n"))
	}
	name := strings.TrimPrefix(address, v.base)
	if !slices.Contains(pictured, name) {
		return nil
	}
	image, err := v.b.Picture(w, 1600, page.CaptureScreenshotFormatPng)
	if err != nil {
		return err
	}
	v.pictures++
	name = strings.ReplaceAll(strings.Trim("index/"+name, "/"), "/", "-")
	return os.WriteFile(filepath.Join(v.dir, fmt.Sprintf("%s-%d-%s.png", name, w.Width, w.Scheme)), image, 0o644)
}

// search looks for something as a reader would.
func search(b *browser.Browser, base string) error {
	if err := b.Open(base, desktop); err != nil {
		return err
	}
	const typeIt = `(() => { const i = document.querySelector('.md-search__input'); i.focus(); i.value = 'breaker'; i.dispatchEvent(new Event('keyup')); i.dispatchEvent(new Event('input')); return true })()`
	if _, err := chromedp.Run(b.Page, chromedp.Evaluate[bool](typeIt)); err != nil {
		return err
	}
	return b.Await(`[...document.querySelectorAll('.md-search-result__link')].some(a => a.href.includes('RESILIENCE'))`, 10*time.Second)
}
