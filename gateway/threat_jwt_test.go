package gateway

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/config"
)

const tokenSecret = "0123456789abcdef0123456789abcdef"

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign256 returns payload, two parts of a token, with an HS256 signature. Tokens
// here are made by hand, so that nothing under test has a part in them.
func sign256(secret, payload string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(payload))
	return payload + "." + b64(string(h.Sum(nil)))
}

// handmade returns a token of this header and these claims, byte for byte.
func handmade(header, claims string) string {
	return sign256(tokenSecret, b64(header)+"."+b64(claims))
}

// in returns the time in some seconds, as a claim.
func in(seconds int) string {
	return fmt.Sprint(time.Now().Add(time.Duration(seconds) * time.Second).Unix())
}

// goodToken is valid for an hour, with further claims.
func goodToken(more ...string) string {
	return handmade(`{"alg":"HS256","typ":"JWT"}`, `{"sub":"alice","exp":`+in(3600)+strings.Join(append([]string{""}, more...), ",")+"}")
}

// privateYAML is a bucket whose jwt block has these lines beside its secret.
func privateYAML(name, prefix, endpoint string, lines ...string) string {
	return protectedYAML(name, prefix, endpoint, append([]string{"secret: " + tokenSecret, "algorithm: HS256"}, lines...)...)
}

// protectedYAML is a bucket with these lines in its jwt block.
func protectedYAML(name, prefix, endpoint string, lines ...string) string {
	s := bucketYAML(name, prefix, endpoint) + "    auth:\n      enabled: true\n      jwt:\n"
	for _, l := range lines {
		s += "        " + l + "\n"
	}
	return s
}

// rsaKey returns a key and the file of its public half.
func rsaKey(t *testing.T, bits int) (private *rsa.PrivateKey, file string, public []byte) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	file = filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(file, public, 0o600); err != nil {
		t.Fatal(err)
	}
	return private, file, public
}

func signRS256(t *testing.T, key *rsa.PrivateKey, payload string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(payload))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return payload + "." + b64(string(signature))
}

func threatJWT(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	key, keyFile, publicPEM := rsaKey(t, 2048)
	gw := startGateway(t, "server: {ready: config}\nadmin: {token: "+adminToken+"}\n"+metricsYAML+"buckets:\n"+
		privateYAML("hs", "/hs", origin.URL)+
		protectedYAML("rs", "/rs", origin.URL, "public_key_file: "+keyFile, "algorithm: RS256")+
		protectedYAML("kids", "/kids", origin.URL,
			"keys: [{kid: new, algorithm: HS256, secret: "+tokenSecret+"}, {kid: old, algorithm: HS256, secret: ffffffffffffffffffffffffffffffff}]")+
		privateYAML("lax", "/lax", origin.URL, "require_exp: false")+
		privateYAML("claims", "/claims", origin.URL, `claims: [{claim: level, operator: equals, value: 1}]`)+
		privateYAML("nested", "/nested", origin.URL, `claims: [{claim: a.b, operator: equals, value: x}]`)+
		privateYAML("many", "/many", origin.URL, `token_sources: [{type: bearer}, {type: header, name: X-Auth-Token, prefix: "Token "}, {type: query, name: token}, {type: cookie, name: session}]`))

	const header = `{"alg":"HS256","typ":"JWT"}`
	claims := `{"sub":"alice","exp":` + in(3600) + `}`
	payload := b64(header) + "." + b64(claims)
	good := goodToken()
	withHeader := func(h string) string { return handmade(h, claims) }
	withClaims := func(c string) string { return handmade(header, c) }
	depth := func(n int) string {
		return `{"exp":` + in(3600) + `,"d":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`
	}
	// The longest token that is no longer than n.
	sized := func(n int) string {
		longest := ""
		for pad := n / 2; ; pad++ {
			s := withClaims(`{"exp":` + in(3600) + `,"pad":"` + strings.Repeat("x", pad) + `"}`)
			if len(s) > n {
				return longest
			}
			longest = s
		}
	}
	jwk := `{"kty":"oct","k":"` + b64("ffffffffffffffffffffffffffffffff") + `"}`

	for _, c := range []struct {
		name, path, token string
		status            int
		reason            string // in the log
	}{
		{"T39_within_the_leeway", "/hs/x", withClaims(`{"exp":` + in(-20) + `}`), 200, ""}, // first: it is so for ten seconds
		{"a_good_token", "/hs/x", good, 200, ""},
		{"T34_none", "/hs/x", b64(`{"alg":"none"}`) + "." + b64(claims) + ".", 403, "algorithm_refused"},
		{"T34_none_with_signature", "/hs/x", withHeader(`{"alg":"none"}`), 403, "algorithm_refused"},
		{"T34_None", "/hs/x", withHeader(`{"alg":"None"}`), 403, "algorithm_refused"},
		{"T34_empty", "/hs/x", withHeader(`{"alg":""}`), 403, "algorithm_refused"},
		{"T34_absent", "/hs/x", withHeader(`{"typ":"JWT"}`), 403, "token_malformed"},
		{"T34_null", "/hs/x", withHeader(`{"alg":null}`), 403, "token_malformed"},
		{"T34_two_parts", "/hs/x", payload, 403, "token_malformed"},
		{"T34_other_case", "/hs/x", withHeader(`{"alg":"hs256"}`), 403, "algorithm_refused"},
		{"T34_other_hash", "/hs/x", withHeader(`{"alg":"HS512"}`), 403, "algorithm_refused"},
		{"T35_right_use_of_the_key", "/rs/x", signRS256(t, key, b64(`{"alg":"RS256"}`)+"."+b64(claims)), 200, ""},
		{"T35_public_key_as_secret", "/rs/x", sign256(string(publicPEM), payload), 403, "algorithm_refused"},
		{"T35_public_key_as_secret_named_RS256", "/rs/x", sign256(string(publicPEM), b64(`{"alg":"RS256"}`)+"."+b64(claims)), 403, "signature_invalid"},
		{"T35_RS256_at_a_secret", "/hs/x", signRS256(t, key, b64(`{"alg":"RS256"}`)+"."+b64(claims)), 403, "algorithm_refused"},
		{"T35_PS256_at_an_RS256_key", "/rs/x", signRS256(t, key, b64(`{"alg":"PS256"}`)+"."+b64(claims)), 403, "algorithm_refused"},
		{"T36_kid_of_a_key", "/kids/x", withHeader(`{"alg":"HS256","kid":"new"}`), 200, ""},
		{"T36_no_kid", "/kids/x", good, 200, ""},
		{"T36_kid_of_another_key", "/kids/x", withHeader(`{"alg":"HS256","kid":"old"}`), 403, "signature_invalid"},
		{"T36_kid_path", "/kids/x", withHeader(`{"alg":"HS256","kid":"../../dev/null"}`), 403, "key_unknown"},
		{"T36_kid_sql", "/kids/x", withHeader(`{"alg":"HS256","kid":"x' UNION SELECT 'key"}`), 403, "key_unknown"},
		{"T36_kid_url", "/kids/x", withHeader(`{"alg":"HS256","kid":"` + origin.URL + `"}`), 403, "key_unknown"},
		{"T36_kid_is_no_string", "/kids/x", withHeader(`{"alg":"HS256","kid":1}`), 403, "token_malformed"},
		{"T37_jwk_is_ignored", "/hs/x", sign256("ffffffffffffffffffffffffffffffff", b64(`{"alg":"HS256","jwk":`+jwk+`}`)+"."+b64(claims)), 403, "signature_invalid"},
		{"T37_jku_is_ignored", "/hs/x", withHeader(`{"alg":"HS256","jku":"` + origin.URL + `/jwks","x5u":"` + origin.URL + `/x5u","x5c":["AAAA"]}`), 200, ""},
		{"T37_crit", "/hs/x", withHeader(`{"alg":"HS256","crit":["b64"],"b64":true}`), 403, "critical_header"},
		{"T37_crit_empty", "/hs/x", withHeader(`{"alg":"HS256","crit":[]}`), 403, "critical_header"},
		{"T38_duplicate_alg", "/hs/x", withHeader(`{"alg":"none","alg":"HS256"}`), 403, "token_malformed"},
		{"T38_duplicate_exp", "/hs/x", withClaims(`{"exp":1,"exp":` + in(3600) + `}`), 403, "claims_malformed"},
		{"T38_duplicate_role_within", "/hs/x", withClaims(`{"exp":` + in(3600) + `,"a":{"b":1,"b":2}}`), 403, "claims_malformed"},
		{"T38_duplicate_by_escape", "/claims/x", withClaims(`{"exp":` + in(3600) + `,"level":2,"leve\u006c":1}`), 403, "claims_malformed"},
		{"T38_Exp_is_not_exp", "/hs/x", withClaims(`{"Exp":` + in(3600) + `}`), 403, "expiry_missing"},
		{"T38_ALG_is_not_alg", "/hs/x", withHeader(`{"ALG":"HS256"}`), 403, "token_malformed"},
		{"T38_Level_is_not_level", "/claims/x", goodToken(`"Level":1`), 403, "claim_refused"},
		{"T39_expired", "/hs/x", withClaims(`{"exp":` + in(-31) + `}`), 403, "expired"},
		{"T39_nbf_in_the_future", "/hs/x", goodToken(`"nbf":` + in(120)), 403, "not_yet_valid"},
		{"T39_nbf_within_the_leeway", "/hs/x", goodToken(`"nbf":` + in(20)), 200, ""},
		{"T39_iat_in_the_future", "/hs/x", goodToken(`"iat":` + in(120)), 403, "issued_in_future"},
		{"T39_no_exp", "/hs/x", withClaims(`{"sub":"alice"}`), 403, "expiry_missing"},
		{"T39_no_exp_where_configured", "/lax/x", withClaims(`{"sub":"alice"}`), 200, ""},
		{"T39_expired_where_exp_is_not_needed", "/lax/x", withClaims(`{"exp":` + in(-31) + `}`), 403, "expired"},
		{"T40_exp_string", "/hs/x", withClaims(`{"exp":"` + in(3600) + `"}`), 403, "date_invalid"},
		{"T40_exp_null", "/hs/x", withClaims(`{"exp":null}`), 403, "date_invalid"},
		{"T40_exp_null_where_exp_is_not_needed", "/lax/x", withClaims(`{"exp":null}`), 403, "date_invalid"},
		{"T40_exp_1e300", "/hs/x", withClaims(`{"exp":1e300}`), 403, "date_invalid"},
		{"T40_exp_beyond_int64", "/hs/x", withClaims(`{"exp":99999999999999999999}`), 403, "date_invalid"},
		{"T40_exp_negative", "/hs/x", withClaims(`{"exp":-1}`), 403, "date_invalid"},
		{"T40_exp_NaN", "/hs/x", withClaims(`{"exp":NaN}`), 403, "claims_malformed"},
		{"T40_exp_true", "/hs/x", withClaims(`{"exp":true}`), 403, "date_invalid"},
		{"T40_exp_array", "/hs/x", withClaims(`{"exp":[` + in(3600) + `]}`), 403, "date_invalid"},
		{"T40_nbf_string", "/hs/x", goodToken(`"nbf":"1"`), 403, "date_invalid"},
		{"T40_exp_fraction", "/hs/x", withClaims(`{"exp":` + in(3600) + `.75}`), 200, ""},
		{"T40_exp_in_the_year_9999", "/hs/x", withClaims(`{"exp":253402300799}`), 200, ""},
		{"T41_8_KiB", "/hs/x", sized(8 << 10), 200, ""},
		{"T41_over_8_KiB", "/hs/x", sized(8<<10 + 4), 403, "token_too_long"},
		{"T41_over_8_KiB_of_dots", "/hs/x", strings.Repeat(".", 8<<10+1), 403, "token_too_long"},
		{"T41_16_levels", "/hs/x", withClaims(depth(16)), 200, ""},
		{"T41_17_levels", "/hs/x", withClaims(depth(17)), 403, "claims_malformed"},
		{"T41_17_levels_in_the_header", "/hs/x", withHeader(`{"alg":"HS256","x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`), 403, "token_malformed"},
		{"T42_number", "/claims/x", goodToken(`"level":1`), 200, ""},
		{"T42_string", "/claims/x", goodToken(`"level":"1"`), 403, "claim_refused"},
		{"T42_true", "/claims/x", goodToken(`"level":true`), 403, "claim_refused"},
		{"T45_missing_claim", "/claims/x", good, 403, "claim_refused"},
		{"T45_null_claim", "/claims/x", goodToken(`"level":null`), 403, "claim_refused"},
		{"T45_nested", "/nested/x", goodToken(`"a":{"b":"x"}`), 200, ""},
		{"T45_literal_wins", "/nested/x", goodToken(`"a":{"b":"x"}`, `"a.b":"y"`), 403, "claim_refused"},
		{"base64_with_padding", "/hs/x", good + "=", 403, "token_malformed"},
		{"base64_of_the_other_alphabet", "/hs/x", strings.Replace(good, ".", "+.", 1), 403, "token_malformed"},
		{"a_fourth_part", "/hs/x", good + ".x", 403, "token_malformed"},
		{"claims_that_are_an_array", "/hs/x", withClaims(`[]`), 403, "claims_malformed"},
		{"invalid_UTF-8", "/hs/x", withClaims("{\"exp\":" + in(3600) + ",\"a\":\"\xff\"}"), 403, "claims_malformed"},
		{"a_changed_byte", "/hs/x", good[:len(good)-5] + "AAAAA", 403, "signature_invalid"},
		{"another_secret", "/hs/x", sign256("ffffffffffffffffffffffffffffffff", payload), 403, "signature_invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // the second time perhaps from memory
				before := len(origin.seen())
				r, body := gw.do("GET", c.path, "Authorization: Bearer "+c.token)
				line := `"request_id":"` + r.Header.Get("X-Request-ID") + `"`
				if r.StatusCode != c.status {
					t.Fatalf("status %d, want %d: %s", r.StatusCode, c.status, body)
				}
				seen := origin.seen()[before:]
				if c.status == 200 {
					if len(seen) != 1 || seen[0].Header.Get("Authorization") == "Bearer "+c.token {
						t.Errorf("the origin got %v", seen)
					}
					continue
				}
				if len(seen) != 0 {
					t.Errorf("the origin was asked: %v", seen[0].URL)
				}
				want := `Bearer error="invalid_token"`
				switch c.reason {
				case "claim_refused":
					want = `Bearer error="insufficient_scope"`
				case "expired":
					want += `, error_description="the token has expired"`
				}
				if got := r.Header.Get("WWW-Authenticate"); got != want {
					t.Errorf("WWW-Authenticate is %q, want %q", got, want)
				}
				gw.log.waitFor(t, line)
				if got := lineWith(gw.log.String(), line); !strings.Contains(got, `"reason":"`+c.reason+`"`) {
					t.Errorf("the log does not say %q, but %s", c.reason, got)
				}
			}
		})
	}
	t.Run("T46_first_present_source_decides", func(t *testing.T) { threatSources(t, gw, origin) })
	t.Run("T29_no_token_leaks", func(t *testing.T) { threatTokenLeaks(t, gw, origin) })
	t.Run("T48_start_fails", threatWeakKeys)
	t.Run("denied_is_denied_whether_or_not_it_exists", func(t *testing.T) {
		_, there := gw.do("GET", "/hs/x")
		_, missing := gw.do("GET", "/hs/no-such-object")
		if a, b := withoutID(there), withoutID(missing); a != b {
			t.Errorf("%s and %s", a, b)
		}
	})
}

// lineWith returns the first line with text in a log.
func lineWith(log, text string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// withoutID cuts the request id out of an error body.
func withoutID(body []byte) string {
	s, _, _ := strings.Cut(string(body), `,"request_id"`)
	return s
}

// threatSources proves T46 and T47.
func threatSources(t *testing.T, gw *testGateway, origin *testOrigin) {
	good, bad := goodToken(), goodToken()+"A"
	for _, c := range []struct {
		name, target string
		headers      []string
		status       int
	}{
		{"none", "/many/x", nil, 401},
		{"bearer", "/many/x", []string{"Authorization: Bearer " + good}, 200},
		{"header", "/many/x", []string{"X-Auth-Token: Token " + good}, 200},
		{"query", "/many/x?token=" + good, nil, 200},
		{"query among others", "/many/x?a=b&token=" + good + "&c", nil, 200},
		{"cookie", "/many/x", []string{"Cookie: theme=dark; session=" + good + "; z=1"}, 200},
		{"quoted cookie", "/many/x", []string{`Cookie: session="` + good + `"`}, 200},
		{"the first is bad", "/many/x?token=" + good, []string{"Authorization: Bearer " + bad}, 403},
		{"the second is bad", "/many/x?token=" + bad, []string{"Authorization: Bearer " + good}, 200},
		{"Basic beside a query token", "/many/x?token=" + good, []string{"Authorization: Basic dTpw"}, 200},
		{"Basic beside a bad query token", "/many/x?token=" + bad, []string{"Authorization: Basic dTpw"}, 403},
		{"Basic alone", "/many/x", []string{"Authorization: Basic dTpw"}, 401},
		{"header without its prefix", "/many/x", []string{"X-Auth-Token: " + good}, 401},
		{"T47 bearer", "/many/x", []string{"Authorization: bearer " + good}, 200},
		{"T47 BEARER", "/many/x", []string{"Authorization: BEARER " + good}, 200},
		{"T47 token", "/many/x", []string{"X-Auth-Token: TOKEN " + good}, 200},
		{"T47 two spaces", "/many/x", []string{"Authorization: Bearer  " + good}, 403},
		{"T47 tab", "/many/x", []string{"Authorization: Bearer\t" + good}, 403},
		{"T47 space and tab", "/many/x", []string{"Authorization: Bearer \t" + good}, 403},
		{"T47 junk", "/many/x", []string{"Authorization: Bearer," + good}, 403},
		{"T47 junk beside a good query token", "/many/x?token=" + good, []string{"Authorization: Bearer junk"}, 403},
		{"scheme alone", "/many/x", []string{"Authorization: Bearer"}, 401},
		{"a longer scheme", "/many/x", []string{"Authorization: BearerX " + good}, 401},
		{"token with a space", "/many/x", []string{"Authorization: Bearer " + good + " x"}, 403},
		{"two headers", "/many/x", []string{"X-Auth-Token: Token " + good, "X-Auth-Token: Token " + good}, 403},
		{"an empty header and another", "/many/x?token=" + good, []string{"X-Auth-Token:", "X-Auth-Token: Token " + bad}, 403},
		{"an empty header alone", "/many/x?token=" + good, []string{"X-Auth-Token:"}, 200},
		{"two parameters", "/many/x?token=" + good + "&token=" + good, nil, 403},
		{"two parameters, one bad", "/many/x?token=" + good + "&token=" + bad, nil, 403},
		{"two cookies", "/many/x", []string{"Cookie: session=" + good + "; session=" + bad}, 403},
		{"an empty cookie before the token", "/many/x", []string{`Cookie: session=""; session=` + good}, 403},
		{"an empty cookie alone", "/many/x", []string{"Cookie: session="}, 401},
		{"empty parameter", "/many/x?token=", nil, 401},
		{"parameter of another case", "/many/x?Token=" + good, nil, 401},
		{"encoded parameter name", "/many/x?%74oken=" + good, nil, 401},
		{"header twin with an underscore", "/many/x", []string{"X_Auth_Token: Token " + good}, 401},
		{"a source of another bucket", "/hs/x?token=" + good, []string{"X-Auth-Token: Token " + good}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(origin.seen())
			r, body := gw.do("GET", c.target, c.headers...)
			if r.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %s", r.StatusCode, c.status, body)
			}
			if asked := len(origin.seen()) - before; (asked == 1) != (c.status == 200) {
				t.Errorf("status %d, and the origin was asked %d times", c.status, asked)
			}
			if got, want := r.Header.Get("WWW-Authenticate"), `Bearer realm="yatagarasu"`; c.status == 401 && got != want {
				t.Errorf("WWW-Authenticate is %q, want %q", got, want)
			}
		})
	}
}

// threatTokenLeaks proves T28 and T29: a token is for the gateway alone.
func threatTokenLeaks(t *testing.T, gw *testGateway, origin *testOrigin) {
	token := goodToken(`"mark":"leak"`)
	signature := token[strings.LastIndexByte(token, '.')+1:]
	for _, c := range [][]string{
		{"/many/leak", "Authorization: Bearer " + token}, {"/many/leak", "X-Auth-Token: Token " + token},
		{"/many/leak?token=" + token}, {"/many/leak", "Cookie: session=" + token},
	} {
		r, _ := gw.do("GET", c[0], c[1:]...)
		if r.StatusCode != 200 {
			t.Fatalf("%v: status %d", c, r.StatusCode)
		}
		if got := r.Header.Get("Referrer-Policy"); strings.Contains(c[0], "?") && got != "no-referrer" {
			t.Errorf("Referrer-Policy is %q", got)
		}
		if got := r.Header.Get("Cache-Control"); got != "private" {
			t.Errorf("Cache-Control is %q", got)
		}
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, " "), signature) {
				t.Errorf("the answer's %s has the token", name)
			}
		}
		seen := origin.seen()
		var got strings.Builder
		if err := seen[len(seen)-1].Write(&got); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got.String(), signature) || !strings.HasPrefix(got.String(), "GET /things/leak HTTP/1.1\r\n") {
			t.Errorf("the origin got\n%s", got.String())
		}
	}
	// Refused ones do not leak either, nor does a token in a path that fails.
	gw.do("GET", "/many/leak?token="+token+"A")
	gw.do("GET", "/nowhere?token="+token)
	gw.do("GET", "/many/%zz?token="+token)
	// Heads that cannot be parsed, on both listeners.
	for _, c := range []struct{ address, path, token string }{{gw.addr, "/many/leak", token}, {gw.MetricsAddr().String(), "/admin/status", adminToken}} {
		for _, head := range []string{
			"GET " + c.path + "?token=" + c.token + "\r\n\r\n",
			"GET " + c.path + "?token=" + c.token + " HTTP/9\r\nHost a\r\n\r\n",
			"GET " + c.path + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + c.token + "\x7f\r\n\r\n",
			"GET " + c.path + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + c.token + "\r\n X-Folded: \x01\r\n\r\n",
			"GET " + c.path + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + c.token + "\r\n\r\n",
		} {
			if status := statusOf(gw.rawAt(c.address, 10*time.Second, head)); status != 400 {
				t.Errorf("status %d to %.60q", status, head)
			}
		}
	}
	var metrics strings.Builder
	gw.operators.WriteMetrics(&metrics)
	gw.log.waitFor(t, `"path":"/many/%zz"`)
	for what, text := range map[string]string{"log": gw.log.String(), "metrics": metrics.String()} {
		if strings.Contains(text, signature) || strings.Contains(text, tokenSecret) || strings.Contains(text, adminToken) {
			t.Errorf("the %s has a token or the secret", what)
		}
	}
}

// threatWeakKeys proves T48.
func threatWeakKeys(t *testing.T) {
	_, weak, _ := rsaKey(t, 1024)
	_, sound, _ := rsaKey(t, 2048)
	for name, lines := range map[string][]string{
		"unknown algorithm":            {"secret: " + tokenSecret, "algorithm: HS255"},
		"none":                         {"secret: " + tokenSecret, "algorithm: none"},
		"no algorithm":                 {"secret: " + tokenSecret},
		"short secret":                 {"secret: short", "algorithm: HS256"},
		"secret short for HS512":       {"secret: " + tokenSecret, "algorithm: HS512"},
		"RSA of 1024 bits":             {"public_key_file: " + weak, "algorithm: RS256"},
		"RSA key for ES256":            {"public_key_file: " + sound, "algorithm: ES256"},
		"public key as a secret":       {"public_key_file: " + sound, "algorithm: HS256"},
		"no verifier":                  {"issuer: x"},
		"JWKS over plain http":         {"jwks_url: http://issuer.example.com/jwks"},
		"a key file that is not there": {"public_key_file: /no/such/file.pem", "algorithm: RS256"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "buckets:\n" + protectedYAML("b", "/b", "http://127.0.0.1:1", lines...)
			if _, err := config.Parse("c.yaml", []byte(text), nil); err == nil || !strings.Contains(err.Error(), "buckets[0].auth") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("auth without a verifier", func(t *testing.T) {
		text := oneBucket("/b", "http://127.0.0.1:1") + "    auth: {enabled: true}\n"
		if _, err := config.Parse("c.yaml", []byte(text), nil); err == nil || !strings.Contains(err.Error(), "without a verifier") {
			t.Errorf("got %v", err)
		}
	})
}

// TestAuthorisedAnswers shows what an authorised client gets beside the object.
func TestAuthorisedAnswers(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/things/public-headers":
			w.Header().Set("Cache-Control", "public, max-age=60")
		case "/things/missing":
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		serveText("hello")(w, r)
	})
	gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+
		bucketYAML("pub", "/pub", origin.URL)+
		privateYAML("files", "/files", origin.URL, `claims: [{claim: role, operator: in, value: [admin, reader]}]`)+`      rules:
        - {path: /open, enabled: false}
        - {path: /open/but, claims: [{claim: role, operator: equals, value: admin}]}
        - {path: /reports, claims_verification: [{claim: department, operator: equals, value: finance}]}
        - {path: /teams, claims: [{claim: team, operator: equals, value: "${path.1}"}]}
`)
	admin, reader := "Authorization: Bearer "+goodToken(`"role":"admin"`), "Authorization: Bearer "+goodToken(`"role":"reader"`, `"department":"finance"`, `"team":"a"`)
	for _, c := range []struct {
		target, header string
		status         int
		cacheControl   string
		log            string
	}{
		{"/pub/x", "", 200, "", `"bucket":"pub","route":"/pub","status":200`},
		{"/files/x", "", 401, "private", `"auth":{"outcome":"denied","reason":"token_missing"},"status":401`},
		{"/files/x", reader, 200, "private", `"auth":{"outcome":"allowed","sub":"alice"},"status":200`},
		{"/files/", reader, 403, "private", `"auth":{"outcome":"allowed","sub":"alice"},"status":403`},
		{"/files/", "", 401, "private", ""},
		{"/files", "", 401, "private", ""},
		{"/files/public-headers", reader, 200, "public, max-age=60", ""},
		{"/files/missing", reader, 404, "private", ""},
		{"/files/open/x", "", 200, "", `"auth":{"outcome":"public"},"status":200`},
		{"/files/open", "", 200, "", ""},
		{"/files/openly", "", 401, "private", ""},
		{"/files/open//x", "", 200, "", ""},
		{"/files//open/x", "", 401, "private", ""},
		{"/files/open%2Fx", "", 200, "", ""},
		{"/files/open/but/x", "", 401, "private", ""},
		{"/files/open/but/x", reader, 403, "private", `"auth":{"outcome":"denied","reason":"path_claim_refused","sub":"alice"},"status":403`},
		{"/files/open/but/x", admin, 200, "private", ""},
		{"/files/open%2Fbut%2Fx", "", 401, "private", ""},
		{"/files/open//but/x", "", 401, "private", ""},
		{"/files/reports/q1", admin, 403, "private", ""},
		{"/files/reports/q1", reader, 200, "private", ""},
		{"/files/reports%2fq1", admin, 403, "private", ""},
		{"/files//reports/q1", admin, 403, "private", ""},
		{"/files/reports", admin, 403, "private", ""},
		{"/files/reportsx", admin, 200, "private", ""},
		{"/files/REPORTS/q1", admin, 200, "private", ""}, // another key
		{"/files/teams/a/x", reader, 200, "private", ""},
		{"/files/teams/b/x", reader, 403, "private", ""},
		{"/files/teams//a/x", reader, 403, "private", ""},
		{"/files/teams/a%2Fb/x", reader, 200, "private", ""}, // the key teams/a/b/x
		{"/files/teams", reader, 403, "private", ""},
	} {
		t.Run(c.target+" "+fmt.Sprint(c.status), func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = append(headers, c.header)
			}
			before := len(origin.seen())
			r, body := gw.do("GET", c.target, headers...)
			if r.StatusCode != c.status || r.Header.Get("Cache-Control") != c.cacheControl {
				t.Errorf("status %d, want %d; Cache-Control %q, want %q; body %s", r.StatusCode, c.status, r.Header.Get("Cache-Control"), c.cacheControl, body)
			}
			if asked := len(origin.seen()) - before; (c.status == 401 || c.status == 403) && asked > 0 {
				t.Error("the origin was asked")
			}
			if c.log != "" {
				gw.log.waitFor(t, c.log)
			}
		})
	}
	t.Run("304 is private too", func(t *testing.T) {
		if r, _ := gw.do("GET", "/files/x", reader, `If-None-Match: "e1"`); r.StatusCode != 304 || r.Header.Get("Cache-Control") != "private" {
			t.Errorf("status %d, Cache-Control %q", r.StatusCode, r.Header.Get("Cache-Control"))
		}
	})
	for name, want := range map[string]float64{
		`yatagarasu_auth_total{bucket="files",outcome="denied",reason="token_missing"}`:      8,
		`yatagarasu_auth_total{bucket="files",outcome="denied",reason="path_claim_refused"}`: 8,
		`yatagarasu_auth_total{bucket="files",outcome="public",reason=""}`:                   4,
	} {
		if got := gw.metricValue(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := gw.metricValue(`yatagarasu_auth_total{bucket="files",outcome="allowed",reason=""}`); got < 9 {
		t.Errorf("%v allowed", got)
	}
}
