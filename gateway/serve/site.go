package serve

import (
	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/web"
)

// readClient notes what the lines of the bucket's site depend on.
func (x *Exchange) readClient(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	if x.bucket.Site.CORS != nil {
		x.page = h.Peek(fasthttp.HeaderOrigin)
	}
	x.secure = ctx.IsTLS() || x.scheme == request.SchemeHTTPS
}

// refusals are the answers to preflights that are refused.
var refusals = [...]*problem.Problem{
	web.RefusedOrigin:  problem.PageOrigin,
	web.RefusedMethod:  problem.PageMethod,
	web.RefusedHeaders: problem.PageHeaders,
}

// serveOther answers a method that is neither GET nor HEAD: 405, or what a browser may do that
// asks before it sends a page's request (Fetch Standard, "CORS-preflight request"). No token is
// needed to ask, for browsers send none.
//
// Hot path of a flood: zero allocations, guarded by TestPreflightAllocs.
func (x *Exchange) serveOther(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	if x.bucket.Site == nil || x.bucket.Site.CORS == nil {
		x.Fail(ctx, problem.Method)
		return
	}
	cors := x.bucket.Site.CORS
	method := h.Peek(fasthttp.HeaderAccessControlRequestMethod)
	if string(h.Method()) != fasthttp.MethodOptions || len(method) == 0 || len(x.page) == 0 {
		x.Fail(ctx, problem.Method)
		ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD, OPTIONS")
		return
	}
	if r := cors.Judge(x.page, method, h.Peek(fasthttp.HeaderAccessControlRequestHeaders)); r != web.Permitted {
		x.Fail(ctx, refusals[r])
		return
	}
	x.LetIn = true
	x.Status = fasthttp.StatusNoContent
	ctx.SetStatusCode(x.Status)
	private := string(h.Peek("Access-Control-Request-Private-Network")) == "true"
	x.setLines(&ctx.Response.Header, cors.AppendPermission(fill.WithDate(x.scratch[:0]), x.page, private))
}
