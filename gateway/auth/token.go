package auth

import (
	"bytes"
	"encoding/base64"
)

// MaxTokenLen is the length in bytes up to which a token is looked at.
const MaxTokenLen = 8 << 10

// token is a JWS in compact serialisation (RFC 7515, 7.1), parsed, its signature not
// verified. The zero value is ready for parse; reused, it keeps its buffers. Not safe for
// concurrent use.
type token struct {
	raw       []byte // what parse was given; the payload is a part of it
	payload   []byte // what is signed
	signature []byte // decoded
	claims    []byte // decoded, JSON or not
	alg       string
	kid       string // empty if there is none
	typ       string // likewise

	head    []byte  // the last header, encoded
	decoder decoder // of header and claims
}

// parse parses raw, which t keeps until forget. It uses "alg", "kid" and "typ" of the
// header, refuses "crit", whatever that names (RFC 7515, 4.1.11), and ignores members with or
// about keys ("jwk", "jku", "x5u", "x5c").
func (t *token) parse(raw []byte) Reason {
	if len(raw) > MaxTokenLen {
		return TokenTooLong
	}
	dot1, dot2 := bytes.IndexByte(raw, '.'), bytes.LastIndexByte(raw, '.')                                                            // a further dot is no base64url
	if !bytes.HasPrefix(raw, []byte("eyJ")) || dot2 <= dot1+1 || bytes.IndexByte(raw, '\r') >= 0 || bytes.IndexByte(raw, '\n') >= 0 { // which decoders skip
		return TokenMalformed
	}
	var err, err2 error
	t.claims, err = strict.AppendDecode(t.claims[:0], raw[dot1+1:dot2])
	t.signature, err2 = strict.AppendDecode(t.signature[:0], raw[dot2+1:])
	if err != nil || err2 != nil {
		return TokenMalformed
	}
	// Tokens of one issuer have the same header: it is read once.
	if header := raw[:dot1]; !bytes.Equal(t.head, header) {
		t.head = t.head[:0]
		if r := t.readHeader(header); r != Allowed {
			return r
		}
		t.head = append(t.head, header...)
	}
	t.raw, t.payload = raw, raw[:dot2]
	return Allowed
}

// forget lets go of what parse was given.
func (t *token) forget() { t.raw, t.payload = nil, nil }

// strict refuses stray bits at the end of a part: there is one way to write a token.
var strict = base64.RawURLEncoding.Strict()

// readHeader sets alg and kid from a header.
func (t *token) readHeader(part []byte) Reason {
	data, err := strict.DecodeString(string(part))
	if err != nil {
		return TokenMalformed
	}
	header, err := t.decoder.object(data, "crit", "alg", "kid", "typ", "cty")
	if err != nil {
		return TokenMalformed
	}
	if _, found := header.get("crit"); found {
		return CriticalHeader
	}
	var ok bool
	if t.alg, ok = header.text("alg"); !ok {
		return TokenMalformed
	}
	for i := range header {
		if _, ok := header[i].value.(string); !ok { // "crit" is not there, the others are texts
			return TokenMalformed
		}
	}
	t.kid, _ = header.text("kid")
	t.typ, _ = header.text("typ")
	return Allowed
}
