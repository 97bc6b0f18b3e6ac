package gateway

import (
	"bytes"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// maxMetricsConns bounds the connections of the metrics listener.
const maxMetricsConns = 256

// metricsListener accepts the connections of scrapes, probes and administrative calls.
// At the bound, the oldest without a request gives way to the new one, so that silent
// ones, whoever opened them, keep nobody out. The first byte of a request makes it one,
// for up to the header timeout.
type metricsListener struct {
	*net.TCPListener
	g *Gateway
}

// Accept implements net.Listener, for one goroutine.
func (l *metricsListener) Accept() (net.Conn, error) {
	for {
		c, err := l.g.next(l.TCPListener)
		if err != nil {
			return nil, err
		}
		if l.g.metricsConns.len() < maxMetricsConns || l.g.metricsConns.giveWay() {
			l.g.metricsConns.add(c, peerAddr(c.RemoteAddr())) // which has no limit of its own
			return c, nil
		}
		refuseConn(c, true)
	}
}

// metricsConnState is told by fasthttp what becomes of a connection.
func (g *Gateway) metricsConnState(c net.Conn, s fasthttp.ConnState) {
	if s == fasthttp.StateClosed {
		g.metricsConns.remove(c)
	} else {
		g.metricsConns.note(c, s)
	}
}

// openMetrics opens the metrics listener, if the configuration wants one.
func (g *Gateway) openMetrics() error {
	m := &g.generation.Load().config.Metrics
	if !m.Enabled {
		return nil
	}
	address := net.JoinHostPort(m.Address, strconv.Itoa(m.Port))
	ln, err := g.opts.Inherited.listen(socketMetrics, address, &g.log)
	if err != nil {
		return listenProblem(address, err, "metrics.port or metrics.address")
	}
	g.metricsLoopback.Store(ln.Addr().(*net.TCPAddr).IP.IsLoopback())
	g.statusPolicy = statusPolicy(statusHTML)
	g.metricsConns.init(0, 0)
	g.metricsServer = &fasthttp.Server{
		Handler:                      g.handleMetrics,
		ErrorHandler:                 g.handleMetricsError,
		HeaderReceived:               func(h *fasthttp.RequestHeader) fasthttp.RequestConfig { return g.headReceived(h, true) },
		ConnState:                    g.metricsConnState,
		Concurrency:                  1 << 30, // connections are bounded by the listener
		ReadBufferSize:               g.opts.ReadBuffer,
		ReadTimeout:                  g.opts.HeaderTimeout,
		IdleTimeout:                  g.opts.IdleTimeout,
		WriteTimeout:                 g.opts.writeTimeout(),
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		NoDefaultDate:                true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
		Logger:                       serverLogger{&g.log},
	}
	g.metricsListener.Store(ln)
	return nil
}

// serveMetrics begins to serve on the metrics listener, if there is one.
func (g *Gateway) serveMetrics() {
	ln := g.metricsListener.Load()
	if ln == nil {
		return
	}
	g.log.Info().Str("address", ln.Addr().String()).Bool("admin", g.adminOpen()).Msg("serving metrics")
	go func() { // ended by closeMetrics
		if err := g.metricsServer.Serve(&metricsListener{ln, g}); err != nil {
			g.log.Error().Err(err).Msg("the metrics listener failed")
		}
	}()
}

// adminOpen tells whether administrative calls are answered on the metrics listener.
func (g *Gateway) adminOpen() bool {
	return g.metricsLoopback.Load() || !g.generation.Load().config.Admin.Token.Empty()
}

// MetricsAddr returns the address of the metrics listener once it is open; nil
// before, and without one.
func (g *Gateway) MetricsAddr() net.Addr {
	if ln := g.metricsListener.Load(); ln != nil {
		return ln.Addr()
	}
	return nil
}

// handleMetrics serves one request of the metrics listener. These are neither
// counted nor logged as requests.
func (g *Gateway) handleMetrics(ctx *fasthttp.RequestCtx) {
	x := g.acquire(time.Now())
	defer func() {
		if p := recover(); p != nil {
			x.panicked(ctx, p)
		}
		x.completeHead(ctx)
		x.release()
	}()
	if !x.begin(ctx, g.generation.Load()) {
		return
	}
	if isAdmin(x.target.path) {
		g.serveAdmin(ctx, x, true)
		return
	}
	if string(x.target.path) == "/" {
		g.serveStatusPage(ctx, x)
		return
	}
	if g.serveProbe(ctx, x) {
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
	g.WriteMetrics(&b)
	h := &ctx.Response.Header
	h.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetBody(b.Bytes())
}

// handleMetricsError answers what fasthttp could not parse.
func (g *Gateway) handleMetricsError(ctx *fasthttp.RequestCtx, err error) {
	x := g.acquire(time.Now())
	defer x.release()
	x.identify(ctx, g.generation.Load())
	x.fail(ctx, parseProblem(err))
	x.completeHead(ctx)
}
