package gateway

import "github.com/valyala/fasthttp"

// answerError answers for an error status of the origin. Its document is read
// for the code and for the log; nothing of it reaches the client.
func (x *exchange) answerError(ctx *fasthttp.RequestCtx) {
	o := x.fetch.noteRefusal()
	x.reason = o.reason
	x.fail(ctx, o.problem())
}
