package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]Size{
		"0": 0, "1": 1, "65536": 65536, "5B": 5, "1KB": 1000, "1KiB": 1024, "10 MB": 10e6, "1MiB": 1 << 20, "1.5GB": 15e8,
		"2GiB": 2 << 30, "1TB": 1e12, "1TiB": 1 << 40, "0.5KiB": 512, "9223372036854775807": math.MaxInt64, "007": 7, "8388607TiB": 8388607 << 40,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", s, got, err, want)
		}
	}
	for s, want := range map[string]error{
		"": errSizeSyntax, "B": errSizeSyntax, " 1": errSizeSyntax, "1 ": errSizeSyntax, "1  MB": errSizeSyntax, "-1": errSizeSyntax, "+1": errSizeSyntax,
		"1mb": errSizeSyntax, "1Kb": errSizeSyntax, "1K": errSizeSyntax, "1.MB": errSizeSyntax, ".5MB": errSizeSyntax, "1e3": errSizeSyntax, "0x10": errSizeSyntax,
		"NaN": errSizeSyntax, "Inf": errSizeSyntax, "1_000": errSizeSyntax, "1/2MB": errSizeSyntax, strings.Repeat("1", 41): errSizeSyntax,
		"9223372036854775808": errSizeRange, "8388608TiB": errSizeRange, "99999999999999999999TB": errSizeRange, "1.5": errSizeWhole, "0.3KiB": errSizeWhole,
	} {
		if got, err := ParseSize(s); err != want {
			t.Errorf("%q: got %d, %v; want %v", s, got, err, want)
		}
	}
}

func TestSizeString(t *testing.T) {
	for s, want := range map[Size]string{0: "0B", 1: "1B", 1000: "1KB", 1024: "1KiB", 256e6: "256MB", 64 << 10: "64KiB", 1<<40 + 1: "1099511627777B", -1000: "-1KB", math.MinInt64: "-9223372036854775808B"} {
		if got := s.String(); got != want {
			t.Errorf("%d: got %s, want %s", int64(s), got, want)
		}
		if s < 0 {
			continue
		}
		if back, err := ParseSize(s.String()); err != nil || back != s {
			t.Errorf("%s: got %d, %v back", s, back, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, "0.5": 500 * time.Millisecond, "3600": time.Hour, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond,
		"1.5s": 1500 * time.Millisecond, "0.0000000001": 0,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
	for s, want := range map[string]error{
		"": errDurationSyntax, "s": errDurationSyntax, "+1s": errDurationSyntax, ".5s": errDurationSyntax, "1 s": errDurationSyntax, "1d": errDurationSyntax,
		"NaN": errDurationSyntax, ".inf": errDurationSyntax, "1e3": errDurationSyntax, "0x10": errDurationSyntax, "1_000": errDurationSyntax,
		"-1": errDurationNegative, "-1s": errDurationNegative, "9999999999": errDurationRange, "99999999999999999999999999999": errDurationRange,
		"9999999h": errDurationSyntax,
	} {
		if got, err := ParseDuration(s); err != want {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
}

func TestSecretPrintsNothing(t *testing.T) {
	const value = "K7MDENG"
	s := NewSecret(value)
	type holder struct {
		A Secret
		B *Secret
	}
	h := holder{s, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10s"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", h)
	}
	fmt.Fprintln(&out, s, s.String(), s.GoString())
	for _, encode := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := encode(h)
		if err != nil || !bytes.Contains(b, []byte("***")) {
			t.Errorf("%s, %v", b, err)
		}
		out.Write(b)
	}
	if b, err := json.Marshal(map[Secret]int{s: 1}); err != nil || string(b) != `{"***":1}` {
		t.Errorf("as a key: %s, %v", b, err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "h", h)
	hex := fmt.Sprintf("%x", value)
	if text := out.String(); strings.Contains(text, value) || strings.Contains(strings.ToLower(text), hex) {
		t.Errorf("the value is in:\n%s", text)
	}
	if s.Reveal() != value || s.Empty() || !(Secret{}).Empty() || s != NewSecret(value) {
		t.Error("the value is lost")
	}
	if fmt.Sprint(Secret{}) != "***" {
		t.Error("the empty secret can be told from others")
	}
}

// nameFile returns a file whose bucket's name is the YAML scalar s.
func nameFile(s string) string {
	return "buckets:\n  - path_prefix: /a\n    s3: { bucket: bbb, region: r, access_key: id, secret_key: s }\n    name: " + s + "\n"
}

func TestSubstitution(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unquoted", "${WORD}", "hunter2"},
		{"quoted", `"${WORD}"`, "hunter2"},
		{"single quotes", `'${WORD}'`, "hunter2"},
		{"inside text", "a-${WORD}-${COUNT}", "a-hunter2-12"},
		{"default for unset", "${NONE:-b}", "b"},
		{"default for empty", "${EMPTY:-b}", "b"},
		{"default not needed", "${WORD:-b}", "hunter2"},
		{"default with dashes", "a${NONE:--x-}", "a-x-"},
		{"empty inside text", "a${EMPTY}b", "ab"},
		{"dollar alone", "a", "a"},
	} {
		got, err := parseString(nameFile(c.yaml))
		if err != nil || got.Buckets[0].Name != c.want {
			t.Errorf("%s: got %+v, %v; want %s", c.name, got, err, c.want)
		}
	}
	c, err := parseString(strings.Replace(nameFile("a"), "secret_key: s", `secret_key: "$$x$${WORD}$${COUNT}$ {WORD}$WORD$"`, 1))
	if want := "$$x${WORD}${COUNT}$ {WORD}$WORD$"; err != nil || c.Buckets[0].S3.SecretKey.Reveal() != want {
		t.Errorf("literals: got %v, %v", c, err)
	}
	c, err = parseString("# ${NOT_SET}\n" + nameFile("a # ${NOT_SET}"))
	if err != nil || c.Buckets[0].Name != "a" {
		t.Errorf("comments: got %v, %v", c, err)
	}
	wantError(t, nameFile("a")+"    ${WORD}: x\n", "buckets[0].?: unknown key")
	wantError(t, nameFile("${}"), "a variable reference is malformed")
	wantError(t, nameFile("${A B}"), "a variable reference is malformed")
	wantError(t, nameFile("${bucket}"), "the variable bucket is not set")
	wantError(t, nameFile("${A"), "a variable has no closing brace")
	wantError(t, nameFile("a\nmetrics: { enabled: true, port: \"9090\" }"), "metrics.port: must be a number, not a string")
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"region", "region", 0}, {"regoin", "region", 1}, {"kitten", "sitting", 3},
		{"bukcet", "bucket", 1}, {strings.Repeat("x", 65), "x", 65},
	} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
	for key, want := range map[string]string{
		"Region": "region", "acces_key": "access_key", "accesskey": "access_key", "secretKey": "secret_key", "xyz": "", "secret": "secret_key", "buckte": "bucket", "name": "",
	} {
		if got := closest(key, schema["buckets[].s3"]); want != got {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestIsNumber(t *testing.T) {
	for s, want := range map[string]bool{
		"0": true, "-0": true, "12": true, "1.5": true, "-1.5e3": true, "1E+10": true, "1e-5": true, "99999999999999999999": true, "0.1": true,
		"": false, "-": false, "01": false, "+1": false, "1.": false, ".1": false, "0x1": false, "1e": false, "1e9999": false, "NaN": false, "1_0": false, strings.Repeat("9", 41): false,
	} {
		if got := isNumber(s); got != want {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestProxiesWithoutTrust(t *testing.T) {
	for _, key := range []string{"forwarded_header: forwarded", "proxy_protocol: true"} {
		wantError(t, "server: {"+key+"}\n"+nameFile("a"), "has no effect without trusted_proxies")
	}
}

func TestLogging(t *testing.T) {
	for text, want := range map[string]string{
		"sample: 1.5":             "logging.sample: is no number from 0 to 1",
		"sample: -1":              "logging.sample: is no number from 0 to 1",
		"sample: 1e-1":            "logging.sample: must be a number",
		"sample: all":             "logging.sample: must be a number",
		"slow: fast":              "logging.slow:",
		"audit: {enabled: true}":  "logging.audit.output: is missing",
		"audit: {output: stdout}": "logging.audit: has no effect without the key enabled",
	} {
		wantError(t, "logging: {"+text+"}\n"+nameFile("a"), want)
	}
}

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
					if text := got.Warnings[i].Error(); !strings.HasPrefix(text, "f:2:") || !strings.Contains(text, "buckets[0].auth.jwt.jwks_url: "+w) {
						t.Errorf("got %s", text)
					}
				}
			}
		})
	}
}
