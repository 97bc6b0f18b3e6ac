package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/gateway/introspect"
	"yatagarasu/loadtest/keyserver"
)

// TestIntrospectionSettings has what the file says of look-ups count.
func TestIntrospectionSettings(t *testing.T) {
	var credential atomic.Value
	var hang atomic.Bool
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _, header := r.BasicAuth()
		credential.Store(fmt.Sprint(id, header, r.PostFormValue("client_id"), r.PostFormValue("client_secret")))
		if hang.Load() {
			<-r.Context().Done()
		}
		w.Header().Set("Content-Type", "application/json")
		if r.PostFormValue("token") == "good" {
			fmt.Fprint(w, active(""))
		} else {
			fmt.Fprint(w, `{"active":false}`)
		}
	}))
	defer issuer.Close()
	a := loadAuth(t, "jwt: {introspection: {url: \""+issuer.URL+"\", client_id: g, client_secret: s, auth: post, timeout: 200ms, cache: 5m, negative_cache: 2m}}")
	v, err := NewVerifier(a.JWT, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil)
	for _, c := range []struct {
		token string
		after time.Duration
		hang  bool
		want  Reason
	}{
		{"good", 0, false, Allowed}, {"bad", 0, false, TokenInactive},
		{"good", 5*time.Minute - 1, true, Allowed}, {"bad", 2*time.Minute - 1, true, TokenInactive},
		{"bad", 2 * time.Minute, true, IssuerUnavailable}, {"good", 5 * time.Minute, true, IssuerUnavailable},
	} {
		hang.Store(c.hang)
		began := time.Now()
		if v := p.Authorize(at(request(c.token, "x"), c.after)); v.Reason != c.want {
			t.Errorf("%s after %v: %s, want %s", c.token, c.after, v.Reason, c.want)
		}
		if took := time.Since(began); took > 1900*time.Millisecond { // which is below the default
			t.Errorf("%s after %v takes %v", c.token, c.after, took)
		}
	}
	if sent := credential.Load(); sent != "falsegs" {
		t.Errorf("the credential is sent so: %v", sent)
	}
}

// TestIntrospectionOutage has the issuer be away for many clients: soon nobody waits for it, and it is
// asked again when it is back.
func TestIntrospectionOutage(t *testing.T) {
	for _, clients := range []int{1, 100} {
		t.Run(fmt.Sprint(clients, " clients"), func(t *testing.T) {
			j := newJudge(t)
			j.fail(http.StatusServiceUnavailable)
			p := j.policy(t, NewGuard(usual, 1000, nil))
			sent := 0
			next := func() Reason {
				sent++
				token := fmt.Sprint("t", sent)
				j.set(token, active(""))
				q := request(token, "x")
				q.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(sent % clients)})
				return p.Authorize(q).Reason
			}
			for range 100 {
				if r := next(); r != IssuerUnavailable {
					t.Fatal(r)
				}
			}
			j.mu.Lock()
			asked := len(j.asked)
			j.mu.Unlock()
			if _, failing := p.verifier.Introspection(); asked > 20 || !failing {
				t.Errorf("%d look-ups, failing %t", asked, failing)
			}
			j.fail(0)
			for deadline := time.Now().Add(10 * time.Second); next() != Allowed; time.Sleep(10 * time.Millisecond) { // until it is asked again
				if time.Now().After(deadline) {
					t.Fatal("it is not asked again")
				}
			}
		})
	}
}

// TestIntrospectionAuthorities has each place be believed by the authorities that are configured for it,
// and by no others.
func TestIntrospectionAuthorities(t *testing.T) {
	j := newJudge(t)
	endpoint := httptest.NewTLSServer(j.Config.Handler)
	defer endpoint.Close()
	var issuer *httptest.Server
	issuer = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			fmt.Fprint(w, keyserver.KeySet(t, map[string]crypto.Signer{"one": keyserver.NewKey(t)}))
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"introspection_endpoint":%q}`, issuer.URL, issuer.URL+"/keys", endpoint.URL)
	}))
	defer issuer.Close()
	j.set("opaque", active(fmt.Sprintf(`"iss":%q`, issuer.URL)))
	file := func(name string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	theirs, other := file("theirs.pem", endpoint.Certificate().Raw), file("other.pem", otherAuthority(t))
	url, found := `url: "`+endpoint.URL+`", `, `issuer_url: "`+issuer.URL+`", `
	for name, c := range map[string]struct {
		jwt, introspection string
		want               Reason
	}{
		"the system's":                       {"", url, IssuerUnavailable},
		"its own":                            {"", url + "ca_file: " + theirs + ", ", Allowed},
		"another":                            {"", url + "ca_file: " + other + ", ", IssuerUnavailable},
		"the issuer's, for a url of its own": {found + "ca_file: " + theirs + ", ", url, IssuerUnavailable},
		"the issuer's, for what it names":    {found + "ca_file: " + theirs + ", ", "", Allowed},
		"another than the issuer's":          {found + "ca_file: " + theirs + ", ", "ca_file: " + other + ", ", IssuerUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			a := loadAuth(t, "jwt: {"+c.jwt+"introspection: {"+c.introspection+"client_id: g, client_secret: s}}")
			v, err := NewVerifier(a.JWT, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Start(); err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if got := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil).Authorize(request("opaque", "x")); got.Reason != c.want {
				t.Errorf("%s, want %s", got.Reason, c.want)
			}
		})
	}
}

// otherAuthority returns the certificate of an authority that has signed nothing, in DER.
func otherAuthority(t *testing.T) []byte {
	t.Helper()
	key := keyserver.NewKey(t)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestOnAsked has the outcome and time of each look-up be told, and nothing else.
func TestOnAsked(t *testing.T) {
	j := newJudge(t)
	j.set("good", active(""))
	p := j.policy(t, nil)
	var told []string
	p.OnAsked(func(o introspect.Outcome, took time.Duration) {
		if told = append(told, introspect.Outcomes[o]); took < 0 {
			t.Error(took)
		}
	})
	for _, token := range []string{"good", "good", "bad", "bad", "a b"} {
		p.Authorize(request(token, "x"))
	}
	j.fail(500)
	p.Authorize(request("other", "x"))
	if got := strings.Join(told, " "); got != "active inactive failed" {
		t.Error(got)
	}
	if name, failing := p.verifier.Introspection(); name != j.URL || failing {
		t.Errorf("%q, failing %t", name, failing)
	}
	if name, failing := newPolicy(t, hs256("")).verifier.Introspection(); name != "" || failing {
		t.Errorf("%q, failing %t", name, failing)
	}
}

// TestOnIssuer has the operator be told that the issuer is away, and is back, by the name that the
// configuration has.
func TestOnIssuer(t *testing.T) {
	j := newJudge(t)
	j.fail(503)
	a := loadAuth(t, "jwt: {introspection: {url: \""+j.URL+"/i?secret=x\", client_id: g, client_secret: s, auth: post}}")
	var told []string
	v, err := NewVerifier(a.JWT, Options{OnIssuer: func(name string, err error) { told = append(told, fmt.Sprint(name, " ", err)) }})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil)
	for i := range 6 {
		p.Authorize(request(fmt.Sprint("t", i), "x"))
	}
	if want := j.URL + "/i it is overloaded (status 503)"; len(told) != 1 || told[0] != want {
		t.Errorf("%q, want %q", told, want)
	}
}

// TestIntrospectionEndpointOfTheIssuer has the discovery document say where to ask.
func TestIntrospectionEndpointOfTheIssuer(t *testing.T) {
	j := newJudge(t)
	key := keyserver.NewKey(t)
	var issuer *httptest.Server
	issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"introspection_endpoint":%q}`, issuer.URL, issuer.URL+"/keys", j.URL)
		case "/keys":
			fmt.Fprint(w, keyserver.KeySet(t, map[string]crypto.Signer{"one": key}))
		}
	}))
	defer issuer.Close()
	a := loadAuth(t, "jwt: {issuer_url: \""+issuer.URL+"\", introspection: {client_id: g, client_secret: s}}")
	v, err := NewVerifier(a.JWT, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPolicy(a, "files", v, NewTokenCache(1000, 1<<20), nil)
	j.set("opaque", active(fmt.Sprintf(`"iss":%q`, issuer.URL)))
	j.set("of-another", active(`"iss":"https://another"`))
	if got := p.Authorize(request("opaque", "x")); got.Reason != IssuerUnavailable {
		t.Errorf("before it is known: %s", got.Reason)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for token, want := range map[string]Reason{"opaque": Allowed, "of-another": IssuerRefused, "unknown": TokenInactive, signedBy(t, "ES256", key, "one"): IssuerRefused, signedBy(t, "ES256", keyserver.NewKey(t), "one"): IssuerRefused} {
		if got := p.Authorize(request(token, "x")); got.Reason != want {
			t.Errorf("%.20s: %s, want %s", token, got.Reason, want)
		}
	}
}
