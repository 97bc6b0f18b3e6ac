// Package pagetest has a browser look at a page that a test made.
package pagetest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"yatagarasu/loadtest/browser"
	"yatagarasu/loadtest/needs"
)

// Pictures names the environment variable that holds a folder for pictures of each page,
// for people to look at.
const Pictures = "PAGE_PICTURES"

//go:embed faults.js
var faults string

// Start starts a browser, which ends with t, or skips t where there is none.
func Start(t *testing.T) *browser.Browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	b, err := browser.Start(ctx)
	if errors.Is(err, exec.ErrNotFound) {
		needs.Skip(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Check opens a page from a file in windows as wide as a desktop and a phone, light and
// dark, with its own font and a wider one. It fails t if text lies over text or over a
// drawing, is cut off or wider than the window, and if the page fetches or complains of
// anything.
func Check(t *testing.T, path string) {
	t.Helper()
	b := Start(t)
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "file", Path: path}).String()
	for _, w := range []browser.Window{
		{Width: 1280, Scale: 1, Scheme: "light"}, {Width: 1280, Scale: 1, Scheme: "dark"},
		{Width: 390, Scale: 2, Scheme: "light"}, {Width: 390, Scale: 2, Scheme: "dark"},
	} {
		name := fmt.Sprintf("%d-%s", w.Width, w.Scheme)
		if err := b.Open(address, w); err != nil {
			t.Fatal(err)
		}
		if dir := os.Getenv(Pictures); dir != "" {
			png := run(t, b, chromedp.FullScreenshot(100))
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)+"-"+name+".png"), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range findFaults(t, b) {
			t.Errorf("%s: %s", name, f)
		}
		fetched := run(t, b, chromedp.Evaluate[[]string](`performance.getEntriesByType('resource').map(e => e.name)`))
		if len(fetched) > 0 {
			t.Errorf("%s: the page is not one file, it fetches %q", name, fetched)
		}
		const otherFont = `document.head.append(Object.assign(document.createElement('style'), {textContent: '* { font-family: monospace !important }'}))`
		run(t, b, chromedp.Evaluate[chromedp.Void](otherFont))
		for _, f := range findFaults(t, b) {
			t.Errorf("%s, in another font: %s", name, f)
		}
		dark := run(t, b, chromedp.Evaluate[bool](`getComputedStyle(document.body).backgroundColor.match(/\d+/g).every(n => n < 64)`))
		if dark != (w.Scheme == "dark") {
			t.Errorf("%s: the page is dark: %t", name, dark)
		}
	}
	for _, c := range b.Complaints() {
		t.Errorf("the page complains: %s", c)
	}
}

// findFaults returns what is wrong with the layout of the page that b shows.
func findFaults(t *testing.T, b *browser.Browser) []string {
	t.Helper()
	return run(t, b, chromedp.Evaluate[[]string](faults))
}

// run runs an action on the page that b shows.
func run[T any](t *testing.T, b *browser.Browser, action chromedp.Action[T]) T {
	t.Helper()
	result, err := chromedp.Run(b.Page, action)
	if err != nil {
		t.Fatal(err)
	}
	return result
}
