package gateway

import (
	"github.com/valyala/fasthttp"
)

// serveOrigin answers from the origin.
func (x *exchange) serveOrigin(ctx *fasthttp.RequestCtx) {
	x.conn = ctx.Conn()
	c := x.readConditions(ctx)
	if c.rng.kind == rangeUnsatisfiable {
		x.validateByHead(ctx, problemRange)
		return
	}
	x.fetchFor(ctx, c.forward())
}

// readConditions returns what the request says of when it wants the object, and which part
// of it. The head is read for that once.
func (x *exchange) readConditions(ctx *fasthttp.RequestCtx) *conditions {
	if x.conditional && !x.conditionsRead {
		x.conditions.read(&ctx.Request.Header, x.method == methodGet, isPart(x.query))
		x.conditionsRead = true
	}
	return &x.conditions
}

// beginFetch makes sure that there is a fetch.
func (x *exchange) beginFetch() {
	if x.fetch == nil {
		x.fetch = x.bucket.origin.fetch(&x.upstream, x.key, x.query, x.id, x.trace)
	}
}

// fetchFor answers from the origin, asked for f.
func (x *exchange) fetchFor(ctx *fasthttp.RequestCtx, w forward) {
	x.beginFetch()
	if err := x.fetch.send(w, x.method == methodHead); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if w.ifRange && !x.ifRangeHeld() {
		// The object changed since the client's part: it gets the whole one.
		x.fetchWhole(ctx)
		return
	}
	x.answer(ctx, w)
}

// answer turns the origin's response into the client's.
func (x *exchange) answer(ctx *fasthttp.RequestCtx, w forward) {
	if x.fetch.refusal != nil {
		x.answerError(ctx)
		return
	}
	switch code := x.fetch.up.Header.StatusCode(); code {
	case fasthttp.StatusOK, fasthttp.StatusPartialContent:
		x.answerObject(ctx, w)
	case fasthttp.StatusNotModified:
		switch {
		case w.condition != "if-none-match" && w.condition != "if-modified-since":
			x.fail(ctx, problemProtocol)
		case len(x.fetch.up.Header.Peek(fasthttp.HeaderETag)) == 0:
			x.validateByHead(ctx, nil) // some origins send a 304 without validators
		default:
			x.answerNotModified(ctx)
		}
	case fasthttp.StatusPreconditionFailed:
		if w.condition == "if-match" {
			x.fail(ctx, problemFailed)
		} else {
			x.fail(ctx, problemProtocol)
		}
	case fasthttp.StatusRequestedRangeNotSatisfiable:
		switch {
		case w.ranged():
			x.answerUnsatisfiable(ctx)
		case x.fetch.part():
			x.answerError(ctx) // no such part
		default:
			x.fail(ctx, problemProtocol)
		}
	default:
		x.answerError(ctx)
	}
}

// ifRangeHeld tells whether the answer to a request with If-Range may be used.
func (x *exchange) ifRangeHeld() bool {
	switch x.fetch.up.Header.StatusCode() {
	case fasthttp.StatusPreconditionFailed:
		return false
	case fasthttp.StatusPartialContent:
		etag, modified := x.fetch.validators()
		return ifRangeHolds(x.conditions.ifRange, etag, modified)
	}
	return true
}

// validateByHead asks for the object's headers alone and answers by them: with
// what the preconditions say, or, where they let the request proceed, with
// otherwise.
func (x *exchange) validateByHead(ctx *fasthttp.RequestCtx, otherwise *problem) {
	x.beginFetch()
	if err := x.fetch.send(forward{}, true); err != nil {
		x.failUpstream(ctx, err)
		return
	}
	if x.fetch.refusal != nil || x.fetch.up.Header.StatusCode() != fasthttp.StatusOK {
		x.answerError(ctx)
		return
	}
	etag, modified := x.fetch.validators()
	switch x.conditions.evaluate(etag, modified) {
	case notModified:
		x.answerNotModified(ctx)
	case preconditionFailed:
		x.fail(ctx, problemFailed)
	default:
		switch {
		case otherwise != problemRange:
			x.fail(ctx, problemProtocol) // a 304 that no validator bears out
		case x.conditions.ifRange != nil && !ifRangeHolds(x.conditions.ifRange, etag, modified):
			x.fetchWhole(ctx)
		default:
			x.failRange(ctx, x.fetch.up.Length())
		}
	}
}

// fetchWhole answers with the whole object, because If-Range does not hold.
func (x *exchange) fetchWhole(ctx *fasthttp.RequestCtx) {
	x.conditions.dropRange()
	x.fetchFor(ctx, x.conditions.forward())
}

// fetchAgain answers from the origin once more, because the body failed before the
// client had any of it; it reports whether it did.
func (x *exchange) fetchAgain(ctx *fasthttp.RequestCtx, w forward, err error) bool {
	if !x.fetch.mayRepeat(err) {
		return false
	}
	x.fetchFor(ctx, w)
	return true
}

// failUpstream answers for an exchange that brought no response.
func (x *exchange) failUpstream(ctx *fasthttp.RequestCtx, err error) {
	x.cause = err
	x.reason = reasonOf(err)
	x.fail(ctx, problemOf(err))
}

// answerError answers for an error status of the origin. Its document is read
// for the code and for the log; nothing of it reaches the client.
func (x *exchange) answerError(ctx *fasthttp.RequestCtx) {
	o := x.fetch.noteRefusal()
	x.reason = o.reason
	x.fail(ctx, o.problem())
}
