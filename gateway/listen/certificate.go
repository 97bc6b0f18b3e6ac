package listen

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config"
)

// CertificateInterval is how often the files of the certificate are looked at.
const CertificateInterval = 5 * time.Second

// Certificate is that of the main listener. It is loaded again when its files
// change, as certificate managers do, and by a reload.
type Certificate struct {
	Current atomic.Pointer[tls.Certificate]

	// Used by one goroutine at a time: at start, then by the reloader.
	certPath, keyPath string
	seen              [2]fileState
}

// fileState is what tells one content of a file from another.
type fileState struct {
	modified time.Time
	size     int64
}

// Load reads the files that h names. If it fails, the present certificate stays.
func (c *Certificate) Load(h *config.HTTPS) error {
	seen := statesOf(h)
	pair, err := tls.LoadX509KeyPair(h.CertPath, h.KeyPath)
	if err != nil {
		return fmt.Errorf("cannot load server.https certificate: %w", err)
	}
	c.Current.Store(&pair)
	c.certPath, c.keyPath, c.seen = h.CertPath, h.KeyPath, seen
	return nil
}

// Changed tells whether the files have other contents than when they were loaded.
func (c *Certificate) Changed(h *config.HTTPS) bool {
	return h.CertPath != c.certPath || h.KeyPath != c.keyPath || statesOf(h) != c.seen
}

func statesOf(h *config.HTTPS) (s [2]fileState) {
	for i, path := range []string{h.CertPath, h.KeyPath} {
		if info, err := os.Stat(path); err == nil {
			s[i] = fileState{info.ModTime(), info.Size()}
		}
	}
	return s
}

// ServerTLS returns the configuration of a listener that shows c. TLS 1.2 and
// later, with the cipher suites that crypto/tls holds to be secure.
func (c *Certificate) ServerTLS() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.Current.Load(), nil },
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		// Full records from the start: small ones cost a system call each.
		DynamicRecordSizingDisabled: true,
	}
}
