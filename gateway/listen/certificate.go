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
// change, as certificate managers do, and by a reload. The zero value has none yet.
type Certificate struct {
	Current atomic.Pointer[tls.Certificate]

	// files is what the files were when they were loaded. Used by one goroutine at a time:
	// at start, then by the reloader.
	files string
}

// Load reads the files that h names. If it fails, the present certificate stays.
func (c *Certificate) Load(h *config.HTTPS) error {
	files := statOf(h)
	pair, err := tls.LoadX509KeyPair(h.CertPath, h.KeyPath)
	if err != nil {
		return fmt.Errorf("cannot load server.https certificate: %w", err)
	}
	c.Current.Store(&pair)
	c.files = files
	return nil
}

// Changed tells whether the files have other contents than when they were loaded.
func (c *Certificate) Changed(h *config.HTTPS) bool {
	return statOf(h) != c.files
}

// statOf returns the names, times and sizes of the files, which tell one content from another.
func statOf(h *config.HTTPS) (all string) {
	for _, path := range []string{h.CertPath, h.KeyPath} {
		all += path
		if info, err := os.Stat(path); err == nil {
			all += fmt.Sprintln("", info.ModTime().UnixNano(), info.Size())
		}
	}
	return all
}

// TLSConfig returns the configuration of a listener that shows c. TLS 1.2 and
// later, with the cipher suites that crypto/tls holds to be secure.
func (c *Certificate) TLSConfig() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.Current.Load(), nil },
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		// Full records from the start: small ones cost a system call each.
		DynamicRecordSizingDisabled: true,
	}
}
