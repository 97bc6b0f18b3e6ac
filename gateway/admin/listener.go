package admin

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/route"
)

// Open prepares s, which has the limits that all listeners share, to serve metrics on ln.
func (a *Server) Open(ln *net.TCPListener, s *fasthttp.Server) {
	a.Conns.Limit(a.MaxConns, 0)
	a.loopback.Store(ln.Addr().(*net.TCPAddr).IP.IsLoopback())
	s.Handler, s.ErrorHandler, s.ConnState, s.CloseOnShutdown = a.handle, a.handleError, a.Conns.Track, true
	s.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig { return a.HeadReceived(h, true) }
	a.http = s
	a.Listener.Store(ln)
}

// Serve begins to serve on the metrics listener, if there is one, until Close.
func (a *Server) Serve() {
	ln := a.Listener.Load()
	if ln == nil {
		return
	}
	a.Log.Info().Str("address", ln.Addr().String()).Bool("admin", a.callable()).Msg("serving metrics")
	go func() { // ended by Close
		if err := a.http.Serve(&listen.OperatorListener{TCPListener: ln, Conns: &a.Conns, Log: &a.Log}); err != nil {
			a.Log.Error().Err(err).Msg("the metrics listener failed")
		}
	}()
}

// Close ends the metrics listener. It waits for requests under way, but not longer than
// grace.
func (a *Server) Close(grace time.Duration) {
	if a.http == nil {
		return
	}
	a.Listener.Load().Close()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := a.http.ShutdownWithContext(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		a.Log.Debug().Err(err).Msg("connections of the metrics listener are left open")
	}
}

// callable tells whether administrative calls are answered on the metrics listener.
func (a *Server) callable() bool {
	return a.loopback.Load() || !a.Generation.Load().Config.Admin.Token.Empty()
}

// handle serves one request of the metrics listener, which is neither counted nor logged.
func (a *Server) handle(ctx *fasthttp.RequestCtx) {
	a.Conns.Serving(ctx.Conn())
	x := a.Acquire(time.Now())
	defer func() {
		if p := recover(); p != nil {
			x.Panicked(ctx, p)
		}
		x.CompleteHead(ctx)
		x.Release()
	}()
	if flaw := x.Begin(ctx, a.Generation.Load()); flaw != nil {
		x.Fail(ctx, flaw)
		return
	}
	switch path := string(x.Target.Path); {
	case route.IsAdmin(x.Target.Path):
		a.serveAdmin(ctx, x, true)
	case a.serveProbe(ctx, x, true):
	case path != "/" && path != "/metrics":
		x.Fail(ctx, problem.NoPage)
	case x.Method == observe.MethodOther:
		x.Fail(ctx, problem.Method)
	case path == "/":
		serveStatusPage(ctx)
	default:
		h := &ctx.Response.Header
		h.SetContentType("text/plain; version=0.0.4; charset=utf-8")
		h.Set(fasthttp.HeaderCacheControl, "no-store")
		a.WriteMetrics(ctx)
	}
}

// handleError answers a request that fasthttp could not parse.
func (a *Server) handleError(ctx *fasthttp.RequestCtx, err error) {
	x := a.Acquire(time.Now())
	defer x.Release()
	x.Identify(ctx, a.Generation.Load())
	x.Fail(ctx, problem.OfParseError(err))
	x.CompleteHead(ctx)
}
