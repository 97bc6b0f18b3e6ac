package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/handover"
	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/observe"
)

// listen opens the main listener.
func (g *Gateway) listen() (*listen.Listener, error) {
	ln, err := g.opts.Inherited.Listen(handover.SocketMain, g.address, &g.Log)
	if err != nil {
		return nil, handover.ListenProblem(g.address, err, "server.address or -listen.address")
	}
	o := listen.Options{
		Conns: &g.conns, TLS: g.tls, LeanAfter: g.opts.LeanAfter,
		Log: &g.Log, Refused: g.Metrics.RefusedConns, BadHeaders: g.Metrics.BadProxyHeaders,
	}
	if g.Generation.Load().Config.Server.ProxyProtocol {
		o.Trusted = func(peer netip.Addr) bool { return g.Generation.Load().Trusted.Trusts(peer) }
		g.BehindProxies = &g.conns
	}
	l := listen.New(ln, o)
	g.listener.Store(l)
	return l, nil
}

// openMetrics opens the metrics listener, if the configuration has one.
func (g *Gateway) openMetrics() error {
	m := &g.Generation.Load().Config.Metrics
	if !m.Enabled {
		return nil
	}
	address := net.JoinHostPort(m.Address, strconv.Itoa(m.Port))
	ln, err := g.opts.Inherited.Listen(handover.SocketMetrics, address, &g.Log)
	if err != nil {
		return handover.ListenProblem(address, err, "metrics.port or metrics.address")
	}
	g.operators.Open(ln, g.newHTTPServer())
	return nil
}

// newServer returns a server of clients.
func (g *Gateway) newServer() *fasthttp.Server {
	s := g.newHTTPServer()
	s.Handler, s.ErrorHandler, s.ConnState, s.WriteBufferSize = g.Handle, g.HandleError, g.conns.Track, g.opts.WriteBuffer
	s.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig { return g.operators.HeadReceived(h, false) }
	return s
}

// newHTTPServer returns a server with the limits of all listeners.
func (g *Gateway) newHTTPServer() *fasthttp.Server {
	return &fasthttp.Server{
		Concurrency:                  1 << 30, // connections are bounded by the listener
		ReadBufferSize:               g.opts.ReadBuffer,
		ReadTimeout:                  g.opts.HeaderTimeout,
		IdleTimeout:                  g.opts.IdleTimeout,
		WriteTimeout:                 g.opts.writeTimeout(),
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		NoDefaultDate:                true, // see exchange.completeHead
		SecureErrorLogMessage:        true,
		Logger:                       observe.ServerLogger{Observer: g.Observer},
	}
}

// serveClients serves the connections of ln until it is closed. Lean connections take less
// memory while they are idle, and one read and two changes of goroutine more per request. ended
// is closed when no connection is left.
func (g *Gateway) serveClients(ln *listen.Listener, ended <-chan struct{}) error {
	lean := make(chan error, 1)
	go func() { // ends with ln
		s := g.newServer()
		s.ReduceMemoryUsage = true
		s.Handler = listen.NewWorkers(g.Handle, ended).Handle
		lean <- s.Serve(&ln.Lean)
	}()
	return errors.Join(g.newServer().Serve(ln), <-lean)
}

// attend tells the old process and the service manager that the gateway serves, and the latter
// that it is alive, until stop is closed.
func (g *Gateway) attend(stop <-chan struct{}) {
	if in := g.opts.Inherited; in.HandedOver() {
		in.Confirm()
	}
	g.notify.Send("READY=1", g.statusServing())
	g.notify.KeepAlive(stop)
}

// statusServing returns the service manager's status line while the gateway serves.
func (g *Gateway) statusServing() string {
	status := fmt.Sprintf("STATUS=serving %d bucket(s) on %s, configuration generation %d", len(g.Generation.Load().Buckets), g.Addr(), g.Generation.Load().Number)
	if last := g.operators.LastReload.Load(); last != nil && len(last.Errors) > 0 {
		status += fmt.Sprintf("; the last reload failed: %d mistake(s), see the log", len(last.Errors))
	}
	return status
}

// Addr returns the main listener's address; nil before Run has opened it.
func (g *Gateway) Addr() net.Addr {
	if ln := g.listener.Load(); ln != nil {
		return ln.Addr()
	}
	return nil
}
