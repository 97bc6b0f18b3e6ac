package admin

import (
	"regexp"
	"strings"
	"testing"
)

// TestStatusPageIsSelfContained finds what would reach for other hosts, run text as
// code, or put text into the page as markup.
func TestStatusPageIsSelfContained(t *testing.T) {
	for name, pattern := range map[string]string{
		"an address":                         `(?i)https?://[^\s'"<>]+`,
		"an address of no scheme":            `(?i)(src|href|url|action)\s*[=(]\s*["']?//`,
		"an asset":                           `(?i)<(link|script|img|iframe|object|embed|source|use)[^>]+(src|href)=["']?[^"'d>#][^"'>]*|@import|url\(`,
		"a handler or a style of an element": `(?i)<[^>]+\s(on[a-z]+|style)=`,
		"markup made of text":                `innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML`,
		"code made of text":                  `\beval\(|new Function|setTimeout\(['"]|javascript:`,
		"storage that stays":                 `localStorage|document\.cookie|indexedDB`,
	} {
		for _, found := range regexp.MustCompile(pattern).FindAllString(statusHTML, -1) {
			// Said to people, as where to open the page.
			if name == "an address" && (found == "http://localhost" || found == "http://127.0.0.1") {
				continue
			}
			t.Errorf("%s: %.100s", name, found)
		}
	}
	if n := strings.Count(statusHTML, "fetch("); n != 1 || !strings.Contains(statusHTML, "fetch('admin/status',") {
		t.Errorf("the page fetches at %d places, or something else than admin/status", n)
	}
}
