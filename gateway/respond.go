package gateway

import (
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// answerObject answers with the object, or the part of it, that the origin
// sends, unless a precondition stands against it.
func (x *exchange) answerObject(ctx *fasthttp.RequestCtx, w forward) {
	if !x.conditions.empty() {
		switch x.conditions.evaluate(x.fetch.validators()) {
		case notModified:
			x.answerNotModified(ctx)
			return
		case preconditionFailed:
			x.fail(ctx, problemFailed)
			return
		}
	}
	code := x.fetch.up.Header.StatusCode()
	if code == fasthttp.StatusPartialContent && !x.rangeHolds(w) {
		x.fail(ctx, problemProtocol)
		return
	}
	if x.method == methodHead {
		x.copyHeaders(ctx)
		ctx.SetStatusCode(code)
		ctx.Response.SkipBody = true
		if n := x.fetch.up.Length(); n >= 0 { // it may be left out, RFC 9110 section 8.6
			ctx.Response.Header.SetContentLength(int(n))
		}
		x.status = code
		return
	}
	if x.fetch.up.FitsBuffer() {
		body, err := x.fetch.up.Body()
		if err != nil {
			if !x.fetchAgain(ctx, w, err) {
				x.failUpstream(ctx, err)
			}
			return
		}
		x.copyHeaders(ctx)
		ctx.SetStatusCode(code)
		// fasthttp sends head and body with one writev, from where they are, and
		// closes the user value after that.
		ctx.Response.SetBodyRaw(body)
		x.bytes = int64(len(body))
		x.status = code
		x.handOver(ctx, x.answeredAfter())
		return
	}
	if err := x.fetch.up.Await(); err != nil {
		if !x.fetchAgain(ctx, w, err) {
			x.failUpstream(ctx, err)
		}
		return
	}
	x.copyHeaders(ctx)
	ctx.SetStatusCode(code)
	x.status = code
	x.handOverStream(ctx, x.answeredAfter(), int(x.fetch.up.Length()))
}

// rangeHolds tells whether a 206 is what was asked for.
func (x *exchange) rangeHolds(w forward) bool {
	v := x.fetch.up.Header.Peek(fasthttp.HeaderContentRange)
	if x.method == methodHead && v == nil {
		return x.fetch.part() // as may be its Content-Length
	}
	first, last, size, err := parseContentRange(v)
	if n := x.fetch.up.Length(); err != nil || first < 0 || last-first+1 != n && !(x.method == methodHead && n < 0) {
		return false
	}
	if x.fetch.part() {
		return true
	}
	wantFirst, wantLast, ok := w.rng.resolve(size)
	return ok && first == wantFirst && last == wantLast
}

// answerNotModified answers 304 with the headers that RFC 9110 section 15.4.5
// wants, out of the origin's answer.
func (x *exchange) answerNotModified(ctx *fasthttp.RequestCtx) {
	b := x.scratch[:0]
	for name, value := range x.fetch.up.Header.All() {
		if string(name) == "Etag" {
			name = headerETagSent
		}
		if describesNotModified(name) {
			b = appendObjectLine(b, name, value)
		}
	}
	x.setLines(&ctx.Response.Header, x.appendOwn(withDate(b)))
	x.status = fasthttp.StatusNotModified
	ctx.SetStatusCode(x.status)
}

// answerUnsatisfiable answers 416 with the object's size: the error document
// carries it, else a HEAD tells. Preconditions come first.
func (x *exchange) answerUnsatisfiable(ctx *fasthttp.RequestCtx) {
	if !x.conditions.empty() || x.conditions.ifRange != nil {
		x.validateByHead(ctx, problemRange)
		return
	}
	doc, _ := x.fetch.up.Document(documentLimit)
	if size := parseS3Error(doc).ActualObjectSize; size >= 0 {
		x.failRange(ctx, size)
		return
	}
	x.validateByHead(ctx, problemRange)
}

// failRange answers 416 with the object's size, which is less than 0 where nobody tells
// it (RFC 9110 section 15.5.17).
func (x *exchange) failRange(ctx *fasthttp.RequestCtx, size int64) {
	if size >= 0 {
		x.scratch = strconv.AppendInt(append(x.scratch[:0], "bytes */"...), size, 10)
		ctx.Response.Header.SetBytesV(fasthttp.HeaderContentRange, x.scratch)
	}
	x.fail(ctx, problemRange)
}

// answeredAfter returns how long the origin's answer took to begin.
func (x *exchange) answeredAfter() time.Duration { return x.upstream.answered.Sub(x.start) }
