package serve

import (
	"strconv"
	"time"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"

	"github.com/valyala/fasthttp"
)

// answerObject answers with the object, or the part of it, that the origin
// sends, unless a precondition stands against it.
func (x *Exchange) answerObject(ctx *fasthttp.RequestCtx, w request.Forward) {
	if !x.conditions.Empty() {
		switch x.conditions.Evaluate(x.fetch.Validators()) {
		case request.NotModified:
			x.answerNotModified(ctx)
			return
		case request.PreconditionFailed:
			x.Fail(ctx, problem.Failed)
			return
		}
	}
	code := x.fetch.Answer.Header.StatusCode()
	if code == fasthttp.StatusPartialContent && !x.rangeHolds(w) {
		x.Fail(ctx, problem.Protocol)
		return
	}
	if x.Method == observe.MethodHead {
		x.copyHeaders(ctx)
		ctx.SetStatusCode(code)
		ctx.Response.SkipBody = true
		if n := x.fetch.Answer.Length(); n >= 0 { // it may be left out, RFC 9110 section 8.6
			ctx.Response.Header.SetContentLength(int(n))
		}
		x.Status = code
		return
	}
	if x.fetch.Answer.FitsBuffer() {
		body, err := x.fetch.Answer.Body()
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
		x.Bytes = int64(len(body))
		x.Status = code
		x.handOver(ctx, x.answeredAfter())
		return
	}
	if err := x.fetch.Answer.Await(); err != nil {
		if !x.fetchAgain(ctx, w, err) {
			x.failUpstream(ctx, err)
		}
		return
	}
	x.copyHeaders(ctx)
	ctx.SetStatusCode(code)
	x.Status = code
	x.handOverStream(ctx, x.answeredAfter(), int(x.fetch.Answer.Length()))
}

// rangeHolds tells whether a 206 is what was asked for.
func (x *Exchange) rangeHolds(w request.Forward) bool {
	v := x.fetch.Answer.Header.Peek(fasthttp.HeaderContentRange)
	if x.Method == observe.MethodHead && v == nil {
		return x.fetch.Part() // as may be its Content-Length
	}
	first, last, size, err := request.ParseContentRange(v)
	if n := x.fetch.Answer.Length(); err != nil || first < 0 || last-first+1 != n && !(x.Method == observe.MethodHead && n < 0) {
		return false
	}
	if x.fetch.Part() {
		return true
	}
	wantFirst, wantLast, ok := w.Range.Resolve(size)
	return ok && first == wantFirst && last == wantLast
}

// answerNotModified answers 304 with the headers that RFC 9110 section 15.4.5
// wants, out of the origin's answer.
func (x *Exchange) answerNotModified(ctx *fasthttp.RequestCtx) {
	b := x.scratch[:0]
	for name, value := range x.fetch.Answer.Header.All() {
		if string(name) == "Etag" {
			name = fill.HeaderETagSent
		}
		if fill.DescribesNotModified(name) {
			b = fill.AppendObjectLine(b, name, value)
		}
	}
	x.setLines(&ctx.Response.Header, x.appendOwn(fill.WithDate(b)))
	x.Status = fasthttp.StatusNotModified
	ctx.SetStatusCode(x.Status)
}

// answerUnsatisfiable answers 416 with the object's size: the error document
// carries it, else a HEAD tells. Preconditions come first.
func (x *Exchange) answerUnsatisfiable(ctx *fasthttp.RequestCtx) {
	if !x.conditions.Empty() || x.conditions.IfRange != nil {
		x.validateByHead(ctx, problem.Range)
		return
	}
	doc, _ := x.fetch.Answer.Document(s3error.DocumentLimit)
	if size := s3error.Parse(doc).ActualObjectSize; size >= 0 {
		x.failRange(ctx, size)
		return
	}
	x.validateByHead(ctx, problem.Range)
}

// failRange answers 416 with the object's size, which is less than 0 where nobody tells
// it (RFC 9110 section 15.5.17).
func (x *Exchange) failRange(ctx *fasthttp.RequestCtx, size int64) {
	if size >= 0 {
		x.scratch = strconv.AppendInt(append(x.scratch[:0], "bytes */"...), size, 10)
		ctx.Response.Header.SetBytesV(fasthttp.HeaderContentRange, x.scratch)
	}
	x.Fail(ctx, problem.Range)
}

// answeredAfter returns how long the origin's answer took to begin.
func (x *Exchange) answeredAfter() time.Duration { return x.Upstream.Answered.Sub(x.Start) }
