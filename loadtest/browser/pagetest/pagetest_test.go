package pagetest

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"yatagarasu/loadtest/browser"
)

// Each fault is seen, and nothing where there is none.
func TestFaults(t *testing.T) {
	b := Start(t)
	for name, c := range map[string]struct{ body, want string }{
		"nothing wrong":         {`<p>one</p><p>two</p>`, ""},
		"text over text":        {`<p>one</p><p style="margin-top:-2.2em">two</p>`, `"one" and "two" overlap`},
		"text over a drawing":   {`<div style="position:relative"><svg width=90 height=40></svg><span style="position:absolute;left:9px">one</span></div>`, `lies over a drawing`},
		"text out of sight":     {`<p style="position:fixed;left:1270px">one one</p>`, `outside of the window`},
		"text cut off":          {`<p style="width:2em;overflow:hidden;white-space:nowrap">one and one</p>`, `is cut off`},
		"a page that is wide":   {`<p style="width:1500px">one</p>`, `the page is`},
		"a part to be scrolled": {`<div style="width:90px;overflow-x:auto"><p style="width:99px">one</p></div>`, `has to be scrolled`},
		"unseen text":           {`<p style="position:absolute;clip-path:inset(50%)">one</p><p style="position:absolute">two</p>`, ""},
	} {
		page := "data:text/html," + url.PathEscape("<!doctype html><link rel=icon href='data:,'>"+c.body)
		if err := b.Open(page, browser.Window{Width: 1280, Scale: 1, Scheme: "light"}); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(findFaults(t, b), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestComplaints(t *testing.T) {
	b := Start(t)
	for name, c := range map[string]struct{ body, want string }{
		"an exception":       {`<script>throw new Error('thrown')</script>`, `Error: thrown`},
		"a rejected promise": {`<script>Promise.reject(new Error('rejected'))</script>`, `Error: rejected`},
		"an error":           {`<script>console.error('an error')</script>`, `an error`},
		"a warning":          {`<script>console.warn('a warning')</script>`, `a warning`},
		"a missing picture":  {`<img src="http://127.0.0.1:1/x.png">`, `ERR_`},
		"a policy":           {`<meta http-equiv="Content-Security-Policy" content="img-src 'none'"><img src="http://127.0.0.1/x.png">`, `Content Security Policy`},
		"just talk":          {`<script>console.log('talk')</script>`, ``},
	} {
		page := "data:text/html," + url.PathEscape("<!doctype html><link rel=icon href='data:,'>"+c.body)
		if err := b.Open(page, browser.Window{Width: 1280, Scale: 1, Scheme: "light"}); err != nil {
			t.Fatal(err)
		}
		run(t, b, chromedp.Evaluate[bool]("true"))
		got := strings.Join(b.Complaints(), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
