package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/minio/minio-go/v7"

	"yatagarasu/loadtest/browser"
	"yatagarasu/loadtest/browser/pagetest"
	"yatagarasu/loadtest/s3server"
)

// TestListingInBrowser clicks each link of a listing in a real browser, before real S3 servers:
// what comes is the object of that name.
func TestListingInBrowser(t *testing.T) {
	t.Run("20_links_round_trip", func(t *testing.T) { eachS3(t, testLinksInBrowser) })
}

// oddNames are names that are hard to link to.
var oddNames = []string{
	"plain.txt", "a b.txt", "a+b.txt", "a#b.txt", "a%b.txt", "a%2Fb.txt", "a%252e.txt", "a:b.txt", "a?b=c&d.txt", "javascript:alert(1)",
	"é 日本.txt", `"'.txt`, "<img src=x onerror=document.title='hit'>.txt", "&lt;.txt", "{{.}}.txt", "a;b,c=d@e!$(x)~.txt", "...txt", "\u202etxt.exe",
}

func testLinksInBrowser(t *testing.T, server *s3server.Server, _ *minio.Client) {
	const folder = "d ü+#%3F/"
	var keys []string
	for _, name := range oddNames {
		keys = append(keys, folder+name)
	}
	keys = append(keys, folder+"sub +#/x.txt")
	storeAll(t, server, keys...)
	// The type is the gateway's to say, so that the browser shows what it gets.
	yaml := realBucket(server.Endpoint()) + "    content_types: {map: {.txt: text/plain; charset=utf-8, .exe: text/plain; charset=utf-8}}\n"
	gw := startGateway(t, withListing(yaml, "page_size: 10"))
	b := pagetest.Start(t)
	is := func(expression string) {
		t.Helper()
		var last error // while a page makes room for the next, nothing can be asked
		if !polled(10*time.Second, func() (ok bool) {
			ok, last = chromedp.Run(b.Page, chromedp.Evaluate[bool](expression))
			return ok && last == nil
		}) {
			t.Fatalf("never: %s; %v; the page complains: %s", expression, last, b.Complaints())
		}
	}
	click := func(link string) {
		t.Helper()
		is(fmt.Sprintf(`setTimeout(() => %s.click()) > 0`, link))
	}
	const rows = `[...document.querySelectorAll('tbody a')].map(a => a.textContent)`
	names := func() []string {
		t.Helper()
		list, err := chromedp.Run(b.Page, chromedp.Evaluate[[]string](rows))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	open := func(query string) {
		t.Helper()
		if err := b.Open("http://"+gw.addr+"/pub/"+escapeKey(folder)+query, browser.Window{Width: 1280, Scale: 1, Scheme: "light"}); err != nil {
			t.Fatal(err)
		}
		is(`document.querySelector('main table') !== null`)
	}

	// From the bucket's own folder into the one, by clicks.
	if err := b.Open("http://"+gw.addr+"/pub", browser.Window{Width: 1280, Scale: 1, Scheme: "light"}); err != nil {
		t.Fatal(err)
	}
	is(`location.pathname === '/pub/'`)
	click(`document.querySelector('tbody a')`)
	is(`location.pathname === '/pub/d%20%C3%BC%2B%23%253F/'`)

	var seen []string
	for query := ""; ; {
		open(query)
		page := names()
		for i, name := range page {
			if name == "Parent folder" || strings.HasSuffix(name, "/") {
				continue
			}
			seen = append(seen, name)
			if !strings.HasSuffix(name, ".txt") && !strings.HasSuffix(name, ".exe") {
				continue // the browser would store it
			}
			open(query)
			click(fmt.Sprintf(`document.querySelectorAll('tbody a')[%d]`, i))
			is(fmt.Sprintf(`document.contentType === 'text/plain' && document.body?.textContent === %q`, folder+strings.ReplaceAll(name, "\ufffd", "\u202e")))
		}
		open(query)
		next, err := chromedp.Run(b.Page, chromedp.Evaluate[string](`document.querySelector('a.next')?.getAttribute('href') ?? ''`))
		if err != nil {
			t.Fatal(err)
		}
		if query = next; next == "" {
			break
		}
		click(`document.querySelector('a.next')`)
		is(fmt.Sprintf(`location.search === %q && document.querySelector('main table') !== null`, next))
	}
	want := slices.Sorted(slices.Values(oddNames))
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "\u202e", "\ufffd")
	}
	slices.Sort(want)
	if slices.Sort(seen); !slices.Equal(seen, want) {
		t.Errorf("the pages show %q, want %q", seen, want)
	}

	// Into a folder, and back by the way that is shown.
	open("?start-after=" + "d%20%C3%BC%2B%23%253F%2Fplain.txt")
	click(`[...document.querySelectorAll('tbody a')].find(a => a.textContent === 'sub +#/')`)
	is(`location.pathname.endsWith('/sub%20%2B%23/') && document.querySelector('h1')?.textContent === 'pub/d ü+#%3F/sub +#'`)
	click(`document.querySelectorAll('h1 a')[1]`)
	is(`decodeURIComponent(location.pathname) === '/pub/d ü+#%3F/' && location.search === ''`)
	is(`document.title === '/pub/d ü+#%3F/' && document.images.length === 0 && document.scripts.length === 0`)
	complaints := slices.DeleteFunc(b.Complaints(), func(c string) bool { return strings.Contains(c, "/favicon.ico") }) // which objects have none of
	if len(complaints) > 0 {
		t.Errorf("the page complains: %s", complaints)
	}

	// Were a name to become markup, the policy would keep it from doing anything.
	if err := chromedp.Do(b.Page, chromedp.Evaluate[chromedp.Void](`document.body.innerHTML += '<img src=x onerror="document.title=1">'`)); err != nil {
		t.Fatal(err)
	}
	is(`document.title !== '1'`)
	eventually(t, "the policy blocks a picture", func() bool {
		is("true") // what the browser reports comes with an answer
		return strings.Contains(strings.Join(b.Complaints(), ""), "Content Security Policy")
	})
}
