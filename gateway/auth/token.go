package auth

import (
	"bytes"
	"encoding/base64"

	"github.com/cristalhq/jwt/v5"
)

// MaxTokenLen is the length in bytes up to which a token is looked at.
const MaxTokenLen = 8 << 10

// token is a JWS in compact serialisation (RFC 7515, 7.1), taken apart: its
// signature is not verified. The zero value is ready for parse; reused, it keeps
// its buffers.
type token struct {
	parsed *jwt.Token // aliases what parse was given
	alg    []byte
	kid    []byte // empty if there is none
	claims []byte // decoded, JSON or not

	head   []byte // the header's part of the token that was read last, encoded
	header document
}

// parse takes raw apart. Of the header, "alg" and "kid" are used; "crit" is
// refused, whatever it names (RFC 7515, 4.1.11); what brings or locates a key
// ("jwk", "jku", "x5u", "x5c") is ignored.
func (t *token) parse(raw []byte) Reason {
	t.parsed, t.claims = nil, nil
	if len(raw) > MaxTokenLen {
		return TokenTooLong
	}
	// The library's decoder skips line breaks and bits that mean nothing. A third
	// dot would be in the middle part, which it cannot decode then.
	dot1, dot2 := bytes.IndexByte(raw, '.'), bytes.LastIndexByte(raw, '.')
	if dot1 <= 0 || dot2 <= dot1+1 || bytes.IndexByte(raw, '\n') >= 0 || bytes.IndexByte(raw, '\r') >= 0 ||
		!canonical(raw[:dot1]) || !canonical(raw[dot1+1:dot2]) || !canonical(raw[dot2+1:]) {
		return TokenMalformed
	}
	parsed, err := jwt.ParseNoVerify(raw)
	if err != nil {
		return TokenMalformed
	}
	// Tokens of one issuer have the same header: it is read once.
	if !bytes.Equal(t.head, raw[:dot1]) {
		t.head, t.alg, t.kid = t.head[:0], nil, nil
		header, err := strict.DecodeString(string(raw[:dot1]))
		if err != nil || t.header.decode(header) != nil {
			return TokenMalformed
		}
		if r := t.readHeader(); r != Allowed {
			return r
		}
		t.head = append(t.head, raw[:dot1]...)
	}
	t.parsed, t.claims = parsed, parsed.Claims()
	return Allowed
}

var strict = base64.RawURLEncoding.Strict()

// canonical reports whether the last, incomplete group of a part of base64url has
// no bits that mean nothing: there is one way to write a token. Bytes outside of
// the alphabet are left to the decoder.
func canonical(part []byte) bool {
	switch len(part) % 4 {
	case 0:
		return true
	case 2:
		return sixBits[part[len(part)-1]]&0b1111 == 0
	case 3:
		return sixBits[part[len(part)-1]]&0b11 == 0
	}
	return false
}

// sixBits has the value of each byte of the alphabet (RFC 4648, 5).
var sixBits = func() (t [256]uint8) {
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		t[c] = uint8(i)
	}
	return t
}()

// readHeader takes out of the header what is used.
func (t *token) readHeader() Reason {
	h := &t.header
	if h.member(0, "crit") != 0 {
		return CriticalHeader
	}
	alg := h.member(0, "alg")
	if alg == 0 || h.nodes[alg].kind != kindString {
		return TokenMalformed
	}
	t.alg = h.nodes[alg].text
	if kid := h.member(0, "kid"); kid != 0 {
		if h.nodes[kid].kind != kindString {
			return TokenMalformed
		}
		t.kid = h.nodes[kid].text
	}
	return Allowed
}
