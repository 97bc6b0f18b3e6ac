package serve

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/route"
	"yatagarasu/gateway/web"
)

// Handle serves one request. Safe for concurrent use.
func (s *Server) Handle(ctx *fasthttp.RequestCtx) {
	start := ctx.Time()
	if start.IsZero() {
		start = time.Now() // not from a server
	}
	s.Clients.Serving(ctx.Conn())
	x := s.Acquire(start)
	defer func() {
		if p := recover(); p != nil {
			x.Panicked(ctx, p)
		}
		if s.Draining.Load() {
			ctx.SetConnectionClose()
		}
		x.CompleteHead(ctx)
		if !x.closedByServer {
			x.TTFB = x.elapsed()
			x.finish()
		}
	}()
	s.serve(ctx, x)
}

// serve is the path of a request, top to bottom.
func (s *Server) serve(ctx *fasthttp.RequestCtx, x *Exchange) {
	gen := s.Generation.Load()
	flaw := x.Begin(ctx, gen)
	host := x.Target.Host(&ctx.Request.Header)
	reserved := flaw == nil && route.IsReserved(x.Target.Path)
	var b *Bucket
	var prefixLen int
	redirected := gen.HTTPS && flaw == nil && !route.IsProbe(x.Target.Path) && x.lacksHTTPS(ctx, gen)
	if flaw == nil && !reserved && !redirected {
		b, prefixLen = gen.Table.Lookup(host, x.Target.Path)
	}
	if b != nil {
		x.bucket = b
		x.Bucket, x.Route, x.HasCache = b.Metrics, b.Prefix, b.Cached != nil
		if b.Site != nil {
			x.key = x.Target.Below(prefixLen) // for rules, whatever is answered
			x.readClient(ctx)
		}
	}
	// The limits before any other answer: who is denied learns nothing, and no answer is free.
	if !reserved || !route.IsProbe(x.Target.Path) {
		if by, wait := x.admit(gen.Limits); by != observe.LimitNone {
			x.Refuse(ctx, by, wait)
			return
		}
	}
	switch {
	case flaw != nil:
		x.Fail(ctx, flaw)
		return
	case redirected: // also what /admin would take a token for
		x.sendToHTTPS(ctx, gen, host)
		return
	case reserved:
		s.Reserved(ctx, x)
		return
	case b == nil:
		x.Fail(ctx, problem.NoRoute)
		return
	case x.Method == observe.MethodOther:
		x.serveOther(ctx)
		return
	case b.Maintenance != nil && !b.Maintenance.Admits(x.Client):
		x.serveMaintenance(ctx, b.Maintenance)
		return
	}

	key, p := x.Target.Key(prefixLen, b.Keys)
	if p != nil {
		x.Fail(ctx, p)
		return
	}
	x.key = key
	w := b.Website
	if w != nil {
		x.asked, x.demands = key, x.conditional
	}
	if b.Policy != nil && !x.authorize(ctx) {
		return
	}
	if wait := x.admitSubject(); wait > 0 {
		x.Refuse(ctx, observe.LimitSubjectRate, wait)
		return
	}
	if w != nil && x.answerHere(ctx, w, prefixLen == len(x.Target.Path)) {
		return
	}
	if web.MeansFolder(key) && (w == nil || !w.HasIndex()) && x.serveFolder(ctx) {
		return
	}
	if len(key) == 0 && (w == nil || !w.AnswersRoot()) {
		x.failAbout(ctx, problem.NoKey)
		return
	}
	if x.Query, p = x.Target.AllowedQuery(x.Query, b.AllowQuery); p != nil {
		x.Fail(ctx, p)
		return
	}
	x.LetIn = true
	switch {
	case w != nil:
		x.serveWebsite(ctx, w)
	case b.Cached != nil:
		x.serveCached(ctx)
	default:
		x.serveOrigin(ctx)
	}
}

// Begin identifies the request, checks its head and parses its target. If they are not sound, it
// returns the answer to that.
//
// A body that is not read counts last. A GET or HEAD with one is refused; under /admin,
// whoever may not call is refused for that instead. Any other method gets the answer that
// it gets without a body.
func (x *Exchange) Begin(ctx *fasthttp.RequestCtx, gen *Generation) *problem.Problem {
	h := &ctx.Request.Header
	x.Method = methodOf(ctx)
	x.Identify(ctx, gen)
	if x.s.Draining.Load() {
		ctx.SetConnectionClose()
	}

	flaw := x.judge(h)
	if x.Unread || flaw != nil && flaw.Close {
		ctx.SetConnectionClose() // whatever is answered
	}
	if flaw == nil && len(x.Target.Query) > 0 {
		// A query can hold a token, which must not leak by the Referer header.
		ctx.Response.Header.SetCanonical(headerReferrerPolicy, referrerPolicyNothing)
	}
	return flaw
}

// judge returns what is wrong with a head and its target; nil: nothing.
func (x *Exchange) judge(h *fasthttp.RequestHeader) *problem.Problem {
	// The head first: until it is sound, nothing in it can be trusted, not even where
	// the next request begins.
	var head request.Head
	flaw := head.Check(h.RawHeaders(), h.IsHTTP11())
	x.conditional = head.Conditional
	if flaw == request.BodyNotAllowed {
		x.Unread = !request.IsInvited(h)
	} else if flaw != nil {
		return flaw
	}
	if p := string(h.Protocol()); p != "HTTP/1.1" && p != "HTTP/1.0" {
		return problem.Version
	}
	raw := h.RequestURI()
	x.Path = append(x.Path, request.RawPath(raw)...)
	if p := x.Target.Parse(raw); p != nil {
		if x.Method == observe.MethodOther {
			p = problem.Method // CONNECT and OPTIONS * have targets of their own
		}
		return p
	}
	if x.Unread && x.Method != observe.MethodOther && !route.IsAdmin(x.Target.Path) {
		return request.BodyNotAllowed
	}
	return nil
}

// Identify notes the client's address, and the id and the trace of the request.
func (x *Exchange) Identify(ctx *fasthttp.RequestCtx, gen *Generation) {
	h := &ctx.Request.Header
	peer, mute := x.peer(ctx)
	x.Client = peer
	// A connection that a proxy passes on without its client's address may be anybody's.
	if !mute && gen.Trusted.Trusts(peer) {
		name, forwarded := fasthttp.HeaderXForwardedFor, gen.Config.Server.ForwardedHeader == "forwarded"
		if forwarded {
			name = fasthttp.HeaderForwarded
		}
		x.Client = gen.Trusted.ForwardedClient(peer, h.PeekAll(name), forwarded)
		if v := h.Peek("Traceparent"); request.WellFormedTrace(v) {
			x.trace = append(x.trace[:0], v[:request.TraceLength]...)
			x.TraceID, x.ParentSpan = x.trace.ID(), x.trace.Span()
		}
		x.readScheme(h, gen)
		if id := h.PeekBytes(headerRequestID); request.WellFormedID(id) {
			x.ID = append(x.ID[:0], id...)
			return
		}
	}
	x.ID = request.AppendUUIDv7(x.ID[:0], x.Start)
}

// peer returns the address at the other end of the connection. With PROXY headers, that is
// the one of the proxy's client, or the proxy's own if it is mute about its client.
func (x *Exchange) peer(ctx *fasthttp.RequestCtx) (addr netip.Addr, mute bool) {
	if x.s.BehindProxies == nil {
		return request.PeerAddr(ctx.RemoteAddr()), false
	}
	c := ctx.Conn()
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return x.s.BehindProxies.Client(c)
}

func methodOf(ctx *fasthttp.RequestCtx) observe.Method {
	switch m := ctx.Request.Header.Method(); string(m) {
	case fasthttp.MethodGet:
		return observe.MethodGet
	case fasthttp.MethodHead:
		return observe.MethodHead
	}
	return observe.MethodOther
}

// Fail answers with a problem. The last call counts.
func (x *Exchange) Fail(ctx *fasthttp.RequestCtx, p *problem.Problem) {
	if x.closedByServer {
		x.takeBack(ctx)
	}
	if x.instead != nil { // its document cannot be had
		p, x.Reason, x.key = x.instead, x.why, x.asked
	}
	x.Status = p.Status
	if x.Reason == "" || p.Reason != "" {
		x.Reason = p.LogReason()
	}
	h := &ctx.Response.Header
	ctx.SetStatusCode(p.Status)
	plain := request.PrefersPlain(ctx.Request.Header.Peek(fasthttp.HeaderAccept))
	p.SetHead(h, plain)
	x.scratch = problem.AppendBody(x.scratch[:0], plain, p.Status, p.Code, p.Message, x.ID)
	ctx.Response.SetBody(x.scratch)
	x.Bytes = int64(len(ctx.Response.Body()))
	if x.Method == observe.MethodHead {
		x.Bytes = 0
	}
}

// Panicked answers 500 for a panic of the handler. The process lives on.
func (x *Exchange) Panicked(ctx *fasthttp.RequestCtx, p any) {
	x.s.RecordPanic(p, x.ID)
	x.takeBack(ctx)
	ctx.Response.Reset()
	x.Reason, x.CacheOutcome, x.cacheKey = "", observe.Bypass, x.cacheKey[:0] // the cache has no part in this answer
	x.LetIn = true                                                            // its line is always written
	x.instead = nil
	x.Fail(ctx, problem.Panic)
	ctx.Response.Header.SetCanonical(headerRequestID, x.ID)
	x.complete = true // fasthttp has dated it, after Reset
}

// HandleError answers a request that fasthttp cannot parse, within the limits. One whose head has
// not arrived takes nothing of the rates: whoever says nothing must not use up what others share.
// The text of err goes nowhere: it quotes the request, with its tokens.
func (s *Server) HandleError(ctx *fasthttp.RequestCtx, err error) {
	x := s.Acquire(time.Now())
	gen := s.Generation.Load()
	x.Method = methodOf(ctx)
	x.Identify(ctx, gen)
	x.Path = append(x.Path, request.RawPath(ctx.Request.Header.RequestURI())...)
	p := problem.OfParseError(err)
	_, ended := errors.AsType[*net.OpError](err) // the connection has
	by, wait := observe.LimitNone, time.Duration(0)
	if !ended && p.Status != fasthttp.StatusRequestTimeout || request.IsInvited(&ctx.Request.Header) {
		by, wait = x.admit(gen.Limits)
	} else if !gen.Limits.Allow(x.Client) {
		by = observe.LimitAddress
	}
	if by != observe.LimitNone {
		x.Refuse(ctx, by, wait)
	} else {
		x.Fail(ctx, p)
	}
	x.CompleteHead(ctx)
	x.TTFB = time.Since(x.Start)
	x.finish()
}
