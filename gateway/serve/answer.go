package serve

import (
	"crypto/rand"
	"strconv"
	"time"
	"yatagarasu/cache"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"

	"github.com/valyala/fasthttp"
)

// answerCached answers with an object in memory, or, with f, one whose body is still
// arriving there.
//
// Hot path: zero allocations for a whole object, guarded by TestHitAllocs.
func (x *Exchange) answerCached(ctx *fasthttp.RequestCtx, o *cache.Object, f *cache.Flight, outcome observe.Outcome, now time.Time) {
	h := &ctx.Request.Header
	var buf [request.MaxParts]request.Part
	parts, kind := x.partsOf(h, o, &buf)
	if f != nil && kind == request.RangeSingle && x.readConditions(ctx).WantsPart() {
		x.Cache = observe.Miss
		x.serveOrigin(ctx) // the part alone, before it arrives
		return
	}
	if f != nil && kind != request.RangeUnsatisfiable {
		kind = request.RangeNone // the whole, RFC 9110 section 14.2
	}
	x.Cache, x.stored, x.servedAt = outcome, o, now
	switch o.Status {
	case fasthttp.StatusOK:
	case fasthttp.StatusNotFound:
		x.Reason = s3error.NoSuchKey.Reason
		x.Fail(ctx, s3error.NoSuchKey.Problem())
		return
	default:
		panic("BUG: a stored object has the status " + strconv.Itoa(o.Status))
	}
	if x.conditional && x.answerConditions(ctx, o) {
		return
	}
	if kind == request.RangeUnsatisfiable {
		x.failRange(ctx, int64(len(o.Body)))
		return
	}
	resp := &ctx.Response.Header
	x.setStoredHead(resp, o, kind)
	x.Status = fasthttp.StatusOK
	if kind != request.RangeNone {
		x.Status = fasthttp.StatusPartialContent
	}
	ctx.SetStatusCode(x.Status)
	switch {
	case x.Method == observe.MethodHead:
		ctx.Response.SkipBody = true
		resp.SetContentLength(len(o.Body))
	case kind == request.RangeMulti:
		x.sendParts(ctx, o, parts)
	case kind == request.RangeSingle:
		x.scratch = parts[0].AppendContentRange(x.scratch[:0], int64(len(o.Body)))
		resp.SetBytesV(fasthttp.HeaderContentRange, x.scratch)
		x.sendBytes(ctx, o, o.Body[parts[0].First:parts[0].Last+1])
	case f != nil:
		x.flight = f
		x.stream(ctx, o, len(o.Body))
	default:
		x.sendBytes(ctx, o, o.Body)
	}
}

// setStoredHead sets the head of an object in memory, or of what the request wants of it,
// and what goes with it. TestHitIsTheMiss compares the outcome with a miss, TestOddHeads
// with an answer past the cache.
func (x *Exchange) setStoredHead(h *fasthttp.ResponseHeader, o *cache.Object, kind request.RangeKind) {
	b := x.scratch[:0]
	if kind == request.RangeNone {
		b = append(b, o.Header...)
	} else {
		b = fill.AppendPartHead(b, o.Header, kind == request.RangeMulti)
	}
	x.setLines(h, x.appendOwn(b))
}

// appendCacheLines appends the lines that tell what the cache had to do with the answer:
// Age, X-Cache and Cache-Status; none if the answer does not involve a cache.
func (x *Exchange) appendCacheLines(b []byte) []byte {
	if len(x.cacheKey) == 0 {
		return b
	}
	now := x.servedAt
	if o := x.stored; o != nil && x.showsAge(o, now) {
		b = append(b, "Age: "...)
		b = strconv.AppendInt(b, o.Freshness.Age(now), 10)
		b = append(b, "\r\n"...)
	}
	b = append(append(append(b, "X-Cache: "...), observe.Outcomes[x.Cache].Header...), "\r\n"...)
	return append(x.appendCacheStatus(append(b, "Cache-Status: "...), now), "\r\n"...)
}

// showsAge tells whether an answer from o has an Age.
func (x *Exchange) showsAge(o *cache.Object, now time.Time) bool {
	switch x.Cache {
	case observe.Miss:
		return o.Freshness.Received > 0
	case observe.Coalesced:
		return o.Freshness.Age(now) > 0
	}
	return true
}

// partsOf returns what of an object in memory is asked for.
func (x *Exchange) partsOf(h *fasthttp.RequestHeader, o *cache.Object, buf *[request.MaxParts]request.Part) ([]request.Part, request.RangeKind) {
	if x.Method != observe.MethodGet || !x.conditional {
		return nil, request.RangeNone
	}
	v := h.Peek(fasthttp.HeaderRange)
	if v == nil {
		return nil, request.RangeNone
	}
	if ifRange := h.Peek(fasthttp.HeaderIfRange); ifRange != nil && !request.IfRangeHolds(ifRange, request.StringBytes(o.ETag), o.Modified) {
		return nil, request.RangeNone
	}
	return request.ResolveParts(buf, v, int64(len(o.Body)))
}

// MaxAtOnce is the size of a body in memory up to which it is written together with its
// head: a second write, and having the client's progress watched, cost as much as
// copying a hundred kilobytes.
const MaxAtOnce = 128 << 10

// sendBytes answers with bytes of an object's body.
func (x *Exchange) sendBytes(ctx *fasthttp.RequestCtx, o *cache.Object, body []byte) {
	if len(body) > max(MaxAtOnce, x.s.StreamBuffer) {
		x.segments = append(x.segments[:0], body)
		x.stream(ctx, o, len(body))
		return
	}
	ctx.Response.SetBodyRaw(body) // fasthttp sends head and body with one writev
	x.Bytes = int64(len(body))
	if len(body) > x.s.StreamBuffer {
		x.pin(o)
		x.handOver(ctx, time.Since(x.Start))
	}
}

// sendParts answers with several parts of an object.
func (x *Exchange) sendParts(ctx *fasthttp.RequestCtx, o *cache.Object, parts []request.Part) {
	m := request.Multipart{Parts: parts, Size: int64(len(o.Body)), ContentType: fill.LineValue(o.Header, fill.HeaderContentType), Boundary: rand.Text()}
	x.segments = x.segments[:0]
	for i, p := range parts {
		x.segments = append(x.segments, m.AppendHead(nil, i), o.Body[p.First:p.Last+1])
	}
	x.segments = append(x.segments, m.AppendEnd(nil))
	length := 0
	for _, s := range x.segments {
		length += len(s)
	}
	ctx.Response.Header.SetContentTypeBytes(m.AppendType(nil))
	x.stream(ctx, o, length)
}

// stream has fasthttp call WriteTo after the head, and keeps the object until then.
func (x *Exchange) stream(ctx *fasthttp.RequestCtx, o *cache.Object, length int) {
	x.pin(o)
	x.handOverStream(ctx, time.Since(x.Start), length)
}

// pin keeps o counted as in memory until the exchange ends.
func (x *Exchange) pin(o *cache.Object) {
	x.bucket.Cached.Cache.Pin(o)
	x.pinned = o
}

// answerConditions answers 304 or 412 if a precondition stands against the object: o, which
// is in memory, or with nil that of the origin's answer. It reports whether it did.
func (x *Exchange) answerConditions(ctx *fasthttp.RequestCtx, o *cache.Object) bool {
	c := x.readConditions(ctx)
	if c.Empty() {
		return false
	}
	var verdict request.Verdict
	if o != nil {
		verdict = c.Evaluate(request.StringBytes(o.ETag), o.Modified)
	} else {
		verdict = c.Evaluate(x.fetch.Validators())
	}
	switch verdict {
	case request.NotModified:
		x.answerNotModified(ctx, o)
	case request.PreconditionFailed:
		x.Fail(ctx, problem.PreconditionFailed)
	default:
		return false
	}
	return true
}

// answerNotModified answers 304, by the head of o or with nil by that of the origin's answer.
func (x *Exchange) answerNotModified(ctx *fasthttp.RequestCtx, o *cache.Object) {
	b := x.scratch[:0]
	if o != nil {
		b = append(b, o.Header...)
	} else {
		b = fill.AppendObject(b, x.fetch, false)
	}
	x.setLines(&ctx.Response.Header, x.appendOwn(fill.NotModifiedHead(b)))
	x.Status = fasthttp.StatusNotModified
	ctx.SetStatusCode(x.Status)
}

// forwardReason is why a request goes on to the origin, as Cache-Status has it (RFC 9211,
// section 2.2); the zero value where it does not.
type forwardReason uint8

const (
	forwardedNot     forwardReason = iota
	forwardedMiss                  // nothing is stored
	forwardedStale                 // what is stored is stale
	forwardedRequest               // or fresh, but not for the wishes of the request
)

var forwardings = [...]string{forwardedMiss: "miss", forwardedStale: "stale", forwardedRequest: "request"}

// appendCacheStatus appends the value of Cache-Status (RFC 9211).
func (x *Exchange) appendCacheStatus(b []byte, now time.Time) []byte {
	b = append(b, "yatagarasu"...)
	switch {
	case x.Cache == observe.Hit:
		b = strconv.AppendInt(append(b, "; hit; ttl="...), x.stored.Freshness.TTL(now), 10)
	case x.Cache == observe.Stale && x.forward == forwardedNot:
		b = strconv.AppendInt(append(b, "; hit; ttl="...), min(x.stored.Freshness.TTL(now), 0), 10)
	case x.forward == forwardedNot: // nor from memory: the client wants nothing else
	case x.Cache == observe.Bypass:
		b = append(b, "; fwd=bypass"...)
	case x.Cache == observe.Coalesced:
		b = append(append(append(b, "; fwd="...), forwardings[x.forward]...), "; collapsed"...)
	default:
		b = append(append(b, "; fwd="...), forwardings[x.forward]...)
		if x.Upstream.Status != 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(x.Upstream.Status), 10)
		}
	}
	return b
}

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
		x.setLines(&ctx.Response.Header, x.appendCacheLines(fill.WithDate(x.scratch[:0])))
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
