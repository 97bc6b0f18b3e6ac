package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
)

// A token must not be in a header that is passed on, logged or answered.
func TestReservedHeadersCarryNoToken(t *testing.T) {
	for name, reserved := range map[string]bool{
		"X-Request-ID": true, "Traceparent": true, "tracestate": true, "Forwarded": true, "X-Forwarded-For": true, "X-Forwarded-Proto": true,
		"X-Forwarded-Host": true, "X-Forwarded-Port": true, "X-Forwarded-Server": true, "X-Forwarded-Prefix": true, "X-Forwarded-Access-Token": false,
		"Accept": true, "Cache-Control": true, "Range": true, "If-Match": true, "If-None-Match": true, "If-Range": true,
		"If-Modified-Since": true, "If-Unmodified-Since": true, "Host": true, "Cookie": true,
		"X-Auth-Token": false, "Authorization": false, "X-Forwarded": false, "X-Request": false,
	} {
		_, err := Parse("f", []byte("jwt: {secret: 0123456789abcdef0123456789abcdef, algorithm: HS256, token_sources: [{type: header, name: "+name+"}]}\n"), nil)
		if got := err != nil && strings.Contains(err.Error(), "with a meaning of its own"); got != reserved {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key beyond those that are tried is a mistake, unless tokens can name it.
func TestKeysOfOneAlgorithm(t *testing.T) {
	for n, good := range map[int]bool{3: true, 4: false} {
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprintf("{algorithm: HS256, secret: 0123456789abcdef0123456789abcd%02d}", i))
		}
		for i := range 9 {
			keys = append(keys, fmt.Sprintf("{kid: k%d, algorithm: HS256, secret: 0123456789abcdef0123456789abcd%02d}", i, i))
		}
		keys = append(keys, "{algorithm: HS384, secret: 0123456789abcdef0123456789abcdef0123456789abcdef}")
		_, err := Parse("f", []byte("jwt: {algorithm: HS256, secret: 0123456789abcdef0123456789abcdef, keys: ["+strings.Join(keys, ", ")+"]}\n"), nil)
		if got := strings.Contains(err.Error(), "f:1:7: jwt: has more than 4 keys without kid for HS256"); got == good {
			t.Errorf("%d beside the secret: %v", n, err)
		}
	}
}

// Tokens for others are refused, unless the file says that it does not matter.
func TestAudience(t *testing.T) {
	const begin = "buckets: [{name: a, path_prefix: /a, s3: {bucket: bbb, region: r, access_key: id, secret_key: s}, auth: {enabled: true, rules: [{path: /r, claims: [{claim: RULE, operator: exists}]}], jwt: {"
	const secret = "secret: 0123456789abcdef0123456789abcdef, algorithm: HS256"
	for _, c := range []struct {
		name, jwt, rule string
		audience        []string
		any             bool
		problem         string // of an error, if there is one
	}{
		{"none", secret, "x", nil, false, ""},
		{"one", secret + ", audience: files", "aud", []string{"files"}, false, ""},
		{"two", secret + ", audience: [files, Any]", "aud", []string{"files", "Any"}, false, ""},
		{"any", secret + ", audience: any", "aud", nil, true, ""},
		{"any in a list", secret + ", audience: [files, any]", "x", nil, false, "jwt.audience[1]: is the word for every audience"},
		{"any alone in a list", secret + ", audience: [any]", "x", nil, false, "jwt.audience[0]: is the word for every audience"},
		{"a rule on aud", secret + ", claims: [{claim: aud, operator: equals, value: files}]", "x", nil, false, "auth.jwt.claims: has a rule on aud, which no token can pass"},
		{"a rule on aud by its other name", secret + ", claims_verification: [{claim: aud, operator: equals, value: files}]", "x", nil, false, "auth.jwt.claims_verification: has a rule on aud"},
		{"a rule of a path on aud", secret, "aud", nil, false, "auth.rules[0].claims: has a rule on aud"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse("f", []byte(strings.Replace(begin, "RULE", c.rule, 1)+c.jwt+"}}}]\n"), nil)
			switch {
			case c.problem != "":
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v, want %s", err, c.problem)
				}
			case err != nil:
				t.Error(err)
			default:
				if j := got.Buckets[0].Auth.JWT; !slices.Equal(j.Audience, c.audience) || j.AnyAudience != c.any {
					t.Errorf("got %+v", j)
				}
			}
		})
	}
}

// TestIssuerByName has what issuer_url and introspection imply.
func TestIssuerByName(t *testing.T) {
	parse := func(jwt string) *access.JWT {
		c, err := Parse("f", []byte("buckets: [{name: a, path_prefix: /a, s3: {bucket: bbb, region: r, access_key: id, secret_key: s}, auth: {enabled: true, jwt: {"+jwt+"}}}]\n"), nil)
		if err != nil {
			t.Fatalf("%s: %v", jwt, err)
		}
		return c.Buckets[0].Auth.JWT
	}
	if j := parse("issuer_url: https://i.example.com/realms/x/"); j.IssuerURL != "https://i.example.com/realms/x/" || !slices.Equal(j.Issuer, []string{j.IssuerURL}) || j.JWKSMaxAge != 24*time.Hour || j.Introspection.Enabled {
		t.Errorf("%+v", j)
	}
	if j := parse("issuer_url: https://i.example.com, issuer: [a, b], algorithm: ES256"); !slices.Equal(j.Issuer, []string{"a", "b"}) || j.JWKSAlgorithm != "ES256" {
		t.Errorf("%+v", j)
	}
	want := access.Introspection{
		Enabled: true, ClientID: "g", ClientSecret: file.NewSecret("s"), Auth: access.AuthBasic,
		Timeout: 2 * time.Second, Cache: time.Minute, NegativeCache: 10 * time.Second, MaxInFlight: 64,
	}
	if j := parse("issuer_url: https://i.example.com, introspection: {client_id: g, client_secret: s}"); !reflect.DeepEqual(j.Introspection, want) {
		t.Errorf("%+v", j.Introspection)
	}
	want.URL = "http://127.0.0.1:1/i"
	if j := parse("introspection: {url: 'http://127.0.0.1:1/i', client_id: g, client_secret: s}"); !reflect.DeepEqual(j.Introspection, want) || len(j.Issuer)+len(j.Keys) != 0 {
		t.Errorf("%+v", j)
	}
}

// A key set of an identity provider goes with an issuer and an audience.
func TestWarnings(t *testing.T) {
	const issuer, audience = "is there without issuer: ", "is there without audience: "
	for _, c := range []struct {
		name, jwt string
		want      []string
	}{
		{"neither", "jwks_url: https://i.example.com/k", []string{issuer, audience}},
		{"both", "jwks_url: https://i.example.com/k, issuer: me, audience: files", nil},
		{"any audience", "jwks_url: HTTPS://i.example.com/k, issuer: me, audience: any", nil},
		{"no issuer", "jwks_url: https://i.example.com/k, audience: files", []string{issuer}},
		{"an issuer by its name", "issuer_url: https://i.example.com", []string{audience}},
		{"and an audience", "issuer_url: https://i.example.com, audience: files", nil},
		{"an issuer that is asked", "introspection: {url: https://i.example.com/i, client_id: g, client_secret: s}", []string{audience}},
		{"beside keys of its own", "secret: " + strings.Repeat("s", 32) + ", algorithm: HS256, introspection: {url: https://i.example.com/i, client_id: g, client_secret: s}", []string{audience}},
		{"that is asked, and an audience", "audience: any, introspection: {url: https://i.example.com/i, client_id: g, client_secret: s}", nil},
		{"on this machine", "introspection: {url: \"http://127.0.0.1/i\", client_id: g, client_secret: s}", nil},
		{"a key set, and an issuer that is asked", "jwks_url: https://i.example.com/k, introspection: {url: https://i.example.com/i, client_id: g, client_secret: s}", []string{issuer, audience}},
		{"an issuer for trying", "issuer_url: http://127.0.0.1:8081", nil},
		{"for trying", "jwks_url: http://127.0.0.1:8081/k", nil},
		{"a secret", "secret: 0123456789abcdef0123456789abcdef, algorithm: HS256", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, enabled := range []bool{true, false} {
				got, err := Parse("f", []byte(fmt.Sprintf("buckets:\n  - {name: a, path_prefix: /a, s3: {bucket: bbb, region: r, access_key: id, secret_key: s}, auth: {enabled: %t, jwt: {%s}}}\n", enabled, c.jwt)), nil)
				if err != nil {
					t.Fatal(err)
				}
				want := c.want
				if !enabled {
					want = nil
				}
				if len(got.Warnings) != len(want) {
					t.Fatalf("enabled %t: got %v", enabled, got.Warnings)
				}
				for i, w := range want {
					if text := got.Warnings[i].Error(); !strings.HasPrefix(text, "f:2:") || !strings.Contains(text, "url: "+w) {
						t.Errorf("got %s", text)
					}
				}
			}
		})
	}
}
