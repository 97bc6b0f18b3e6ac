package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"yatagarasu/loadtest/browser"
	"yatagarasu/loadtest/browser/pagetest"
)

// TestStatusPageInBrowser opens the page in a real browser, if there is one: it asks
// for the token, keeps it for the tab alone, and shows what clients chose as text.
func TestStatusPageInBrowser(t *testing.T) {
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL, `admin: {token: "`+adminToken+`"}`))
	b := pagetest.Start(t)
	const attack = "/pub/<img/src=x/onerror=alert(1)><script>alert(1)</script>"
	gw.do("GET", attack)

	is := func(expression string) {
		t.Helper()
		if err := b.Await(expression, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	give := func(token string) {
		t.Helper()
		if err := chromedp.Do(b.Page, chromedp.SendKeys(chromedp.ID("token"), token+kb.Enter)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Open("http://"+gw.MetricsAddr().String()+"/", browser.Window{Width: 1280, Scale: 1, Scheme: "light"}); err != nil {
		t.Fatal(err)
	}
	is(`document.getElementById('gate-title').textContent === 'A token is needed' && document.getElementById('buckets').offsetParent === null`)
	give("not-the-right-token")
	is(`document.getElementById('gate-title').textContent === 'The token is not accepted' && sessionStorage.length === 0`)
	give(adminToken)
	is(`[...document.querySelectorAll('#buckets tbody th')].some(e => e.textContent.startsWith('main')) && document.getElementById('gate').hidden`)
	is(`sessionStorage.length === 1 && localStorage.length === 0 && document.cookie === '' && !location.href.includes('admin')`)
	is(fmt.Sprintf(`[...document.querySelectorAll('#slowest tbody th')].some(e => e.textContent === %q)`, attack))
	is(`document.querySelectorAll('img').length === 0 && document.querySelectorAll('script').length === 1`)
	is(`document.getElementById('state').textContent === 'Serving'`)
	if err := chromedp.Do(b.Page, chromedp.Click(chromedp.ID("forget"))); err != nil {
		t.Fatal(err)
	}
	is(`!document.getElementById('gate').hidden && sessionStorage.length === 0 && document.getElementById('buckets').offsetParent === null`)

	// The browser reports each 401, and must report nothing else.
	complaints := slices.DeleteFunc(b.Complaints(), func(c string) bool { return strings.Contains(c, "status of 401") })
	if len(complaints) > 0 {
		t.Errorf("the page complains: %s", complaints)
	}
	if log := gw.log.String(); strings.Contains(log, adminToken) {
		t.Errorf("the token is logged: %s", log)
	}

	// Were the page to fall for an attack, its policy would not.
	for _, fall := range []string{
		`document.body.innerHTML = '<b>markup</b>'`,
		`document.createElement('script').textContent = 'code'`,
	} {
		if err := chromedp.Do(b.Page, chromedp.Evaluate[chromedp.Void](fall)); err == nil || !strings.Contains(err.Error(), "TrustedHTML") && !strings.Contains(err.Error(), "TrustedScript") {
			t.Errorf("%s: %v", fall, err)
		}
	}
	b.Complaints()
	if err := chromedp.Do(b.Page, chromedp.Evaluate[chromedp.Void](`document.body.append(Object.assign(document.createElement('img'), {src: '/metrics'}))`)); err != nil {
		t.Fatal(err)
	}
	complaints = nil
	for deadline := time.Now().Add(10 * time.Second); len(complaints) == 0 && time.Now().Before(deadline); complaints = b.Complaints() {
		is("true") // what the browser reports comes with an answer
	}
	if !strings.Contains(strings.Join(complaints, ""), "Content Security Policy") {
		t.Errorf("a picture of another address is loaded: %s", complaints)
	}
}

// lookAtStatusPage opens the status page of a gateway on wide and narrow screens, light and dark, and
// waits each time until ready holds. Nothing may stand out at the side. Where pagetest.Pictures names a
// folder, it takes pictures.
func lookAtStatusPage(t *testing.T, b *browser.Browser, gw *testGateway, name, ready string) {
	t.Helper()
	for _, w := range []browser.Window{
		{Width: 1280, Scale: 1, Scheme: "light"}, {Width: 1280, Scale: 1, Scheme: "dark"},
		{Width: 390, Scale: 2, Scheme: "light"}, {Width: 390, Scale: 2, Scheme: "dark"},
	} {
		if err := b.Open("http://"+gw.MetricsAddr().String()+"/", w); err != nil {
			t.Fatal(err)
		}
		if err := b.Await(ready, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if over, err := b.Overflow(w); err != nil || over > 0 {
			t.Errorf("%s, %d px: the page is %d px too wide, %v", name, w.Width, over, err)
		}
		if dir := os.Getenv(pagetest.Pictures); dir != "" {
			png, err := b.Picture(w, 3000, page.CaptureScreenshotFormatPng)
			if err != nil || os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, w.Width, w.Scheme)), png, 0o644) != nil {
				t.Errorf("there is no picture: %v", err)
			}
		}
	}
}

// TestStatusPageShowsTheCluster looks at the card of shared purges: there is none without a cluster,
// and a warning while Valkey does not answer.
func TestStatusPageShowsTheCluster(t *testing.T) {
	alone := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL))
	gw, valkey := sharingGateway(t)
	b := pagetest.Start(t)
	look := func(gw *testGateway, name, ready string) {
		t.Helper()
		lookAtStatusPage(t, b, gw, name, ready)
	}
	look(alone, "alone", `document.getElementById('state').textContent === 'Serving' && document.getElementById('cluster').offsetParent === null`)
	const fact = `(name => [...document.querySelectorAll('#cluster-facts > div')].find(e => e.firstChild.textContent === name).lastChild)`
	gw.admin("POST", "/admin/cache/purge", "")
	eventually(t, "the gateways are counted", func() bool { return gw.statusCall().Cluster.Nodes == 1 })
	look(gw, "connected", `document.getElementById('cluster-state').textContent === 'Connected' && document.getElementById('cluster-warning').hidden
		&& document.getElementById('state').textContent === 'Serving' && `+fact+`('Gateways').textContent === '1' && `+fact+`('Position').textContent === '2'`)
	valkey.Kill()
	gw.admin("POST", "/admin/cache/purge", "")
	eventually(t, "it is noticed", func() bool { return !gw.statusCall().Cluster.Connected })
	look(gw, "apart", `document.getElementById('cluster-state').textContent === 'Not connected' && !document.getElementById('cluster-warning').hidden
		&& document.getElementById('state').textContent === 'Serving; purges are not shared' && `+fact+`('Waiting').textContent === '1' && `+fact+`('Waiting').className === 'warn'`)
	if err := valkey.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the purge is told", func() bool { s := gw.statusCall().Cluster; return s.Connected && s.Waiting == 0 })
	look(gw, "again", `document.getElementById('cluster-state').textContent === 'Connected' && `+fact+`('Resyncs').textContent === '1'
		&& document.getElementById('cluster-note').textContent.endsWith('1 × memory stale: incarnation')`)
	if complaints := b.Complaints(); len(complaints) > 0 {
		t.Errorf("the page complains: %s", complaints)
	}
}
