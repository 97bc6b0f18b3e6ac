package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"yatagarasu/gateway/config/access"
)

// keyServer is an endpoint with a JWK set that a test changes.
type keyServer struct {
	*httptest.Server
	mu      sync.Mutex // guards the following fields
	answer  http.HandlerFunc
	fetches int
}

func startKeyServer(t *testing.T, answer http.HandlerFunc) *keyServer {
	t.Helper()
	s := &keyServer{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.fetches++
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) set(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *keyServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// eventually polls until ok. The goroutines that it waits for use sockets, which synctest
// cannot see.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// keySetOf returns a JWK set of these keys, by kid; each names its algorithm.
func keySetOf(t testing.TB, keys map[string]crypto.Signer) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for kid, k := range keys {
		algorithm := "RS256"
		switch k := k.Public().(type) {
		case *ecdsa.PublicKey:
			algorithm = "ES256"
		case ed25519.PublicKey:
			algorithm = "EdDSA"
			_ = k
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Algorithm: algorithm, Use: "sig"})
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// remotePolicy returns a started policy with the keys of a URL.
func remotePolicy(t *testing.T, url string, o Options, more ...string) *Policy {
	t.Helper()
	p, err := tryRemotePolicy(t, url, o, more...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tryRemotePolicy(t *testing.T, url string, o Options, more ...string) (*Policy, error) {
	t.Helper()
	a := loadAuth(t, "jwt:\n  jwks_url: "+url+"\n"+indent(strings.Join(more, "\n"), "  "))
	v, err := NewVerifier(a.JWT, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(v.Close)
	return NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil), nil
}

func TestKeySetRotation(t *testing.T) {
	one, two := ecKey(t), ecKey(t)
	s := startKeyServer(t, text(keySetOf(t, map[string]crypto.Signer{"one": one})))
	p := remotePolicy(t, s.URL, Options{WaitAtMost: time.Minute})
	first, second := request(signedBy(t, "ES256", one, "one"), "x"), request(signedBy(t, "ES256", two, "two"), "x")
	if v := p.Authorize(first); v.Reason != Allowed {
		t.Fatal(v.Reason)
	}
	if v := p.Authorize(second); v.Reason != KeyUnknown {
		t.Errorf("a key that is not published: %q", v.Reason)
	}
	s.set(text(keySetOf(t, map[string]crypto.Signer{"one": one, "two": two})))
	if v := p.Authorize(second); v.Reason != Allowed {
		t.Errorf("a key published since: %q", v.Reason)
	}
	if v := p.Authorize(first); v.Reason != Allowed {
		t.Errorf("the old key beside the new one: %q", v.Reason)
	}
	// A withdrawn key: its cached results are gone, too.
	s.set(text(keySetOf(t, map[string]crypto.Signer{"two": two})))
	third := request(signedBy(t, "ES256", ecKey(t), "three"), "x")
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
	one, two, three := ecKey(t), ecKey(t), ecKey(t)
	set := func(keys ...*ecdsa.PrivateKey) http.HandlerFunc {
		var list []string
		for _, k := range keys {
			raw, err := json.Marshal(jose.JSONWebKey{Key: k.Public()})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, string(raw))
		}
		return text(`{"keys":[` + strings.Join(list, ",") + `]}`)
	}
	s := startKeyServer(t, set(one, two))
	p := remotePolicy(t, s.URL, Options{WaitAtMost: time.Minute})
	for _, k := range []*ecdsa.PrivateKey{one, two} {
		for _, kid := range []string{"", "some"} {
			if v := p.Authorize(request(signedBy(t, "ES256", k, kid), "x")); v.Reason != Allowed {
				t.Errorf("kid %q: %q", kid, v.Reason)
			}
		}
	}
	s.set(set(three))
	if v := p.Authorize(request(signedBy(t, "ES256", three, ""), "x")); v.Reason != Allowed {
		t.Errorf("a key published since: %q", v.Reason)
	}
}

// TestKeySetRotationUnderLoad rotates the keys while requests are signed with the newest
// published one.
func TestKeySetRotationUnderLoad(t *testing.T) {
	keys := map[string]crypto.Signer{"k0": ecKey(t)}
	s := startKeyServer(t, text(keySetOf(t, keys)))
	p := remotePolicy(t, s.URL, Options{EarlyBurst: 1000, WaitAtMost: time.Minute})
	var current atomic.Value // of string
	current.Store(signedBy(t, "ES256", keys["k0"], "k0"))

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
		keys[kid] = ecKey(t)
		delete(keys, fmt.Sprintf("k%d", i-2)) // the last two are published
		s.set(text(keySetOf(t, keys)))
		current.Store(signedBy(t, "ES256", keys[kid], kid))
		wg.Wait()
	}
	if v := p.Authorize(request(current.Load().(string), "x")); v.Reason != Allowed {
		t.Errorf("the last key: %q", v.Reason)
	}
	t.Logf("%d rotations, %d fetches", rotations, s.count())
}

// T36: unknown kids cause a bounded number of fetches.
func TestUnknownKidsFetchAtALimitedRate(t *testing.T) {
	k := ecKey(t)
	s := startKeyServer(t, text(keySetOf(t, map[string]crypto.Signer{"one": k})))
	p := remotePolicy(t, s.URL, Options{EarlyEvery: time.Hour, EarlyBurst: 3, WaitAtMost: time.Minute})
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
	if n := s.count(); n != 1+3 {
		t.Errorf("%d fetches, want one at start and three", n)
	}
}

// Tokens wait for a fetch only where that can help, and never for long: otherwise this
// test hangs.
func TestWaitingForAKeySet(t *testing.T) {
	k := ecKey(t)
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	unknown := func() *Request { return request(signedBy(t, "ES256", k, "unknown"), "x") }
	start := func(t *testing.T, o Options, more ...string) (*keyServer, *Policy) {
		s := startKeyServer(t, text(keySetOf(t, map[string]crypto.Signer{"one": k})))
		o.FetchTimeout, o.RetryAfter = time.Hour, time.Hour
		return s, remotePolicy(t, s.URL, o, more...)
	}
	t.Run("an algorithm that no key of the set can have", func(t *testing.T) {
		for _, more := range [][]string{nil, {"algorithm: ES256"}} {
			s, p := start(t, Options{WaitAtMost: time.Hour}, more...)
			s.set(hang)
			algs := []string{"none", "HS256", "HS512", "es256", "RSA-OAEP", ""}
			if more != nil {
				algs = append(algs, "ES384", "RS256")
			}
			for _, alg := range algs {
				if r := p.Authorize(request(handmade(fmt.Sprintf(`{"alg":%q}`, alg), claimsAt("")), "x")).Reason; r != AlgorithmRefused {
					t.Errorf("%q: %q", alg, r)
				}
			}
			if n := s.count(); n != 1 {
				t.Errorf("%d fetches, want the first alone", n)
			}
		}
	})
	t.Run("an endpoint that hangs", func(t *testing.T) {
		s, p := start(t, Options{WaitAtMost: 50 * time.Millisecond})
		s.set(hang)
		for range 3 {
			if r := p.Authorize(unknown()).Reason; r != KeyUnknown {
				t.Errorf("%q", r)
			}
		}
	})
	t.Run("an endpoint that failed and hangs then", func(t *testing.T) {
		s, p := start(t, Options{WaitAtMost: time.Hour})
		for _, answer := range []http.HandlerFunc{status(503), hang, hang} {
			s.set(answer)
			if r := p.Authorize(unknown()).Reason; r != KeyUnknown {
				t.Errorf("%q", r)
			}
		}
	})
}

// Without a first copy, only a token that it could verify is answered 503.
func TestWithoutAFirstCopy(t *testing.T) {
	s := startKeyServer(t, status(503))
	p := remotePolicy(t, s.URL, Options{RetryAfter: time.Hour}, "jwks_optional: true", "keys: [{kid: hs, algorithm: HS256, secret: "+secret+"}]")
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
		{"perhaps a key of the set", signedBy(t, "ES256", ecKey(t), "one"), KeysUnavailable},
		{"perhaps a key of the set, no kid", signedBy(t, "ES256", ecKey(t), ""), KeysUnavailable},
	} {
		if r := p.Authorize(request(c.token, "x")).Reason; r != c.want {
			t.Errorf("%s: %q, want %q", c.name, r, c.want)
		}
	}
}

// The last good copy stays in use, whatever the endpoint does.
func TestKeySetKeepsLastGoodCopy(t *testing.T) {
	k := ecKey(t)
	s := startKeyServer(t, text(keySetOf(t, map[string]crypto.Signer{"one": k})))
	var mu sync.Mutex
	var problems []string
	p := remotePolicy(t, s.URL, Options{RefreshEvery: 5 * time.Millisecond, RetryAfter: time.Millisecond, FetchTimeout: 50 * time.Millisecond, OnFetch: func(_ string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			problems = append(problems, err.Error())
		}
	}})
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := request(signedBy(t, "ES256", k, "one"), "x")
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"500": {status(500), "status 500"},
		"404": {status(404), "status 404"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.example.com/", http.StatusFound)
		}, "redirects"},
		"no JSON":        {text("<html>"), "no JSON object"},
		"empty":          {text(""), "no JSON object"},
		"no keys":        {text(`{"keys":[]}`), "no key"},
		"secrets":        {text(`{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256"}]}`), "no public key"},
		"a weak key":     {text(keySetOf(t, map[string]crypto.Signer{"one": weak})), "fewer than 2048 bits"},
		"for encryption": {text(strings.Replace(keySetOf(t, map[string]crypto.Signer{"one": k}), `"sig"`, `"enc"`, 1)), "not for signatures"},
		"too large":      {text(strings.Repeat(" ", maxKeySetSize+1)), "larger than 1 MiB"},
		"too many":       {text(`{"keys":[` + strings.Repeat("{},", 200) + `{}]}`), "more than 200 keys"},
		"silent":         {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
		"drips": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "deadline exceeded"},
		"connection lost": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		mu.Lock()
		problems = nil
		mu.Unlock()
		s.set(c.answer)
		eventually(t, fmt.Sprintf("%s: a fetch says %q", name, c.says), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(strings.Join(problems, "\n"), c.says)
		})
		p.cache = NewTokenCache(0, 0)
		if v := p.Authorize(good); v.Reason != Allowed {
			t.Errorf("%s: %q", name, v.Reason)
		}
	}
}

func TestKeySetAtStart(t *testing.T) {
	down := startKeyServer(t, status(503))
	if _, err := tryRemotePolicy(t, down.URL+"/jwks?key=secret-in-query", Options{}); err == nil || !strings.Contains(err.Error(), "status 503") || strings.Contains(err.Error(), "secret-in-query") {
		t.Errorf("without a first copy: %v", err)
	}
	k := ecKey(t)
	q := request(signedBy(t, "ES256", k, "one"), "x")
	p := remotePolicy(t, down.URL, Options{RetryAfter: time.Millisecond}, "jwks_optional: true")
	if v := p.Authorize(q); v.Reason != KeysUnavailable || v.Reason.Answer() != Unavailable {
		t.Errorf("before there is a copy: %q", v.Reason)
	}
	down.set(text(keySetOf(t, map[string]crypto.Signer{"one": k})))
	eventually(t, "the first copy comes", func() bool { return p.Authorize(q).Reason == Allowed })
	// Nobody listens, and the error does not repeat the URL's query.
	down.Close()
	if _, err := tryRemotePolicy(t, down.URL+"/jwks?key=secret-in-query", Options{}); err == nil || strings.Contains(err.Error(), "secret-in-query") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestKeySetFile(t *testing.T) {
	one, two := ecKey(t), ecKey(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	write := func(keys map[string]crypto.Signer) {
		t.Helper()
		if err := os.WriteFile(file, []byte(keySetOf(t, keys)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]crypto.Signer{"one": one})
	a := loadAuth(t, "jwt: {jwks_file: "+file+"}")
	v, err := NewVerifier(a.JWT, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPolicy(a, "files", v, NewTokenCache(0, 0), nil)
	if r := p.Authorize(request(signedBy(t, "ES256", one, "one"), "x")).Reason; r != Allowed {
		t.Errorf("before start: %q", r)
	}
	// Before start, no token waits for a fetch: there is no goroutine for it.
	if r := p.Authorize(request(signedBy(t, "ES256", two, "two"), "x")).Reason; r != KeyUnknown {
		t.Errorf("before start: %q", r)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	write(map[string]crypto.Signer{"two": two})
	if r := p.Authorize(request(signedBy(t, "ES256", two, "two"), "x")).Reason; r != Allowed {
		t.Errorf("after it changed: %q", r)
	}
	if err := os.WriteFile(file, []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewVerifier(a.JWT, Options{}); err == nil || !strings.Contains(err.Error(), "no public key") {
		t.Errorf("a file without a key to use: %v", err)
	}
}

// jwkText returns k as JSON.
func jwkText(t *testing.T, k jose.JSONWebKey) string {
	t.Helper()
	data, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestParseKeySet(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec := ecKey(t)
	plainRSA := jwkText(t, jose.JSONWebKey{Key: rsaKey.Public()})
	for _, c := range []struct {
		name, key, algorithm string
		want                 string // its algorithm
		problem              string
	}{
		{"RSA with its algorithm", jwkText(t, jose.JSONWebKey{Key: rsaKey.Public(), Algorithm: "PS384"}), "", "PS384", ""},
		{"RSA without algorithm", plainRSA, "", "", "names no algorithm; configure jwt.algorithm"},
		{"RSA without algorithm, configured", plainRSA, "RS256", "RS256", ""},
		{"RSA with another algorithm", jwkText(t, jose.JSONWebKey{Key: rsaKey.Public(), Algorithm: "RS512"}), "RS256", "", "not for RS256"},
		{"RSA for an HS algorithm", jwkText(t, jose.JSONWebKey{Key: rsaKey.Public(), Algorithm: "HS256"}), "", "", "does not fit"},
		{"RSA for encryption by its algorithm", jwkText(t, jose.JSONWebKey{Key: rsaKey.Public(), Algorithm: "RSA-OAEP"}), "", "", "cannot use"},
		{"EC without algorithm", jwkText(t, jose.JSONWebKey{Key: ec.Public()}), "", "ES256", ""},
		{"EC with another curve's", jwkText(t, jose.JSONWebKey{Key: ec.Public(), Algorithm: "ES384"}), "", "", "does not fit"},
		{"EC, configured for RSA", jwkText(t, jose.JSONWebKey{Key: ec.Public()}), "RS256", "", "not for RS256"},
		{"private", jwkText(t, jose.JSONWebKey{Key: ec}), "", "", "no public key"},
		{"secret", `{"kty":"oct","k":"AAAA","alg":"HS256"}`, "", "", "no public key"},
		{"secret, configured", `{"kty":"oct","k":"AAAA"}`, "RS256", "", "no public key"},
		{"for encryption", jwkText(t, jose.JSONWebKey{Key: ec.Public(), Use: "enc"}), "", "", "not for signatures"},
		{"for verifying", strings.Replace(jwkText(t, jose.JSONWebKey{Key: ec.Public()}), "{", `{"key_ops":["verify"],`, 1), "", "ES256", ""},
		{"for other operations", strings.Replace(jwkText(t, jose.JSONWebKey{Key: ec.Public()}), "{", `{"key_ops":["deriveKey"],`, 1), "", "", "not for signatures"},
		{"point off the curve", `{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}`, "", "", "no JWK"},
		{"unknown type", `{"kty":"XYZ"}`, "", "", "no JWK"},
		{"no object", `1`, "", "", "no JWK"},
		{"null", `null`, "", "", "no JWK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Beside a good one, a bad one does not matter.
			good := jwkText(t, jose.JSONWebKey{Key: ec.Public(), KeyID: "good"})
			algorithm := c.algorithm
			if algorithm == "RS256" {
				good = jwkText(t, jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "good"})
			}
			keys, _, err := parseKeySet([]byte(`{"keys":[`+good+`,`+c.key+`]}`), algorithm)
			if err != nil || len(keys) == 0 || keys[0].id != "good" || (len(keys) == 2) != (c.problem == "") {
				t.Errorf("beside a good one: %v, %v", keys, err)
			}
			keys, _, err = parseKeySet([]byte(`{"keys":[`+c.key+`]}`), algorithm)
			switch {
			case c.problem != "":
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v, %v", keys, err)
				}
			case err != nil || len(keys) != 1 || keys[0].algorithm != c.want:
				t.Errorf("got %v, %v", keys, err)
			}
		})
	}
}

// TestLeftOut names each key of a set that verifies nothing once, however often the set
// is fetched.
func TestLeftOut(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := ecKey(t)
	goodJWK := jwkText(t, jose.JSONWebKey{Key: good.Public(), KeyID: "good"})
	bad := map[string]struct{ jwk, why string }{
		"small":   {jwkText(t, jose.JSONWebKey{Key: small.Public(), KeyID: "small", Algorithm: "RS256"}), "it is an RSA key of fewer than 2048 bits"},
		"enc":     {jwkText(t, jose.JSONWebKey{Key: ecKey(t).Public(), KeyID: "enc", Use: "enc"}), "it is not for signatures (usual)"},
		"odd":     {`{"kty":"XYZ","kid":"odd"}`, "it is no JWK of a supported type"},
		"ed448":   {`{"kty":"OKP","crv":"Ed448","x":"AAAA","alg":"Ed448","kid":"ed448"}`, "it is no JWK of a supported type"},
		"private": {jwkText(t, jose.JSONWebKey{Key: ecKey(t), KeyID: "private"}), "it is no public key"},
		"hs":      {`{"kty":"oct","k":"AAAA","kid":"hs"}`, "it is no public key"},
		"curve":   {jwkText(t, jose.JSONWebKey{Key: ecKey(t).Public(), KeyID: "curve", Algorithm: "ES384"}), "it is an EC key on P-256, which does not fit the algorithm"},
		"":        {`{"kty":"XYZ","kid":7}`, "it is no JWK of a supported type"},
		"a?b":     {`{"kty":"XYZ","kid":"a\nb"}`, "it is no JWK of a supported type"},
	}
	keys := []string{goodJWK}
	want := make(map[string]string)
	for kid, b := range bad {
		keys = append(keys, b.jwk)
		want[kid] = b.why
	}
	s := startKeyServer(t, text(`{"keys":[`+strings.Join(keys, ",")+`]}`))
	var mu sync.Mutex
	reported := make(map[string]string)
	p := remotePolicy(t, s.URL, Options{OnLeftOut: func(name, key string, why error, usual bool) {
		mu.Lock()
		defer mu.Unlock()
		if _, again := reported[key]; again || name != s.URL {
			t.Errorf("%s: %q is named again", name, key)
		}
		reported[key] = why.Error()
		if usual {
			reported[key] += " (usual)"
		}
	}})
	expect := func(want map[string]string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !maps.Equal(reported, want) {
			t.Errorf("named are %q\nwant %q", reported, want)
		}
	}
	expect(want)
	// In another order, with one key more, and without any good key.
	for _, next := range []struct{ keys, also string }{
		{keys[2] + "," + keys[1] + "," + goodJWK, ""},
		{goodJWK + `,{"kty":"XYZ","kid":"later"}`, "later"},
		{keys[1] + `,{"kty":"XYZ","kid":"last"}`, "last"},
		{strings.Join(keys, ","), ""},
	} {
		s.set(text(`{"keys":[` + next.keys + `]}`))
		if p.verifier.Refresh(); next.also != "" {
			want[next.also] = "it is no JWK of a supported type"
		}
		expect(want)
	}
}

// TestKeySetAuthority fetches a key set over TLS from a server whose authority a jwt
// block names, and from no other.
func TestKeySetAuthority(t *testing.T) {
	k := ecKey(t)
	set := text(keySetOf(t, map[string]crypto.Signer{"one": k}))
	mine, other := httptest.NewTLSServer(set), httptest.NewUnstartedServer(set)
	defer mine.Close()
	key := ecKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	other.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.StartTLS()
	defer other.Close()
	mine.Config.ErrorLog = other.Config.ErrorLog
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mine.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url, more string
		trusted         bool
	}{
		{"its own", mine.URL, "ca_file: " + file, true},
		{"another one's", other.URL, "ca_file: " + file, false},
		{"the system's", mine.URL, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := tryRemotePolicy(t, c.url, Options{}, c.more)
			if c.trusted != (err == nil) {
				t.Fatal(err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "certificate") {
					t.Error(err)
				}
			} else if r := p.Authorize(request(signedBy(t, "ES256", k, "one"), "x")).Reason; r != Allowed {
				t.Errorf("%q", r)
			}
		})
	}
	// A copy that another authority vouched for is not taken over.
	old := loadAuth(t, "jwt:\n  jwks_url: "+mine.URL+"\n  ca_file: "+file+"\n").JWT
	was, err := NewVerifier(old, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := was.Start(); err != nil {
		t.Fatal(err)
	}
	defer was.Close()
	for _, c := range []struct {
		ca   []byte
		want bool
	}{{old.CA, true}, {nil, false}, {append([]byte("\n"), old.CA...), false}} {
		next := *old
		next.CA = c.ca
		v, err := NewVerifier(&next, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Inherit(was); v.ring.Load().fetched != c.want {
			t.Errorf("with an authority of %d bytes: taken over %v", len(c.ca), !c.want)
		}
	}
}

// A set with more keys than are tried is reported; a key that a token names works all the
// same.
func TestCrowdedKeySet(t *testing.T) {
	keys := make(map[string]crypto.Signer)
	for i := range access.MaxKeysTried + 1 {
		keys[fmt.Sprint("k", i)] = ecKey(t)
	}
	s := startKeyServer(t, text(keySetOf(t, keys)))
	var reported []string
	p := remotePolicy(t, s.URL, Options{EarlyEvery: time.Hour, OnCrowd: func(name, algorithm string) { reported = append(reported, name+" "+algorithm) }})
	if len(reported) != 1 || reported[0] != s.URL+" ES256" {
		t.Errorf("reported %q", reported)
	}
	for kid, k := range keys {
		if r := p.Authorize(request(signedBy(t, "ES256", k.(*ecdsa.PrivateKey), kid), "x")).Reason; r != Allowed {
			t.Errorf("%s: %q", kid, r)
		}
	}
}

// Starting and closing leaves no goroutine, and ends all waiting.
func TestKeySetClose(t *testing.T) {
	before := runtime.NumGoroutine()
	k := ecKey(t)
	s := startKeyServer(t, text(keySetOf(t, map[string]crypto.Signer{"one": k})))
	a := loadAuth(t, "jwt: {jwks_url: "+s.URL+"}")
	v, err := NewVerifier(a.JWT, Options{FetchTimeout: time.Minute, WaitAtMost: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	s.set(func(_ http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-r.Context().Done() })
	p := NewPolicy(a, "files", v, NewTokenCache(0, 0), nil)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if r := p.Authorize(request(signedBy(t, "ES256", k, "two"), "x")).Reason; r != KeyUnknown {
				t.Errorf("%q", r)
			}
		})
	}
	<-asked
	v.Close()
	wg.Wait()
	v.Close() // again is fine
	s.Close()
	eventually(t, fmt.Sprintf("no more than the %d goroutines from before", before), func() bool { return runtime.NumGoroutine() <= before })
}

func TestKeyProblems(t *testing.T) {
	if _, err := newKey("k", "", "HS256", nil, nil); err == nil {
		t.Error("a key without a secret")
	}
	if _, err := newKey("k", "", "RS256", nil, "text"); err == nil || !strings.Contains(err.Error(), "not supported") {
		t.Error(err)
	}
	if _, err := NewVerifier(&access.JWT{Keys: []access.Key{{Algorithm: "ES256"}}}, Options{}); err == nil {
		t.Error("a key without anything")
	}
}

// TestKeySetTooOld is T105: a key set that cannot be refreshed is trusted for its maximum age.
func TestKeySetTooOld(t *testing.T) {
	private := ecKey(t)
	set := keySetOf(t, map[string]crypto.Signer{"one": private})
	token := request(signedBy(t, "ES256", private, "one"), "x")
	configured := request(valid(""), "x")
	// start returns a policy with a set that can be fetched while up is true.
	start := func(t *testing.T, maxAge string, up *atomic.Bool, old *Verifier) (*Policy, *atomic.Int64) {
		t.Helper()
		a := loadAuth(t, "jwt:\n  jwks_url: https://issuer.example.com/keys\n  jwks_max_age: "+maxAge+"\n  keys: [{algorithm: HS256, secret: "+secret+"}]\n")
		dropped := new(atomic.Int64)
		v, err := NewVerifier(a.JWT, Options{OnTooOld: func(string, time.Duration) { dropped.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		v.set.fetch = func(context.Context) ([]byte, error) {
			if !up.Load() {
				return nil, errors.New("nobody there")
			}
			return []byte(set), nil
		}
		if old != nil {
			v.Inherit(old)
		}
		if err := v.Start(); err != nil {
			t.Fatal(err)
		}
		return NewPolicy(a, "files", v, NewTokenCache(100, 1<<20), nil), dropped
	}
	expect := func(t *testing.T, p *Policy, when string, want Reason) {
		t.Helper()
		synctest.Wait()
		if got := p.Authorize(token).Reason; got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
		if got := p.Authorize(configured).Reason; got != Allowed {
			t.Errorf("%s, a configured key: %q", when, got)
		}
	}
	const day = 24 * time.Hour
	t.Run("T105_a_set_that_cannot_be_refreshed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var up atomic.Bool
			up.Store(true)
			p, dropped := start(t, "24h", &up, nil)
			defer p.verifier.Close()
			time.Sleep(3 * day)
			expect(t, p, "after days of fetches", Allowed)
			up.Store(false)
			time.Sleep(day - 10*time.Minute) // the last fetch was up to five minutes ago
			expect(t, p, "almost a day later", Allowed)
			time.Sleep(10 * time.Minute)
			expect(t, p, "a day later, though its token is remembered", KeysUnavailable)
			time.Sleep(day)
			expect(t, p, "two days later", KeysUnavailable)
			if n := dropped.Load(); n != 1 {
				t.Errorf("told of it %d times", n)
			}
			up.Store(true)
			time.Sleep(6 * time.Minute)
			expect(t, p, "when it can be fetched again", Allowed)
			up.Store(false)
			time.Sleep(day + time.Minute)
			expect(t, p, "the next time", KeysUnavailable)
		})
	})
	t.Run("T105_a_reload_makes_it_no_younger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var up atomic.Bool
			up.Store(true)
			first, _ := start(t, "24h", &up, nil)
			began := time.Now()
			up.Store(false)
			time.Sleep(12 * time.Hour)
			first.verifier.Close()
			p, _ := start(t, "20h", &up, first.verifier)
			defer p.verifier.Close()
			if name, fetched, maxAge := p.verifier.KeySet(); name != "https://issuer.example.com/keys" || !fetched.Equal(began) || maxAge != 20*time.Hour {
				t.Errorf("%s, %v, %v", name, fetched, maxAge)
			}
			time.Sleep(8*time.Hour - time.Minute)
			expect(t, p, "before 20 h", Allowed)
			time.Sleep(2 * time.Minute)
			expect(t, p, "after 20 h", KeysUnavailable)
		})
	})
	t.Run("T105_for_good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var up atomic.Bool
			up.Store(true)
			p, _ := start(t, "0", &up, nil)
			defer p.verifier.Close()
			up.Store(false)
			time.Sleep(100 * day)
			expect(t, p, "after 100 days", Allowed)
		})
	})
}
