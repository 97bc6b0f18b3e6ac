package auth

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/gateway/token"
)

func TestTokenCacheHoldsForItsTime(t *testing.T) {
	p := newPolicy(t, hs256("leeway: 10s\n"))
	at := func(d time.Duration) time.Time { return now.Add(d) }
	tok := handmade(plainHeader, fmt.Sprintf(`{"nbf":%d,"exp":%d}`, now.Unix(), now.Add(time.Minute).Unix()))
	for i, c := range []struct {
		at   time.Time
		want Reason
	}{
		{at(0), Allowed}, {at(59 * time.Second), Allowed}, {at(70*time.Second - 1), Allowed}, {at(70 * time.Second), Expired},
		{at(-10 * time.Second), Allowed}, {at(-10*time.Second - 1), NotYetValid}, // the clock was set back
		{at(0), Allowed},
	} {
		q := request(tok, "x")
		q.Now = c.at
		if got := p.Authorize(q).Reason; got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}

// A token is let in as soon as it is valid.
func TestRefusalsAreShort(t *testing.T) {
	p := newPolicy(t, hs256("leeway: 0\n"))
	q := request(handmade(plainHeader, fmt.Sprintf(`{"nbf":%d,"exp":%d}`, now.Unix()+2, now.Unix()+100)), "x")
	if got := p.Authorize(q).Reason; got != NotYetValid {
		t.Fatal(got)
	}
	if q.Now = now.Add(2*time.Second - 1); p.Authorize(q).Reason != NotYetValid {
		t.Error("let in before its time")
	}
	if q.Now = now.Add(2 * time.Second); p.Authorize(q).Reason != Allowed {
		t.Error("still refused when it is valid")
	}
	// Refused tokens are few in the cache, and go after seconds.
	cache := NewTokenCache(160, 1<<20)
	p = newPolicyIn(t, hs256(""), cache)
	for i := range 1000 {
		p.Authorize(request(sign(fmt.Sprint(i), "ffffffffffffffffffffffffffffffff"), "x"))
	}
	var s Stats
	cache.UpdateStats(&s)
	if s.Refused != 10 || s.Tokens != 10 {
		t.Errorf("%+v", s)
	}
	key := []byte(sign("999", "ffffffffffffffffffffffffffffffff"))
	if e := cache.get(p.id, key, now.Add(refusedFor-1).UnixNano(), 1); e == nil || e.reason != SignatureInvalid {
		t.Error("the last one is not remembered")
	}
	if e := cache.get(p.id, key, now.Add(refusedFor).UnixNano(), 1); e != nil {
		t.Error("a refusal outlives its time")
	}
}

// sign returns a token for sub under a secret.
func sign(sub, secret string) string {
	tok := handmade(plainHeader, fmt.Sprintf(`{"sub":%q,"exp":%d}`, sub, now.Add(time.Hour).Unix()))
	if secret != "0123456789abcdef0123456789abcdef" {
		tok = tok[:strings.LastIndexByte(tok, '.')+1] + b64(secret)
	}
	return tok
}

// TestSwappedPolicyLeavesNoVerdict is T78: no policy uses the results of another, even for
// the same token in the same cache.
func TestSwappedPolicyLeavesNoVerdict(t *testing.T) {
	cache := NewTokenCache(1000, 1<<20)
	q := request(valid(`"role":"reader"`), "x")
	for i := range 3 {
		lax := newPolicyIn(t, hs256("claims: [{claim: role, operator: exists}]\n"), cache)
		tight := newPolicyIn(t, hs256("claims: [{claim: role, operator: equals, value: admin}]\n"), cache)
		other := newPolicyIn(t, "jwt: {algorithm: HS256, secret: ffffffffffffffffffffffffffffffff}", cache)
		for range 2 {
			if r := lax.Authorize(q).Reason; r != Allowed {
				t.Errorf("%d, lax: %q", i, r)
			}
			if r := tight.Authorize(q).Reason; r != ClaimRefused {
				t.Errorf("%d, tight: %q", i, r)
			}
			if r := other.Authorize(q).Reason; r != SignatureInvalid {
				t.Errorf("%d, another secret: %q", i, r)
			}
		}
	}
}

// T49 in small: a cached token does nothing for a request without it.
func TestNoTokenAfterGoodToken(t *testing.T) {
	p := newPolicy(t, hs256(""))
	if r := p.Authorize(request(valid(""), "x")).Reason; r != Allowed {
		t.Fatal(r)
	}
	if r := p.Authorize(request("", "x")).Reason; r != TokenMissing {
		t.Errorf("%q", r)
	}
	if r := p.Authorize(request(valid("")+"A", "x")).Reason; r == Allowed {
		t.Errorf("%q", r)
	}
}

func TestTokenCacheIsBounded(t *testing.T) {
	for _, c := range []struct {
		tokens    int
		bytes     int64
		mostBytes int
		least     int // entries that are there in the end
	}{
		{0, 1 << 20, 0, 0}, {1000, 0, 0, 0}, {100, 1 << 20, 1 << 20, 94}, {10_000, 64 << 20, 64 << 20, 8_000}, {1 << 30, 256 << 10, 256 << 10, 200}, {1, 1 << 20, 1 << 20, 1},
	} {
		t.Run(fmt.Sprintf("%d tokens, %d bytes", c.tokens, c.bytes), func(t *testing.T) {
			cache := NewTokenCache(c.tokens, c.bytes)
			p := newPolicyIn(t, hs256("claims: [{claim: sub, operator: not_equals, value: \"${path.0}\"}]\n"), cache)
			for i := range 20_000 {
				tok := []byte(strings.Repeat("t", i%700) + fmt.Sprint(i))
				cache.put(p.id, tok, &entry{subject: "s", expires: token.Forever, sets: []setVerdict{{claims: []any{"s"}}}})
				if i%1000 == 0 {
					var s Stats
					cache.UpdateStats(&s)
					if s.Tokens > c.tokens || s.Bytes > c.mostBytes {
						t.Fatalf("%+v", s)
					}
				}
			}
			var s Stats
			cache.UpdateStats(&s)
			if s.Tokens < c.least || s.Tokens > c.tokens {
				t.Errorf("%+v, want %d at least", s, c.least)
			}
		})
	}
}

// The least recently used token goes, others stay.
func TestTokenCacheEvictsLeastRecentlyUsed(t *testing.T) {
	cache := NewTokenCache(3, 1<<20) // few enough for one shard
	put := func(name string) { cache.put(1, []byte(name), &entry{expires: token.Forever}) }
	get := func(name string) bool { return cache.get(1, []byte(name), 1, 0) != nil }
	put("a")
	put("b")
	put("c")
	if !get("a") {
		t.Fatal("a is gone")
	}
	put("d")
	if get("b") || !get("a") || !get("c") || !get("d") {
		t.Error("another one than b is gone")
	}
	for _, name := range []string{"e", "f", "g", "h"} {
		if !get("a") {
			t.Errorf("a, which is used all the time, is gone before %s", name)
		}
		put(name)
	}
	if !get("a") {
		t.Error("a is gone")
	}
	put("a") // again, with another size
	var s Stats
	if cache.UpdateStats(&s); s.Tokens != 3 {
		t.Errorf("%+v", s)
	}
	if cache.get(2, []byte("a"), 1, 0) != nil || cache.get(1, []byte("a"), 1, 1) != nil {
		t.Error("found under another policy or other keys")
	}
}

// TestHundredThousandTokens measures the memory under the default bound.
func TestHundredThousandTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it takes seconds")
	}
	const bound = 128 << 20
	cache := NewTokenCache(100_000, bound)
	p := newPolicyIn(t, hs256("claims: [{claim: sub, operator: not_equals, value: \"${path.0}\"}]\n"), cache)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	pad := strings.Repeat("x", 400)
	for i := range 120_000 {
		tok := handmade(plainHeader, fmt.Sprintf(`{"sub":"user-%d","exp":%d,"pad":%q}`, i, now.Add(time.Hour).Unix(), pad))
		if r := p.Authorize(request(tok, "x")).Reason; r != Allowed {
			t.Fatal(r)
		}
	}
	used := heap() - before
	var s Stats
	cache.UpdateStats(&s)
	t.Logf("%d tokens, %d bytes counted, %d of heap", s.Tokens, s.Bytes, used)
	if s.Tokens > 100_000 || s.Bytes > bound || used > bound || uint64(s.Bytes) < used*9/10 {
		t.Errorf("%+v, %d bytes of heap", s, used)
	}
	runtime.KeepAlive(cache)
}

// TestConcurrentPolicies swaps policies, with one token cache, under 64 goroutines.
func TestConcurrentPolicies(t *testing.T) {
	cache := NewTokenCache(64, 1<<20)
	var current atomic.Pointer[Policy]
	build := func(i int) *Policy {
		// Every other one wants a role that tokens do not have.
		role := []string{"reader", "admin"}[i%2]
		return newPolicyIn(t, hs256("claims: [{claim: role, operator: equals, value: "+role+"}, {claim: tenant, operator: equals, value: \"${path.0}\"}]\n"), cache)
	}
	current.Store(build(0))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var asked atomic.Int64
	for g := range 64 {
		wg.Go(func() {
			var q [4]*Request
			for i := range q {
				q[i] = request(valid(fmt.Sprintf(`"role":"reader","tenant":"t%d","n":%d`, i%2, g%8)), fmt.Sprintf("t%d/x", i/2))
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				p := current.Load()
				wantRole := p.sets[0].rules[0].operands[0].value == "reader"
				for i := range q {
					want := ClaimRefused
					if wantRole && i%2 == i/2 {
						want = Allowed
					}
					if got := p.Authorize(q[i]).Reason; got != want {
						t.Errorf("%d: %q, want %q", i, got, want)
						return
					}
					asked.Add(1)
				}
			}
		})
	}
	for i := range 200 {
		current.Store(build(i))
		runtime.Gosched()
	}
	close(stop)
	wg.Wait()
	t.Logf("%d requests", asked.Load())
}
