package serve

import (
	"time"
	"yatagarasu/gateway/fill"

	"github.com/valyala/fasthttp"
)

// Headers of the gateway's own, in the form in which fasthttp stores them.
var (
	headerRequestID       = []byte("X-Request-ID")
	headerReferrerPolicy  = []byte("Referrer-Policy")
	headerRetryAfter      = []byte("Retry-After")
	referrerPolicyNothing = []byte("no-referrer")
	headerCacheControl    = []byte("Cache-Control")
	cacheControlPrivate   = []byte("private")
)

// setLines sets b, lines of a head, and the request's id as one header, whose name is
// everything up to the last value: fasthttp writes a canonical name as it is, and
// setting a dozen headers one by one is a tenth of the CPU time of a small hit. x.scratch
// is b's memory from then on.
//
// None of the values may hold a line break. The object's were parsed from lines, of
// which fasthttp refuses those with a bare CR and joins those that are folded; those of
// this process have none.
//
// Among the lines is Date, as fasthttp would write none; see CompleteHead.
func (x *Exchange) setLines(h *fasthttp.ResponseHeader, b []byte) {
	x.complete = true
	x.scratch = append(b, "X-Request-ID"...)
	h.SetCanonical(x.scratch, x.ID)
}

// CompleteHead adds to an answer of the gateway's own what all have: when it was made, what
// the cache had to do with it, and the request's id. An object has the origin's Date (RFC
// 9110 section 6.6.1).
func (x *Exchange) CompleteHead(ctx *fasthttp.RequestCtx) {
	if !x.complete {
		x.setLines(&ctx.Response.Header, x.appendCacheLines(fill.AppendDateLine(x.scratch[:0], time.Now())))
	}
}

// copyHeaders copies the object's headers into the response and adds ours.
//
// Hot path: no allocation beyond what TestProxyAllocs states.
func (x *Exchange) copyHeaders(ctx *fasthttp.RequestCtx) {
	x.setLines(&ctx.Response.Header, x.appendOwn(fill.AppendObject(x.scratch[:0], x.fetch, false)))
}

// appendOwn appends the lines that the gateway adds to those of an object from the
// origin.
func (x *Exchange) appendOwn(b []byte) []byte {
	if x.private && !fill.HasLine(b, headerCacheControl) {
		b = fill.AppendLine(b, headerCacheControl, cacheControlPrivate)
	}
	return x.appendCacheLines(b)
}
