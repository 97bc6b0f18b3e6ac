package origin

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
)

// failure is why a fetch has no answer, where that is no error of the pool.
type failure struct {
	text    string
	problem *problem.Problem
	remedy  remedy
}

// Error implements error.
func (e *failure) Error() string { return e.text }

var (
	// errNoCredential says that a request cannot be signed.
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

// keyFails says that every replica fails for the object, and is not asked for it for wait.
func keyFails(wait time.Duration) *failure {
	p := *problem.ObjectFails
	p.RetryAfter = max(1, int(math.Ceil(wait.Seconds())))
	return &failure{"the origin has failed for this object several times in a row, and is not asked for it for a moment", &p, remedyOther}
}

// NoteOriginError counts and logs the error at hand, and returns what clients are told. The
// log has why the origin refused, where the client's answer cannot.
func (f *Fetch) NoteOriginError() *s3error.Kind {
	kind := f.OriginError
	if kind == nil { // a 412 or 416 to what no condition or range was sent with
		kind = s3error.Classify(f.Answer.Header.StatusCode(), "")
	}
	f.replica.Metrics.CountError(kind.Reason)
	if kind.Status != fasthttp.StatusNotFound && kind.Status != fasthttp.StatusForbidden { // those are answers, not faults; the access line has the reason
		e := f.Bucket.Shared.Log.Warn().Bytes("request_id", f.id).Str("bucket", f.Bucket.Name).
			Str("reason", kind.Reason).Int("upstream_status", f.Notes.Status).Str("s3_code", f.doc.Code)
		if f.doc.Region != "" {
			e = e.Str("s3_region", f.doc.Region)
		}
		if len(f.Bucket.Replicas) > 1 {
			e = e.Str("replica", f.replica.Name)
		}
		if len(f.Notes.ID) > 0 {
			e = e.Bytes("s3_request_id", f.Notes.ID)
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
	Problem *problem.Problem // the client's answer
	Reason  string           // for log and metrics
	Cause   error            // what broke; may be nil
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
	case pool.ReasonDescriptors:
		e.Problem = problem.Descriptors
	}
	return e
}

// Error implements error.
func (e *Error) Error() string { return "cannot fetch the object: " + e.Problem.Code }

// Unwrap returns what broke.
func (e *Error) Unwrap() error { return e.Cause }

// The waits before a replica is asked again.
const (
	firstBackoff = 50 * time.Millisecond // at most; doubled for each further try
	maxBackoff   = time.Second
	maxRetryWait = 2 * time.Second // a longer Retry-After is for the client
)

// remedy is what may help against a failed try.
type remedy uint8

const (
	remedyNone  remedy = iota // it is the answer
	remedyOther               // another replica
	remedyAgain               // another replica, or the same again
	remedyNow                 // the same again, at once
)

// nextReplica returns where to try again after r failed, when the time has come; nil
// if nowhere.
func (f *Fetch) nextReplica(r *Replica, help remedy) (*Replica, pool.Ticket) {
	now := time.Now()
	if help == remedyNow {
		if t, _, v := r.Health.Breaker.Allow(f.hash, now); v == pool.Pass {
			f.Notes.Tries++
			return r, t
		}
	}
	f.Notes.Failed |= 1 << r.number
	if f.Notes.Tries >= f.Bucket.S3.Retry.Tries {
		return nil, pool.Ticket{}
	}
	next, t, _ := f.Bucket.pick(f.hash, replicaSet(f.Notes.Failed), now)
	if next != nil {
		f.Notes.Tries++
		next.Health.retries.Count(f.hash, now) // no more than its share of the clients' requests
		next.Metrics.Count(observe.Failovers)
		return next, t
	}
	after := f.retryAfter()
	if help == remedyAgain && after <= maxRetryWait {
		next, t, _ = f.Bucket.pick(f.hash, 0, now)
	}
	if next == nil {
		return nil, t
	}
	if !next.Health.retries.Take(f.hash, now) {
		next.Health.Breaker.Done(t, pool.ResultNone, now)
		next.Metrics.Count(observe.RetriesDenied)
		return nil, t
	}
	wait := max(after, 0) + backoff(f.Notes.Tries)
	f.Notes.Tries++
	next.Metrics.Count(observe.Retries)
	f.Answer.Close() // others may have the connection meanwhile
	time.Sleep(wait)
	return next, t
}

// backoff returns how long to wait before the next try, after n of them: a random
// part of a time that doubles, so that those who failed together do not come back
// together.
func backoff(n int) time.Duration {
	return rand.N(min(firstBackoff<<min(n, 10), maxBackoff)) + time.Millisecond
}

// retryAfter returns how long the error at hand asks to wait; 0: it does not say.
func (f *Fetch) retryAfter() time.Duration {
	if f.OriginError == nil {
		return 0
	}
	v := f.Answer.Header.Peek(fasthttp.HeaderRetryAfter)
	if n, ok := request.ParseDigits(v); ok {
		return time.Duration(min(n, math.MaxInt32)) * time.Second
	}
	if unix, ok := cache.ParseDate(v); ok {
		return time.Unix(unix, 0).Sub(f.replica.Health.clock(time.Now()))
	}
	return 0
}

// remedy returns what may help against err, or, without one, against the error at
// hand. What is done at once is done once.
func (f *Fetch) remedy(err error) (help remedy) {
	switch kind := f.OriginError; {
	case err != nil:
		help = f.remedyOf(err)
	case kind == nil:
	case kind.Passing():
		return remedyAgain
	case kind == s3error.Clock && !f.Notes.Corrected && (f.replica.Health.ClockCorrection()-f.skew).Abs() > LeastSkew: // the clock has just been compared
		help = remedyNow
	case (kind == s3error.AccessKey || kind == s3error.Token) && !f.Notes.Corrected && f.renew():
		help = remedyNow
	case kind.Fault == s3error.FaultSetup, kind.Fault == s3error.FaultObject, kind == s3error.NoSuchKey && f.Bucket.S3.FailoverOn404:
		return remedyOther
	}
	f.Notes.Corrected = f.Notes.Corrected || help == remedyNow
	return help
}

// renewWait is how long a request waits for a credential in place of one that the origin does
// not take.
const renewWait = 5 * time.Second

// renew has the credential of the replica replaced after the origin has refused it; it
// reports whether there is another one.
func (f *Fetch) renew() bool {
	ctx, cancel := context.WithTimeout(context.Background(), renewWait)
	defer cancel()
	return f.replica.Credentials.Renew(ctx, f.signer)
}

// remedyOf returns what may help against err. What takes long is repeated once, and who
// cannot be reached in time is not asked again at all.
func (f *Fetch) remedyOf(err error) remedy {
	if own, ok := errors.AsType[*failure](err); ok {
		return own.remedy
	}
	e, ok := errors.AsType[*pool.Error](err)
	if !ok {
		return remedyNone
	}
	dns, ofDNS := errors.AsType[*net.DNSError](err)
	switch e.Reason {
	case pool.ReasonTLS, pool.ReasonProtocol, pool.ReasonQueue, pool.ReasonDescriptors: // another may have an idle connection
		return remedyOther
	case pool.ReasonTimeout, pool.ReasonDNS, pool.ReasonConnect, pool.ReasonReset, pool.ReasonTruncated:
		slow := e.Reason == pool.ReasonTimeout || ofDNS && dns.IsTimeout
		if slow && f.Notes.Tries > 0 || e.Reason == pool.ReasonTimeout && e.Phase < pool.PhaseSend {
			return remedyOther
		}
		return remedyAgain
	}
	return remedyNone
}

// AwaitRetry is for a body that failed before the client had any of it: it tells whether to
// send the request once more, and waits until then.
func (f *Fetch) AwaitRetry(err error) bool {
	r := f.replica
	r.Metrics.CountError(pool.ReasonOf(err).String())
	help := f.remedyOf(err)
	if help == remedyNone {
		return false
	}
	if pool.ReasonOf(err).OfOrigin() {
		r.Health.Breaker.Fail(f.ticket, time.Now())
	}
	f.OriginError = nil
	next, t := f.nextReplica(r, help)
	if next == nil {
		return false
	}
	next.Health.Breaker.Done(t, pool.ResultNone, time.Now()) // send asks again
	return true
}
