package origin

import (
	"errors"
	"math"
	"time"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/s3error"
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
func (e *breakerError) problem() *problem.Problem {
	p := *problem.Breaker
	p.RetryAfter = max(1, int(math.Ceil(e.wait.Seconds())))
	return &p
}

// NoteRefusal counts and logs the refusal at hand, and returns what clients are told.
func (f *Fetch) NoteRefusal() *s3error.Kind {
	o := f.Refusal
	if o == nil { // a 412 or 416 to what no condition or range was sent with
		o = s3error.Classify(f.Answer.Header.StatusCode(), "")
	}
	f.replica.Metrics.CountError(o.Reason)
	f.logRefusal(o)
	if o == s3error.Denied && f.Bucket.hideDenied {
		return s3error.NoSuchKey
	}
	return o
}

// logRefusal tells the operator why the origin refused, in its own words,
// where the client's answer cannot.
func (f *Fetch) logRefusal(o *s3error.Kind) {
	if o.Status == fasthttp.StatusNotFound || o.Status == fasthttp.StatusForbidden {
		return // an answer, not a fault; the access line has the reason
	}
	e := f.Bucket.Shared.Log.Warn().Bytes("request_id", f.id).Str("bucket", f.Bucket.Name).
		Str("reason", o.Reason).Int("upstream_status", f.told.Status).Str("s3_code", f.doc.Code)
	if f.doc.Region != "" {
		e = e.Str("s3_region", f.doc.Region)
	}
	if len(f.Bucket.Replicas) > 1 {
		e = e.Str("replica", f.replica.Name)
	}
	if len(f.told.ID) > 0 {
		e = e.Bytes("s3_request_id", f.told.ID)
	}
	e.Msg("the origin refused a request")
}

// FetchError is a failed fetch, as those who waited for it are told.
type FetchError struct {
	Problem *problem.Problem
	Reason  string
	Cause   error // what broke; may be nil
}

// NewFetchError returns the failure of an exchange with the origin.
func NewFetchError(err error) *FetchError {
	return &FetchError{Problem: ProblemOf(err), Reason: ReasonOf(err), Cause: err}
}

// Error implements error.
func (e *FetchError) Error() string { return "cannot fetch the object: " + e.Problem.Code }

// Unwrap returns what broke.
func (e *FetchError) Unwrap() error { return e.Cause }

// ProblemOf returns the answer to a failed exchange with an origin.
func ProblemOf(err error) *problem.Problem {
	var open *breakerError
	if errors.As(err, &open) {
		return open.problem()
	}
	switch err {
	case errNoCredential:
		return problem.Credential
	case errUnexplained, errMended:
		return problem.HeadError
	}
	switch pool.Of(err) {
	case pool.ReasonTimeout:
		return problem.Timeout
	case pool.ReasonDNS, pool.ReasonConnect, pool.ReasonTLS:
		return problem.Unreachable
	case pool.ReasonQueue, pool.ReasonBuffers, pool.ReasonClosed:
		return problem.Busy
	case pool.ReasonProtocol:
		return problem.Protocol
	default:
		return problem.Broken
	}
}

// ReasonOf returns the typed reason of a failed exchange, for log and metrics.
func ReasonOf(err error) string {
	var open *breakerError
	if errors.As(err, &open) {
		return problem.Breaker.Reason
	}
	switch err {
	case errNoCredential:
		return problem.Credential.Reason
	case errUnexplained, errMended:
		return problem.HeadError.Reason
	}
	return pool.Of(err).String()
}
