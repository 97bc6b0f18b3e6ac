package config

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/frontend"
)

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	return must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, bits))
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(curve, rand.Reader))
}

func block(Kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: Kind, Bytes: der})
}

func publicPEM(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	return block("PUBLIC KEY", must[[]byte](t)(x509.MarshalPKIXPublicKey(key)))
}

// certificate returns a self-signed certificate and its key, both PEM.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private := ecKey(t, elliptic.P256())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, private.Public(), private))
	return block("CERTIFICATE", der), block("PRIVATE KEY", must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private)))
}

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// jwtBucket returns a file with one private bucket and the given verifier.
func jwtBucket(jwt string) string {
	return "buckets:\n  - name: a\n    path_prefix: /a\n" +
		"    s3: { bucket: bbb, region: r, access_key: a, secret_key: s }\n" +
		"    auth: { enabled: true, jwt: { " + jwt + " } }\n"
}

func TestPublicKeyFiles(t *testing.T) {
	r := rsaKey(t, 2048)
	p256, p384, p521 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521())
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, certKey := certificate(t)
	x := must[*ecdh.PrivateKey](t)(ecdh.X25519().GenerateKey(rand.Reader))
	for _, c := range []struct {
		name, algorithms string
		data             []byte
		want             string // "": accepted
	}{
		{"RSA", "RS256 RS384 RS512 PS256 PS384 PS512", publicPEM(t, r.Public()), ""},
		{"RSA PKCS1", "RS256", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&r.PublicKey)), ""},
		{"P-256", "ES256", publicPEM(t, p256.Public()), ""},
		{"P-384", "ES384", publicPEM(t, p384.Public()), ""},
		{"P-521", "ES512", publicPEM(t, p521.Public()), ""},
		{"certificate", "ES256", cert, ""},
		{"Ed25519", "EdDSA Ed25519", publicPEM(t, ed), ""},
		{"RSA for another algorithm", "ES256 EdDSA Ed25519", publicPEM(t, r.Public()), "holds an RSA key, which does not fit"},
		{"P-256 for another algorithm", "ES384 ES512 RS256 PS256 EdDSA", publicPEM(t, p256.Public()), "holds an EC key on P-256, which does not fit"},
		{"Ed25519 for another algorithm", "ES256 RS512", publicPEM(t, ed), "holds an Ed25519 key, which does not fit"},
		{"X25519", "EdDSA", publicPEM(t, x.Public()), "holds a key of an unsupported type"},
		{"private key", "ES256", certKey, "holds a private key, which does not belong on the gateway"},
		{"two keys", "RS256", append(publicPEM(t, r.Public()), publicPEM(t, r.Public())...), "holds more than one PEM block"},
		{"another block", "RS256", block("X509 CRL", []byte("x")), "holds no public key"},
		{"broken key", "RS256", block("PUBLIC KEY", []byte("x")), "holds a public key that cannot be read"},
		{"no PEM", "RS256", []byte("0123456789abcdef"), "holds no PEM block"},
		{"too large", "RS256", make([]byte, 1<<20+1), "is larger than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := writeFile(t, "key.pem", c.data)
			for _, algorithm := range strings.Fields(c.algorithms) {
				for _, form := range []string{"public_key_file: %, algorithm: ", "public_key_file: [%], algorithm: "} {
					y := jwtBucket(strings.Replace(form, "%", file, 1) + algorithm)
					if c.want != "" {
						wantError(t, y, c.want)
						continue
					}
					got, err := parseString(y)
					if err != nil {
						t.Errorf("%s: %v", algorithm, err)
					} else if k := got.Buckets[0].Auth.JWT.Keys; len(k) != 1 || k[0].Algorithm != access.CanonicalAlgorithm(algorithm) || k[0].PublicKeyFile != file || access.KeyProblem(k[0].Public, k[0].Algorithm) != "" {
						t.Errorf("got %+v", k)
					}
				}
				y := jwtBucket("keys: [{ kid: k, public_key_file: " + file + ", algorithm: " + algorithm + " }]")
				if _, err := parseString(y); (err == nil) != (c.want == "") {
					t.Errorf("in keys: %v", err)
				}
			}
		})
	}
}

func TestJWKSFile(t *testing.T) {
	file := writeFile(t, "jwks.json", []byte(`{"keys":[{"kty":"OKP"}]}`))
	c, err := parseString(jwtBucket("jwks_file: " + file))
	if err != nil {
		t.Fatal(err)
	}
	if j := c.Buckets[0].Auth.JWT; j.JWKSFile != file || j.JWKSAlgorithm != "" || len(j.Keys) != 0 {
		t.Errorf("got %+v", j)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"keys":[]}`, `{"keys":5}`} {
		wantError(t, jwtBucket("jwks_file: "+writeFile(t, "jwks.json", []byte(bad))), "holds no JWK set")
	}
	wantError(t, jwtBucket("jwks_file: "+file+", algorithm: HS256"), "does not go with jwks_file")
}

func TestCertificateFiles(t *testing.T) {
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	const bucket = "buckets: [{ name: a, path_prefix: /a, s3: { bucket: bbb, region: r, access_key: a, secret_key: s, ca_file: %ca } }]\n"
	file := func(https, ca string) string {
		return "server: { https: { enabled: true, " + https + " } }\n" + strings.Replace(bucket, "%ca", ca, 1)
	}
	certFile, keyFile, otherFile := writeFile(t, "c.pem", cert), writeFile(t, "k.pem", key), writeFile(t, "o.pem", otherKey)
	c, err := parseString(file("cert_path: "+certFile+", key_path: "+keyFile+", redirect_address: \"127.0.0.1:8081\"", certFile))
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.HTTPS != (frontend.HTTPS{Enabled: true, CertPath: certFile, KeyPath: keyFile, RedirectAddress: "127.0.0.1:8081"}) || c.Buckets[0].S3.CAFile != certFile {
		t.Errorf("got %+v", c)
	}
	wantError(t, file("cert_path: "+certFile+", key_path: "+otherFile, certFile), "is not that of the key")
	for address, metrics := range map[string]string{"0.0.0.0:8080": "", "127.0.0.1:9090": "metrics: {enabled: true}\n"} {
		wantError(t, file("cert_path: "+certFile+", key_path: "+keyFile+", redirect_address: \""+address+"\"", certFile)+metrics, "has the port of server.")
	}
	wantError(t, file("cert_path: "+certFile, certFile), "server.https.key_path: is missing")
	wantError(t, file("key_path: "+keyFile, keyFile), "server.https.cert_path: is missing", "holds no certificate")

	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, file("cert_path: "+certFile+", key_path: "+keyFile, pipe), "is a pipe; name a regular file")
}

func TestPastedKeyIsNotShown(t *testing.T) {
	for _, pasted := range []string{"-----BEGIN K7MDENG", `"line\nK7MDENG"`, strings.Repeat("K7MDENG", 50)} {
		wantError(t, jwtBucket("public_key_file: "+pasted+", algorithm: RS256"), "cannot read the file: ")
	}
}

// TestJWTAuthorities checks the authorities for a key set as those for an origin.
func TestJWTAuthorities(t *testing.T) {
	cert, key := certificate(t)
	good := writeFile(t, "ca.pem", cert)
	for _, c := range []struct{ name, jwt, want string }{
		{"good", "jwks_url: https://issuer.example/keys, ca_file: " + good, ""},
		{"an absolute name", "jwks_url: https://issuer.example./keys, ca_file: " + good, ""},
		{"missing", "jwks_url: https://issuer.example/keys, ca_file: /absent/ca.pem", "ca_file: cannot read"},
		{"a folder", "jwks_url: https://issuer.example/keys, ca_file: " + t.TempDir(), "ca_file: "},
		{"a key", "jwks_url: https://issuer.example/keys, ca_file: " + writeFile(t, "key.pem", key), "holds no certificate; name a PEM file with one or more CERTIFICATE blocks"},
		{"plain HTTP", "jwks_url: http://127.0.0.1/keys, ca_file: " + good, "ca_file: has no effect: the jwks_url is http; remove it, or make the jwks_url https"},
		{"plain HTTP to an absolute name", "jwks_url: http://localhost./keys, ca_file: " + good, "ca_file: has no effect: the jwks_url is http"},
		{"a file of keys", "jwks_file: /absent, ca_file: " + good, "ca_file: has no effect without jwks_url or issuer_url; remove it"},
		{"a secret", "secret: 0123456789abcdef0123456789abcdef, algorithm: HS256, ca_file: " + good, "ca_file: has no effect without jwks_url or issuer_url; remove it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			global := "jwt: { " + c.jwt + " }\n" + strings.Replace(jwtBucket(""), ", jwt: {  }", "", 1)
			for path, yaml := range map[string]string{"buckets[0].auth.jwt.": jwtBucket(c.jwt), "jwt.": global} {
				got, err := parseString(yaml)
				if c.want == "" {
					if err != nil || string(got.Buckets[0].Auth.JWT.CA) != string(cert) {
						t.Errorf("%v", err)
					}
				} else if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path+"ca_file: ") {
					t.Errorf("got %v, want %s", err, c.want)
				}
			}
			off := "jwt: { enabled: false, jwks_url: https://issuer.example/keys, ca_file: /absent/ca.pem }\n" + nameFile("a")
			if _, err := parseString(off); err != nil {
				t.Errorf("a file that is not used is opened: %v", err)
			}
		})
	}
}
