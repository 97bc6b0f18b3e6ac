//go:build !race

package auth

import (
	"strings"
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

// TestRuleAllocs guards rules that depend on the request, with texts too long for a
// buffer on the stack.
func TestRuleAllocs(t *testing.T) {
	long := strings.Repeat("segment", 20)
	for _, c := range []struct{ rule, claim string }{
		{`contains, value: "${path.0}"`, `"one ` + long + ` two"`}, {`contains, value: "${path.0}"`, `[1,"` + long + `"]`},
		{`in, value: [1.5, "${path.0}"]`, `1.50`}, {`not_equals, value: "${path.0}"`, `"` + long + `."`},
	} {
		p := newPolicy(t, hs256("claims: [{claim: c, operator: "+c.rule+"}]\n"))
		q := request(valid(`"c":`+c.claim), long+"/x")
		if r := p.Authorize(q).Reason; r != Allowed {
			t.Fatalf("%s, %s: %q", c.rule, c.claim, r)
		}
		if n := testing.AllocsPerRun(1000, func() { p.Authorize(q) }); n != 0 {
			t.Errorf("%s, %s: %v allocations", c.rule, c.claim, n)
		}
	}
}

// TestIntrospectedAllocs guards the hot path of a token whose issuer was asked a moment ago.
func TestIntrospectedAllocs(t *testing.T) {
	p, q := introspected(t)
	if v := p.Authorize(q); v.Reason != Allowed || v.Subject != "alice" {
		t.Fatalf("got %+v", v)
	}
	if n := testing.AllocsPerRun(1000, func() { p.Authorize(q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
