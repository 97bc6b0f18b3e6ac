package gateway

import (
	"github.com/valyala/fasthttp"

	"yatagarasu/pool"
)

// problem is an answer that the gateway gives by itself.
type problem struct {
	status     int
	code       string // `error` of the body: stable, for programs
	message    string // for people; never the origin's words
	reason     string // for log and metrics; code if empty
	retryAfter int    // seconds; 0: no Retry-After
	close      bool   // the connection cannot be trusted any more
}

// The gateway's own answers.
var (
	problemNoRoute   = &problem{status: fasthttp.StatusNotFound, code: "no_route", message: "no bucket is mounted at this path"}
	problemNoKey     = &problem{status: fasthttp.StatusForbidden, code: "no_object_key", message: "the path names no object; listings are not offered"}
	problemMethod    = &problem{status: fasthttp.StatusMethodNotAllowed, code: "method_not_allowed", message: "only GET and HEAD are allowed"}
	problemInFlight  = &problem{status: fasthttp.StatusTooManyRequests, code: "too_many_requests", message: "too many requests are under way; try again soon", reason: "limit_in_flight", retryAfter: 1}
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

	problemHeadSize = &problem{status: fasthttp.StatusRequestHeaderFieldsTooLarge, code: "header_too_large", message: "the request head is too large", close: true}
	problemSlow     = &problem{status: fasthttp.StatusRequestTimeout, code: "request_timeout", message: "the request did not arrive in time", close: true}
	problemMalform  = &problem{status: fasthttp.StatusBadRequest, code: "bad_request", message: "the request is not valid HTTP", close: true}
)

// problemOf returns the answer to a failed exchange with an origin.
func problemOf(err error) *problem {
	switch pool.Of(err) {
	case pool.ReasonTimeout:
		return problemTimeout
	case pool.ReasonDNS, pool.ReasonConnect, pool.ReasonTLS:
		return problemUnreachable
	case pool.ReasonQueue, pool.ReasonBuffers, pool.ReasonClosed:
		return problemBusy
	case pool.ReasonProtocol:
		return problemProtocol
	default:
		return problemBroken
	}
}

// problem returns the answer to a bad request target.
func (e targetError) problem() *problem {
	code := "bad_target"
	if e.status() == fasthttp.StatusRequestURITooLong {
		code = "target_too_long"
	}
	return &problem{status: e.status(), code: code, message: e.text()}
}

// problem returns the answer to an error of the origin.
func (o *s3Outcome) problem() *problem {
	return &problem{status: o.status, code: o.code, message: o.message, reason: o.reason, retryAfter: o.retryAfter}
}
