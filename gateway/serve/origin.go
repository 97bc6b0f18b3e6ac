package serve

import (
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/gateway/web"
)

// serveOrigin answers from the origin, past the cache.
func (x *Exchange) serveOrigin(ctx *fasthttp.RequestCtx) {
	x.conn = ctx.Conn()
	c := x.readConditions(ctx)
	if c.Range.Kind == request.RangeUnsatisfiable {
		x.validateByHead(ctx, true)
		return
	}
	x.fetchFor(ctx, c.Plan())
}

// fetchFor asks the origin by a plan, and answers.
func (x *Exchange) fetchFor(ctx *fasthttp.RequestCtx, plan request.Plan) {
	x.beginFetch()
	if err := x.fetch.Send(plan, x.Method == observe.MethodHead || x.step == web.Folder && x.looksForFolder()); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if plan.IfRange && !x.fetch.IfRangeHeld(x.conditions.IfRange) {
		// The object has changed since the client got its part: it gets the whole one.
		x.fetchWhole(ctx)
		return
	}
	x.answer(ctx, plan)
}

// answer turns the origin's response to a plan into the client's.
func (x *Exchange) answer(ctx *fasthttp.RequestCtx, plan request.Plan) {
	if x.fetch.OriginError != nil {
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
		x.Fail(ctx, problem.Protocol) // the plan has nothing that this could answer
	case code == fasthttp.StatusNotModified && len(x.fetch.Answer.Header.Peek(fasthttp.HeaderETag)) == 0:
		x.validateByHead(ctx, false) // some origins send a 304 without validators
	case code == fasthttp.StatusNotModified:
		x.answerNotModified(ctx, nil)
	case code == fasthttp.StatusPreconditionFailed:
		x.Fail(ctx, problem.PreconditionFailed)
	case code == fasthttp.StatusRequestedRangeNotSatisfiable && ranged:
		x.answerUnsatisfiable(ctx)
	default: // also a 416 to partNumber: the object has no such part
		x.answerError(ctx)
	}
}

// validateByHead asks the origin for the object's head alone and answers by that: with
// what the preconditions say, or, where they let the request proceed, with 416 if the range
// is known to be unsatisfiable.
func (x *Exchange) validateByHead(ctx *fasthttp.RequestCtx, unsatisfiable bool) {
	x.beginFetch()
	if err := x.fetch.Send(request.Plan{}, true); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if x.fetch.OriginError != nil || x.fetch.Answer.Header.StatusCode() != fasthttp.StatusOK {
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

// fetchWhole answers with the whole object: If-Range does not hold.
func (x *Exchange) fetchWhole(ctx *fasthttp.RequestCtx) {
	x.conditions.Range, x.conditions.IfRange = request.ByteRange{}, nil
	x.fetchFor(ctx, x.conditions.Plan())
}

// failUpstream answers for a fetch that brought no response.
func (x *Exchange) failUpstream(ctx *fasthttp.RequestCtx, err error) {
	e := origin.NewError(err)
	x.Cause, x.Reason = err, e.Reason
	x.Fail(ctx, e.Problem)
}

// answerError answers for an error status of the origin. The error's document is read for
// its code and for the log. Nothing of it reaches the client.
func (x *Exchange) answerError(ctx *fasthttp.RequestCtx) {
	kind := x.fetch.NoteOriginError()
	x.Reason = kind.Reason
	x.failAbout(ctx, &kind.Problem)
}

// answerObject answers with the object or the part that the origin sends, unless a
// precondition fails.
func (x *Exchange) answerObject(ctx *fasthttp.RequestCtx, plan request.Plan) {
	if x.bucket.Website != nil && x.leadsElsewhere(ctx, nil) || x.answerConditions(ctx, nil) {
		return
	}
	answer := x.fetch.Answer
	code := answer.Header.StatusCode()
	if code == fasthttp.StatusPartialContent && !x.fetch.HasRange(plan, x.Method == observe.MethodHead) {
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
		if x.fetch.AwaitRetry(err) { // the client has got nothing yet
			x.fetchFor(ctx, plan)
		} else {
			x.failUpstream(ctx, err)
		}
		return
	}
	x.copyHeaders(ctx)
	x.setStatus(ctx, code)
	switch {
	case head:
		ctx.Response.SkipBody = true
		if n := answer.Length(); n >= 0 { // it may be left out, RFC 9110 section 8.6
			ctx.Response.Header.SetContentLength(int(n))
		}
	case buffered:
		// fasthttp sends head and body with one writev, without a copy, and closes the
		// user value after that.
		ctx.Response.SetBodyRaw(body)
		x.Bytes = int64(len(body))
		x.handOver(ctx, x.answeredAfter())
	default:
		answer.Watch(x.conn, x.s.Origins.Pace)
		x.handOverStream(ctx, x.answeredAfter(), int(answer.Length()))
	}
}

// answerUnsatisfiable answers 416 with the object's size, which the error's document has, or
// else a HEAD brings. Preconditions come first.
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

// failRange answers 416 with the object's size (RFC 9110 section 15.5.17). A size less than 0
// is unknown.
func (x *Exchange) failRange(ctx *fasthttp.RequestCtx, size int64) {
	if size >= 0 {
		x.scratch = strconv.AppendInt(append(x.scratch[:0], "bytes */"...), size, 10)
		ctx.Response.Header.SetBytesV(fasthttp.HeaderContentRange, x.scratch)
	}
	x.Fail(ctx, problem.Range)
}

// answeredAfter returns the time from the request to the origin's first byte.
func (x *Exchange) answeredAfter() time.Duration { return x.Upstream.Answered.Sub(x.Start) }
