package serve

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/web"
)

// schemeHeader returns the header in which trusted proxies name their clients' schemes.
func schemeHeader(gen *Generation) string {
	if gen.Config.Server.ForwardedHeader == "forwarded" {
		return fasthttp.HeaderForwarded
	}
	return fasthttp.HeaderXForwardedProto
}

// readScheme notes what the trusted proxy that has sent h says of its client's connection.
func (x *Exchange) readScheme(h *fasthttp.RequestHeader, gen *Generation) {
	name := schemeHeader(gen)
	x.scheme = request.ForwardedScheme(h.PeekAll(name), name == fasthttp.HeaderForwarded)
}

// lacksHTTPS tells whether the client is to come again by https: it has come to the listener for
// that, or to a trusted proxy by http where https is required.
func (x *Exchange) lacksHTTPS(ctx *fasthttp.RequestCtx, gen *Generation) bool {
	server := &gen.Config.Server
	switch x.scheme {
	case request.SchemeHTTPS: // to send it back would be a loop
		return false
	case request.SchemeHTTP:
		if server.RequireHTTPS {
			return true
		}
	}
	return server.HTTPS.Enabled && x.s.HTTPSPort > 0 && !ctx.IsTLS()
}

// sendToHTTPS answers with the same URL by https. The redirect comes before all else: a client
// that sends its token in clear must learn that it does, and nothing more.
//
// A client that named no port came to that of http, so that https is at its own port too. One that
// came to another is sent to the one that the gateway listens on, unless a proxy is before it.
func (x *Exchange) sendToHTTPS(ctx *fasthttp.RequestCtx, gen *Generation, host []byte) {
	name, port := request.SplitAuthority(host)
	if len(name) == 0 {
		x.Fail(ctx, problem.HTTPSHost)
		return
	}
	x.Fail(ctx, problem.HTTPS)
	b := append(append(x.scratch[:0], "https://"...), name...)
	if len(port) > 0 && x.scheme == request.SchemeUnknown && x.s.HTTPSPort != 443 {
		b = strconv.AppendInt(append(b, ':'), int64(x.s.HTTPSPort), 10)
	}
	b = web.AppendTarget(b, x.Path, x.Target.Query)
	h := &ctx.Response.Header
	h.SetBytesV(fasthttp.HeaderLocation, b)
	if x.scheme != request.SchemeUnknown { // a cache must not keep it for those who came by https
		h.Set(fasthttp.HeaderVary, schemeHeader(gen))
	}
	x.scratch = b
}
