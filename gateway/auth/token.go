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
	alg       string
	kid       string // empty if there is none
	claims    []byte // decoded, JSON or not
	payload   string // the signed text
	signature []byte

	head    []byte  // the last header, encoded
	decoder decoder // of header and claims
}

// parse parses raw. It uses "alg" and "kid" of the header, refuses "crit", whatever that
// names (RFC 7515, 4.1.11), and ignores members with or about keys ("jwk", "jku", "x5u",
// "x5c").
func (t *token) parse(raw []byte) Reason {
	if len(raw) > MaxTokenLen {
		return TokenTooLong
	}
	parts := bytes.Split(raw, []byte("."))
	if len(parts) != 3 || len(parts[0]) == 0 || len(parts[1]) == 0 || bytes.ContainsAny(raw, "\r\n") { // which decoders skip
		return TokenMalformed
	}
	var err1, err2 error
	t.claims, err1 = strict.AppendDecode(t.claims[:0], parts[1])
	t.signature, err2 = strict.AppendDecode(t.signature[:0], parts[2])
	if err1 != nil || err2 != nil {
		return TokenMalformed
	}
	// Tokens of one issuer have the same header: it is read once.
	if !bytes.Equal(t.head, parts[0]) {
		t.head = t.head[:0]
		if r := t.readHeader(parts[0]); r != Allowed {
			return r
		}
		t.head = append(t.head, parts[0]...)
	}
	t.payload = string(raw[:bytes.LastIndexByte(raw, '.')])
	return Allowed
}

// strict refuses stray bits at the end of a part: there is one way to write a token.
var strict = base64.RawURLEncoding.Strict()

// readHeader sets alg and kid from a header.
func (t *token) readHeader(part []byte) Reason {
	data, err := strict.DecodeString(string(part))
	if err != nil {
		return TokenMalformed
	}
	header, err := t.decoder.object(data, "crit", "alg", "kid")
	if err != nil {
		return TokenMalformed
	}
	if _, ok := header["crit"]; ok {
		return CriticalHeader
	}
	var ok bool
	if t.alg, ok = header["alg"].(string); !ok {
		return TokenMalformed
	}
	kid, found := header["kid"]
	if t.kid, ok = kid.(string); found && !ok {
		return TokenMalformed
	}
	return Allowed
}
