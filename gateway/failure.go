package gateway

import (
	"errors"
	"math"
	"time"
	"yatagarasu/pool"

	"github.com/valyala/fasthttp"
)

// breakerError says that every replica has been given up for a while.
type breakerError struct{ wait time.Duration }

// Error implements error.
func (e *breakerError) Error() string {
	return "the origin is given up for a while: too many requests failed"
}

// problem returns the answer to it.
func (e *breakerError) problem() *problem {
	p := *problemBreaker
	p.retryAfter = max(1, int(math.Ceil(e.wait.Seconds())))
	return &p
}

// noteRefusal counts and logs the refusal at hand, and returns what clients are told.
func (f *fetch) noteRefusal() *s3Outcome {
	o := f.refusal
	if o == nil { // a 412 or 416 to what no condition or range was sent with
		o = classify(f.up.Header.StatusCode(), "")
	}
	f.replica.metrics.fault(o.reason)
	f.logRefusal(o)
	if o == outcomeDenied && f.bucket.hideDenied {
		return outcomeNoSuchKey
	}
	return o
}

// logRefusal tells the operator why the origin refused, in its own words,
// where the client's answer cannot.
func (f *fetch) logRefusal(o *s3Outcome) {
	if o.status == fasthttp.StatusNotFound || o.status == fasthttp.StatusForbidden {
		return // an answer, not a fault; the access line has the reason
	}
	e := f.bucket.shared.log.Warn().Bytes("request_id", f.id).Str("bucket", f.bucket.name).
		Str("reason", o.reason).Int("upstream_status", f.told.status).Str("s3_code", f.doc.Code)
	if f.doc.Region != "" {
		e = e.Str("s3_region", f.doc.Region)
	}
	if len(f.bucket.replicas) > 1 {
		e = e.Str("replica", f.replica.name)
	}
	if len(f.told.id) > 0 {
		e = e.Bytes("s3_request_id", f.told.id)
	}
	e.Msg("the origin refused a request")
}

// fetchError is a failed fetch, as those who waited for it are told.
type fetchError struct {
	problem *problem
	reason  string
	cause   error // what broke; may be nil
}

// newFetchError returns the failure of an exchange with the origin.
func newFetchError(err error) *fetchError {
	return &fetchError{problem: problemOf(err), reason: reasonOf(err), cause: err}
}

// Error implements error.
func (e *fetchError) Error() string { return "cannot fetch the object: " + e.problem.code }

// Unwrap returns what broke.
func (e *fetchError) Unwrap() error { return e.cause }

// problemOf returns the answer to a failed exchange with an origin.
func problemOf(err error) *problem {
	var open *breakerError
	if errors.As(err, &open) {
		return open.problem()
	}
	switch err {
	case errNoCredential:
		return problemCredential
	case errUnexplained, errMended:
		return problemHeadError
	}
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

// reasonOf returns the typed reason of a failed exchange, for log and metrics.
func reasonOf(err error) string {
	var open *breakerError
	if errors.As(err, &open) {
		return problemBreaker.reason
	}
	switch err {
	case errNoCredential:
		return problemCredential.reason
	case errUnexplained, errMended:
		return problemHeadError.reason
	}
	return pool.Of(err).String()
}
