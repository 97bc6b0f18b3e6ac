package gateway

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
)

// answerCached answers with an object in memory, or, with f, one whose body is still
// arriving there.
//
// Hot path: zero allocations for a whole object, guarded by TestHitAllocs.
func (x *exchange) answerCached(ctx *fasthttp.RequestCtx, o *cache.Object, f *cache.Flight, how cacheOutcome, now time.Time) {
	h := &ctx.Request.Header
	var buf [maxParts]bytePart
	parts, kind := x.partsOf(h, o, &buf)
	if f != nil && kind == rangeSingle && x.readConditions(ctx).wantsPart() {
		x.how = outcomeMiss
		x.serveOrigin(ctx) // the part alone, before it arrives
		return
	}
	if f != nil && kind != rangeUnsatisfiable {
		kind = rangeNone // the whole, RFC 9110 section 14.2
	}
	x.how, x.memory, x.aged = how, o, now
	switch o.Status {
	case fasthttp.StatusOK:
	case fasthttp.StatusNotFound:
		x.reason = outcomeNoSuchKey.reason
		x.fail(ctx, outcomeNoSuchKey.problem())
		return
	default:
		panic("BUG: a stored object has the status " + strconv.Itoa(o.Status))
	}
	switch x.readConditions(ctx).evaluate(stringBytes(o.ETag), o.Modified) {
	case notModified:
		x.answerStoredNotModified(ctx, o)
		return
	case preconditionFailed:
		x.fail(ctx, problemFailed)
		return
	}
	if kind == rangeUnsatisfiable {
		x.failRange(ctx, int64(len(o.Body)))
		return
	}
	resp := &ctx.Response.Header
	x.setStoredHead(resp, o, kind)
	x.status = fasthttp.StatusOK
	if kind != rangeNone {
		x.status = fasthttp.StatusPartialContent
	}
	ctx.SetStatusCode(x.status)
	switch {
	case x.method == methodHead:
		ctx.Response.SkipBody = true
		resp.SetContentLength(len(o.Body))
	case kind == rangeMulti:
		x.sendParts(ctx, o, parts)
	case kind == rangeSingle:
		x.scratch = appendContentRange(x.scratch[:0], parts[0], int64(len(o.Body)))
		resp.SetBytesV(fasthttp.HeaderContentRange, x.scratch)
		x.sendBytes(ctx, o, o.Body[parts[0].first:parts[0].last+1])
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
func (x *exchange) setStoredHead(h *fasthttp.ResponseHeader, o *cache.Object, kind rangeKind) {
	b := x.scratch[:0]
	if kind == rangeNone {
		b = append(b, o.Header...)
	} else {
		b = appendPartHead(b, o.Header, kind == rangeMulti)
	}
	if x.private && !hasStored(o.Header, headerCacheControl) {
		b = append(b, "Cache-Control: private\r\n"...)
	}
	x.setLines(h, x.appendCacheLines(b))
}

// appendCacheLines appends the lines that tell what the cache had to do with the answer:
// Age, X-Cache and Cache-Status; none if the answer does not involve a cache.
func (x *exchange) appendCacheLines(b []byte) []byte {
	if len(x.cacheKey) == 0 {
		return b
	}
	now := x.aged
	if o := x.memory; o != nil && x.showsAge(o, now) {
		b = append(b, "Age: "...)
		b = strconv.AppendInt(b, o.Freshness.Age(now), 10)
		b = append(b, "\r\n"...)
	}
	b = append(append(append(b, "X-Cache: "...), outcomes[x.how].header...), "\r\n"...)
	return append(x.appendCacheStatus(append(b, "Cache-Status: "...), now), "\r\n"...)
}

// showsAge tells whether an answer from o has an Age.
func (x *exchange) showsAge(o *cache.Object, now time.Time) bool {
	switch x.how {
	case outcomeMiss:
		return o.Freshness.Received > 0
	case outcomeCoalesced:
		return o.Freshness.Age(now) > 0
	}
	return true
}

// partsOf returns what of an object in memory is asked for.
func (x *exchange) partsOf(h *fasthttp.RequestHeader, o *cache.Object, buf *[maxParts]bytePart) ([]bytePart, rangeKind) {
	if x.method != methodGet || !x.conditional {
		return nil, rangeNone
	}
	v := h.Peek(fasthttp.HeaderRange)
	if v == nil {
		return nil, rangeNone
	}
	if ifRange := h.Peek(fasthttp.HeaderIfRange); ifRange != nil && !ifRangeHolds(ifRange, stringBytes(o.ETag), o.Modified) {
		return nil, rangeNone
	}
	return resolveParts(buf, v, int64(len(o.Body)))
}

func appendContentRange(dst []byte, p bytePart, size int64) []byte {
	dst = append(dst, "bytes "...)
	dst = append(strconv.AppendInt(dst, p.first, 10), '-')
	dst = append(strconv.AppendInt(dst, p.last, 10), '/')
	return strconv.AppendInt(dst, size, 10)
}

// maxAtOnce is the size of a body in memory up to which it is written together with its
// head: a second write, and having the client's progress watched, cost as much as
// copying a hundred kilobytes.
const maxAtOnce = 128 << 10

// sendBytes answers with bytes of an object's body.
func (x *exchange) sendBytes(ctx *fasthttp.RequestCtx, o *cache.Object, body []byte) {
	switch {
	case len(body) <= x.s.streamBuffer:
		// fasthttp sends head and body with one writev.
		ctx.Response.SetBodyRaw(body)
		x.bytes = int64(len(body))
		return
	case len(body) <= maxAtOnce:
		ctx.Response.SetBodyRaw(body)
		x.bytes = int64(len(body))
		x.pin(o)
		x.handOver(ctx, x.since())
		return
	}
	x.segments = append(x.segments[:0], body)
	x.stream(ctx, o, len(body))
}

// sendParts answers with several parts of an object.
func (x *exchange) sendParts(ctx *fasthttp.RequestCtx, o *cache.Object, parts []bytePart) {
	var random [16]byte
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	m := multipartBody{parts: parts, size: int64(len(o.Body)), contentType: storedValue(o.Header, headerContentType), boundary: hex.AppendEncode(nil, random[:])}
	x.segments = x.segments[:0]
	for i, p := range parts {
		x.segments = append(x.segments, m.appendHead(nil, i), o.Body[p.first:p.last+1])
	}
	x.segments = append(x.segments, m.appendEnd(nil))
	ctx.Response.Header.SetContentTypeBytes(m.appendType(nil))
	x.stream(ctx, o, int(m.length()))
}

// stream has fasthttp call WriteTo after the head, and keeps the object until then.
func (x *exchange) stream(ctx *fasthttp.RequestCtx, o *cache.Object, length int) {
	x.pin(o)
	x.handOverStream(ctx, x.since(), length)
}

// pin keeps o counted as in memory until the exchange ends.
func (x *exchange) pin(o *cache.Object) {
	x.bucket.cached.cache.Pin(o)
	x.pinned = o
}

// answerStoredNotModified answers 304 with the headers that RFC 9110 section
// 15.4.5 wants.
func (x *exchange) answerStoredNotModified(ctx *fasthttp.RequestCtx, o *cache.Object) {
	b := x.scratch[:0]
	storedLines(o.Header, func(name, value []byte) bool {
		if describesNotModified(name) {
			b = appendLineTo(b, name, value)
		}
		return true
	})
	if x.private && !hasStored(b, headerCacheControl) {
		b = appendLineTo(b, headerCacheControl, cacheControlPrivate)
	}
	x.setLines(&ctx.Response.Header, x.appendCacheLines(b))
	x.status = fasthttp.StatusNotModified
	ctx.SetStatusCode(x.status)
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

// forwardingOf returns why a request is forwarded that o, which may be nil, is not good
// enough for.
func forwardingOf(o *cache.Object, now time.Time) forwardReason {
	switch {
	case o == nil:
		return forwardedMiss
	case o.Stale() || o.Freshness.State(now) != cache.Fresh:
		return forwardedStale
	}
	return forwardedRequest
}

// appendCacheStatus appends the value of Cache-Status (RFC 9211).
func (x *exchange) appendCacheStatus(b []byte, now time.Time) []byte {
	b = append(b, "yatagarasu"...)
	switch {
	case x.how == outcomeHit:
		b = strconv.AppendInt(append(b, "; hit; ttl="...), x.memory.Freshness.TTL(now), 10)
	case x.how == outcomeStale && x.forward == forwardedNot:
		b = strconv.AppendInt(append(b, "; hit; ttl="...), min(x.memory.Freshness.TTL(now), 0), 10)
	case x.forward == forwardedNot: // nor from memory: the client wants nothing else
	case x.how == outcomeBypass:
		b = append(b, "; fwd=bypass"...)
	case x.how == outcomeCoalesced:
		b = append(append(append(b, "; fwd="...), forwardings[x.forward]...), "; collapsed"...)
	default:
		b = append(append(b, "; fwd="...), forwardings[x.forward]...)
		if x.upstream.status != 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(x.upstream.status), 10)
		}
	}
	return b
}
