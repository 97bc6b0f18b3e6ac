package issuer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clients are one for each format, and a resource server whose secret is not as a header has it.
var clients = []Client{
	{ID: "app", Secret: "app-secret", Audience: []string{"gateway"}, Scopes: []string{"read", "list"}, Claims: map[string]any{"tenant": "a", "sub": "no"}},
	{ID: "batch", Secret: "batch-secret", Format: Opaque, Audience: []string{"gateway", "other"}, Scopes: []string{"read"}},
	{ID: "sealed", Secret: "sealed-secret", Format: JWE},
	{ID: "brief", Secret: "brief-secret", Format: Opaque, Lifetime: time.Nanosecond},
	{ID: "gateway", Secret: "50% :of+it", Introspects: true},
}

// metadata is what a provider says of itself, as far as it is compared.
type metadata struct {
	Issuer        string   `json:"issuer"`
	JWKS          string   `json:"jwks_uri"`
	Token         string   `json:"token_endpoint"`
	Introspection string   `json:"introspection_endpoint"`
	Revocation    string   `json:"revocation_endpoint"`
	Grants        []string `json:"grant_types_supported"`
}

// get decodes what is at an address.
func get(t *testing.T, s *Server, address string, into any) {
	t.Helper()
	r, err := s.client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(into); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", address, r.Status, err)
	}
}

func token(t *testing.T, s *Server, client string, scopes ...string) string {
	t.Helper()
	text, err := s.Token(t.Context(), client, client+"-secret", scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// introspect asks about a token, as the gateway does.
func introspect(t *testing.T, s *Server, client, secret, token string) (status int, answer map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/oauth/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret))
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return response.StatusCode, answer
}

func wantActive(t *testing.T, s *Server, token string, want bool) map[string]any {
	t.Helper()
	status, answer := introspect(t, s, "gateway", "50% :of+it", token)
	if status != http.StatusOK || answer["active"] != want || !want && len(answer) != 1 {
		t.Errorf("%d, %v; want it to say active: %t", status, answer, want)
	}
	return answer
}

// kids returns the ids of the keys that are published.
func kids(t *testing.T, s *Server) (ids []string) {
	t.Helper()
	var set struct {
		Keys []struct{ Kid, Alg, Use string }
	}
	get(t, s, s.URL()+"/keys", &set)
	for _, k := range set.Keys {
		if k.Use != "sig" || k.Alg != s.opts.Algorithm {
			t.Errorf("key %+v", k)
		}
		ids = append(ids, k.Kid)
	}
	return ids
}

// part decodes one part of a JWT.
func part(t *testing.T, token string, n int) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestDiscovery(t *testing.T) {
	for name, o := range map[string]Options{
		"without a path": {Clients: clients},
		"with a path":    {Clients: clients, Path: "/realms/x"},
		"with TLS":       {Clients: clients, Path: "/realms/x", TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := ForTest(t, o)
			u := s.URL()
			if !strings.HasSuffix(u, o.Path) || strings.HasPrefix(u, "https:") != o.TLS || (s.CA() != "") != o.TLS {
				t.Fatalf("issuer %s, certificate %q", u, s.CA())
			}
			var got, other metadata
			get(t, s, u+"/.well-known/openid-configuration", &got)
			get(t, s, strings.TrimSuffix(u, o.Path)+"/.well-known/oauth-authorization-server"+o.Path, &other)
			want := metadata{Issuer: u, JWKS: u + "/keys", Token: u + "/oauth/token", Introspection: u + "/oauth/introspect", Revocation: u + "/revoke", Grants: got.Grants}
			if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(other, want) {
				t.Errorf("%+v\n%+v; want\n%+v", got, other, want)
			}
			if claims := part(t, token(t, s, "app"), 1); claims["iss"] != u {
				t.Errorf("a token says it is from %v", claims["iss"])
			}
			if o.TLS {
				client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}}
				if _, err := client.Get(u); err == nil {
					t.Error("who trusts nobody trusts it")
				}
			}
		})
	}
}

func TestTokens(t *testing.T) {
	s := ForTest(t, Options{Clients: clients})
	for client, c := range map[string]struct {
		dots int
		want map[string]any
	}{
		"app":    {2, map[string]any{"scope": "read list", "aud": []any{"gateway"}, "tenant": "a"}},
		"batch":  {0, map[string]any{"scope": "read", "aud": []any{"gateway", "other"}}},
		"sealed": {4, map[string]any{"aud": []any{"sealed"}}},
	} {
		t.Run(client, func(t *testing.T) {
			text := token(t, s, client)
			if n := strings.Count(text, "."); n != c.dots {
				t.Errorf("%q has %d dots, want %d", text, n, c.dots)
			}
			answer := wantActive(t, s, text, true)
			for _, what := range []string{"exp", "iat", "jti"} {
				if answer[what] == nil {
					t.Errorf("the answer has no %s", what)
				}
				c.want[what] = answer[what]
			}
			lifetime := time.Duration(answer["exp"].(float64)-answer["iat"].(float64)) * time.Second
			if lifetime != time.Hour {
				t.Errorf("it is good for %s", lifetime)
			}
			c.want["active"], c.want["iss"], c.want["sub"], c.want["client_id"], c.want["token_type"] = true, s.URL(), client, client, "Bearer"
			if !reflect.DeepEqual(answer, c.want) {
				t.Errorf("the answer is %v\nwant %v", answer, c.want)
			}
			if c.dots == 2 {
				claims := part(t, text, 1)
				// The library reads the clock again for the token itself: a second may have begun.
				if late := claims["iat"].(float64) - answer["iat"].(float64); late < 0 || late > 5 {
					t.Errorf("the token was issued %v s after what the answer says", late)
				}
				delete(c.want, "iat")
				for name, want := range c.want {
					if name != "active" && name != "token_type" && !reflect.DeepEqual(claims[name], want) {
						t.Errorf("its claim %s is %v, want %v", name, claims[name], want)
					}
				}
			}
			if err := s.Revoke(t.Context(), "gateway", "50% :of+it", text); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("another client revokes it: %v", err)
			}
			wantActive(t, s, text, true)
			if err := s.Revoke(t.Context(), client, client+"-secret", text); err != nil {
				t.Error(err)
			}
			wantActive(t, s, text, false)
		})
	}
	wantActive(t, s, token(t, s, "brief"), false)
	wantActive(t, s, "no.such.token", false)
	if scope := part(t, token(t, s, "app", "list"), 1)["scope"]; scope != "list" {
		t.Errorf("of two scopes one was asked for, and the token has %v", scope)
	}
	if requests, err := s.Requests(t.Context()); err != nil || requests["/oauth/introspect"] != 11 {
		t.Errorf("requests: %v, %v", requests, err)
	}
}

func TestRefused(t *testing.T) {
	s := ForTest(t, Options{Clients: clients})
	text := token(t, s, "app")
	for name, c := range map[string]struct{ client, secret string }{
		"a wrong secret":                        {"gateway", "wrong"},
		"an unknown client":                     {"nobody", "wrong"},
		"a client that is no resource server":   {"app", "app-secret"},
		"no resource server, and wrong at that": {"app", "wrong"},
	} {
		if status, _ := introspect(t, s, c.client, c.secret, text); status != http.StatusUnauthorized {
			t.Errorf("introspection by %s: %d", name, status)
		}
	}
	for want, c := range map[string]struct{ secret, scope string }{
		"401 Unauthorized": {"wrong", "read"},
		"invalid_scope":    {"app-secret", "write"},
	} {
		if _, err := s.Token(t.Context(), "app", c.secret, c.scope); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a token by %v: %v, want %s", c, err, want)
		}
	}
	for name, form := range map[string]url.Values{
		"another grant":      {"grant_type": {"authorization_code"}, "code": {"x"}},
		"a signed assertion": {"grant_type": {"client_credentials"}, "client_assertion": {"x"}},
	} {
		if _, err := s.post(t.Context(), s.URL()+tokenPath, "app", "app-secret", form); err == nil || !strings.Contains(err.Error(), "unsupported_grant_type") {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := s.client.PostForm(s.URL()+tokenPath, url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"}, "client_secret": {"app-secret"}})
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Errorf("a secret in the form: %s", r.Status)
	}
}

func TestRotate(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			s := ForTest(t, Options{Clients: clients, Algorithm: algorithm})
			first := token(t, s, "app")
			before := kids(t, s)
			if header := part(t, first, 0); len(before) != 1 || header["kid"] != before[0] || header["alg"] != algorithm {
				t.Fatalf("%v signed it, %v is published", header, before)
			}
			if err := s.Rotate(t.Context(), time.Hour); err != nil {
				t.Fatal(err)
			}
			second := token(t, s, "app")
			both := kids(t, s)
			if len(both) != 2 || both[0] != before[0] || part(t, second, 0)["kid"] != both[1] {
				t.Fatalf("%v signed the second, %v are published, %v was", part(t, second, 0), both, before)
			}
			wantActive(t, s, first, true)
			if err := s.Rotate(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if after := kids(t, s); len(after) != 2 || after[0] != before[0] || after[1] == both[1] {
				t.Errorf("%v are published, %v were", after, both)
			}
			wantActive(t, s, first, true)
			wantActive(t, s, second, false)
		})
	}
}

func TestRestart(t *testing.T) {
	s := ForTest(t, Options{Clients: clients})
	signed, opaque, revoked := token(t, s, "app"), token(t, s, "batch"), token(t, s, "batch")
	if err := s.Revoke(t.Context(), "batch", "batch-secret", revoked); err != nil {
		t.Fatal(err)
	}
	before, u, pid := kids(t, s), s.URL(), s.Pid()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d still exists: %v", pid, err)
	}
	if _, err := s.Token(t.Context(), "app", "app-secret"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a stopped issuer: %v", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := kids(t, s); !reflect.DeepEqual(after, before) || s.URL() != u {
		t.Errorf("keys %v, were %v, at %s", after, before, s.URL())
	}
	wantActive(t, s, signed, true)
	wantActive(t, s, opaque, true)
	wantActive(t, s, revoked, false)
	s.Kill()
	if err := s.Forget(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := kids(t, s); len(after) != 1 || after[0] == before[0] {
		t.Errorf("keys %v, were %v", after, before)
	}
	wantActive(t, s, signed, false)
	wantActive(t, s, opaque, false)
	wantActive(t, s, token(t, s, "batch"), true)
}

func TestStartSaysWhyAnIssuerDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	for want, o := range map[string]Options{
		"cannot start":      {Binary: "/no/such/program", Dir: dir},
		"process ended":     {Binary: "/bin/false", Dir: dir},
		"cannot write the ": {Binary: "/bin/false", Dir: dir + "/absent"},
	} {
		if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	s := ForTest(t, Options{})
	if _, err := Start(t.Context(), Options{Binary: s.opts.Binary, Dir: dir, Algorithm: "none"}); err == nil || !strings.Contains(err.Error(), `unknown algorithm "none"`) {
		t.Errorf("an unknown algorithm: %v", err)
	}
	if err := os.WriteFile(dir+"/"+stateFile, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Binary: s.opts.Binary, Dir: dir}); err == nil || !strings.Contains(err.Error(), "cannot read the state") {
		t.Errorf("a broken state: %v", err)
	}
}
