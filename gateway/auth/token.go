package auth

import (
	"bytes"
	"encoding/base64"

	"github.com/cristalhq/jwt/v5"
)

// MaxTokenLen is the length in bytes up to which a token is looked at.
const MaxTokenLen = 8 << 10

// token is a JWS in compact serialisation (RFC 7515, 7.1), parsed, its signature not
// verified. The zero value is ready for parse; reused, it keeps its buffers. Not safe for
// concurrent use.
type token struct {
	parsed *jwt.Token // aliases what parse was given
	alg    string
	kid    string // empty if there is none
	claims []byte // decoded, JSON or not

	head    []byte  // the last header, encoded
	decoder decoder // of header and claims
}

// parse parses raw. It uses "alg" and "kid" of the header, refuses "crit", whatever that
// names (RFC 7515, 4.1.11), and ignores members with or about keys ("jwk", "jku", "x5u",
// "x5c").
func (t *token) parse(raw []byte) Reason {
	t.parsed, t.claims = nil, nil
	if len(raw) > MaxTokenLen {
		return TokenTooLong
	}
	header, rest, _ := bytes.Cut(raw, []byte("."))
	claims, signature, ok := bytes.Cut(rest, []byte("."))
	if !ok || len(claims) == 0 || bytes.IndexByte(raw, '\r') >= 0 || bytes.IndexByte(raw, '\n') >= 0 { // which decoders skip
		return TokenMalformed
	}
	for _, part := range [...][]byte{header, claims, signature} {
		var last [3]byte
		if _, err := strict.Decode(last[:], part[len(part)&^3:]); err != nil {
			return TokenMalformed
		}
	}
	parsed, err := jwt.ParseNoVerify(raw) // which refuses a further dot
	if err != nil {
		return TokenMalformed
	}
	// Tokens of one issuer have the same header: it is read once.
	if !bytes.Equal(t.head, header) {
		t.head = t.head[:0]
		if r := t.readHeader(header); r != Allowed {
			return r
		}
		t.head = append(t.head, header...)
	}
	t.parsed, t.claims = parsed, parsed.Claims()
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
	if _, found := header.get("crit"); found {
		return CriticalHeader
	}
	var ok bool
	if t.alg, ok = header.text("alg"); !ok {
		return TokenMalformed
	}
	_, found := header.get("kid")
	if t.kid, ok = header.text("kid"); found && !ok {
		return TokenMalformed
	}
	return Allowed
}
