package serve

import (
	"crypto/rand"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/coding"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/gateway/web"
)

// answerCached answers with a stored object, or with that of the flight f, whose body still
// arrives.
//
// Hot path: zero allocations for a whole object, guarded by TestHitAllocs.
func (x *Exchange) answerCached(ctx *fasthttp.RequestCtx, o *cache.Object, f *cache.Flight, outcome observe.Outcome, now time.Time) {
	h := &ctx.Request.Header
	var buf [request.MaxParts]request.Part
	parts, kind := x.partsOf(h, o, &buf)
	if f != nil && kind == request.RangeSingle && x.readConditions(ctx).WantsPart() {
		x.CacheOutcome = observe.Miss
		x.serveOrigin(ctx) // the part alone: the flight may be long in reaching it
		return
	}
	if f != nil && kind != request.RangeUnsatisfiable {
		kind = request.RangeNone // the whole, RFC 9110 section 14.2
	}
	x.CacheOutcome, x.part.Stored, x.part.At = outcome, o, now
	switch o.Status {
	case fasthttp.StatusOK:
	case fasthttp.StatusNotFound:
		x.Reason = s3error.NoSuchKey.Reason
		x.failAbout(ctx, &s3error.NoSuchKey.Problem)
		return
	default:
		panic("BUG: a stored object has the status " + strconv.Itoa(o.Status))
	}
	if x.bucket.Website != nil && x.leadsElsewhere(ctx, o) {
		return
	}
	body := o.Body
	if x.bucket.Compressed != nil {
		if form := x.negotiate(h, o, f, kind); form != nil {
			body, kind = form, request.RangeNone
		}
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
	if kind == request.RangeNone {
		x.setStatus(ctx, fasthttp.StatusOK)
	} else {
		x.setStatus(ctx, fasthttp.StatusPartialContent)
	}
	switch {
	case x.Method == observe.MethodHead:
		ctx.Response.SkipBody = true
		resp.SetContentLength(len(body))
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
		x.sendBytes(ctx, o, body)
	}
}

// setStatus sets the status of an answer with an object: of an error's document, the error's.
func (x *Exchange) setStatus(ctx *fasthttp.RequestCtx, status int) {
	if x.instead != nil {
		status = x.instead.Status
	}
	x.Status = status
	ctx.SetStatusCode(status)
}

// setStoredHead sets the head of a stored object, or of parts of it, and the gateway's own
// lines. TestHitIsTheMiss compares the outcome with a miss, TestOddHeads with an answer past
// the cache.
func (x *Exchange) setStoredHead(h *fasthttp.ResponseHeader, o *cache.Object, kind request.RangeKind) {
	b := x.scratch[:0]
	switch {
	case kind != request.RangeNone:
		b = fill.AppendPartHead(b, o.Header, kind == request.RangeMulti)
	case x.coding != coding.Identity:
		b = fill.AppendCodedHead(b, o.Header, x.coding)
	default:
		b = append(b, o.Header...)
	}
	if x.bucket.Site == nil {
		x.audience = &o.Audience
	}
	x.setLines(h, x.appendSite(b, o.Header))
}

// partsOf returns the parts of a stored object that the request asks for.
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

// MaxAtOnce is the size, in bytes, up to which a body in memory is written together with its
// head. A second write, and watching the client's progress, cost as much as a copy of a
// hundred kilobytes.
const MaxAtOnce = 128 << 10

// sendBytes sends bytes of a stored object's body.
func (x *Exchange) sendBytes(ctx *fasthttp.RequestCtx, o *cache.Object, body []byte) {
	if len(body) > max(MaxAtOnce, x.s.StreamBuffer) {
		x.segments = append(x.segments[:0], body)
		x.stream(ctx, o, len(body))
		return
	}
	ctx.Response.SetBodyRaw(body) // fasthttp sends head and body with one writev
	x.Bytes = int64(len(body))
	if len(o.Body) > x.s.StreamBuffer { // of which a part keeps the whole in memory
		x.pin(o, len(body))
		x.handOver(ctx, time.Since(x.Start))
	}
}

// sendParts sends several parts of a stored object.
func (x *Exchange) sendParts(ctx *fasthttp.RequestCtx, o *cache.Object, parts []request.Part) {
	m := request.Multipart{Parts: parts, Size: int64(len(o.Body)), ContentType: fill.LineValue(o.Header, fill.HeaderContentType), Boundary: rand.Text()}
	length := 0
	x.segments, length = m.Segments(x.segments[:0], o.Body)
	ctx.Response.Header.SetContentTypeBytes(m.AppendType(nil))
	x.stream(ctx, o, length)
}

// stream has fasthttp call WriteTo after the head. o is pinned until the end.
func (x *Exchange) stream(ctx *fasthttp.RequestCtx, o *cache.Object, length int) {
	x.pin(o, length)
	x.handOverStream(ctx, time.Since(x.Start), length)
}

// pin counts o as in memory until the exchange ends, whether it is stored or not. The body of
// the answer has length bytes.
func (x *Exchange) pin(o *cache.Object, length int) {
	c := x.bucket.Cached
	c.Cache.Pin(o)
	x.pinned = o
	x.sending.Begin(x.conn, x.s.Origins.Pace, c.Claim(o, limit.AddressKey(x.Client), length))
}

// answerConditions answers 304 or 412 if the preconditions say so. They are evaluated on o,
// which is stored, or with nil on the object of the origin's answer. It reports whether it
// has answered.
func (x *Exchange) answerConditions(ctx *fasthttp.RequestCtx, o *cache.Object) bool {
	c := x.readConditions(ctx)
	if c.Empty() {
		return false
	}
	var verdict request.Verdict
	switch {
	case o != nil && x.coding != coding.Identity:
		x.scratch = fill.AppendWeak(x.scratch[:0], o.ETag)
		verdict = c.Evaluate(x.scratch, o.Modified)
	case o != nil:
		verdict = c.Evaluate(request.StringBytes(o.ETag), o.Modified)
	default:
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

// answerNotModified answers 304 with the head of o, which is stored, or with nil of the
// origin's answer.
func (x *Exchange) answerNotModified(ctx *fasthttp.RequestCtx, o *cache.Object) {
	b := x.scratch[:0]
	switch {
	case o != nil && x.coding != coding.Identity:
		b = fill.AppendCodedHead(b, o.Header, x.coding)
	case o != nil:
		b = append(b, o.Header...)
	default:
		b = fill.AppendObject(b, x.fetch, false)
		x.varies = x.bucket.Compressed != nil && x.bucket.Compressed.Covers(b)
	}
	if x.bucket.Site != nil {
		b = x.adapt(b)
	}
	rules := x.rulesFor(b, true)
	x.setLines(&ctx.Response.Header, x.appendOwn(fill.NotModifiedHead(b), rules))
	x.Status = fasthttp.StatusNotModified
	ctx.SetStatusCode(x.Status)
}

// Headers of the gateway's own, in the form in which fasthttp stores them.
var (
	headerRequestID       = []byte("X-Request-ID")
	headerReferrerPolicy  = []byte("Referrer-Policy")
	headerRetryAfter      = []byte("Retry-After")
	referrerPolicyNothing = []byte("no-referrer")
)

// setLines sets the lines b and the request's id as one header, whose name is everything up
// to the id: fasthttp writes a canonical name as it is. A dozen headers one by one cost a
// tenth of the CPU time of a small hit. b's memory is x.scratch from then on.
//
// No value may hold a line break. An object's values were parsed from lines: fasthttp
// refuses a bare CR and joins folded lines. The gateway's own have none.
//
// One of the lines must be Date, which fasthttp does not write; see CompleteHead.
func (x *Exchange) setLines(h *fasthttp.ResponseHeader, b []byte) {
	x.complete = true
	x.scratch = append(b, "X-Request-ID"...)
	h.SetCanonical(x.scratch, x.ID)
}

// CompleteHead adds to an answer of the gateway's own the lines that every answer has: Date,
// those of its bucket, the cache's part in it, and the request's id. An object keeps the origin's Date (RFC 9110
// section 6.6.1).
func (x *Exchange) CompleteHead(ctx *fasthttp.RequestCtx) {
	if x.complete {
		return
	}
	var rules web.Matched
	if x.bucket != nil {
		rules = x.rulesFor(nil, false)
	}
	x.setLines(&ctx.Response.Header, x.appendOwn(fill.WithDate(x.scratch[:0]), rules))
}

// copyHeaders copies the headers of the origin's object into the response, with the gateway's
// own lines.
//
// Hot path: no allocation beyond what TestProxyAllocs states.
func (x *Exchange) copyHeaders(ctx *fasthttp.RequestCtx) {
	b := fill.AppendObject(x.scratch[:0], x.fetch, false)
	x.varies = x.bucket.Compressed != nil && x.bucket.Compressed.Covers(b)
	x.setLines(&ctx.Response.Header, x.appendSite(b, b))
}

// appendSite makes of b the head of an answer with an object, or parts of it. head is the
// object's, which may be b.
func (x *Exchange) appendSite(b, head []byte) []byte {
	if x.bucket.Site == nil {
		return x.appendOwn(b, 0)
	}
	rules := x.rulesFor(head, x.instead == nil)
	b = x.appendOwn(x.adapt(b), rules)
	if x.bucket.Site.Downloads {
		b = x.appendDownload(b)
	}
	return b
}

// rulesFor returns the bucket's rules for an answer with an object that has a head, or, where
// success is false, for an error.
func (x *Exchange) rulesFor(head []byte, success bool) web.Matched {
	if x.bucket.Site == nil || x.bucket.Site.Headers == nil {
		return 0
	}
	return x.bucket.Site.Headers.Match(x.key, fill.LineValue(head, fill.HeaderContentType), success)
}

// appendOwn appends the lines that the gateway adds to a head, and changes those that rules
// change.
func (x *Exchange) appendOwn(b []byte, rules web.Matched) []byte {
	var site *web.Site
	if x.bucket != nil {
		site = x.bucket.Site
	}
	if rules != 0 {
		b = site.Headers.Append(b, rules, x.secure, len(x.Target.Query) > 0)
	}
	if x.varies {
		b = append(b, "Vary: Accept-Encoding\r\n"...)
	}
	if site != nil && site.CORS != nil {
		b = site.CORS.AppendLines(b, x.page)
	}
	switch {
	case x.noStore:
		b = fill.AppendLine(web.WithoutLines(b, "cache-control"), headerCacheControl, noStore)
	case x.private:
		b = fill.AppendPrivate(b, x.audience)
	}
	if len(x.cacheKey) > 0 { // a cache is involved
		b = x.part.AppendLines(b, x.CacheOutcome, x.Upstream.Status)
	}
	return b
}
