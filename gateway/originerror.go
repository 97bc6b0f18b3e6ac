package gateway

import (
	"time"

	"github.com/valyala/fasthttp"
)

// documentLimit bounds an error document of an origin, in bytes.
const documentLimit = 16 << 10

// answerError answers for an error status of the origin. Its document is read
// for the code and for the log; nothing of it reaches the client.
func (x *exchange) answerError(ctx *fasthttp.RequestCtx) {
	status, head := x.up.Header.StatusCode(), x.sentHead
	doc, err := x.errorDocument(status)
	if err != nil {
		x.bucket.countUpstreamError(err)
		x.failUpstream(ctx, err)
		return
	}
	if doc.Code == "" && head && unclear(status) {
		x.bucket.metrics.upstreamError(problemHeadError.reason)
		x.fail(ctx, problemHeadError)
		return
	}
	o := classify(status, doc.Code)
	x.bucket.metrics.upstreamError(o.reason)
	x.g.logOriginError(x, &doc, o)
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

// errorDocument returns the error document of the current response. One to HEAD
// has none: where the status alone is unclear, a GET of one byte asks again, at
// most once a second for a bucket.
func (x *exchange) errorDocument(status int) (s3ErrorDoc, error) {
	if x.sentHead {
		if !unclear(status) || !x.bucket.mayClassify(time.Now()) {
			return s3ErrorDoc{}, nil
		}
		x.rangeV = append(x.rangeV[:0], "bytes=0-0"...)
		if err := x.send(forward{ranged: true}, false); err != nil {
			return s3ErrorDoc{}, err
		}
		if x.up.Header.StatusCode() != status {
			return s3ErrorDoc{}, nil // it would not say
		}
	}
	raw, err := x.up.Document(documentLimit)
	if err != nil {
		return s3ErrorDoc{}, err
	}
	return parseS3Error(raw), nil
}

// mayClassify takes the turn of this second to look into a HEAD error.
func (b *bucket) mayClassify(now time.Time) bool {
	last, t := b.classifiedAt.Load(), now.UnixNano()
	return t-last >= int64(time.Second) && b.classifiedAt.CompareAndSwap(last, t)
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
	if len(x.s3ID) > 0 {
		e = e.Bytes("s3_request_id", x.s3ID)
	}
	e.Msg("the origin refused a request")
}
