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

// failure is why a fetch has no answer where the exchange with the origin is not to blame.
type failure struct {
	text    string
	problem *problem.Problem
	remedy  remedy
}

// Error implements error.
func (e *failure) Error() string { return e.text }

var (
	errNoCredential = &failure{"there is no credential that has not expired", problem.Credential, remedyOther}
	// errHeadRefused says that HEAD was refused, and a GET of the same object was not.
	// errHeadMended says so too, and that HEAD may be taken now: the GET was signed with
	// another credential or time, or it found the object.
	errHeadRefused = &failure{"the origin refuses HEAD and not GET", problem.HeadError, remedyOther}
	errHeadMended  = &failure{"the origin has refused HEAD, and a GET after it not", problem.HeadError, remedyNow}
)

// breakersOpen says that every replica has been given up, for at least wait.
func breakersOpen(wait time.Duration) *failure {
	p := *problem.Breaker
	p.RetryAfter = max(1, int(math.Ceil(wait.Seconds())))
	return &failure{"the origin is given up for a while: too many requests failed", &p, remedyOther}
}

// NoteOriginError counts and logs the error at hand, and returns what clients are told. The
// log has why the origin refused, where the client's answer cannot.
func (f *Fetch) NoteOriginError() *s3error.Kind {
	kind := f.OriginError
	if kind == nil { // a 412 or 416 to what no condition or range was sent with
		kind = s3error.Classify(f.Answer.Header.StatusCode(), "")
	}
	f.replica.Metrics.Fault(kind.Reason)
	if kind.Status != fasthttp.StatusNotFound && kind.Status != fasthttp.StatusForbidden { // those are answers, not faults; the access line has the reason
		e := f.Bucket.Shared.Log.Warn().Bytes("request_id", f.id).Str("bucket", f.Bucket.Name).
			Str("reason", kind.Reason).Int("upstream_status", f.notes.Status).Str("s3_code", f.doc.Code)
		if f.doc.Region != "" {
			e = e.Str("s3_region", f.doc.Region)
		}
		if len(f.Bucket.Replicas) > 1 {
			e = e.Str("replica", f.replica.Name)
		}
		if len(f.notes.ID) > 0 {
			e = e.Bytes("s3_request_id", f.notes.ID)
		}
		e.Msg("the origin refused a request")
	}
	if kind == s3error.Denied && f.Bucket.hideDenied {
		return s3error.NoSuchKey
	}
	return kind
}

// Error is the failure of a fetch, for those who waited for it. It does not change.
type Error struct {
	Problem *problem.Problem
	Reason  string
	Cause   error // what broke; may be nil
}

// NewError returns the failure of an exchange with the origin.
func NewError(err error) *Error {
	if own, ok := errors.AsType[*failure](err); ok {
		return &Error{Problem: own.problem, Reason: own.problem.Reason, Cause: err}
	}
	e := &Error{Problem: problem.Broken, Reason: pool.ReasonOf(err).String(), Cause: err}
	switch pool.ReasonOf(err) {
	case pool.ReasonTimeout:
		e.Problem = problem.Timeout
	case pool.ReasonDNS, pool.ReasonConnect, pool.ReasonTLS:
		e.Problem = problem.Unreachable
	case pool.ReasonQueue, pool.ReasonBuffers, pool.ReasonClosed:
		e.Problem = problem.Busy
	case pool.ReasonProtocol:
		e.Problem = problem.Protocol
	}
	return e
}

// Error implements error.
func (e *Error) Error() string { return "cannot fetch the object: " + e.Problem.Code }

// Unwrap returns what broke.
func (e *Error) Unwrap() error { return e.Cause }
