package token

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Forever is the last time that Unix nanoseconds can hold.
const Forever = int64(1<<63 - 1)

// Date returns a claim that is a date of RFC 7519 section 2, in Unix nanoseconds,
// fractions of a second rounded up or down. Dates that nanoseconds cannot hold
// are the last one that they can. It is ok, too, where there is none.
func (o Object) Date(name string, up bool) (t int64, found, ok bool) {
	v, found := o.Get(name)
	n, _ := v.(Number)
	if !n.Exact {
		return 0, found, !found
	}
	s, fraction, ok := n.seconds()
	if fraction && up {
		s++
	}
	if s >= Forever/int64(time.Second) {
		return Forever, true, ok
	}
	return s * int64(time.Second), true, ok
}

// IssuedBy reports whether "iss" is one of the accepted; any is, if none are named.
func (o Object) IssuedBy(accepted []string) bool {
	issuer, ok := o.Text("iss")
	return len(accepted) == 0 || ok && slices.Contains(accepted, issuer)
}

// MeantFor reports whether "aud", a string or an array of them, has one of the accepted. If
// none are named, no "aud" will do: who does not know what he is called there is not meant
// (RFC 7519, 4.1.3).
func (o Object) MeantFor(accepted []string) bool {
	aud, found := o.Get("aud")
	if len(accepted) == 0 {
		return !found
	}
	list, ok := aud.([]any)
	if !ok {
		list = []any{aud}
	}
	found = false
	for _, v := range list {
		audience, ok := v.(string)
		if !ok {
			return false
		}
		found = found || slices.Contains(accepted, audience)
	}
	return found
}

// Subject returns "sub" if it is a string, its first 256 bytes, and a hash of "iss" and the
// whole of it; 0 where it is absent, empty or no string. issuer counts where there is no "iss".
func (o Object) Subject(issuer string) (sub string, id uint64) {
	const most = 256
	text, _ := o.Text("sub")
	if text == "" {
		return "", 0
	}
	if iss, ok := o.Text("iss"); ok {
		issuer = iss
	}
	both := binary.AppendUvarint(make([]byte, 0, 128), uint64(len(issuer)))
	sum := sha256.Sum256(append(append(both, issuer...), text...)) // nobody can find a second subject with the same id
	return strings.Clone(text[:min(len(text), most)]), max(binary.BigEndian.Uint64(sum[:]), 1)
}
