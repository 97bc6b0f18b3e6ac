package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate writes a self-signed certificate and its key for loopback.
func writeCertificate(t *testing.T) (certPath, keyPath string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certPath, keyPath = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certPath: {Type: "CERTIFICATE", Bytes: der}, keyPath: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certPath, keyPath
}

// withTLS turns https on in a configuration of oneBucket.
func withTLS(t *testing.T, yaml string) string {
	cert, key := writeCertificate(t)
	return strings.Replace(yaml, "ready: config}", fmt.Sprintf("ready: config, https: {enabled: true, cert_path: %q, key_path: %q}}", cert, key), 1)
}

func TestTLS(t *testing.T) {
	large := strings.Repeat("0123456789", 50_000)
	origin := httptest.NewTLSServer(serveText(large))
	defer origin.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: origin.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	gw := startGateway(t, withTLS(t, oneBucket("/pub", origin.URL, fmt.Sprintf("ca_file: %q", ca))))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()

	for _, rng := range []string{"", "bytes=0-99", "bytes=1000-"} {
		req, _ := http.NewRequest("GET", "https://"+gw.addr+"/pub/x", nil)
		want := large
		switch rng {
		case "bytes=0-99":
			want = large[:100]
		case "bytes=1000-":
			want = large[1000:]
		}
		if rng != "" {
			req.Header.Set("Range", rng)
		}
		r, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || string(body) != want || r.ProtoMajor != 1 {
			t.Errorf("%q: %d bytes, want %d, HTTP/%d, %v", rng, len(body), len(want), r.ProtoMajor, err)
		}
	}
	t.Run("TLS 1.1 is refused", func(t *testing.T) {
		c, err := tls.Dial("tcp", gw.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11})
		if err == nil {
			c.Close()
			t.Error("a handshake with TLS 1.1 succeeds")
		}
	})
	t.Run("a silent client is cut by the header timeout", func(t *testing.T) {
		quick := startGateway(t, withTLS(t, oneBucket("/pub", origin.URL)), func(o *Options) { o.HeaderTimeout = 200 * time.Millisecond })
		c := dial(t, quick.addr)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("the connection stays open: %v", err)
		}
	})
	t.Run("an origin under another authority is refused", func(t *testing.T) {
		other, _ := writeCertificate(t)
		gw := startGateway(t, oneBucket("/pub", origin.URL, fmt.Sprintf("ca_file: %q", other)))
		if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 502 {
			t.Errorf("status %d, body %s", r.StatusCode, body)
		}
		gw.log.waitFor(t, `"reason":"tls"`)
	})
}
