package auth

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"yatagarasu/gateway/keys"
	"yatagarasu/loadtest/keyserver"
)

// remotePolicy returns a started policy with the keys of a URL.
func remotePolicy(t *testing.T, url string, o keys.Options, more ...string) *Policy {
	t.Helper()
	a := loadAuth(t, "jwt:\n  jwks_url: "+url+"\n"+indent(strings.Join(more, "\n"), "  "))
	v, err := NewVerifier(a.JWT, Options{Keys: o})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil)
}

func TestKeySetRotation(t *testing.T) {
	one, two := keyserver.NewKey(t), keyserver.NewKey(t)
	s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": one})))
	p := remotePolicy(t, s.URL, keys.Options{WaitAtMost: time.Minute})
	first, second := request(signedBy(t, "ES256", one, "one"), "x"), request(signedBy(t, "ES256", two, "two"), "x")
	if v := p.Authorize(first); v.Reason != Allowed {
		t.Fatal(v.Reason)
	}
	if v := p.Authorize(second); v.Reason != KeyUnknown {
		t.Errorf("a key that is not published: %q", v.Reason)
	}
	s.Set(keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": one, "two": two})))
	if v := p.Authorize(second); v.Reason != Allowed {
		t.Errorf("a key published since: %q", v.Reason)
	}
	if v := p.Authorize(first); v.Reason != Allowed {
		t.Errorf("the old key beside the new one: %q", v.Reason)
	}
	// A withdrawn key: its cached results are gone, too.
	s.Set(keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"two": two})))
	third := request(signedBy(t, "ES256", keyserver.NewKey(t), "three"), "x")
	if v := p.Authorize(third); v.Reason != KeyUnknown {
		t.Errorf("a third key: %q", v.Reason)
	}
	if v := p.Authorize(first); v.Reason != KeyUnknown {
		t.Errorf("a withdrawn key: %q", v.Reason)
	}
	if v := p.Authorize(second); v.Reason != Allowed {
		t.Errorf("the key that is left: %q", v.Reason)
	}
}

// A key set without kids, and tokens without: the right key is found, and a new
// one fetched.
func TestKeySetWithoutIDs(t *testing.T) {
	one, two, three := keyserver.NewKey(t), keyserver.NewKey(t), keyserver.NewKey(t)
	set := func(keys ...*ecdsa.PrivateKey) http.HandlerFunc {
		var list []string
		for _, k := range keys {
			raw, err := json.Marshal(jose.JSONWebKey{Key: k.Public()})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, string(raw))
		}
		return keyserver.Text(`{"keys":[` + strings.Join(list, ",") + `]}`)
	}
	s := keyserver.Start(t, set(one, two))
	p := remotePolicy(t, s.URL, keys.Options{WaitAtMost: time.Minute})
	for _, k := range []*ecdsa.PrivateKey{one, two} {
		for _, kid := range []string{"", "some"} {
			if v := p.Authorize(request(signedBy(t, "ES256", k, kid), "x")); v.Reason != Allowed {
				t.Errorf("kid %q: %q", kid, v.Reason)
			}
		}
	}
	s.Set(set(three))
	if v := p.Authorize(request(signedBy(t, "ES256", three, ""), "x")); v.Reason != Allowed {
		t.Errorf("a key published since: %q", v.Reason)
	}
}

// TestKeySetRotationUnderLoad rotates the keys while requests are signed with the newest
// published one.
func TestKeySetRotationUnderLoad(t *testing.T) {
	published := map[string]crypto.Signer{"k0": keyserver.NewKey(t)}
	s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, published)))
	p := remotePolicy(t, s.URL, keys.Options{EarlyBurst: 1000, WaitAtMost: time.Minute})
	var current atomic.Value // of string
	current.Store(signedBy(t, "ES256", published["k0"], "k0"))

	const rotations, requests = 20, 20
	for i := 1; i <= rotations; i++ {
		var wg sync.WaitGroup
		for range requests {
			wg.Go(func() {
				if v := p.Authorize(request(current.Load().(string), "x")); v.Reason != Allowed {
					t.Errorf("rotation %d: %q", i, v.Reason)
				}
			})
		}
		kid := fmt.Sprintf("k%d", i)
		published[kid] = keyserver.NewKey(t)
		delete(published, fmt.Sprintf("k%d", i-2)) // the last two are published
		s.Set(keyserver.Text(keyserver.KeySet(t, published)))
		current.Store(signedBy(t, "ES256", published[kid], kid))
		wg.Wait()
	}
	if v := p.Authorize(request(current.Load().(string), "x")); v.Reason != Allowed {
		t.Errorf("the last key: %q", v.Reason)
	}
	t.Logf("%d rotations, %d fetches", rotations, s.Fetches())
}

// T36: unknown kids cause a bounded number of fetches.
func TestUnknownKidsFetchAtALimitedRate(t *testing.T) {
	k := keyserver.NewKey(t)
	s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": k})))
	p := remotePolicy(t, s.URL, keys.Options{EarlyEvery: time.Hour, EarlyBurst: 3, WaitAtMost: time.Minute})
	good := request(signedBy(t, "ES256", k, "one"), "x")
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := i; j < 10_000; j += 64 {
				tok := handmade(fmt.Sprintf(`{"alg":"ES256","kid":"unknown-%d"}`, j), claimsAt(""))
				if v := p.Authorize(request(tok, "x")); v.Reason != KeyUnknown {
					t.Errorf("%q", v.Reason)
				}
			}
		})
	}
	wg.Wait()
	if v := p.Authorize(good); v.Reason != Allowed {
		t.Errorf("meanwhile: %q", v.Reason)
	}
	if n := s.Fetches(); n != 1+3 {
		t.Errorf("%d fetches, want one at start and three", n)
	}
}

// Tokens wait for a fetch only where that can help, and never for long: otherwise this
// test hangs.
func TestWaitingForAKeySet(t *testing.T) {
	k := keyserver.NewKey(t)
	unknown := func() *Request { return request(signedBy(t, "ES256", k, "unknown"), "x") }
	start := func(t *testing.T, o keys.Options, more ...string) (*keyserver.Server, *Policy) {
		s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": k})))
		o.FetchTimeout, o.RetryAfter = time.Hour, time.Hour
		return s, remotePolicy(t, s.URL, o, more...)
	}
	t.Run("an algorithm that no key of the set can have", func(t *testing.T) {
		for _, more := range [][]string{nil, {"algorithm: ES256"}} {
			s, p := start(t, keys.Options{WaitAtMost: time.Hour}, more...)
			s.Set(keyserver.Hang)
			algs := []string{"none", "HS256", "HS512", "es256", "RSA-OAEP", ""}
			if more != nil {
				algs = append(algs, "ES384", "RS256")
			}
			for _, alg := range algs {
				if r := p.Authorize(request(handmade(fmt.Sprintf(`{"alg":%q}`, alg), claimsAt("")), "x")).Reason; r != AlgorithmRefused {
					t.Errorf("%q: %q", alg, r)
				}
			}
			if n := s.Fetches(); n != 1 {
				t.Errorf("%d fetches, want the first alone", n)
			}
		}
	})
	t.Run("an endpoint that hangs", func(t *testing.T) {
		s, p := start(t, keys.Options{WaitAtMost: 50 * time.Millisecond})
		s.Set(keyserver.Hang)
		for range 3 {
			if r := p.Authorize(unknown()).Reason; r != KeyUnknown {
				t.Errorf("%q", r)
			}
		}
	})
	t.Run("an endpoint that failed and hangs then", func(t *testing.T) {
		s, p := start(t, keys.Options{WaitAtMost: time.Hour})
		for _, answer := range []http.HandlerFunc{keyserver.Status(503), keyserver.Hang, keyserver.Hang} {
			s.Set(answer)
			if r := p.Authorize(unknown()).Reason; r != KeyUnknown {
				t.Errorf("%q", r)
			}
		}
	})
}

// Without a first copy, only a token that it could verify is answered 503.
func TestWithoutAFirstCopy(t *testing.T) {
	s := keyserver.Start(t, keyserver.Status(503))
	p := remotePolicy(t, s.URL, keys.Options{RetryAfter: time.Hour}, "jwks_optional: true", "keys: [{kid: hs, algorithm: HS256, secret: "+secret+"}]")
	badSignature := handmade(`{"alg":"HS256","kid":"hs"}`, claimsAt(""))
	badSignature = badSignature[:strings.LastIndexByte(badSignature, '.')+1] + b64(strings.Repeat("z", 32))
	for _, c := range []struct {
		name, token string
		want        Reason
	}{
		{"configured key", handmade(`{"alg":"HS256","kid":"hs"}`, claimsAt("")), Allowed},
		{"configured key, bad signature", badSignature, SignatureInvalid},
		{"configured key, another algorithm", handmade(`{"alg":"HS512","kid":"hs"}`, claimsAt("")), AlgorithmRefused},
		{"T34 none", handmade(`{"alg":"none"}`, claimsAt("")), AlgorithmRefused},
		{"HS256 under an unknown kid", handmade(`{"alg":"HS256","kid":"other"}`, claimsAt("")), KeyUnknown},
		{"perhaps a key of the set", signedBy(t, "ES256", keyserver.NewKey(t), "one"), KeysUnavailable},
		{"perhaps a key of the set, no kid", signedBy(t, "ES256", keyserver.NewKey(t), ""), KeysUnavailable},
	} {
		if r := p.Authorize(request(c.token, "x")).Reason; r != c.want {
			t.Errorf("%s: %q, want %q", c.name, r, c.want)
		}
	}
}

// T105: of a key set that is too old nothing is left, not what is remembered either.
func TestKeySetTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		private, file := keyserver.NewKey(t), filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(file, []byte(keyserver.KeySet(t, map[string]crypto.Signer{"one": private})), 0o600); err != nil {
			t.Fatal(err)
		}
		a := loadAuth(t, "jwt: {jwks_file: "+file+", keys: [{algorithm: HS256, secret: "+secret+"}]}")
		a.JWT.JWKSMaxAge = 24 * time.Hour // which only a jwks_url has; but this needs no socket
		v, err := NewVerifier(a.JWT, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Start(); err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		p := NewPolicy(a, "files", v, NewTokenCache(100, 1<<20), nil)
		fetched, configured := request(signedBy(t, "ES256", private, "one"), "x"), request(valid(""), "x")
		expect := func(when string, want Reason) {
			t.Helper()
			synctest.Wait()
			if a, b := p.Authorize(fetched).Reason, p.Authorize(configured).Reason; a != want || b != Allowed {
				t.Errorf("%s: %q, want %q; a configured key: %q", when, a, want, b)
			}
		}
		expect("at first", Allowed)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24*time.Hour - 10*time.Minute) // the last fetch was up to five minutes ago
		expect("almost a day later", Allowed)
		time.Sleep(10 * time.Minute)
		expect("a day later", KeysUnavailable)
	})
}
