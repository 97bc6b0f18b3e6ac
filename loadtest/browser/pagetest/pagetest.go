// Package pagetest has a browser look at a page that a test made.
package pagetest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "embed"

	"yatagarasu/loadtest/browser"
	"yatagarasu/loadtest/needs"
)

// Pictures names the variable that has a folder for pictures of each page, to be looked
// at by people.
const Pictures = "PAGE_PICTURES"

//go:embed faults.js
var faults string

// Check opens a page from a file, as wide as a desktop's and a phone's window, light and
// dark, and fails t if text lies over text or over what is drawn, is cut off, or is
// wider than the window, in the page's font or in one that is wider, and if the page
// fetches or complains of anything.
func Check(t *testing.T, path string) {
	t.Helper()
	b, err := browser.Start(time.Now().Add(3 * time.Minute))
	if errors.Is(err, browser.ErrMissing) {
		needs.Skip(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if path, err = filepath.Abs(path); err != nil {
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
			png, err := b.Picture()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)+"-"+name+".png"), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range list(t, b) {
			t.Errorf("%s: %s", name, f)
		}
		var fetched []string
		if err := b.Evaluate(`performance.getEntriesByType('resource').map(e => e.name)`, &fetched); err != nil {
			t.Fatal(err)
		}
		if len(fetched) > 0 {
			t.Errorf("%s: the page is not one file, it fetches %q", name, fetched)
		}
		const otherFont = `document.head.append(Object.assign(document.createElement('style'), {textContent: '* { font-family: monospace !important }'})), true`
		var done bool
		if err := b.Evaluate(otherFont, &done); err != nil {
			t.Fatal(err)
		}
		for _, f := range list(t, b) {
			t.Errorf("%s, in another font: %s", name, f)
		}
		var dark bool
		if err := b.Evaluate(`getComputedStyle(document.body).backgroundColor.match(/\d+/g).every(n => n < 64)`, &dark); err != nil {
			t.Fatal(err)
		}
		if dark != (w.Scheme == "dark") {
			t.Errorf("%s: the page is dark: %t", name, dark)
		}
	}
	for _, m := range b.Mistakes {
		t.Errorf("the page complains: %s", m)
	}
}

// list returns what is wrong with the layout of the page that b shows.
func list(t *testing.T, b *browser.Browser) (all []string) {
	t.Helper()
	if err := b.Evaluate(faults, &all); err != nil {
		t.Fatal(err)
	}
	return all
}
