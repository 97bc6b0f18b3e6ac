package gateway

import (
	"crypto/tls"
	"net/netip"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// handle serves one request: the path of a request, top to bottom.
func (s *server) handle(ctx *fasthttp.RequestCtx) {
	start := ctx.Time()
	if start.IsZero() {
		start = time.Now() // not from a server
	}
	x := s.acquire(start)
	defer func() {
		if p := recover(); p != nil {
			x.panicked(ctx, p)
		}
		if s.draining.Load() {
			ctx.SetConnectionClose()
		}
		x.completeHead(ctx)
		if !x.closedByServer {
			x.firstByte = x.since()
			x.finish()
		}
	}()
	s.serve(ctx, x)
}

func (s *server) serve(ctx *fasthttp.RequestCtx, x *exchange) {
	h := &ctx.Request.Header
	gen := s.generation.Load()
	if !x.begin(ctx, gen) {
		return
	}
	if isReserved(x.target.path) {
		s.reserved(ctx, x)
		return
	}
	b, prefixLen := gen.table.Lookup(x.target.host(h), x.target.path)
	if b == nil {
		x.fail(ctx, problemNoRoute)
		return
	}
	x.bucket = b
	x.metrics, x.route, x.cached = b.metrics, b.prefix, b.cached != nil
	if x.method == methodOther {
		x.fail(ctx, problemMethod)
		return
	}
	if by, wait := x.admit(gen.limits); by != limitNone {
		x.refuse(ctx, by, wait)
		return
	}

	key, e := x.target.key(prefixLen)
	if e != targetOK {
		x.fail(ctx, e.problem())
		return
	}
	x.key = key
	if b.policy != nil && !x.authorize(ctx) {
		return
	}
	if wait := x.admitSubject(); wait > 0 {
		x.refuse(ctx, limitSubjectRate, wait)
		return
	}
	if len(key) == 0 {
		x.fail(ctx, problemNoKey)
		return
	}
	if x.query, e = x.target.allowedQuery(x.query, b.allowQuery); e != targetOK {
		x.fail(ctx, e.problem())
		return
	}
	if b.cached != nil {
		x.serveCached(ctx)
		return
	}
	x.serveOrigin(ctx)
}

// isReserved tells whether a path is one of the gateway's own, which win over buckets:
// /health, /ready, /metrics, and /admin with all below it.
func isReserved(path []byte) bool {
	switch string(path) {
	case "/health", "/ready", "/metrics":
		return true
	}
	return isAdmin(path)
}

// isAdmin tells whether a path is one of administrative calls.
func isAdmin(path []byte) bool {
	const admin = "/admin"
	return len(path) >= len(admin) && string(path[:len(admin)]) == admin && (len(path) == len(admin) || path[len(admin)] == '/')
}

// begin identifies the request, checks its head and parses its target. It reports
// whether they are sound; if not, the request is answered.
//
// A body that came with the request and was not read decides last: on a GET or HEAD it
// is refused, but under /admin only to those who may call; any other method gets the
// answer that it gets without a body.
func (x *exchange) begin(ctx *fasthttp.RequestCtx, gen *generation) bool {
	h := &ctx.Request.Header
	x.method = methodOf(ctx)
	x.identify(ctx, gen)
	if x.s.draining.Load() {
		ctx.SetConnectionClose()
	}

	// The head first: until it is known to be sound, nothing in it can be
	// trusted, not even where the next request begins.
	var seen headSeen
	flaw := seen.check(h.RawHeaders(), h.IsHTTP11())
	x.conditional = seen.conditional
	if flaw == headBody {
		x.unread = len(h.Peek(headerInvited)) == 0
	} else if flaw != headOK {
		x.fail(ctx, flaw.problem())
		return false
	}
	if x.unread {
		ctx.SetConnectionClose()
	}
	if p := string(h.Protocol()); p != "HTTP/1.1" && p != "HTTP/1.0" {
		x.fail(ctx, problemVersion)
		return false
	}

	raw := h.RequestURI()
	x.path = append(x.path, rawPath(raw)...)
	if e := x.target.parse(raw); e != targetOK {
		if x.method == methodOther {
			x.fail(ctx, problemMethod) // CONNECT and OPTIONS * have targets of their own
			return false
		}
		x.fail(ctx, e.problem())
		return false
	}
	if x.unread && x.method != methodOther && !isAdmin(x.target.path) {
		x.fail(ctx, headBody.problem())
		return false
	}
	if len(x.target.query) > 0 {
		// A query can hold a token, which must not leak by the Referer header.
		ctx.Response.Header.SetCanonical(headerReferrerPolicy, referrerPolicyNothing)
	}
	return true
}

// identify determines who asks, and under which id the request is logged.
func (x *exchange) identify(ctx *fasthttp.RequestCtx, gen *generation) {
	h := &ctx.Request.Header
	peer, mute := x.peer(ctx)
	x.client = peer
	// What a proxy passes on without saying whose it is, anybody may have written.
	if !mute && gen.trusted.trusts(peer) {
		name, forwarded := fasthttp.HeaderXForwardedFor, gen.config.Server.ForwardedHeader == "forwarded"
		if forwarded {
			name = fasthttp.HeaderForwarded
		}
		x.client = gen.trusted.forwardedClient(peer, h.PeekAll(name), forwarded)
		if v := h.Peek("Traceparent"); wellFormedTrace(v) {
			x.trace = append(x.trace[:0], v[:traceLength]...)
			x.traceID, x.parentSpan = x.trace.id(), x.trace.span()
		}
		if id := h.PeekBytes(headerRequestID); wellFormedID(id) {
			x.id = append(x.id[:0], id...)
			return
		}
	}
	x.id = appendUUIDv7(x.id[:0], x.start)
}

// peer returns the address at the other end of the connection: with PROXY headers,
// that of the proxy's client, or the proxy's own if it is mute about that.
func (x *exchange) peer(ctx *fasthttp.RequestCtx) (addr netip.Addr, mute bool) {
	if x.s.behindProxies == nil {
		return peerAddr(ctx.RemoteAddr()), false
	}
	c := ctx.Conn()
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return x.s.behindProxies.client(c)
}

func methodOf(ctx *fasthttp.RequestCtx) method {
	switch m := ctx.Request.Header.Method(); string(m) {
	case fasthttp.MethodGet:
		return methodGet
	case fasthttp.MethodHead:
		return methodHead
	}
	return methodOther
}

// fail answers with p. It may be called again: the last answer counts.
func (x *exchange) fail(ctx *fasthttp.RequestCtx, p *problem) {
	if x.closedByServer {
		x.takeBack(ctx)
	}
	x.status = p.status
	if x.reason == "" || p.reason != "" {
		x.reason = p.reason
	}
	if x.reason == "" {
		x.reason = p.code
	}
	h := &ctx.Response.Header
	ctx.SetStatusCode(p.status)
	plain := prefersPlain(ctx.Request.Header.Peek(fasthttp.HeaderAccept))
	if plain {
		h.SetContentType("text/plain; charset=utf-8")
	} else {
		h.SetContentType("application/json")
	}
	if p.retryAfter > 0 {
		h.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(p.retryAfter))
	}
	if p.status == fasthttp.StatusMethodNotAllowed {
		h.Set(fasthttp.HeaderAllow, "GET, HEAD")
	}
	if p.challenge != "" {
		h.Set(fasthttp.HeaderWWWAuthenticate, p.challenge)
	}
	if x.private {
		h.SetCanonical(headerCacheControl, cacheControlPrivate)
	}
	if p.close {
		ctx.SetConnectionClose()
	}
	x.scratch = appendErrorBody(x.scratch[:0], plain, p.status, p.code, p.message, x.id)
	ctx.Response.SetBody(x.scratch)
	x.bytes = int64(len(ctx.Response.Body()))
	if x.method == methodHead {
		x.bytes = 0
	}
}

// panicked turns a panic of the handler into a 500; the process lives on.
func (x *exchange) panicked(ctx *fasthttp.RequestCtx, p any) {
	x.s.panicked(p, x.id)
	x.takeBack(ctx)
	ctx.Response.Reset()
	x.reason, x.how, x.cacheKey = "", outcomeBypass, x.cacheKey[:0] // whatever was begun, this is no answer of the cache
	x.fail(ctx, problemPanic)
	ctx.Response.Header.SetCanonical(headerRequestID, x.id)
	x.complete = true // fasthttp has dated it, after Reset
}

// handleError answers requests that fasthttp could not parse. Its error texts
// quote the request, tokens included, so they are used nowhere.
func (s *server) handleError(ctx *fasthttp.RequestCtx, err error) {
	x := s.acquire(time.Now())
	x.method = methodOf(ctx)
	x.identify(ctx, s.generation.Load())
	x.path = append(x.path, rawPath(ctx.Request.Header.RequestURI())...)
	x.fail(ctx, parseProblem(err))
	x.completeHead(ctx)
	x.firstByte = x.since()
	x.finish()
}

// headerInvited marks a request whose body fasthttp reads. No client can send it: a name
// is not empty before its colon.
const headerInvited = ":invited"
