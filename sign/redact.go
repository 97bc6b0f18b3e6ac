package sign

import (
	"fmt"
	"io"
)

// String returns the region; the credential is masked.
func (s *Signer) String() string {
	if s.anonymous {
		return "sign.Signer{anonymous}"
	}
	return "sign.Signer{Region: " + s.cred.Region + ", credential: ***}"
}

// Format writes String for every verb: none shows the credential.
func (s *Signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String returns the region; the credential is masked.
func (o Options) String() string { return "sign.Options{Region: " + o.Region + ", credential: ***}" }

// Format writes String for every verb: none shows the credential.
func (o Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// MarshalText returns String, which keeps secrets out of JSON, YAML and slog.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }
