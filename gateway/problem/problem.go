// Package problem has the gateway's own answers: status, code, message and challenge, and the
// body that they are written as. A code never changes: programs rely on it.
package problem

import (
	"errors"
	"net"

	"github.com/valyala/fasthttp"
)

// Problem is an answer of the gateway's own. It is shared between requests and never changes.
type Problem struct {
	Status     int
	Code       string // `error` of the body: stable, for programs
	Message    string // for people; never the origin's words
	Reason     string // for log and metrics; empty: Code
	RetryAfter int    // seconds; 0: no Retry-After
	Close      bool   // the connection cannot be trusted any more
	Challenge  string // WWW-Authenticate; empty: none
}

// The gateway's own answers.
var (
	NoRoute            = &Problem{Status: fasthttp.StatusNotFound, Code: "no_route", Message: "no bucket is mounted at this path"}
	NoKey              = &Problem{Status: fasthttp.StatusForbidden, Code: "no_object_key", Message: "the path names no object; listings are not offered"}
	NoFolder           = &Problem{Status: fasthttp.StatusNotFound, Code: "not_found", Message: "there is nothing in this folder", Reason: "no_such_folder"}
	ListingDenied      = &Problem{Status: fasthttp.StatusForbidden, Code: "listing_denied", Message: "the origin does not let the gateway list this folder"}
	EmptySegment       = &Problem{Status: fasthttp.StatusBadRequest, Code: "empty_segment", Message: "the object key begins with a slash, or has two in a row; this bucket has no such keys"}
	Method             = &Problem{Status: fasthttp.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "only GET and HEAD are allowed"}
	PageOrigin         = &Problem{Status: fasthttp.StatusForbidden, Code: "cors_refused", Message: "pages of this origin may not read this; cors.origins of the bucket lists those that may", Reason: "cors_origin"}
	PageMethod         = &Problem{Status: fasthttp.StatusForbidden, Code: "cors_refused", Message: "pages may only GET and HEAD", Reason: "cors_method"}
	PageHeaders        = &Problem{Status: fasthttp.StatusForbidden, Code: "cors_refused", Message: "pages may not send one of these headers; cors.headers of the bucket lists those that they may", Reason: "cors_headers"}
	HTTPS              = &Problem{Status: fasthttp.StatusPermanentRedirect, Code: "https_required", Message: "ask by https"}
	HTTPSHost          = &Problem{Status: fasthttp.StatusBadRequest, Code: "https_required", Message: "ask by https; without a Host header there is no address to send you to"}
	Version            = &Problem{Status: fasthttp.StatusHTTPVersionNotSupported, Code: "http_version", Message: "only HTTP/1.1 and HTTP/1.0 are supported", Close: true}
	Panic              = &Problem{Status: fasthttp.StatusInternalServerError, Code: "internal", Message: "the gateway failed; the request id helps to find out why", Reason: "panic", Close: true}
	PreconditionFailed = &Problem{Status: fasthttp.StatusPreconditionFailed, Code: "precondition_failed", Message: "the object does not meet the request's precondition"}
	Range              = &Problem{Status: fasthttp.StatusRequestedRangeNotSatisfiable, Code: "range_not_satisfiable", Message: "the range lies outside the object"}
	Protocol           = &Problem{Status: fasthttp.StatusBadGateway, Code: "bad_gateway", Message: "the origin sent an answer that makes no sense", Reason: "protocol"}
	HeadError          = &Problem{Status: fasthttp.StatusBadGateway, Code: "bad_gateway", Message: "the origin refused without giving a reason", Reason: "unknown_head"}

	Timeout     = &Problem{Status: fasthttp.StatusGatewayTimeout, Code: "upstream_timeout", Message: "the origin did not answer in time", Reason: "timeout"}
	Unreachable = &Problem{Status: fasthttp.StatusBadGateway, Code: "upstream_unreachable", Message: "the origin cannot be reached"}
	Broken      = &Problem{Status: fasthttp.StatusBadGateway, Code: "bad_gateway", Message: "the origin broke off its answer"}
	Busy        = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "overloaded", Message: "the gateway is waiting for too many answers of the origin; try again soon", RetryAfter: 1}
	Descriptors = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "overloaded", Message: "the gateway can open no further connection to the origin at the moment; try again soon", Reason: "descriptors", RetryAfter: 1}

	Credential  = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "no_credential", Message: "the gateway has no valid credential for the origin at the moment; try again soon", Reason: "credentials", RetryAfter: 5}
	Maintenance = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "maintenance", Message: "this is being worked on; try again later"}
	Breaker     = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "origin_down", Message: "the origin is failing and is left alone for a moment; try again soon", Reason: "breaker_open"}
	ObjectFails = &Problem{Status: fasthttp.StatusBadGateway, Code: "object_failing", Message: "the origin keeps failing for this object and is not asked for it for a moment; try again soon", Reason: "object_failing"}

	Address        = &Problem{Status: fasthttp.StatusForbidden, Code: "address_denied", Message: "clients at this address may not read this"}
	GlobalRate     = &Problem{Status: fasthttp.StatusTooManyRequests, Code: "too_many_requests", Message: "there are too many requests; try again soon", Reason: "global_rate", RetryAfter: 1}
	BucketRate     = &Problem{Status: fasthttp.StatusTooManyRequests, Code: "too_many_requests", Message: "there are too many requests for this bucket; try again soon", Reason: "bucket_rate", RetryAfter: 1}
	AddressRate    = &Problem{Status: fasthttp.StatusTooManyRequests, Code: "too_many_requests", Message: "too many requests come from this address; try again soon", Reason: "address_rate", RetryAfter: 1}
	SubjectRate    = &Problem{Status: fasthttp.StatusTooManyRequests, Code: "too_many_requests", Message: "too many requests come with tokens of this subject; try again soon", Reason: "subject_rate", RetryAfter: 1}
	TokenFailures  = &Problem{Status: fasthttp.StatusTooManyRequests, Code: "too_many_requests", Message: "too many invalid tokens come from this address; try again soon", Reason: "token_failures", RetryAfter: 1}
	GlobalInFlight = &Problem{Status: fasthttp.StatusTooManyRequests, Code: "too_many_requests", Message: "too many requests are under way; try again soon", Reason: "global_in_flight", RetryAfter: 1}
	BucketInFlight = &Problem{Status: fasthttp.StatusTooManyRequests, Code: "too_many_requests", Message: "too many requests for this bucket are under way; try again soon", Reason: "bucket_in_flight", RetryAfter: 1}

	OnlyIfCached = &Problem{Status: fasthttp.StatusGatewayTimeout, Code: "only_if_cached", Message: "the object is not in the cache, and the request wants nothing else"}

	NoToken      = &Problem{Status: fasthttp.StatusUnauthorized, Code: "token_required", Message: "a token is needed to read this", Challenge: `Bearer realm="yatagarasu"`}
	BadToken     = &Problem{Status: fasthttp.StatusForbidden, Code: "invalid_token", Message: "the token is not valid here", Challenge: `Bearer error="invalid_token"`}
	TokenExpired = &Problem{Status: fasthttp.StatusForbidden, Code: "token_expired", Message: "the token has expired", Challenge: `Bearer error="invalid_token", error_description="the token has expired"`}
	Scope        = &Problem{Status: fasthttp.StatusForbidden, Code: "insufficient_scope", Message: "the token does not give access to this", Challenge: `Bearer error="insufficient_scope"`}
	NoKeys       = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "keys_unavailable", Message: "tokens cannot be verified at the moment; try again soon", RetryAfter: 5}
	NoIssuer     = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "issuer_unavailable", Message: "the issuer of the token cannot be asked at the moment; try again soon", RetryAfter: 1}

	Verifying = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "overloaded", Message: "too many tokens wait to be verified; try again soon", RetryAfter: 1}

	NoPage             = &Problem{Status: fasthttp.StatusNotFound, Code: "no_page", Message: "this listener has the status page at /, /metrics, /health, /ready and /admin"}
	NoCall             = &Problem{Status: fasthttp.StatusNotFound, Code: "no_such_call", Message: "there is no administrative call at this path; docs/ADMIN.md lists them"}
	AdminOff           = &Problem{Status: fasthttp.StatusNotFound, Code: "no_admin", Message: "administrative calls are off here: set admin.token, or bind metrics.address to loopback"}
	AdminMethod        = &Problem{Status: fasthttp.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "the administrative call takes another method"}
	AdminToken         = &Problem{Status: fasthttp.StatusUnauthorized, Code: "admin_token_required", Message: "administrative calls need admin.token as a bearer token", Challenge: `Bearer realm="yatagarasu admin"`}
	AdminGuesses       = &Problem{Status: fasthttp.StatusTooManyRequests, Code: "too_many_requests", Message: "too many wrong tokens for administrative calls come from this address; try again soon", Reason: "admin_guesses", RetryAfter: 1}
	PurgeNotShared     = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "purge_not_shared", Message: "the purge is made on this gateway alone, for Valkey does not take it; it is kept, and shared once that is possible: call again, here or at another gateway, to know when", RetryAfter: 1}
	PurgeNotReplicated = &Problem{Status: fasthttp.StatusServiceUnavailable, Code: "purge_not_replicated", Message: "the purge is shared, but fewer replicas of Valkey have it than cluster.purge.replicas says, so that a failover may lose it; call again", RetryAfter: 1}
	Foreign            = &Problem{Status: fasthttp.StatusForbidden, Code: "foreign_origin", Message: "without admin.token, administrative calls must be made to localhost, and not by another site's page"}
	bodyTooLarge       = &Problem{Status: fasthttp.StatusRequestEntityTooLarge, Code: "body_too_large", Message: "the body is larger than 1 MiB", Close: true}

	headTooLarge = &Problem{Status: fasthttp.StatusRequestHeaderFieldsTooLarge, Code: "header_too_large", Message: "the request head is too large", Close: true}
	tooSlow      = &Problem{Status: fasthttp.StatusRequestTimeout, Code: "request_timeout", Message: "the request did not arrive in time", Close: true}
	malformed    = &Problem{Status: fasthttp.StatusBadRequest, Code: "bad_request", Message: "the request is not valid HTTP", Close: true}
)

// OfParseError returns the answer to a request that fasthttp could not parse.
func OfParseError(err error) *Problem {
	if errors.Is(err, fasthttp.ErrBodyTooLarge) {
		return bodyTooLarge
	}
	if _, ok := errors.AsType[*fasthttp.ErrSmallBuffer](err); ok {
		return headTooLarge
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return tooSlow
	}
	return malformed
}

// LogReason returns the reason for log and metrics.
func (p *Problem) LogReason() string {
	if p.Reason != "" {
		return p.Reason
	}
	return p.Code
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Message }
