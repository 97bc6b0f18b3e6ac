package gateway

import (
	"strconv"

	"github.com/valyala/fasthttp"
)

// answerObject answers with the object, or the part of it, that the origin
// sends, unless a precondition stands against it.
func (x *exchange) answerObject(ctx *fasthttp.RequestCtx, f forward, rng byteRange) {
	if !x.pre.empty() {
		switch x.pre.evaluate(x.validators()) {
		case notModified:
			x.answerNotModified(ctx)
			return
		case preconditionFailed:
			x.fail(ctx, problemFailed)
			return
		}
	}
	code := x.up.Header.StatusCode()
	if code == fasthttp.StatusPartialContent && !x.rangeHolds(f, rng) {
		x.fail(ctx, problemProtocol)
		return
	}
	if x.method == methodHead {
		x.copyHeaders(ctx)
		ctx.SetStatusCode(code)
		ctx.Response.SkipBody = true
		if n := x.up.Length(); n >= 0 { // it may be left out, RFC 9110 section 8.6
			ctx.Response.Header.SetContentLength(int(n))
		}
		x.status = code
		return
	}
	if x.up.FitsBuffer() {
		body, err := x.up.Body()
		if err != nil {
			if !x.fetchAgain(ctx, f, rng, err) {
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
		x.handOver(ctx)
		return
	}
	if err := x.up.Await(); err != nil {
		if !x.fetchAgain(ctx, f, rng, err) {
			x.failUpstream(ctx, err)
		}
		return
	}
	x.copyHeaders(ctx)
	ctx.SetStatusCode(code)
	x.status = code
	x.handOverStream(ctx, int(x.up.Length()))
}

// rangeHolds tells whether a 206 is what was asked for.
func (x *exchange) rangeHolds(f forward, rng byteRange) bool {
	v := x.up.Header.Peek(fasthttp.HeaderContentRange)
	if x.method == methodHead && v == nil {
		return x.part() // as may be its Content-Length
	}
	first, last, size, err := parseContentRange(v)
	if n := x.up.Length(); err != nil || first < 0 || last-first+1 != n && !(x.method == methodHead && n < 0) {
		return false
	}
	if x.part() {
		return true
	}
	wantFirst, wantLast, ok := rng.resolve(size)
	return f.ranged && ok && first == wantFirst && last == wantLast
}

// answerNotModified answers 304 with the headers that RFC 9110 section 15.4.5
// wants, out of the origin's answer.
func (x *exchange) answerNotModified(ctx *fasthttp.RequestCtx) {
	b := x.scratch[:0]
	for name, value := range x.up.Header.All() {
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
	if !x.pre.empty() || x.pre.ifRange != nil {
		x.validateByHead(ctx, problemRange)
		return
	}
	doc, _ := x.up.Document(documentLimit)
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
