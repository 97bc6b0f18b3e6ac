package gateway

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"
)

// documentLimit bounds an error document of an origin, in bytes.
const documentLimit = 16 << 10

// answerError answers for an error status of the origin. Its document is read
// for the code and for the log; nothing of it reaches the client.
func (x *exchange) answerError(ctx *fasthttp.RequestCtx) {
	o := classify(x.up.Header.StatusCode(), x.doc.Code)
	x.replica.metrics.fault(o.reason)
	x.g.logOriginError(x, &x.doc, o)
	if o.reason == "access_denied" && x.bucket.hideDenied {
		o = classify(fasthttp.StatusNotFound, "")
	}
	x.reason = o.reason
	x.fail(ctx, o.problem())
}

// unclear tells whether a status means little without the error code.
func unclear(status int) bool {
	return status == fasthttp.StatusForbidden || status == fasthttp.StatusBadRequest
}

// errUnexplained says that HEAD was refused, and nobody tells why; errMended, that a GET
// was not, which was signed with another credential or time.
var (
	errUnexplained = errors.New("the origin refuses HEAD and does not tell why")
	errMended      = errors.New("the origin has refused HEAD and then took another signature")
)

// explain finds out why HEAD was refused, since the answer to it has no document: a GET
// of one byte asks the same replica, at most once a second, but as often as one request
// is tried.
func (x *exchange) explain() error {
	r, now, status := x.replica, time.Now(), x.up.Header.StatusCode()
	if !x.explains.has(r) && !r.mayClassify(now) {
		return r.unexplained()
	}
	t, _, ok := r.health.breaker.Allow(now)
	if !ok {
		return r.unexplained()
	}
	x.explains.add(r)
	signer, skew := x.signer, x.skew
	x.rangeV = append(x.rangeV[:0], "bytes=0-0"...)
	if err := x.sendTo(r, t, forward{ranged: true}, false, now); err != nil {
		return err
	}
	if x.refusal == nil && !x.corrected && (x.signer != signer || (x.skew-skew).Abs() > skewLeast) {
		return errMended
	}
	if x.refusal == nil || x.up.Header.StatusCode() != status && !failureOfOrigin(x.refusal) {
		return r.unexplained()
	}
	x.noteAnswer()
	return nil
}

func (r *replica) unexplained() error {
	r.metrics.fault(problemHeadError.reason)
	return errUnexplained
}

// mayClassify takes the turn of this second to look into a HEAD error.
func (r *replica) mayClassify(now time.Time) bool {
	last, t := r.classifiedAt.Load(), now.UnixNano()
	return t-last >= int64(time.Second) && r.classifiedAt.CompareAndSwap(last, t)
}

// logOriginError tells the operator why the origin refused, in its own words,
// where the client's answer cannot.
func (g *Gateway) logOriginError(x *exchange, doc *s3ErrorDoc, o *s3Outcome) {
	if o.status == fasthttp.StatusNotFound || o.status == fasthttp.StatusForbidden {
		return // an answer, not a fault; the access line has the reason
	}
	e := g.log.Warn().Bytes("request_id", x.id).Str("bucket", x.bucket.name).
		Str("reason", o.reason).Int("upstream_status", x.upstream).Str("s3_code", doc.Code)
	if doc.Region != "" {
		e = e.Str("s3_region", doc.Region)
	}
	if len(x.bucket.replicas) > 1 {
		e = e.Str("replica", x.replica.name)
	}
	if len(x.s3ID) > 0 {
		e = e.Bytes("s3_request_id", x.s3ID)
	}
	e.Msg("the origin refused a request")
}
