package file

import "fmt"

// Masked is the text in place of a Secret.
const Masked = "***"

// Secret is a string that no formatter, logger or encoder prints: all of them
// get "***". The zero value is the empty secret. Two Secrets compare with ==,
// which takes no constant time.
type Secret struct{ value string }

// NewSecret returns the secret whose value is s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal returns the value. Its result must not reach a log, an error or a
// response.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.value == "" }

// String returns "***".
func (s Secret) String() string { return Masked }

// GoString returns "***".
func (s Secret) GoString() string { return Masked }

// Format writes "***" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Masked)) }

// MarshalText returns "***".
func (s Secret) MarshalText() ([]byte, error) { return []byte(Masked), nil }
