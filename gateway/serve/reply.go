package serve

import (
	"encoding/json"
	"yatagarasu/gateway/observe"

	"github.com/valyala/fasthttp"
)

// ReplyJSON answers with a document of the gateway's own.
func (x *Exchange) ReplyJSON(ctx *fasthttp.RequestCtx, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("BUG: status cannot be encoded: " + err.Error())
	}
	h := &ctx.Response.Header
	h.SetContentType("application/json")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetStatusCode(code)
	ctx.SetBody(append(body, '\n'))
	x.Status, x.Bytes = code, int64(len(body)+1)
	if x.Method == observe.MethodHead {
		x.Bytes = 0
	}
}
