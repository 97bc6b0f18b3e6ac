package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFileAdvice has the advice for each cause of an unreadable file.
func TestFileAdvice(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := os.Symlink("circle", at("circle")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, says string }{
		{"absent", at("absent"), "no such file or directory; check the path"},
		{"in a file", at("file/ca.pem"), "not a directory; check the path: one of its folders is a file"},
		{"a folder", dir, "is a folder; name the file in it"},
		{"a pipe", at("pipe"), "is a pipe; name a regular file"},
		{"a socket", at("socket"), "is a socket; name a regular file"},
		{"a device", "/dev/null", "is a device; name a regular file"},
		{"a circle", at("circle"), "check the symbolic links"},
		{"a long name", "/" + strings.Repeat("x", 300), "write a path"},
		{"no certificate", at("file"), "holds no certificate; name a PEM file"},
	} {
		for key, yaml := range map[string]string{
			"s3.ca_file":  "buckets: [{ name: a, path_prefix: /a, s3: { bucket: bbb, region: r, access_key: a, secret_key: s, ca_file: %q } }]\n",
			"jwt.ca_file": jwtBucket("jwks_url: https://issuer.example/keys, ca_file: %q"),
		} {
			if _, err := parseString(fmt.Sprintf(yaml, c.path)); err == nil || !strings.Contains(err.Error(), key+": ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %s", c.name, err, c.says)
			}
		}
	}
}

// TestPairAdvice has the advice for each cause of a certificate and a key that do not go
// together.
func TestPairAdvice(t *testing.T) {
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	old := []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n")
	for _, c := range []struct {
		name      string
		cert, key []byte
		says      string
	}{
		{"swapped", key, cert, "swap cert_path and key_path"},
		{"no certificate", []byte("x"), key, "cert_path: \"C\" holds no certificate"},
		{"a key in place of the certificate", key, key, "cert_path: \"C\" holds no certificate"},
		{"no key", cert, []byte("x"), "key_path: \"K\" holds no private key"},
		{"a certificate in place of the key", cert, cert, "key_path: \"K\" holds no private key"},
		{"an encrypted key", cert, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "key_path: \"K\" is encrypted; name a file with the key decrypted"},
		{"a key encrypted in the old way", cert, old, "key_path: \"K\" is encrypted"},
		{"another key", cert, otherKey, "cert_path: the certificate \"C\" is not that of the key \"K\"; put the leaf first in the chain, and name its own key"},
		{"a broken certificate", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), key, "do not load as a pair; have both written again as PEM"},
	} {
		c1, k1 := writeFile(t, "c.pem", c.cert), writeFile(t, "k.pem", c.key)
		_, err := parseString("server: { https: { enabled: true, cert_path: " + c1 + ", key_path: " + k1 + " } }\n" + nameFile("a"))
		if err == nil {
			t.Errorf("%s: it is accepted", c.name)
			continue
		}
		if got := strings.NewReplacer(c1, "C", k1, "K").Replace(err.Error()); !strings.Contains(got, c.says) || strings.Contains(got, "\n") {
			t.Errorf("%s: %s, want %s", c.name, got, c.says)
		}
	}
}
