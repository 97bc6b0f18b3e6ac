package gateway

import (
	"errors"
	"net"

	"github.com/valyala/fasthttp"
)

// problem is an answer that the gateway gives by itself.
type problem struct {
	status     int
	code       string // `error` of the body: stable, for programs
	message    string // for people; never the origin's words
	reason     string // for log and metrics; code if empty
	retryAfter int    // seconds; 0: no Retry-After
	close      bool   // the connection cannot be trusted any more
	challenge  string // WWW-Authenticate; empty: none
}

// The gateway's own answers.
var (
	problemNoRoute   = &problem{status: fasthttp.StatusNotFound, code: "no_route", message: "no bucket is mounted at this path"}
	problemNoKey     = &problem{status: fasthttp.StatusForbidden, code: "no_object_key", message: "the path names no object; listings are not offered"}
	problemMethod    = &problem{status: fasthttp.StatusMethodNotAllowed, code: "method_not_allowed", message: "only GET and HEAD are allowed"}
	problemVersion   = &problem{status: fasthttp.StatusHTTPVersionNotSupported, code: "http_version", message: "only HTTP/1.1 and HTTP/1.0 are supported", close: true}
	problemPanic     = &problem{status: fasthttp.StatusInternalServerError, code: "internal", message: "the gateway failed; the request id helps to find out why", reason: "panic", close: true}
	problemFailed    = &problem{status: fasthttp.StatusPreconditionFailed, code: "precondition_failed", message: "the object does not meet the request's precondition"}
	problemRange     = &problem{status: fasthttp.StatusRequestedRangeNotSatisfiable, code: "range_not_satisfiable", message: "the range lies outside the object"}
	problemProtocol  = &problem{status: fasthttp.StatusBadGateway, code: "bad_gateway", message: "the origin sent an answer that makes no sense", reason: "protocol"}
	problemHeadError = &problem{status: fasthttp.StatusBadGateway, code: "bad_gateway", message: "the origin refused without giving a reason", reason: "unknown_head"}

	problemTimeout     = &problem{status: fasthttp.StatusGatewayTimeout, code: "upstream_timeout", message: "the origin did not answer in time", reason: "timeout"}
	problemUnreachable = &problem{status: fasthttp.StatusBadGateway, code: "upstream_unreachable", message: "the origin cannot be reached"}
	problemBroken      = &problem{status: fasthttp.StatusBadGateway, code: "bad_gateway", message: "the origin broke off its answer"}
	problemBusy        = &problem{status: fasthttp.StatusServiceUnavailable, code: "overloaded", message: "the gateway is waiting for too many answers of the origin; try again soon", retryAfter: 1}

	problemCredential = &problem{status: fasthttp.StatusServiceUnavailable, code: "no_credential", message: "the gateway has no valid credential for the origin at the moment; try again soon", reason: "credentials", retryAfter: 5}
	problemBreaker    = &problem{status: fasthttp.StatusServiceUnavailable, code: "origin_down", message: "the origin is failing and is left alone for a moment; try again soon", reason: "breaker_open"}

	problemAddress        = &problem{status: fasthttp.StatusForbidden, code: "address_denied", message: "clients at this address may not read this"}
	problemGlobalRate     = &problem{status: fasthttp.StatusTooManyRequests, code: "too_many_requests", message: "there are too many requests; try again soon", reason: "global_rate", retryAfter: 1}
	problemBucketRate     = &problem{status: fasthttp.StatusTooManyRequests, code: "too_many_requests", message: "there are too many requests for this bucket; try again soon", reason: "bucket_rate", retryAfter: 1}
	problemAddressRate    = &problem{status: fasthttp.StatusTooManyRequests, code: "too_many_requests", message: "too many requests come from this address; try again soon", reason: "address_rate", retryAfter: 1}
	problemSubjectRate    = &problem{status: fasthttp.StatusTooManyRequests, code: "too_many_requests", message: "too many requests come with tokens of this subject; try again soon", reason: "subject_rate", retryAfter: 1}
	problemGlobalInFlight = &problem{status: fasthttp.StatusTooManyRequests, code: "too_many_requests", message: "too many requests are under way; try again soon", reason: "global_in_flight", retryAfter: 1}
	problemBucketInFlight = &problem{status: fasthttp.StatusTooManyRequests, code: "too_many_requests", message: "too many requests for this bucket are under way; try again soon", reason: "bucket_in_flight", retryAfter: 1}

	problemOnlyIfCached = &problem{status: fasthttp.StatusGatewayTimeout, code: "only_if_cached", message: "the object is not in the cache, and the request wants nothing else"}

	problemNoToken  = &problem{status: fasthttp.StatusUnauthorized, code: "token_required", message: "a token is needed to read this", challenge: `Bearer realm="yatagarasu"`}
	problemBadToken = &problem{status: fasthttp.StatusForbidden, code: "invalid_token", message: "the token is not valid here", challenge: `Bearer error="invalid_token"`}
	problemExpired  = &problem{status: fasthttp.StatusForbidden, code: "token_expired", message: "the token has expired", challenge: `Bearer error="invalid_token", error_description="the token has expired"`}
	problemScope    = &problem{status: fasthttp.StatusForbidden, code: "insufficient_scope", message: "the token does not give access to this", challenge: `Bearer error="insufficient_scope"`}
	problemNoKeys   = &problem{status: fasthttp.StatusServiceUnavailable, code: "keys_unavailable", message: "tokens cannot be verified at the moment; try again soon", retryAfter: 5}

	problemNoPage      = &problem{status: fasthttp.StatusNotFound, code: "no_page", message: "this listener has the status page at /, /metrics, /health, /ready and /admin"}
	problemNoCall      = &problem{status: fasthttp.StatusNotFound, code: "no_such_call", message: "there is no administrative call at this path; docs/ADMIN.md lists them"}
	problemAdminOff    = &problem{status: fasthttp.StatusNotFound, code: "no_admin", message: "administrative calls are off here: set admin.token, or bind metrics.address to loopback"}
	problemAdminMethod = &problem{status: fasthttp.StatusMethodNotAllowed, code: "method_not_allowed", message: "the administrative call takes another method"}
	problemAdminToken  = &problem{status: fasthttp.StatusUnauthorized, code: "admin_token_required", message: "administrative calls need admin.token as a bearer token", challenge: `Bearer realm="yatagarasu admin"`}
	problemForeign     = &problem{status: fasthttp.StatusForbidden, code: "foreign_origin", message: "without admin.token, administrative calls must be made to localhost, and not by another site's page"}
	problemBody        = &problem{status: fasthttp.StatusRequestEntityTooLarge, code: "body_too_large", message: "the body is larger than 1 MiB", close: true}

	problemHeadSize = &problem{status: fasthttp.StatusRequestHeaderFieldsTooLarge, code: "header_too_large", message: "the request head is too large", close: true}
	problemSlow     = &problem{status: fasthttp.StatusRequestTimeout, code: "request_timeout", message: "the request did not arrive in time", close: true}
	problemMalform  = &problem{status: fasthttp.StatusBadRequest, code: "bad_request", message: "the request is not valid HTTP", close: true}
)

// parseProblem returns the answer to a request that fasthttp could not parse.
func parseProblem(err error) *problem {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return problemBody
	case errors.As(err, &small):
		return problemHeadSize
	case errors.As(err, &timeout) && timeout.Timeout():
		return problemSlow
	default:
		return problemMalform
	}
}

// Error implements error.
func (p *problem) Error() string { return p.code + ": " + p.message }
