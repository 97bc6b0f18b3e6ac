package config

import (
	"crypto"
	"time"

	"yatagarasu/gateway/config/file"
)

// Auth says who may read a bucket.
type Auth struct {
	// Enabled demands a valid token. Default false: the bucket is public.
	Enabled bool

	// JWT is the verifier in effect: the bucket's own, else the global one. Nil
	// exactly when Enabled is false.
	JWT *JWT `form:"-"`

	// Rules refine sub-paths of the bucket; the longest matching Path decides.
	// Empty unless Enabled.
	Rules []AuthRule
}

// AuthRule is the rule for one sub-path of a bucket.
type AuthRule struct {
	// Path is relative to the bucket's prefix and matches whole segments, in the
	// form of Bucket.PathPrefix.
	Path string `form:"path"`

	// Enabled demands a valid token under Path. Default true.
	Enabled bool

	// Claims are the rules that must all hold under Path, beside JWT.Claims. Empty: none.
	Claims []Claim
}

// JWT is a verifier of JSON Web Tokens.
type JWT struct {
	// Sources are where a request carries its token, in order; the first one
	// present decides. Default: SourceBearer alone.
	Sources []TokenSource `key:"token_sources"`

	// Keys are the configured keys: first those of the block itself (secret,
	// public_key_file), then those of its keys list. Empty only with a JWKS.
	Keys []Key

	// JWKSURL or JWKSFile is the source of further keys, at most one of them. The URL
	// is https, or http to a loopback host. Empty: none.
	JWKSURL  string `key:"jwks_url" form:"-"`
	JWKSFile string `key:"jwks_file" form:"-"`

	// JWKSAlgorithm is the one algorithm accepted with keys of the JWKS. Empty: each
	// key's own "alg".
	JWKSAlgorithm string `key:"algorithm" form:"-"`

	// JWKSOptional lets the gateway start without a first copy of JWKSURL.
	// Default false.
	JWKSOptional bool `key:"jwks_optional"`

	// JWKSMaxAge is how long after its last successful fetch the JWKS is trusted. Default
	// 24 h; 0: for good.
	JWKSMaxAge time.Duration `key:"jwks_max_age"`

	// CAFile is a PEM bundle of the authorities trusted for JWKSURL, CA its content,
	// read only where the block is in use. Empty: the system's authorities.
	CAFile string `key:"ca_file" form:"-"`
	CA     []byte `key:"-"`

	// Issuer are the "iss" values accepted. Empty: any.
	Issuer []string

	// Audience are the "aud" values accepted; a token must have one of them. Empty: a
	// token must have no "aud", unless AnyAudience.
	Audience []string `form:"-"`

	// AnyAudience accepts tokens for whomever they are: the word any in the place of
	// Audience. Default false.
	AnyAudience bool `key:"-"`

	// Typ is the "typ" that the header of a token must have, in any case, with or without
	// "application/" (RFC 8725, 3.11). Empty: any, or none.
	Typ string `form:"type of a token"`

	// Leeway is the tolerated difference between clocks. Default 30 s.
	Leeway time.Duration

	// RequireExp refuses tokens without "exp". Default true.
	RequireExp bool

	// Claims are the rules that must all hold. Empty: any valid token will do.
	Claims []Claim
}

// The types of a TokenSource.
const (
	SourceBearer = "bearer" // Authorization: Bearer TOKEN
	SourceHeader = "header" // a header, after an optional prefix
	SourceQuery  = "query"  // a query parameter
	SourceCookie = "cookie" // a cookie
)

// TokenSource is one place of a request that may carry the token.
type TokenSource struct {
	// Type is one of the Source constants.
	Type string `of:"bearer, header, query, cookie"`

	// Name is the header, parameter or cookie; empty for SourceBearer.
	Name string

	// Prefix precedes the token in a header, such as "Token ". Empty: none.
	Prefix string
}

// Key verifies signatures of exactly one algorithm.
type Key struct {
	// ID is the "kid" that selects the key. Empty: the key is tried for tokens
	// whose kid, if any, names no other.
	ID string `key:"kid"`

	// Algorithm is the key's "alg", such as "HS256". Tokens that name another
	// one are not verified with it.
	Algorithm string `form:"-"`

	// Secret is the key of an HS algorithm, never shorter than its hash; empty
	// for the others.
	Secret file.Secret `form:"-"`

	// PublicKeyFile is the PEM file of the public key or certificate of any
	// other algorithm.
	PublicKeyFile string

	// Public is the key of PublicKeyFile, which fits Algorithm. Nil with a Secret, and
	// where no bucket uses the key.
	Public crypto.PublicKey `json:"-" key:"-"`
}

// Claim is one rule on one claim of a token.
type Claim struct {
	// Name is the claim, "a.b" for member b of a.
	Name string `key:"claim"`

	// Operator is one of equals, not_equals, contains, in, not_in, gt, lt, gte,
	// lte, exists and matches.
	Operator string `form:"-"`

	// Value is compared with the claim: a string, bool, json.Number (the exact decimal
	// text) or Template; []any of these for in and not_in; nil for exists. For matches
	// it is a valid RE2 expression, which must match the whole claim.
	Value any
}

// Template is a string that contains values of the request: its parts, joined.
type Template []TemplatePart

// TemplatePart is a literal or one value of the request.
type TemplatePart struct {
	// Literal is the text of the part where Var is empty.
	Literal string

	// Var is "path", "bucket" or "method"; empty for a literal.
	Var string

	// Index is the segment of "path", from 0, among the decoded segments of the object
	// key after the prefix.
	Index int
}
