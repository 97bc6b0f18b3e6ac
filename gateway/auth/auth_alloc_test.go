//go:build !race

package auth

import (
	"testing"
)

// TestAuthorizeAllocs guards the hot path of a repeated token: three rules, one of
// which binds a claim to the request.
func TestAuthorizeAllocs(t *testing.T) {
	for _, c := range []struct{ name, source string }{
		{"bearer", "bearer"}, {"header", "header"}, {"query", "query"}, {"cookie", "cookie"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, q := repeated(t, c.source)
			if v := p.Authorize(q); v.Reason != Allowed || v.Subject != "alice" {
				t.Fatalf("got %+v", v)
			}
			if n := testing.AllocsPerRun(1000, func() { p.Authorize(q) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
