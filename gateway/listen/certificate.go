package listen

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config/frontend"
)

// CertificateInterval is the time between two looks at the certificate's files.
const CertificateInterval = 5 * time.Second

// Certificate is the certificate of the main listener. It is loaded again when a certificate
// manager changes its files, and by a reload. The zero value has none yet. Current is safe for
// concurrent use.
type Certificate struct {
	Current atomic.Pointer[tls.Certificate]

	// files is the state of the files when they were loaded. Not safe for concurrent use: it
	// belongs to the start, then to the reloader.
	files string
}

// Load reads the files that h names. If it fails, the present certificate stays.
func (c *Certificate) Load(h *frontend.HTTPS) error {
	files := statOf(h)
	pair, err := tls.LoadX509KeyPair(h.CertPath, h.KeyPath)
	if err != nil {
		return fmt.Errorf("cannot load server.https certificate: %w", err)
	}
	c.Current.Store(&pair)
	c.files = files
	return nil
}

// Changed returns whether the files of h are others than those loaded.
func (c *Certificate) Changed(h *frontend.HTTPS) bool {
	return statOf(h) != c.files
}

// statOf returns the names, times and sizes of the files, which tell one content from another.
func statOf(h *frontend.HTTPS) (all string) {
	for _, path := range []string{h.CertPath, h.KeyPath} {
		all += path
		if info, err := os.Stat(path); err == nil {
			all += fmt.Sprintln("", info.ModTime().UnixNano(), info.Size())
		}
	}
	return all
}

// TLSConfig returns the configuration of a listener with c: TLS 1.2 and later, with the cipher
// suites that crypto/tls holds to be secure.
func (c *Certificate) TLSConfig() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.Current.Load(), nil },
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		// Full records from the start: small ones cost a system call each.
		DynamicRecordSizingDisabled: true,
	}
}
