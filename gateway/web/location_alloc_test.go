//go:build !race

package web

import (
	"testing"

	"yatagarasu/gateway/config/site"
)

func TestLocationAllocs(t *testing.T) {
	r := newRedirects([]site.Redirect{{From: "/old/*", To: "/new/*", Status: 301}, {From: "/x", To: "https://example.com/", Status: 302}}, "/pub")
	var dst []byte
	path, query, key, raw := []byte("/é/dir"), []byte("a=b"), []byte("old/é"), []byte("a%20é")
	run := func() {
		dst = AppendFolder(dst[:0], path, query)
		var ok bool
		rule, _, _ := r.Match(key)
		if dst, ok = r.AppendLocation(append(dst, ' '), rule, key, query); !ok {
			t.Fatal("no rule")
		}
		dst = AppendDisposition(append(dst, ' '), raw, key)
	}
	run()
	if want := "/%C3%A9/dir/?a=b /pub/new/%C3%A9?a=b Content-Disposition: attachment; filename=\"a _\"; filename*=UTF-8''a%20%C3%A9\r\n"; string(dst) != want {
		t.Fatalf("%s, want %s", dst, want)
	}
	if n := testing.AllocsPerRun(100, run); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
