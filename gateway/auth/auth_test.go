package auth

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/access"
)

// now is the injected time of all tests.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const secret = "0123456789abcdef0123456789abcdef"

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// handmade returns a token with this header and these claims, byte for byte,
// signed with HS256. It shares no code with the package.
func handmade(header, claims string) string {
	payload := b64(header) + "." + b64(claims)
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(payload))
	return payload + "." + b64(string(h.Sum(nil)))
}

const plainHeader = `{"alg":"HS256","typ":"JWT"}`

// claimsAt returns claims that are valid at now, with further members.
func claimsAt(more string) string {
	s := fmt.Sprintf(`{"sub":"alice","exp":%d`, now.Add(time.Hour).Unix())
	if more != "" {
		s += "," + more
	}
	return s + "}"
}

// valid returns a token that is valid at now, with further claims.
func valid(more string) string { return handmade(plainHeader, claimsAt(more)) }

// loadAuth returns the auth block of a bucket "files" with the lines in block, at
// the depth of the block's keys.
func loadAuth(t testing.TB, block string) *access.Auth {
	t.Helper()
	text := `
buckets:
  - name: files
    path_prefix: /files
    s3: {bucket: b, region: us-east-1, access_key: AK, secret_key: SK}
    auth:
      enabled: true
` + indent(block, "      ")
	c, err := config.Parse("test.yaml", []byte(text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return &c.Buckets[0].Auth
}

func indent(block, by string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(block, "\n") + "\n") {
		b.WriteString(by + line)
	}
	return b.String()
}

// hs256 is a jwt block with the test secret and further lines.
func hs256(more string) string {
	return "jwt:\n  algorithm: HS256\n  secret: " + secret + "\n" + indent(more, "  ")
}

func newPolicy(t testing.TB, block string) *Policy {
	t.Helper()
	return newPolicyIn(t, block, NewTokenCache(1000, 1<<20))
}

func newPolicyIn(t testing.TB, block string, cache *TokenCache) *Policy {
	t.Helper()
	a := loadAuth(t, block)
	v, err := NewVerifier(a.JWT, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return NewPolicy(a, "files", v, cache, nil)
}

// request returns a request for key with a bearer token.
func request(token, key string) *Request {
	if token == "" {
		return requestWith(key)
	}
	return requestWith(key, "Authorization: Bearer "+token)
}

// requestWith returns a request for key with these header lines, parsed like a client's.
func requestWith(key string, lines ...string) *Request {
	h := new(fasthttp.RequestHeader)
	head := "GET / HTTP/1.1\r\nHost: gateway.test\r\n"
	for _, line := range lines {
		head += line + "\r\n"
	}
	if err := h.Read(bufio.NewReaderSize(strings.NewReader(head+"\r\n"), 64<<10)); err != nil {
		panic(err)
	}
	return &Request{Header: h, Key: []byte(key), Method: "GET", Now: now}
}

// repeated returns a policy with three rules and a request that it allows.
func repeated(t testing.TB, source string) (*Policy, *Request) {
	name := ", name: token"
	if source == "bearer" {
		name = ""
	}
	p := newPolicy(t, hs256(fmt.Sprintf(`
token_sources: [{type: %s%s}]
claims:
  - {claim: role, operator: in, value: [admin, reader]}
  - {claim: level, operator: gte, value: 3}
  - {claim: tenant, operator: equals, value: "${path.0}"}
`, source, name)))
	token := valid(`"role":"reader","level":7,"tenant":"acme","groups":["a","b","c"],"iss":"https://issuer.example.com/"`)
	q := request("", "acme/reports/2026.pdf")
	switch source {
	case "bearer":
		q = request(token, "acme/reports/2026.pdf")
	case "header":
		q = requestWith(string(q.Key), "token: "+token)
	case "query":
		q.Query = []byte("a=b&token=" + token)
	case "cookie":
		q = requestWith(string(q.Key), "Cookie: theme=dark; token="+token)
	}
	return p, q
}
