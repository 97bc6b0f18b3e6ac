package gateway

import "github.com/valyala/fasthttp"

// answerError answers for an error status of the origin. Its document is read
// for the code and for the log; nothing of it reaches the client.
func (x *exchange) answerError(ctx *fasthttp.RequestCtx) {
	o := x.noteRefusal()
	x.reason = o.reason
	x.fail(ctx, o.problem())
}

// noteRefusal counts and logs the refusal at hand, and returns what clients are told.
func (x *exchange) noteRefusal() *s3Outcome {
	o := x.refusal
	if o == nil { // a 412 or 416 to what no condition or range was sent with
		o = classify(x.up.Header.StatusCode(), "")
	}
	x.replica.metrics.fault(o.reason)
	x.g.logOriginError(x, &x.doc, o)
	if o == outcomeDenied && x.bucket.hideDenied {
		return outcomeNoSuchKey
	}
	return o
}

// logOriginError tells the operator why the origin refused, in its own words,
// where the client's answer cannot.
func (g *Gateway) logOriginError(x *exchange, doc *s3ErrorDoc, o *s3Outcome) {
	if o.status == fasthttp.StatusNotFound || o.status == fasthttp.StatusForbidden {
		return // an answer, not a fault; the access line has the reason
	}
	e := g.log.Warn().Bytes("request_id", x.id).Str("bucket", x.bucket.name).
		Str("reason", o.reason).Int("upstream_status", x.upstream.status).Str("s3_code", doc.Code)
	if doc.Region != "" {
		e = e.Str("s3_region", doc.Region)
	}
	if len(x.bucket.replicas) > 1 {
		e = e.Str("replica", x.replica.name)
	}
	if len(x.upstream.id) > 0 {
		e = e.Bytes("s3_request_id", x.upstream.id)
	}
	e.Msg("the origin refused a request")
}
