// Package token reads what a JSON Web Token (RFC 7519) says: its header, its signature and its
// claims, strictly. Who signed it, and what follows from it, is for others to judge.
package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
)

// MaxLen is the length in bytes up to which a token is looked at.
const MaxLen = 8 << 10

// The errors of Parse.
var (
	ErrTooLong   = errors.New("the token is longer than 8 KiB")
	ErrMalformed = errors.New("no signed JWT in compact form, or a bad header")
	ErrCritical  = errors.New("the header has \"crit\"")
)

// Token is a JWS in compact serialisation (RFC 7515, 7.1), parsed, its signature not
// verified. The zero value is ready for Parse; reused, it keeps its buffers. Not safe for
// concurrent use.
type Token struct {
	Raw       []byte // what Parse was given; Payload is a part of it
	Payload   []byte // what is signed
	Signature []byte // decoded
	Alg       string
	Kid       string // empty if there is none
	Typ       string // likewise

	claims  []byte  // decoded, JSON or not
	head    []byte  // the last header, encoded
	decoder Decoder // of header and claims
}

// Parse parses raw, which t keeps until Forget. It uses "alg", "kid" and "typ" of the
// header, refuses "crit", whatever that names (RFC 7515, 4.1.11), and ignores members with or
// about keys ("jwk", "jku", "x5u", "x5c").
func (t *Token) Parse(raw []byte) error {
	if len(raw) > MaxLen {
		return ErrTooLong
	}
	dot1, dot2 := bytes.IndexByte(raw, '.'), bytes.LastIndexByte(raw, '.')                                                            // a further dot is no base64url
	if !bytes.HasPrefix(raw, []byte("eyJ")) || dot2 <= dot1+1 || bytes.IndexByte(raw, '\r') >= 0 || bytes.IndexByte(raw, '\n') >= 0 { // which decoders skip
		return ErrMalformed
	}
	var err, err2 error
	t.claims, err = strict.AppendDecode(t.claims[:0], raw[dot1+1:dot2])
	t.Signature, err2 = strict.AppendDecode(t.Signature[:0], raw[dot2+1:])
	if err != nil || err2 != nil {
		return ErrMalformed
	}
	// Tokens of one issuer have the same header: it is read once.
	if header := raw[:dot1]; !bytes.Equal(t.head, header) {
		t.head = t.head[:0]
		if err := t.readHeader(header); err != nil {
			return err
		}
		t.head = append(t.head, header...)
	}
	t.Raw, t.Payload = raw, raw[:dot2]
	return nil
}

// IsCompact reports whether raw has the form of a JWS in compact serialisation, whatever its parts are:
// a JSON object in base64url, and two parts more.
func IsCompact(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte("eyJ")) && bytes.Count(raw, []byte{'.'}) == 2
}

// Forget lets go of what Parse was given.
func (t *Token) Forget() { t.Raw, t.Payload = nil, nil }

// Claims returns the claims of these names, without any all, as Decoder.Object does. They are
// valid until the next call of Parse or Claims.
func (t *Token) Claims(names ...string) (Object, error) { return t.decoder.Object(t.claims, names...) }

// IsType reports whether "typ" names this media type.
func (t *Token) IsType(typ string) bool { return strings.EqualFold(subtype(t.Typ), subtype(typ)) }

// subtype returns a media type without "application/", which a header may leave out
// (RFC 7515, 4.1.9).
func subtype(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

// strict refuses stray bits at the end of a part: there is one way to write a token.
var strict = base64.RawURLEncoding.Strict()

// readHeader sets Alg, Kid and Typ from a header.
func (t *Token) readHeader(part []byte) error {
	data, err := strict.DecodeString(string(part))
	if err != nil {
		return ErrMalformed
	}
	header, err := t.decoder.Object(data, "crit", "alg", "kid", "typ", "cty")
	if err != nil {
		return ErrMalformed
	}
	if _, found := header.Get("crit"); found {
		return ErrCritical
	}
	var ok bool
	if t.Alg, ok = header.Text("alg"); !ok {
		return ErrMalformed
	}
	for i := range header {
		if _, ok := header[i].Value.(string); !ok { // "crit" is not there, the others are texts
			return ErrMalformed
		}
	}
	t.Kid, _ = header.Text("kid")
	t.Typ, _ = header.Text("typ")
	return nil
}
