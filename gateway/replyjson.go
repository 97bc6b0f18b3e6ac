package gateway

import (
	"encoding/json"

	"github.com/valyala/fasthttp"
)

// replyJSON answers with a document of the gateway's own.
func (x *exchange) replyJSON(ctx *fasthttp.RequestCtx, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("BUG: status cannot be encoded: " + err.Error())
	}
	h := &ctx.Response.Header
	h.SetContentType("application/json")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetStatusCode(code)
	ctx.SetBody(append(body, '\n'))
	x.status, x.bytes = code, int64(len(body)+1)
	if x.method == methodHead {
		x.bytes = 0
	}
}
