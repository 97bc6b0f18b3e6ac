//go:build !race

package request

import (
	"testing"

	"yatagarasu/gateway/problem"
)

func TestTargetAllocs(t *testing.T) {
	allow := []string{"versionId", "partNumber"}
	var tg Target
	var dst []byte
	for _, tc := range []struct {
		name, raw, key, query string
	}{
		{"plain", "/pub/img/hero.webp", "img/hero.webp", ""},
		{"escaped", "/pub/a%20b%2F%E6%97%A5.txt", "a b/日.txt", ""},
		{"absolute form", "http://cdn.example.com:8080/pub/img/hero.webp?a", "img/hero.webp", ""},
		{"absolute form with IPv6", "https://[2001:db8::1]:8080/pub/img/hero.webp", "img/hero.webp", ""},
		{"like a name of a server's own", "/pub//.sgwtm/__XLDIR__s/__", "/.sgwtm/__XLDIR__s/__", ""},
		{"query", "/pub/x?versionId=a%2Bb&partNumber=3", "x", "partNumber=3&versionId=a%2Bb"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := []byte(tc.raw)
			var key []byte
			var err *problem.Problem
			run := func() {
				if err = tg.Parse(raw); err != nil {
					return
				}
				if key, err = tg.Key(len("/pub"), Keys{EmptySegments: tc.name != "escaped"}); err != nil {
					return
				}
				dst, err = tg.AllowedQuery(dst[:0], allow)
			}
			run()
			if err != nil || string(key) != tc.key || string(dst) != tc.query {
				t.Fatalf("%q: key %q, query %q, error %q, want key %q, query %q", raw, key, dst, err, tc.key, tc.query)
			}
			if n := testing.AllocsPerRun(100, run); n != 0 {
				t.Errorf("%q: %v allocations, want 0", raw, n)
			}
		})
	}
}
