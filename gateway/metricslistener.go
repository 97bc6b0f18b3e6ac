package gateway

import (
	"bytes"
	"context"
	"errors"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// open prepares s, which has the limits of all listeners, to serve on ln.
func (a *admin) open(ln *net.TCPListener, s *fasthttp.Server) {
	a.loopback.Store(ln.Addr().(*net.TCPAddr).IP.IsLoopback())
	a.conns.init(0, 0)
	s.Handler, s.ErrorHandler, s.ConnState, s.CloseOnShutdown = a.handle, a.handleError, a.conns.track, true
	s.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig { return a.headReceived(h, true) }
	a.http = s
	a.listener.Store(ln)
}

// serve begins to serve on the listener, if there is one; close ends that.
func (a *admin) serve() {
	ln := a.listener.Load()
	if ln == nil {
		return
	}
	a.log.Info().Str("address", ln.Addr().String()).Bool("admin", a.callable()).Msg("serving metrics")
	go func() { // ended by close
		if err := a.http.Serve(&operatorListener{ln, &a.conns, &a.log}); err != nil {
			a.log.Error().Err(err).Msg("the metrics listener failed")
		}
	}()
}

// close ends the listener and what is under way there, for which it waits a little.
func (a *admin) close(grace time.Duration) {
	if a.http == nil {
		return
	}
	a.listener.Load().Close()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := a.http.ShutdownWithContext(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		a.log.Debug().Err(err).Msg("connections of the metrics listener are left open")
	}
}

// callable tells whether administrative calls are answered on the metrics listener.
func (a *admin) callable() bool {
	return a.loopback.Load() || !a.generation.Load().config.Admin.Token.Empty()
}

// handle serves one request of the metrics listener. These are neither
// counted nor logged as requests.
func (a *admin) handle(ctx *fasthttp.RequestCtx) {
	x := a.acquire(time.Now())
	defer func() {
		if p := recover(); p != nil {
			x.panicked(ctx, p)
		}
		x.completeHead(ctx)
		x.release()
	}()
	if !x.begin(ctx, a.generation.Load()) {
		return
	}
	if isAdmin(x.target.path) {
		a.serveAdmin(ctx, x, true)
		return
	}
	if string(x.target.path) == "/" {
		a.serveStatusPage(ctx, x)
		return
	}
	if a.serveProbe(ctx, x) {
		return
	}
	if string(x.target.path) != "/metrics" {
		x.fail(ctx, problemNoPage)
		return
	}
	if x.method == methodOther {
		x.fail(ctx, problemMethod)
		return
	}
	var b bytes.Buffer
	a.writeMetrics(&b)
	h := &ctx.Response.Header
	h.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetBody(b.Bytes())
}

// handleError answers what fasthttp could not parse.
func (a *admin) handleError(ctx *fasthttp.RequestCtx, err error) {
	x := a.acquire(time.Now())
	defer x.release()
	x.identify(ctx, a.generation.Load())
	x.fail(ctx, parseProblem(err))
	x.completeHead(ctx)
}
