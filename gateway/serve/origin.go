package serve

import (
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"

	"github.com/valyala/fasthttp"
)

// serveOrigin answers from the origin.
func (x *Exchange) serveOrigin(ctx *fasthttp.RequestCtx) {
	x.conn = ctx.Conn()
	c := x.readConditions(ctx)
	if c.Range.Kind == request.RangeUnsatisfiable {
		x.validateByHead(ctx, problem.Range)
		return
	}
	x.fetchFor(ctx, c.Forward())
}

// fetchFor answers from the origin, asked for f.
func (x *Exchange) fetchFor(ctx *fasthttp.RequestCtx, w request.Forward) {
	x.beginFetch()
	if err := x.fetch.Send(w, x.Method == observe.MethodHead); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if w.IfRange && !x.ifRangeHeld() {
		// The object changed since the client's part: it gets the whole one.
		x.fetchWhole(ctx)
		return
	}
	x.answer(ctx, w)
}

// answer turns the origin's response into the client's.
func (x *Exchange) answer(ctx *fasthttp.RequestCtx, w request.Forward) {
	if x.fetch.OriginError != nil {
		x.answerError(ctx)
		return
	}
	switch code := x.fetch.Answer.Header.StatusCode(); code {
	case fasthttp.StatusOK, fasthttp.StatusPartialContent:
		x.answerObject(ctx, w)
	case fasthttp.StatusNotModified:
		switch {
		case w.Condition != "if-none-match" && w.Condition != "if-modified-since":
			x.Fail(ctx, problem.Protocol)
		case len(x.fetch.Answer.Header.Peek(fasthttp.HeaderETag)) == 0:
			x.validateByHead(ctx, nil) // some origins send a 304 without validators
		default:
			x.answerNotModified(ctx)
		}
	case fasthttp.StatusPreconditionFailed:
		if w.Condition == "if-match" {
			x.Fail(ctx, problem.Failed)
		} else {
			x.Fail(ctx, problem.Protocol)
		}
	case fasthttp.StatusRequestedRangeNotSatisfiable:
		switch {
		case w.Ranged():
			x.answerUnsatisfiable(ctx)
		case x.fetch.Part():
			x.answerError(ctx) // no such part
		default:
			x.Fail(ctx, problem.Protocol)
		}
	default:
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
// what the preconditions say, or, where they let the request proceed, with
// otherwise.
func (x *Exchange) validateByHead(ctx *fasthttp.RequestCtx, otherwise *problem.Problem) {
	x.beginFetch()
	if err := x.fetch.Send(request.Forward{}, true); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if x.fetch.OriginError != nil || x.fetch.Answer.Header.StatusCode() != fasthttp.StatusOK {
		x.answerError(ctx)
		return
	}
	etag, modified := x.fetch.Validators()
	switch x.conditions.Evaluate(etag, modified) {
	case request.NotModified:
		x.answerNotModified(ctx)
	case request.PreconditionFailed:
		x.Fail(ctx, problem.Failed)
	default:
		switch {
		case otherwise != problem.Range:
			x.Fail(ctx, problem.Protocol) // a 304 that no validator bears out
		case x.conditions.IfRange != nil && !request.IfRangeHolds(x.conditions.IfRange, etag, modified):
			x.fetchWhole(ctx)
		default:
			x.failRange(ctx, x.fetch.Answer.Length())
		}
	}
}

// fetchWhole answers with the whole object, because If-Range does not hold.
func (x *Exchange) fetchWhole(ctx *fasthttp.RequestCtx) {
	x.conditions.DropRange()
	x.fetchFor(ctx, x.conditions.Forward())
}

// fetchAgain answers from the origin once more, because the body failed before the
// client had any of it; it reports whether it did.
func (x *Exchange) fetchAgain(ctx *fasthttp.RequestCtx, w request.Forward, err error) bool {
	if !x.fetch.AwaitRetry(err) {
		return false
	}
	x.fetchFor(ctx, w)
	return true
}

// failUpstream answers for an exchange that brought no response.
func (x *Exchange) failUpstream(ctx *fasthttp.RequestCtx, err error) {
	e := origin.NewError(err)
	x.Cause, x.Reason = err, e.Reason
	x.Fail(ctx, e.Problem)
}

// answerError answers for an error status of the origin. Its document is read
// for the code and for the log; nothing of it reaches the client.
func (x *Exchange) answerError(ctx *fasthttp.RequestCtx) {
	o := x.fetch.NoteOriginError()
	x.Reason = o.Reason
	x.Fail(ctx, &o.Problem)
}
