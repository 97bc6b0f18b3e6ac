package auth

import (
	"errors"

	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/token"
)

// Reason is why a request may or may not read, for log and metrics. The zero value is
// Allowed.
type Reason uint8

// The reasons.
const (
	Allowed           Reason = iota
	TokenMissing             // no source of the policy carries a token
	TokenTwice               // the source that decides carries more than one
	TokenTooLong             // over token.MaxLen
	TokenMalformed           // no JWS in compact form, or a bad header
	CriticalHeader           // the header has "crit"
	AlgorithmRefused         // no configured key has the token's "alg"
	KeyUnknown               // no configured key has the token's "kid"
	KeysUnavailable          // the keys were not fetched yet, or are too old
	SignatureInvalid         // no key verifies the signature
	ClaimsMalformed          // the claims are no strict JSON object
	ExpiryMissing            // "exp" is not there
	DateInvalid              // "exp", "nbf" or "iat" is no date
	Expired                  // past "exp"
	NotYetValid              // before "nbf"
	IssuedInFuture           // before "iat"
	IssuerRefused            // "iss" is no configured issuer
	AudienceRefused          // "aud" has no configured audience
	TypeRefused              // "typ" is not the configured one
	ClaimRefused             // a claim rule of the verifier does not hold
	PathClaimRefused         // a claim rule of the sub-path does not hold
	TooManyFailures          // too many tokens of the client were invalid lately
	VerifiersBusy            // too many tokens wait to be verified
	TokenInactive            // the issuer says that the token is not good
	IssuerUnavailable        // the issuer did not say whether it is
	NumReasons        = iota // how many there are
)

// Answer is the class of a response.
type Answer uint8

// The answers (RFC 6750, 3.1).
const (
	Grant             Answer = iota
	Challenge                // 401: a token is needed
	InvalidToken             // 403, error="invalid_token"
	InsufficientScope        // 403, error="insufficient_scope"
	Unavailable              // 503: nobody can be let in now
	Later                    // 429 or 503: the token was not verified
)

// reasons has the name, the answer and the text for the command line of each Reason.
var reasons = [NumReasons]struct {
	name   string
	answer Answer
	text   string
}{
	Allowed:           {"", Grant, "the token is valid and all claim rules hold"},
	TokenMissing:      {"token_missing", Challenge, "no token source of the bucket carries a token"},
	TokenTwice:        {"token_twice", InvalidToken, "the source carries two tokens"},
	TokenTooLong:      {"token_too_long", InvalidToken, "the token is longer than 8 KiB"},
	TokenMalformed:    {"token_malformed", InvalidToken, "the token is no signed JWT in compact form, or its header is no strict JSON"},
	CriticalHeader:    {"critical_header", InvalidToken, "the header has \"crit\", of which no extension is supported"},
	AlgorithmRefused:  {"algorithm_refused", InvalidToken, "no configured key is for the token's \"alg\""},
	KeyUnknown:        {"key_unknown", InvalidToken, "no configured key has the token's \"kid\""},
	KeysUnavailable:   {"keys_unavailable", Unavailable, "the key set could not be fetched yet, or not for longer than jwt.jwks_max_age"},
	SignatureInvalid:  {"signature_invalid", InvalidToken, "no key bears the signature out"},
	ClaimsMalformed:   {"claims_malformed", InvalidToken, "the claims are no strict JSON object: duplicate names, bad UTF-8 or more than 16 levels"},
	ExpiryMissing:     {"expiry_missing", InvalidToken, "the token has no \"exp\"; jwt.require_exp: false would accept that"},
	DateInvalid:       {"date_invalid", InvalidToken, "\"exp\", \"nbf\" or \"iat\" is no number of seconds in range"},
	Expired:           {"expired", InvalidToken, "the token has expired"},
	NotYetValid:       {"not_yet_valid", InvalidToken, "the token is not valid yet (\"nbf\")"},
	IssuedInFuture:    {"issued_in_future", InvalidToken, "the token was issued in the future (\"iat\")"},
	IssuerRefused:     {"issuer_refused", InvalidToken, "\"iss\" is not a configured issuer"},
	AudienceRefused:   {"audience_refused", InvalidToken, "\"aud\" has no configured audience"},
	TypeRefused:       {"type_refused", InvalidToken, "\"typ\" in the header is not the configured one"},
	ClaimRefused:      {"claim_refused", InsufficientScope, "a claim rule does not hold"},
	PathClaimRefused:  {"path_claim_refused", InsufficientScope, "a claim rule of the sub-path does not hold"},
	TooManyFailures:   {"token_failures", Later, "too many tokens of the client were invalid lately"},
	VerifiersBusy:     {"verifiers_busy", Later, "too many tokens wait to be verified"},
	TokenInactive:     {"token_inactive", InvalidToken, "the issuer says that the token is not active: it does not know it, or it has expired or was revoked"},
	IssuerUnavailable: {"issuer_unavailable", Unavailable, "the issuer did not say whether the token is active"},
}

// refusal returns the Reason for what another room says of a token; Allowed for nothing.
func refusal(err error) Reason {
	switch {
	case err == nil:
		return Allowed
	case errors.Is(err, token.ErrTooLong):
		return TokenTooLong
	case errors.Is(err, token.ErrCritical):
		return CriticalHeader
	case errors.Is(err, token.ErrJSON):
		return ClaimsMalformed
	case errors.Is(err, keys.ErrAlgorithm):
		return AlgorithmRefused
	case errors.Is(err, keys.ErrUnknown):
		return KeyUnknown
	}
	return TokenMalformed
}

// String returns the name of r: a word for log and metrics, empty for Allowed.
func (r Reason) String() string { return reasons[r].name }

// Answer returns how a request is answered for r.
func (r Reason) Answer() Answer { return reasons[r].answer }
