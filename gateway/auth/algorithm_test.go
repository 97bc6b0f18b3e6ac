package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yatagarasu/loadtest/keyserver"
	"yatagarasu/loadtest/needs"
)

// testKey is a key made by openssl, in files.
type testKey struct {
	name    string
	private any
	public  string // path
	pem     []byte // of the public key
}

// opensslKeys returns keys of all kinds.
func opensslKeys(t testing.TB) map[string]*testKey {
	t.Helper()
	openssl := needs.Program(t, "openssl")
	dir := t.TempDir()
	keys := make(map[string]*testKey)
	for name, args := range map[string]string{
		"rsa": "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "rsa2": "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
		"p256": "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "p384": "-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "p521": "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
		"p256b": "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "ed": "-algorithm ED25519", "ed2": "-algorithm ED25519",
	} {
		private, public := filepath.Join(dir, name+".key"), filepath.Join(dir, name+".pem")
		for _, a := range []string{"genpkey " + args + " -out " + private, "pkey -in " + private + " -pubout -out " + public} {
			if out, err := exec.Command(openssl, strings.Fields(a)...).CombinedOutput(); err != nil {
				t.Fatalf("openssl %s: %v: %s", a, err, out)
			}
		}
		data, err := os.ReadFile(private)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(public)
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = &testKey{name: name, private: key, public: public, pem: text}
	}
	return keys
}

// signedBy returns a token of another implementation, valid at now.
func signedBy(t testing.TB, algorithm string, key any, kid string) string {
	t.Helper()
	return keyserver.Sign(t, algorithm, key, kid, now.Add(time.Hour))
}

// TestAlgorithms tries each verifier with tokens of every other algorithm and key,
// signed by another implementation with keys of a third.
func TestAlgorithms(t *testing.T) {
	keys := opensslKeys(t)
	secrets := map[string]string{"HS256": strings.Repeat("a", 32), "HS384": strings.Repeat("b", 48), "HS512": strings.Repeat("c", 64)}
	type pair struct{ algorithm, key string }
	var verifiers []pair
	for _, n := range []string{"256", "384", "512"} {
		verifiers = append(verifiers, pair{"HS" + n, ""}, pair{"RS" + n, "rsa"}, pair{"PS" + n, "rsa"}, pair{"RS" + n, "rsa2"})
	}
	verifiers = append(verifiers, pair{"ES256", "p256"}, pair{"ES384", "p384"}, pair{"ES512", "p521"}, pair{"ES256", "p256b"}, pair{"EdDSA", "ed"}, pair{"EdDSA", "ed2"})

	tokens := make(map[pair]string)
	for _, v := range verifiers {
		if v.key == "" {
			tokens[v] = signedBy(t, v.algorithm, []byte(secrets[v.algorithm]), "")
		} else {
			tokens[v] = signedBy(t, v.algorithm, keys[v.key].private, "")
		}
	}
	// The confusions: a public key taken for a secret, as PEM and as DER, and names
	// that do not fit the signature.
	for _, k := range []string{"rsa", "p256", "ed"} {
		block, _ := pem.Decode(keys[k].pem)
		for _, hs := range []string{"HS256", "HS384", "HS512"} {
			tokens[pair{hs, k + " PEM as a secret"}] = signedBy(t, hs, keys[k].pem, "")
			tokens[pair{hs, k + " DER as a secret"}] = signedBy(t, hs, block.Bytes, "")
		}
	}
	for v, s := range tokens {
		for _, alg := range []string{"HS256", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA", "none"} {
			if alg != v.algorithm {
				_, rest, _ := strings.Cut(s, ".")
				tokens[pair{v.algorithm, v.key + " renamed " + alg}] = b64(`{"alg":"`+alg+`","typ":"JWT"}`) + "." + rest
			}
		}
	}

	allowed := 0
	for _, v := range verifiers {
		block := "jwt:\n  algorithm: " + v.algorithm + "\n"
		if v.key == "" {
			block += "  secret: " + secrets[v.algorithm] + "\n"
		} else {
			block += "  public_key_file: " + keys[v.key].public + "\n"
		}
		p := newPolicy(t, block)
		for made, tok := range tokens {
			got := p.Authorize(request(tok, "x")).Reason
			if made == v {
				allowed++
				if got != Allowed {
					t.Errorf("%v refuses its own token: %q", v, got)
				}
			} else if got == Allowed {
				t.Errorf("%v accepts a token of %v", v, made)
			}
		}
	}
	if allowed != len(verifiers) {
		t.Errorf("%d of %d verifiers were tried", allowed, len(verifiers))
	}
	t.Logf("%d verifiers, %d tokens", len(verifiers), len(tokens))
}

// TestEd25519 combines the two names of one algorithm in configurations, key sets and
// tokens.
func TestEd25519(t *testing.T) {
	keys := opensslKeys(t)
	private := keys["ed"].private.(ed25519.PrivateKey)
	tokenNamed := func(alg, kid string, key ed25519.PrivateKey) string {
		payload := b64(`{"alg":"`+alg+`","kid":"`+kid+`"}`) + "." + b64(fmt.Sprintf(`{"exp":%d}`, now.Add(time.Hour).Unix()))
		return payload + "." + b64(string(ed25519.Sign(key, []byte(payload))))
	}
	set := func(more string) string {
		x := b64(string(private.Public().(ed25519.PublicKey)))
		file := filepath.Join(t.TempDir(), "set.json")
		if err := os.WriteFile(file, []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"`+x+`"`+more+`}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		return "jwt: {jwks_file: " + file
	}
	pem := "jwt: {public_key_file: " + keys["ed"].public + ", algorithm: "
	for name, block := range map[string]string{
		"a key for EdDSA": pem + "EdDSA}", "a key for Ed25519": pem + "Ed25519}",
		"a set without a name": set("") + "}", "a set with EdDSA": set(`,"alg":"EdDSA"`) + "}", "a set with Ed25519": set(`,"alg":"Ed25519"`) + "}",
		"a set with EdDSA for Ed25519": set(`,"alg":"EdDSA"`) + ", algorithm: Ed25519}", "a set with Ed25519 for EdDSA": set(`,"alg":"Ed25519"`) + ", algorithm: EdDSA}",
	} {
		p := newPolicy(t, block)
		for _, c := range []struct {
			token string
			want  Reason
		}{
			{tokenNamed("EdDSA", "k", private), Allowed},
			{tokenNamed("Ed25519", "k", private), Allowed},
			{tokenNamed("Ed25519", "k", keys["ed2"].private.(ed25519.PrivateKey)), SignatureInvalid},
			{tokenNamed("ed25519", "k", private), AlgorithmRefused},
			{tokenNamed("Ed448", "k", private), AlgorithmRefused},
			{tokenNamed("ES256", "k", private), AlgorithmRefused},
			{tokenNamed("none", "k", private), AlgorithmRefused},
		} {
			if got := p.Authorize(request(c.token, "x")).Reason; got != c.want {
				t.Errorf("%s: a token %.40s: %q, want %q", name, c.token, got, c.want)
			}
		}
	}
	// Ed25519 is no name for keys of other algorithms.
	for _, block := range []string{"algorithm: ES256, public_key_file: " + keys["p256"].public, "algorithm: RS256, public_key_file: " + keys["rsa"].public, "algorithm: HS256, secret: " + secret} {
		if got := newPolicy(t, "jwt: {"+block+"}").Authorize(request(tokenNamed("Ed25519", "k", private), "x")).Reason; got != AlgorithmRefused {
			t.Errorf("%s: %q", block, got)
		}
	}
}

// TestKeyRotation shows that a kid selects among configured keys, and nothing else.
func TestKeyRotation(t *testing.T) {
	keys := opensslKeys(t)
	p := newPolicy(t, fmt.Sprintf(`
jwt:
  public_key_file: [%s, %s]
  algorithm: RS256
  keys:
    - {kid: ec, algorithm: ES256, public_key_file: %s}
    - {kid: hs, algorithm: HS256, secret: %s}
    - {algorithm: EdDSA, public_key_file: %s}
`, keys["rsa"].public, keys["rsa2"].public, keys["p256"].public, secret, keys["ed"].public))
	for _, c := range []struct {
		name, algorithm string
		key             any
		kid             string
		want            Reason
	}{
		{"first of two files", "RS256", keys["rsa"].private, "", Allowed},
		{"second of two files", "RS256", keys["rsa2"].private, "", Allowed},
		{"unknown kid and a key without", "RS256", keys["rsa2"].private, "other", Allowed},
		{"kid of the right key", "ES256", keys["p256"].private, "ec", Allowed},
		{"no kid", "ES256", keys["p256"].private, "", Allowed},
		{"secret by kid", "HS256", []byte(secret), "hs", Allowed},
		{"key without kid", "EdDSA", keys["ed"].private, "", Allowed},
		{"kid of a key with another algorithm", "HS256", []byte(secret), "ec", AlgorithmRefused},
		{"unknown kid of a key that has one", "ES256", keys["p256"].private, "other", AlgorithmRefused},
		{"kid with another key", "ES256", keys["p256b"].private, "ec", SignatureInvalid},
		{"no kid with another key", "ES256", keys["p256b"].private, "", SignatureInvalid},
		{"no key of this algorithm", "PS256", keys["rsa"].private, "", AlgorithmRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := p.Authorize(request(signedBy(t, c.algorithm, c.key, c.kid), "x")).Reason; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestPublishedVectors verifies the examples of RFC 7515 (appendix A.3) and RFC 8037
// (appendix A.4), whose claims have expired or are no JSON.
func TestPublishedVectors(t *testing.T) {
	ed := "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	set := `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
		{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`
	es := "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	file := filepath.Join(t.TempDir(), "set.json")
	if err := os.WriteFile(file, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPolicy(t, "jwt: {jwks_file: "+file+"}")
	for _, c := range []struct {
		token string
		at    time.Time
		want  Reason
	}{
		{es, now, Expired}, {es, time.Unix(1300819379, 0), Allowed}, {es[:len(es)-1] + "A", time.Unix(1300819379, 0), SignatureInvalid},
		{ed, now, ClaimsMalformed},
	} {
		q := request(c.token, "x")
		q.Now = c.at
		if got := p.Authorize(q).Reason; got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	for tok, want := range map[string]Reason{ed: Allowed, ed[:len(ed)-1] + "w": SignatureInvalid} {
		w := new(workspace)
		if err := w.token.Parse([]byte(tok)); err != nil {
			t.Fatal(err)
		}
		w.choose(p.verifier.keys.Ring())
		if _, got := w.try(); got != want {
			t.Errorf("the signature: %q, want %q", got, want)
		}
	}
}

// BenchmarkPublicKeys compares a token seen for the first time with its signature alone.
func BenchmarkPublicKeys(b *testing.B) {
	keys := opensslKeys(b)
	for _, c := range []struct{ algorithm, key string }{{"RS256", "rsa"}, {"ES256", "p256"}, {"EdDSA", "ed"}} {
		tok := signedBy(b, c.algorithm, keys[c.key].private, "")
		payload, signature := tok[:strings.LastIndexByte(tok, '.')], tok[strings.LastIndexByte(tok, '.')+1:]
		sig, err := base64.RawURLEncoding.DecodeString(signature)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.algorithm+"/cold", func(b *testing.B) {
			p := newPolicyIn(b, "jwt: {algorithm: "+c.algorithm+", public_key_file: "+keys[c.key].public+"}", NewTokenCache(0, 0))
			q := request(tok, "x")
			b.ReportAllocs()
			for b.Loop() {
				if v := p.Authorize(q); v.Reason != Allowed {
					b.Fatal(v.Reason)
				}
			}
		})
		b.Run(c.algorithm+"/signature", func(b *testing.B) {
			public := keys[c.key].private.(crypto.Signer).Public()
			b.ReportAllocs()
			for b.Loop() {
				ok := false
				sum := sha256.Sum256([]byte(payload))
				switch public := public.(type) {
				case *rsa.PublicKey:
					ok = rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], sig) == nil
				case *ecdsa.PublicKey:
					ok = ecdsaVerify(public, sum[:], sig)
				case ed25519.PublicKey:
					ok = ed25519.Verify(public, []byte(payload), sig)
				}
				if !ok {
					b.Fatal("the signature does not hold")
				}
			}
		})
	}
}

func ecdsaVerify(public *ecdsa.PublicKey, sum, sig []byte) bool {
	return ecdsa.Verify(public, sum, new(big.Int).SetBytes(sig[:len(sig)/2]), new(big.Int).SetBytes(sig[len(sig)/2:]))
}
