package serve

import (
	"strconv"
	"time"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"

	"github.com/valyala/fasthttp"
)

// serveOrigin answers from the origin.
func (x *Exchange) serveOrigin(ctx *fasthttp.RequestCtx) {
	x.conn = ctx.Conn()
	c := x.readConditions(ctx)
	if c.Range.Kind == request.RangeUnsatisfiable {
		x.validateByHead(ctx, true)
		return
	}
	x.fetchFor(ctx, c.Plan())
}

// fetchFor answers from the origin, asked for f.
func (x *Exchange) fetchFor(ctx *fasthttp.RequestCtx, plan request.Plan) {
	x.beginFetch()
	if err := x.fetch.Send(plan, x.Method == observe.MethodHead); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if plan.IfRange && !x.ifRangeHeld() {
		// The object changed since the client's part: it gets the whole one.
		x.fetchWhole(ctx)
		return
	}
	x.answer(ctx, plan)
}

// answer turns the origin's response into the client's.
func (x *Exchange) answer(ctx *fasthttp.RequestCtx, plan request.Plan) {
	if x.fetch.Refusal != nil {
		x.answerError(ctx)
		return
	}
	ranged := plan.Range.Kind == request.RangeSingle
	switch code := x.fetch.Answer.Header.StatusCode(); {
	case code == fasthttp.StatusOK, code == fasthttp.StatusPartialContent:
		x.answerObject(ctx, plan)
	case code == fasthttp.StatusNotModified && plan.Condition != "if-none-match" && plan.Condition != "if-modified-since",
		code == fasthttp.StatusPreconditionFailed && plan.Condition != "if-match",
		code == fasthttp.StatusRequestedRangeNotSatisfiable && !ranged && !x.fetch.Part():
		x.Fail(ctx, problem.Protocol) // nobody asked
	case code == fasthttp.StatusNotModified && len(x.fetch.Answer.Header.Peek(fasthttp.HeaderETag)) == 0:
		x.validateByHead(ctx, false) // some origins send a 304 without validators
	case code == fasthttp.StatusNotModified:
		x.answerNotModified(ctx, nil)
	case code == fasthttp.StatusPreconditionFailed:
		x.Fail(ctx, problem.PreconditionFailed)
	case code == fasthttp.StatusRequestedRangeNotSatisfiable && ranged:
		x.answerUnsatisfiable(ctx)
	default: // a 416 is among them: there is no such part
		x.answerError(ctx)
	}
}

// ifRangeHeld tells whether the answer to a request with If-Range may be used.
func (x *Exchange) ifRangeHeld() bool {
	switch x.fetch.Answer.Header.StatusCode() {
	case fasthttp.StatusPreconditionFailed:
		return false
	case fasthttp.StatusPartialContent:
		etag, modified := x.fetch.Validators()
		return request.IfRangeHolds(x.conditions.IfRange, etag, modified)
	}
	return true
}

// validateByHead asks for the object's headers alone and answers by them: with
// what the preconditions say, or, where they let the request proceed, with 416 if the range
// is known to be unsatisfiable.
func (x *Exchange) validateByHead(ctx *fasthttp.RequestCtx, unsatisfiable bool) {
	x.beginFetch()
	if err := x.fetch.Send(request.Plan{}, true); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if x.fetch.Refusal != nil || x.fetch.Answer.Header.StatusCode() != fasthttp.StatusOK {
		x.answerError(ctx)
		return
	}
	etag, modified := x.fetch.Validators()
	switch {
	case x.answerConditions(ctx, nil):
	case !unsatisfiable:
		x.Fail(ctx, problem.Protocol) // a 304 that no validator bears out
	case x.conditions.IfRange != nil && !request.IfRangeHolds(x.conditions.IfRange, etag, modified):
		x.fetchWhole(ctx)
	default:
		x.failRange(ctx, x.fetch.Answer.Length())
	}
}

// fetchWhole answers with the whole object, because If-Range does not hold.
func (x *Exchange) fetchWhole(ctx *fasthttp.RequestCtx) {
	x.conditions.DropRange()
	x.fetchFor(ctx, x.conditions.Plan())
}

// failUpstream answers for an exchange that brought no response.
func (x *Exchange) failUpstream(ctx *fasthttp.RequestCtx, err error) {
	x.Cause = err
	x.Reason = origin.ReasonOf(err)
	x.Fail(ctx, origin.ProblemOf(err))
}

// answerError answers for an error status of the origin. Its document is read
// for the code and for the log; nothing of it reaches the client.
func (x *Exchange) answerError(ctx *fasthttp.RequestCtx) {
	o := x.fetch.NoteRefusal()
	x.Reason = o.Reason
	x.Fail(ctx, o.Problem())
}

// answerObject answers with the object, or the part of it, that the origin
// sends, unless a precondition stands against it.
func (x *Exchange) answerObject(ctx *fasthttp.RequestCtx, plan request.Plan) {
	if x.answerConditions(ctx, nil) {
		return
	}
	answer := x.fetch.Answer
	code := answer.Header.StatusCode()
	if code == fasthttp.StatusPartialContent && !x.rangeHolds(plan) {
		x.Fail(ctx, problem.Protocol)
		return
	}
	head, buffered := x.Method == observe.MethodHead, answer.FitsBuffer()
	var body []byte
	var err error
	switch {
	case head:
	case buffered:
		body, err = answer.Body()
	default:
		err = answer.Await()
	}
	if err != nil {
		if x.fetch.MayRepeat(err) { // the client has nothing of it
			x.fetchFor(ctx, plan)
		} else {
			x.failUpstream(ctx, err)
		}
		return
	}
	x.copyHeaders(ctx)
	ctx.SetStatusCode(code)
	x.Status = code
	switch {
	case head:
		ctx.Response.SkipBody = true
		if n := answer.Length(); n >= 0 { // it may be left out, RFC 9110 section 8.6
			ctx.Response.Header.SetContentLength(int(n))
		}
	case buffered:
		// fasthttp sends head and body with one writev, from where they are, and
		// closes the user value after that.
		ctx.Response.SetBodyRaw(body)
		x.Bytes = int64(len(body))
		x.handOver(ctx, x.answeredAfter())
	default:
		x.handOverStream(ctx, x.answeredAfter(), int(answer.Length()))
	}
}

// rangeHolds tells whether a 206 is what was asked for.
func (x *Exchange) rangeHolds(plan request.Plan) bool {
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
	wantFirst, wantLast, ok := plan.Range.Resolve(size)
	return ok && first == wantFirst && last == wantLast
}

// answerUnsatisfiable answers 416 with the object's size: the error document
// carries it, else a HEAD tells. Preconditions come first.
func (x *Exchange) answerUnsatisfiable(ctx *fasthttp.RequestCtx) {
	if !x.conditions.Empty() || x.conditions.IfRange != nil {
		x.validateByHead(ctx, true)
		return
	}
	doc, _ := x.fetch.Answer.Document(s3error.DocumentLimit)
	if size := s3error.Parse(doc).ActualObjectSize; size >= 0 {
		x.failRange(ctx, size)
		return
	}
	x.validateByHead(ctx, true)
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
