package config

import (
	"strings"
	"testing"
)

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

func TestProxiesWithoutTrust(t *testing.T) {
	for _, key := range []string{"forwarded_header: forwarded", "proxy_protocol: true"} {
		wantError(t, "server: {"+key+"}\n"+nameFile("a"), "has no effect without trusted_proxies")
	}
}
