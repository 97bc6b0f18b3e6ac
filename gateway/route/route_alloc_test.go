//go:build !race

package route

import (
	"strings"
	"testing"
)

func TestLookupAllocs(t *testing.T) {
	table := build(t, []rule{{"", "/a"}, {"", "/a/b"}, {"cdn.example.com", "/c"}})
	for _, tc := range []struct {
		name, host, path string
		want             int // -1: no route
	}{
		{"any host", "example.com", "/a/b/c", 1},
		{"exact host", "CDN.example.com:8080", "/c/d", 2},
		{"no route", "cdn.example.com", "/x", -1},
		{"host too long to be one", strings.Repeat("a", 8192), "/a", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, path := []byte(tc.host), []byte(tc.path)
			v, _ := table.Lookup(host, path)
			if (v == nil) != (tc.want < 0) || v != nil && *v != tc.want {
				t.Fatalf("Lookup(%q, %q) is not route %d", host, path, tc.want)
			}
			if n := testing.AllocsPerRun(100, func() { table.Lookup(host, path) }); n != 0 {
				t.Errorf("Lookup allocates %v times, want 0", n)
			}
		})
	}
}
