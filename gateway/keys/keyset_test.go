package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
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

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/token"
	"yatagarasu/loadtest/keyserver"
)

const secret = "0123456789abcdef0123456789abcdef"

// load returns a jwt block with these lines.
func load(t testing.TB, lines ...string) *access.JWT {
	t.Helper()
	text := `
buckets:
  - name: files
    path_prefix: /files
    s3: {bucket: b, region: us-east-1, access_key: AK, secret_key: SK}
    auth:
      enabled: true
      jwt:
`
	for _, line := range lines {
		text += "        " + line + "\n"
	}
	c, err := config.Parse("test.yaml", []byte(text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c.Buckets[0].Auth.JWT
}

// remote returns started keys with those of a URL.
func remote(t *testing.T, url string, o Options, more ...string) *Keys {
	t.Helper()
	k, err := tryRemote(t, url, o, more...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func tryRemote(t *testing.T, url string, o Options, more ...string) (*Keys, error) {
	t.Helper()
	k, err := New(load(t, append(more, "jwks_url: "+url)...), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(k.Close)
	return k, nil
}

// signedBy returns a token by another implementation.
func signedBy(t testing.TB, algorithm string, key any, kid string) string {
	t.Helper()
	return keyserver.Sign(t, algorithm, key, kid, time.Now().Add(time.Hour))
}

var errSignature = errors.New("no key bears the signature out")

// verify tries the keys at hand, and says why none verifies a token.
func verify(t testing.TB, k *Keys, raw string) error {
	t.Helper()
	tok := new(token.Token)
	if err := tok.Parse([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	candidates, _, err := k.Ring().Candidates(nil, tok)
	if err != nil {
		return err
	}
	for _, c := range candidates {
		if c.Verifies(tok) {
			return nil
		}
	}
	return errSignature
}

// verifyLater waits for newer keys than those at hand, and is verify then.
func verifyLater(t testing.TB, k *Keys, raw string) error {
	t.Helper()
	if ring := k.Ring(); !k.WaitForNewer(ring, k.Deadline()) || k.Ring().Version == ring.Version {
		return errors.New("there are no newer keys")
	}
	return verify(t, k, raw)
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

// The last good copy stays in use, whatever the endpoint does.
func TestKeySetKeepsLastGoodCopy(t *testing.T) {
	k := keyserver.NewKey(t)
	s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": k})))
	var mu sync.Mutex
	var problems []string
	keys := remote(t, s.URL, Options{RefreshEvery: 5 * time.Millisecond, RetryAfter: time.Millisecond, FetchTimeout: 50 * time.Millisecond, OnFetch: func(_ string, err error) {
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
	good := signedBy(t, "ES256", k, "one")
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"500": {keyserver.Status(500), "status 500"},
		"404": {keyserver.Status(404), "status 404"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.example.com/", http.StatusFound)
		}, "redirects"},
		"no JSON":        {keyserver.Text("<html>"), "no JSON object"},
		"empty":          {keyserver.Text(""), "no JSON object"},
		"no keys":        {keyserver.Text(`{"keys":[]}`), "no key"},
		"secrets":        {keyserver.Text(`{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256"}]}`), "no public key"},
		"a weak key":     {keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": weak})), "fewer than 2048 bits"},
		"for encryption": {keyserver.Text(strings.Replace(keyserver.KeySet(t, map[string]crypto.Signer{"one": k}), `"sig"`, `"enc"`, 1)), "not for signatures"},
		"too large":      {keyserver.Text(strings.Repeat(" ", maxSize+1)), "larger than 1 MiB"},
		"too many":       {keyserver.Text(`{"keys":[` + strings.Repeat("{},", 200) + `{}]}`), "more than 200 keys"},
		"silent":         {keyserver.Hang, "deadline exceeded"},
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
		s.Set(c.answer)
		eventually(t, fmt.Sprintf("%s: a fetch says %q", name, c.says), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(strings.Join(problems, "\n"), c.says)
		})
		if err := verify(t, keys, good); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeySetAtStart(t *testing.T) {
	down := keyserver.Start(t, keyserver.Status(503))
	if _, err := tryRemote(t, down.URL+"/jwks?key=secret-in-query", Options{}); err == nil || !strings.Contains(err.Error(), "status 503") || strings.Contains(err.Error(), "secret-in-query") {
		t.Errorf("without a first copy: %v", err)
	}
	k := keyserver.NewKey(t)
	good := signedBy(t, "ES256", k, "one")
	keys := remote(t, down.URL, Options{RetryAfter: time.Millisecond}, "jwks_optional: true")
	if err := verify(t, keys, good); err != ErrUnknown || keys.Ring().Fetched {
		t.Errorf("before there is a copy: %v", err)
	}
	down.Set(keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": k})))
	eventually(t, "the first copy comes", func() bool { return verify(t, keys, good) == nil && keys.Ring().Fetched })
	// Nobody listens, and the error does not repeat the URL's query.
	down.Close()
	if _, err := tryRemote(t, down.URL+"/jwks?key=secret-in-query", Options{}); err == nil || strings.Contains(err.Error(), "secret-in-query") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestKeySetFile(t *testing.T) {
	one, two := keyserver.NewKey(t), keyserver.NewKey(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	write := func(keys map[string]crypto.Signer) {
		t.Helper()
		if err := os.WriteFile(file, []byte(keyserver.KeySet(t, keys)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]crypto.Signer{"one": one})
	c := load(t, "jwks_file: "+file)
	keys, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t, keys, signedBy(t, "ES256", one, "one")); err != nil {
		t.Errorf("before start: %v", err)
	}
	// Before start, no token waits for a fetch: there is no goroutine for it.
	if err := verify(t, keys, signedBy(t, "ES256", two, "two")); err != ErrUnknown || !keys.MayFetch("ES256") || keys.WaitForNewer(keys.Ring(), time.Now().Add(time.Hour)) {
		t.Errorf("before start: %v", err)
	}
	if err := keys.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	write(map[string]crypto.Signer{"two": two})
	if err := verifyLater(t, keys, signedBy(t, "ES256", two, "two")); err != nil {
		t.Errorf("after it changed: %v", err)
	}
	if err := os.WriteFile(file, []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, Options{}); err == nil || !strings.Contains(err.Error(), "no public key") {
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
	ec := keyserver.NewKey(t)
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
			if err != nil || len(keys) == 0 || keys[0].ID != "good" || (len(keys) == 2) != (c.problem == "") {
				t.Errorf("beside a good one: %v, %v", keys, err)
			}
			keys, _, err = parseKeySet([]byte(`{"keys":[`+c.key+`]}`), algorithm)
			switch {
			case c.problem != "":
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v, %v", keys, err)
				}
			case err != nil || len(keys) != 1 || keys[0].Algorithm != c.want:
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
	good := keyserver.NewKey(t)
	goodJWK := jwkText(t, jose.JSONWebKey{Key: good.Public(), KeyID: "good"})
	bad := map[string]struct{ jwk, why string }{
		"small":   {jwkText(t, jose.JSONWebKey{Key: small.Public(), KeyID: "small", Algorithm: "RS256"}), "it is an RSA key of fewer than 2048 bits"},
		"enc":     {jwkText(t, jose.JSONWebKey{Key: keyserver.NewKey(t).Public(), KeyID: "enc", Use: "enc"}), "it is not for signatures (usual)"},
		"odd":     {`{"kty":"XYZ","kid":"odd"}`, "it is no JWK of a supported type"},
		"ed448":   {`{"kty":"OKP","crv":"Ed448","x":"AAAA","alg":"Ed448","kid":"ed448"}`, "it is no JWK of a supported type"},
		"private": {jwkText(t, jose.JSONWebKey{Key: keyserver.NewKey(t), KeyID: "private"}), "it is no public key"},
		"hs":      {`{"kty":"oct","k":"AAAA","kid":"hs"}`, "it is no public key"},
		"curve":   {jwkText(t, jose.JSONWebKey{Key: keyserver.NewKey(t).Public(), KeyID: "curve", Algorithm: "ES384"}), "it is an EC key on P-256, which does not fit the algorithm"},
		"":        {`{"kty":"XYZ","kid":7}`, "it is no JWK of a supported type"},
		"a?b":     {`{"kty":"XYZ","kid":"a\nb"}`, "it is no JWK of a supported type"},
	}
	keys := []string{goodJWK}
	want := make(map[string]string)
	for kid, b := range bad {
		keys = append(keys, b.jwk)
		want[kid] = b.why
	}
	s := keyserver.Start(t, keyserver.Text(`{"keys":[`+strings.Join(keys, ",")+`]}`))
	var mu sync.Mutex
	reported := make(map[string]string)
	k := remote(t, s.URL, Options{OnLeftOut: func(name, key string, why error, usual bool) {
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
		s.Set(keyserver.Text(`{"keys":[` + next.keys + `]}`))
		if k.Refresh(); next.also != "" {
			want[next.also] = "it is no JWK of a supported type"
		}
		expect(want)
	}
}

// TestKeySetAuthority fetches a key set over TLS from a server whose authority a jwt
// block names, and from no other.
func TestKeySetAuthority(t *testing.T) {
	k := keyserver.NewKey(t)
	set := keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": k}))
	mine, other := httptest.NewTLSServer(set), httptest.NewUnstartedServer(set)
	defer mine.Close()
	key := keyserver.NewKey(t)
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
			keys, err := tryRemote(t, c.url, Options{}, c.more)
			if c.trusted != (err == nil) {
				t.Fatal(err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "certificate") {
					t.Error(err)
				}
			} else if err := verify(t, keys, signedBy(t, "ES256", k, "one")); err != nil {
				t.Error(err)
			}
		})
	}
	// A copy that another authority vouched for is not taken over.
	old := load(t, "jwks_url: "+mine.URL, "ca_file: "+file)
	was, err := New(old, Options{})
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
		k, err := New(&next, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if k.Inherit(was); k.Ring().Fetched != c.want {
			t.Errorf("with an authority of %d bytes: taken over %v", len(c.ca), !c.want)
		}
	}
}

// A set with more keys than are tried is reported; a key that a token names works all the
// same.
func TestCrowdedKeySet(t *testing.T) {
	keys := make(map[string]crypto.Signer)
	for i := range access.MaxKeysTried + 1 {
		keys[fmt.Sprint("k", i)] = keyserver.NewKey(t)
	}
	s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, keys)))
	var reported []string
	all := remote(t, s.URL, Options{EarlyEvery: time.Hour, OnCrowd: func(name, algorithm string) { reported = append(reported, name+" "+algorithm) }})
	if len(reported) != 1 || reported[0] != s.URL+" ES256" {
		t.Errorf("reported %q", reported)
	}
	for kid, k := range keys {
		if err := verify(t, all, signedBy(t, "ES256", k.(*ecdsa.PrivateKey), kid)); err != nil {
			t.Errorf("%s: %v", kid, err)
		}
	}
}

// Starting and closing leaves no goroutine, and ends all waiting.
func TestKeySetClose(t *testing.T) {
	before := runtime.NumGoroutine()
	k := keyserver.NewKey(t)
	s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"one": k})))
	keys, err := New(load(t, "jwks_url: "+s.URL), Options{FetchTimeout: time.Minute, WaitAtMost: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Start(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	s.Set(func(_ http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-r.Context().Done() })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if keys.WaitForNewer(keys.Ring(), keys.Deadline()) {
				t.Error("there are other keys")
			}
		})
	}
	<-asked
	keys.Close()
	wg.Wait()
	keys.Close() // again is fine
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
	if _, err := New(&access.JWT{Keys: []access.Key{{Algorithm: "ES256"}}}, Options{}); err == nil {
		t.Error("a key without anything")
	}
}

// TestKeySetTooOld is T105: a key set that cannot be refreshed is trusted for its maximum age.
func TestKeySetTooOld(t *testing.T) {
	private := keyserver.NewKey(t)
	set := keyserver.KeySet(t, map[string]crypto.Signer{"one": private})
	fetched, configured := signedBy(t, "ES256", private, "one"), signedBy(t, "HS256", []byte(secret), "")
	// start returns keys with a set that can be fetched while up is true.
	start := func(t *testing.T, maxAge string, up *atomic.Bool, old *Keys) (*Keys, *atomic.Int64) {
		t.Helper()
		dropped := new(atomic.Int64)
		k, err := New(load(t, "jwks_url: https://issuer.example.com/keys", "jwks_max_age: "+maxAge, "keys: [{algorithm: HS256, secret: "+secret+"}]"), Options{OnTooOld: func(string, time.Duration) { dropped.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		k.set.fetch = func(context.Context) ([]byte, error) {
			if !up.Load() {
				return nil, errors.New("nobody there")
			}
			return []byte(set), nil
		}
		if old != nil {
			k.Inherit(old)
		}
		if err := k.Start(); err != nil {
			t.Fatal(err)
		}
		return k, dropped
	}
	expect := func(t *testing.T, k *Keys, when string, trusted bool) {
		t.Helper()
		synctest.Wait()
		if err := verify(t, k, fetched); (err == nil) != trusted || k.Ring().Fetched != trusted {
			t.Errorf("%s: %v", when, err)
		}
		if err := verify(t, k, configured); err != nil {
			t.Errorf("%s, a configured key: %v", when, err)
		}
	}
	const day = 24 * time.Hour
	t.Run("T105_a_set_that_cannot_be_refreshed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var up atomic.Bool
			up.Store(true)
			k, dropped := start(t, "24h", &up, nil)
			defer k.Close()
			time.Sleep(3 * day)
			expect(t, k, "after days of fetches", true)
			up.Store(false)
			time.Sleep(day - 10*time.Minute) // the last fetch was up to five minutes ago
			expect(t, k, "almost a day later", true)
			time.Sleep(10 * time.Minute)
			expect(t, k, "a day later", false)
			time.Sleep(day)
			expect(t, k, "two days later", false)
			if n := dropped.Load(); n != 1 {
				t.Errorf("told of it %d times", n)
			}
			up.Store(true)
			time.Sleep(6 * time.Minute)
			expect(t, k, "when it can be fetched again", true)
			up.Store(false)
			time.Sleep(day + time.Minute)
			expect(t, k, "the next time", false)
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
			first.Close()
			k, _ := start(t, "20h", &up, first)
			defer k.Close()
			if name, fetched, maxAge := k.Set(); name != "https://issuer.example.com/keys" || !fetched.Equal(began) || maxAge != 20*time.Hour {
				t.Errorf("%s, %v, %v", name, fetched, maxAge)
			}
			time.Sleep(8*time.Hour - time.Minute)
			expect(t, k, "before 20 h", true)
			time.Sleep(2 * time.Minute)
			expect(t, k, "after 20 h", false)
		})
	})
	t.Run("T105_for_good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var up atomic.Bool
			up.Store(true)
			k, _ := start(t, "0", &up, nil)
			defer k.Close()
			up.Store(false)
			time.Sleep(100 * day)
			expect(t, k, "after 100 days", true)
		})
	})
}
