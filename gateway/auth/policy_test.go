package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/token"
)

func TestRegisteredClaims(t *testing.T) {
	exp := func(d time.Duration) string { return fmt.Sprintf(`"exp":%d`, now.Add(d).Unix()) }
	for _, c := range []struct {
		name, block, claims string
		want                Reason
	}{
		{"valid", "", exp(time.Hour), Allowed},
		{"exp now, no leeway", "leeway: 0", exp(0), Expired},
		{"exp in a second, no leeway", "leeway: 0", exp(time.Second), Allowed},
		{"exp a fraction after now", "leeway: 0", fmt.Sprintf(`"exp":%d.5`, now.Unix()), Expired}, // rounded down
		{"nbf now", "leeway: 0", exp(time.Hour) + fmt.Sprintf(`,"nbf":%d`, now.Unix()), Allowed},
		{"nbf a fraction after now", "leeway: 0", exp(time.Hour) + fmt.Sprintf(`,"nbf":%d.5`, now.Unix()), NotYetValid},
		{"iat a second ahead, no leeway", "leeway: 0", exp(time.Hour) + fmt.Sprintf(`,"iat":%d`, now.Unix()+1), IssuedInFuture},
		{"exp 0", "", `"exp":0`, Expired},
		{"exp in exponent form", "", `"exp":2e9`, Allowed},
		{"exp beyond nanoseconds", "", `"exp":253402300799`, Allowed},
		{"nbf beyond nanoseconds", "", exp(time.Hour) + `,"nbf":253402300799`, NotYetValid},
		{"iat a string", "", exp(time.Hour) + `,"iat":"x"`, DateInvalid},
		{"iat false", "", exp(time.Hour) + `,"iat":false`, DateInvalid},
		{"exp of a huge exponent", "", `"exp":1e9999999999999999`, DateInvalid},
		{"no exp", "", `"a":1`, ExpiryMissing},
		{"no exp, not required", "require_exp: false", `"a":1`, Allowed},
		{"issuer", "issuer: me", exp(time.Hour) + `,"iss":"me"`, Allowed},
		{"one of two issuers", "issuer: [me, you]", exp(time.Hour) + `,"iss":"you"`, Allowed},
		{"another issuer", "issuer: me", exp(time.Hour) + `,"iss":"Me"`, IssuerRefused},
		{"no issuer", "issuer: me", exp(time.Hour), IssuerRefused},
		{"issuer in an array", "issuer: me", exp(time.Hour) + `,"iss":["me"]`, IssuerRefused},
		{"audience", "audience: files", exp(time.Hour) + `,"aud":"files"`, Allowed},
		{"audience in an array", "audience: [other, files]", exp(time.Hour) + `,"aud":["x","files"]`, Allowed},
		{"audience among numbers", "audience: files", exp(time.Hour) + `,"aud":["files",1]`, AudienceRefused},
		{"another audience", "audience: files", exp(time.Hour) + `,"aud":"filesystem"`, AudienceRefused},
		{"no audience", "audience: files", exp(time.Hour), AudienceRefused},
		{"empty audience", "audience: files", exp(time.Hour) + `,"aud":[]`, AudienceRefused},
		{"audience is an object", "audience: files", exp(time.Hour) + `,"aud":{"files":"files"}`, AudienceRefused},
		{"T96 an audience where none is configured", "", exp(time.Hour) + `,"aud":"files"`, AudienceRefused},
		{"T96 audiences where none is configured", "", exp(time.Hour) + `,"aud":["a","b"]`, AudienceRefused},
		{"T96 no audience in an array", "", exp(time.Hour) + `,"aud":[]`, AudienceRefused},
		{"T96 a null audience", "", exp(time.Hour) + `,"aud":null`, AudienceRefused},
		{"T96 a number as an audience", "", exp(time.Hour) + `,"aud":5`, AudienceRefused},
		{"T96 Aud is not aud", "", exp(time.Hour) + `,"Aud":"files"`, Allowed},
		{"T96 any audience", "audience: any", exp(time.Hour) + `,"aud":"other"`, Allowed},
		{"T96 any audience, of whatever type", "audience: any", exp(time.Hour) + `,"aud":5`, Allowed},
		{"T96 any audience, and none", "audience: any", exp(time.Hour), Allowed},
		{"T96 any audience, by a rule", "audience: any\nclaims: [{claim: aud, operator: contains, value: files}]", exp(time.Hour) + `,"aud":["files"]`, Allowed},
		{"T96 any audience, but for a rule", "audience: any\nclaims: [{claim: aud, operator: contains, value: files}]", exp(time.Hour) + `,"aud":["x"]`, ClaimRefused},
		{"rules on registered claims", `claims: [{claim: iss, operator: equals, value: me}, {claim: sub, operator: matches, value: "a.*"}, {claim: exp, operator: gt, value: 5}]`, exp(time.Hour) + `,"iss":"me","sub":"alice"`, Allowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolicy(t, hs256(c.block))
			q := request(handmade(plainHeader, "{"+c.claims+"}"), "x")
			for range 2 {
				if got := p.Authorize(q).Reason; got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

// TestTokenType is T104.
func TestTokenType(t *testing.T) {
	for _, c := range []struct {
		typ, header string
		want        Reason
	}{
		{"at+jwt", `"typ":"at+jwt"`, Allowed}, {"at+jwt", `"typ":"AT+JWT"`, Allowed}, {"at+jwt", `"typ":"application/at+jwt"`, Allowed}, {"at+jwt", `"typ":"Application/AT+jwt"`, Allowed},
		{"application/at+jwt", `"typ":"at+jwt"`, Allowed}, {"APPLICATION/at+jwt", `"typ":"application/AT+JWT"`, Allowed},
		{"at+jwt", `"typ":"JWT"`, TypeRefused}, {"at+jwt", `"typ":""`, TypeRefused}, {"at+jwt", `"Typ":"at+jwt"`, TypeRefused}, {"at+jwt", `"cty":"at+jwt"`, TypeRefused},
		{"at+jwt", `"typ":"x/at+jwt"`, TypeRefused}, {"at+jwt", `"typ":"application/"`, TypeRefused}, {"at+jwt", `"typ":"application/application/at+jwt"`, TypeRefused}, {"at+jwt", `"typ":" at+jwt"`, TypeRefused},
		{"at+jwt", `"typ":["at+jwt"]`, TokenMalformed}, {"at+jwt", `"typ":null`, TokenMalformed}, {"at+jwt", `"typ":"at+jwt","typ":"JWT"`, TokenMalformed},
		{"JWT", `"typ":"at+jwt"`, TypeRefused}, {"", `"typ":"at+jwt"`, Allowed}, {"", `"kid":"x"`, Allowed},
	} {
		block := ""
		if c.typ != "" {
			block = "typ: " + c.typ
		}
		p := newPolicy(t, hs256(block))
		q := request(handmade(`{"alg":"HS256",`+c.header+`}`, claimsAt("")), "x")
		for range 2 {
			if got := p.Authorize(q).Reason; got != c.want {
				t.Errorf("typ: %s, header %s: %q, want %q", c.typ, c.header, got, c.want)
			}
		}
	}
	// A token that one policy takes is not remembered for another.
	cache := NewTokenCache(100, 1<<20)
	q := request(valid(""), "x")
	if a, b := newPolicyIn(t, hs256(""), cache).Authorize(q).Reason, newPolicyIn(t, hs256("typ: at+jwt"), cache).Authorize(q).Reason; a != Allowed || b != TypeRefused {
		t.Errorf("%q, %q", a, b)
	}
	tok, notes, err := newPolicy(t, hs256("typ: at+jwt")).Mint(nil, now, time.Hour)
	if err != nil || len(notes) != 0 {
		t.Fatal(notes, err)
	}
	if r := newPolicy(t, hs256("typ: at+jwt")).Authorize(request(tok, "x")).Reason; r != Allowed {
		t.Errorf("minted: %q", r)
	}
}

func TestSubjectIsTheVerifiedOne(t *testing.T) {
	p := newPolicy(t, hs256("claims: [{claim: role, operator: equals, value: admin}]\n"))
	long := strings.Repeat("é", 300)
	for _, c := range []struct{ tok, want string }{
		{valid(`"role":"admin"`), "alice"},
		{valid(`"role":"guest"`), "alice"}, // known, though refused
		{handmade(plainHeader, fmt.Sprintf(`{"sub":5,"exp":%d}`, now.Unix()+9)), ""},
		{handmade(plainHeader, fmt.Sprintf(`{"sub":%q,"exp":%d}`, long, now.Unix()+9)), long[:256]},
		{valid("") + "A", ""}, // not signed
		{sign("mallory", "ffffffffffffffffffffffffffffffff"), ""},
	} {
		for range 2 {
			if got := p.Authorize(request(c.tok, "x")).Subject; got != c.want {
				t.Errorf("subject %q, want %q", got, c.want)
			}
		}
	}
}

func TestSubjectID(t *testing.T) {
	cached := newPolicy(t, hs256(""))
	other := newPolicy(t, hs256("leeway: 5\n"))
	id := func(claims string) uint64 {
		t.Helper()
		q := request(handmade(plainHeader, fmt.Sprintf(`{"exp":%d%s}`, now.Unix()+9, claims)), "x")
		v := cached.Authorize(q)
		if again, elsewhere := cached.Authorize(q), other.Authorize(q); again.SubjectID != v.SubjectID || elsewhere.SubjectID != v.SubjectID || v.Reason != Allowed {
			t.Errorf("%s: %+v, remembered %+v, of another policy %+v", claims, v, again, elsewhere)
		}
		return v.SubjectID
	}
	same := [][2]string{
		{`,"sub":"alice"`, `,"sub":"alice","jti":"7"`},
		{`,"sub":"alice"`, `,"sub":"\u0061lice"`},
		{`,"sub":"alice","iss":"me"`, `,"iss":"me","sub":"alice"`},
		{`,"sub":"alice"`, `,"sub":"alice","iss":5`},
	}
	for _, c := range same {
		if a, b := id(c[0]), id(c[1]); a != b || a == 0 {
			t.Errorf("%s is %d, %s is %d", c[0], a, c[1], b)
		}
	}
	seen := make(map[uint64]string)
	long := strings.Repeat("s", 300)
	for _, c := range []string{
		`,"sub":"alice"`, `,"sub":"Alice"`, `,"sub":"alice","iss":"me"`, `,"sub":"alice","iss":"you"`, `,"sub":"ealice","iss":"m"`, `,"sub":"mealice"`,
		`,"sub":"` + long + `1"`, `,"sub":"` + long + `2"`,
	} {
		n := id(c)
		if seen[n] != "" || n == 0 {
			t.Errorf("%.40s has the id %d, as %.40s", c, n, seen[n])
		}
		seen[n] = c
	}
	for _, c := range []string{``, `,"sub":""`, `,"sub":5`, `,"sub":null`, `,"sub":["alice"]`, `,"iss":"me"`} {
		if n := id(c); n != 0 {
			t.Errorf("%s has the id %d", c, n)
		}
	}
	if v := cached.Authorize(request(valid("")+"A", "x")); v.SubjectID != 0 {
		t.Errorf("a token that is not valid has the id %d", v.SubjectID)
	}
}

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		path, key      string
		below, exactly bool
	}{
		{"/", "", true, true}, {"/", "a/b", true, true}, {"/a", "a", true, true}, {"/a", "a/", true, true}, {"/a", "a/b", true, true}, {"/a", "ab", false, false}, {"/a", "", false, false},
		{"/a/b", "a/b/c", true, true}, {"/a/b", "a", false, false}, {"/a/b", "a/bc", false, false}, {"/a", "/a", true, false}, {"/a/b", "a//b", true, false}, {"/a/b", "//a///b", true, false},
		{"/a", "a//b", true, true}, {"/a", "A", false, false}, {"/a b/ü", "a b/ü/x", true, true},
	} {
		if below, exactly := matchPath(c.path, []byte(c.key)); below != c.below || below && exactly != c.exactly {
			t.Errorf("%q below %q: %v, %v; want %v, %v", c.key, c.path, below, exactly, c.below, c.exactly)
		}
	}
}

// FuzzToken parses any text as a token: it never panics, and lets no unsigned token in.
func FuzzToken(f *testing.F) {
	for _, s := range []string{valid(""), valid(`"a":[{"b":null}]`), "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30.", strings.Repeat("a", 9000), valid("") + "=", "e30.e30.e30"} {
		f.Add([]byte(s))
	}
	p := newPolicyIn(f, hs256("claims: [{claim: a, operator: contains, value: \"${path.0}\"}]\n"), NewTokenCache(100, 1<<20))
	f.Fuzz(func(t *testing.T, raw []byte) {
		q := &Request{Key: []byte("x/y"), Method: "GET", Now: now}
		given := bytes.Clone(raw)
		e := p.verify(raw, raw, q)
		if !bytes.Equal(given, raw) {
			t.Fatal("the token was changed")
		}
		if e.reason == Allowed {
			p.holds(e, 0, q)
		}
		// Whatever it says of itself, an unsigned token is never let in; signed, its
		// claims are still judged.
		payload, signature, _ := strings.Cut(string(raw), ".")
		middle, signature, _ := strings.Cut(signature, ".")
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(payload + "." + middle))
		if signed := b64(string(h.Sum(nil))) == signature; e.subject != "" && !signed || e.reason == Allowed && !signed {
			t.Fatalf("let in: %q", raw)
		}
		if len(raw) < 4000 {
			if tok := handmade(payload, middle); p.verify([]byte(tok), []byte(tok), q).reason == Allowed && !json.Valid([]byte(middle)) {
				t.Fatalf("claims that are no JSON: %q", middle)
			}
		}
	})
}

// badlySigned returns a token with another signature.
func badlySigned(token string) string {
	return token[:strings.LastIndexByte(token, '.')+1] + b64(strings.Repeat("f", 32))
}

func TestExplain(t *testing.T) {
	p := newPolicy(t, hs256(`
token_sources: [{type: bearer}, {type: query, name: token}]
issuer: me
audience: [files]
claims: [{claim: role, operator: in, value: [admin, reader]}, {claim: tenant, operator: equals, value: "${path.0}"}, {claim: a.b, operator: exists}]
`)+`rules:
  - {path: /open, enabled: false}
  - {path: /acme/reports, claims: [{claim: n, operator: gt, value: 3}, {claim: name, operator: matches, value: "a+"}]}
`)
	full := `"iss":"me","aud":["x","files"],"role":"admin","tenant":"acme","a":{"b":[1,{}]}`
	for _, c := range []struct {
		name, key, query, token string
		want                    Reason
		says                    []string
	}{
		{"no token", "acme/x", "", "", TokenMissing, []string{"sources: bearer (Authorization: Bearer TOKEN), then query (token=TOKEN)", "token_missing"}},
		{"token in the query", "acme/x", "token=" + valid(full), "", Allowed, []string{"source: query (token=TOKEN)", "signed by: key 0 (HS256)", `sub: "alice"`, `aud: ["x", "files"]`, "2026-03-01T13:00:00Z"}},
		{"two tokens", "acme/x", "token=a&token=b", "", TokenTwice, []string{"source: query", "token_twice"}},
		{"an empty token and another", "acme/x", "token=&token=" + valid(full), "", TokenTwice, []string{"source: query", "token_twice"}},
		{"a token and an empty one", "acme/x", "token=" + valid(full) + "&token", "", TokenTwice, []string{"source: query", "token_twice"}},
		{"an empty token", "acme/x", "token=", "", TokenMissing, nil},
		{"token", "acme/x", "", valid(full), Allowed, []string{"source: bearer", `rule: holds: role in "admin", "reader"; the claim is "admin"`, `rule: holds: tenant equals "acme"`, "rule: holds: a.b exists ; the claim is [1, an object]"}},
		{"another tenant", "other/x", "", valid(full), ClaimRefused, []string{`rule: fails: tenant equals "other"; the claim is "acme"`, `rule: holds: role`}},
		{"no such segment", "", "", valid(full), ClaimRefused, []string{`tenant equals (a segment that the key lacks)`}},
		{"public path", "open/x", "", "", Allowed, []string{"auth rule: /open", "not asked for"}},
		{"sub-path", "acme/reports/x", "", valid(full + `,"n":4,"name":"aaa"`), Allowed, []string{"auth rule: /acme/reports", "rule: holds: n gt 3; the claim is 4", `rule: holds: name matches "a+"`}},
		{"sub-path refuses", "acme/reports/x", "", valid(full), PathClaimRefused, []string{"rule: fails: n gt 3; the claim is absent", "path_claim_refused"}},
		{"issuer", "acme/x", "", valid(`"iss":"you"`), IssuerRefused, []string{"wants: iss me", `iss: "you"`}},
		{"audience", "acme/x", "", valid(`"iss":"me","aud":"other"`), AudienceRefused, []string{"wants: aud files"}},
		{"no audience", "acme/x", "", valid(`"iss":"me"`), AudienceRefused, []string{"wants: aud files"}},
		{"bad signature", "acme/x", "", badlySigned(valid(full)), SignatureInvalid, []string{"verifies: key 0 (HS256)", `header: alg "HS256", kid "", typ "JWT"`, `iss: "me"`}},
		{"bad signature and claims", "acme/x", "", badlySigned(valid(`"iss":"you"`)), IssuerRefused, []string{"wants: iss me"}},
		{"bad claims", "acme/x", "", handmade(plainHeader, "[]"), ClaimsMalformed, nil},
		{"no token at all", "acme/x", "", "junk", TokenMalformed, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := requestWith(c.key)
			q.Query = []byte(c.query)
			var b strings.Builder
			got, unchecked := p.Explain(q, c.token, func(name, text string) { fmt.Fprintf(&b, "%s: %s\n", name, text) })
			if got != c.want || unchecked {
				t.Errorf("%q, want %q; unchecked is %t\n%s", got, c.want, unchecked, b.String())
			}
			for _, s := range c.says {
				if !strings.Contains(b.String(), s) {
					t.Errorf("it does not say %q but\n%s", s, b.String())
				}
			}
			for _, s := range []string{secret, c.token, strings.TrimPrefix(c.query, "token=")} {
				if len(s) > 10 && strings.Contains(b.String(), s[strings.LastIndexByte(s, '.')+1:]) {
					t.Errorf("it shows a token or a secret:\n%s", b.String())
				}
			}
			// The real decision is the same.
			if c.token != "" {
				q = request(c.token, c.key)
			}
			if real := p.Authorize(q).Reason; real != c.want {
				t.Errorf("Authorize says %q", real)
			}
		})
	}
}

// With a jwks_url, an explanation leaves open whether the signature holds.
func TestExplainWithoutTheKeySet(t *testing.T) {
	badSignature := handmade(`{"alg":"HS256","kid":"hs"}`, claimsAt(""))
	badSignature = badSignature[:strings.LastIndexByte(badSignature, '.')+1] + b64(strings.Repeat("z", 32))
	for _, c := range []struct {
		name, block, token string
		want               Reason
		says               string
	}{
		{"none", "", handmade(`{"alg":"none"}`, claimsAt("")), AlgorithmRefused, "auth: algorithm_refused"},
		{"HS512", "", handmade(`{"alg":"HS512","kid":"x"}`, claimsAt("")), AlgorithmRefused, "verifies: the keys of https://idp.example.com/keys, but"},
		{"not the set's algorithm", "algorithm: ES256", handmade(`{"alg":"RS256"}`, claimsAt("")), AlgorithmRefused, "auth: algorithm_refused"},
		{"bad signature of a configured key", "", badSignature, SignatureInvalid, "auth: signature_invalid"},
		{"configured key", "", handmade(`{"alg":"HS256","kid":"hs"}`, claimsAt("")), Allowed, "auth: the token is valid"},
		{"perhaps a key of the set", "", handmade(`{"alg":"RS256","kid":"x"}`, claimsAt("")), Allowed, "auth: allowed if the signature holds"},
		{"perhaps a key of the set, of its algorithm", "algorithm: ES256", handmade(`{"alg":"ES256"}`, claimsAt("")), Allowed, "signature: not checked: the keys of https://idp.example.com/keys are"},
		{"expired whoever signed it", "", handmade(`{"alg":"RS256","kid":"x"}`, `{"exp":1}`), Expired, "auth: expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolicy(t, "jwt:\n  jwks_url: https://idp.example.com/keys?key=in-the-query\n  keys: [{kid: hs, algorithm: HS256, secret: "+secret+"}]\n"+indent(c.block, "  "))
			var b strings.Builder
			got, unchecked := p.Explain(request("", "x"), c.token, func(name, text string) { fmt.Fprintf(&b, "%s: %s\n", name, text) })
			if unchecked != strings.Contains(b.String(), "auth: allowed if the signature holds") {
				t.Errorf("unchecked is %t\n%s", unchecked, b.String())
			}
			if got != c.want || !strings.Contains(b.String(), c.says) || strings.Contains(b.String(), "in-the-query") {
				t.Errorf("%q, want %q and %q\n%s", got, c.want, c.says, b.String())
			}
		})
	}
}

func TestMint(t *testing.T) {
	keys := opensslKeys(t)
	p := newPolicy(t, "jwt:\n  public_key_file: "+keys["p256"].public+"\n  algorithm: ES256\n  keys: [{kid: dev, algorithm: HS512, secret: "+secret+secret+"}]\n"+indent(`
issuer: me
audience: [files, more]
claims: [{claim: role, operator: equals, value: admin}, {claim: tenant, operator: equals, value: "${path.0}"}]
`, "  ")+"rules: [{path: /reports, claims: [{claim: level, operator: gte, value: 3}]}]\n")
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tok, notes, err := p.Mint(map[string]json.RawMessage{"role": raw(`"admin"`), "tenant": raw(`"acme"`), "level": raw("3.0")}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(notes, "\n"); got != "iss is \"me\", which the configuration wants\naud is \"files\", which the configuration wants" {
		t.Errorf("notes: %s", got)
	}
	if v := p.Authorize(request(tok, "acme/x")); v.Reason != Allowed || v.Subject != "dev" {
		t.Errorf("%+v", v)
	}
	tok, notes, err = p.Mint(map[string]json.RawMessage{"sub": raw(`"eve"`), "iss": raw(`"you"`)}, now, -time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(notes, "\n")
	for _, s := range []string{"has expired", "role equals \"admin\"; add -claim role=VALUE", "compares tenant with the request; add -claim tenant=VALUE", "below /reports will refuse it: level gte 3"} {
		if !strings.Contains(all, s) {
			t.Errorf("notes lack %q:\n%s", s, all)
		}
	}
	if v := p.Authorize(request(tok, "acme/x")); v.Reason != Expired || v.Subject != "" {
		t.Errorf("%+v", v)
	}
	if _, _, err := newPolicy(t, "jwt: {algorithm: ES256, public_key_file: "+keys["p256"].public+"}").Mint(nil, now, time.Hour); err == nil || !strings.Contains(err.Error(), "no key of the bucket is a secret") {
		t.Error(err)
	}
	if _, _, err := p.Mint(map[string]json.RawMessage{"x": raw("{")}, now, time.Hour); err == nil {
		t.Error("claims that are no JSON")
	}
	if _, notes, err := p.Mint(map[string]json.RawMessage{"x": raw(strings.Repeat("[", 20) + strings.Repeat("]", 20))}, now, time.Hour); err != nil || !strings.Contains(strings.Join(notes, "\n"), "16 levels") {
		t.Error(notes, err)
	}
}

// Each error of the rooms below has a reason of its own, and one that is not known refuses.
func TestRefusal(t *testing.T) {
	seen := map[Reason]error{}
	for _, err := range []error{nil, token.ErrTooLong, token.ErrMalformed, token.ErrCritical, token.ErrJSON, keys.ErrAlgorithm, keys.ErrUnknown} {
		r := refusal(err)
		if other, twice := seen[r]; twice || (r == Allowed) != (err == nil) {
			t.Errorf("%v is %q, as %v", err, r, other)
		}
		seen[r] = err
	}
	if r := refusal(os.ErrInvalid); r.Answer() != InvalidToken {
		t.Errorf("another error: %q", r)
	}
}

func TestReasons(t *testing.T) {
	docs, err := os.ReadFile("../../docs/AUTHENTICATION.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for r := range Reason(NumReasons) {
		if reasons[r].text == "" || seen[r.String()] || (r.Answer() == Grant) != (r == Allowed) {
			t.Errorf("reason %d: %+v", r, reasons[r])
		}
		seen[r.String()] = true
		if !strings.Contains(string(docs), "`"+r.String()+"`") && r != Allowed {
			t.Errorf("docs/AUTHENTICATION.md lacks %s", r)
		}
	}
}
