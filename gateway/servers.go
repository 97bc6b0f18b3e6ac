package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/admin"
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
	l := listen.New(ln, g.listenOptions(g.tls))
	g.listener.Store(l)
	if g.tls != nil {
		g.HTTPSPort = ln.Addr().(*net.TCPAddr).Port
	}
	return l, nil
}

// openRedirects opens the listener that sends clients to the main one, if the configuration has
// one.
func (g *Gateway) openRedirects() error {
	address := g.Generation.Load().Config.Server.HTTPS.RedirectAddress
	if g.tls == nil || address == "" {
		return nil
	}
	ln, err := g.opts.Inherited.Listen(handover.SocketRedirect, address, &g.Log)
	if err != nil {
		return handover.ListenProblem(address, err, "server.https.redirect_address")
	}
	g.redirects.Store(listen.New(ln, g.listenOptions(nil)))
	g.Log.Info().Str("address", ln.Addr().String()).Msg("sending clients to https")
	return nil
}

// listenOptions are the options of a listener for clients.
func (g *Gateway) listenOptions(tls *tls.Config) listen.Options {
	o := listen.Options{
		Conns: &g.conns, TLS: tls, LeanAfter: g.opts.LeanAfter,
		Log: &g.Log, Refused: g.Metrics.RefusedConns, BadHeaders: g.Metrics.BadProxyHeaders,
	}
	if g.Generation.Load().Config.Server.ProxyProtocol {
		o.Trusted = func(peer netip.Addr) bool { return g.Generation.Load().Trusted.Trusts(peer) }
		g.BehindProxies = &g.conns
	}
	return o
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

// serveClients serves the connections of clients until their listeners are closed, which the
// first one that ends does. ended is closed when no connection is left.
func (g *Gateway) serveClients(ended <-chan struct{}) error {
	served := make(chan error, 2)
	listeners := []*listen.Listener{g.listener.Load()}
	if ln := g.redirects.Load(); ln != nil {
		listeners = append(listeners, ln)
	}
	for _, ln := range listeners {
		go func() { served <- g.serveListener(ln, ended) }() // ends with the listener
	}
	errs := []error{<-served}
	for _, ln := range listeners {
		ln.Close()
	}
	for range listeners[1:] {
		errs = append(errs, <-served)
	}
	return errors.Join(errs...)
}

// serveListener serves the connections of ln until it is closed. Lean connections take less
// memory while they are idle, and one read and two changes of goroutine more per request.
func (g *Gateway) serveListener(ln *listen.Listener, ended <-chan struct{}) error {
	newServer := g.newServer
	if ln == g.redirects.Load() {
		newServer = func() *fasthttp.Server {
			s := g.newServer()
			s.HeaderReceived = admin.LeaveBody // no token is taken in clear
			return s
		}
	}
	lean := make(chan error, 1)
	go func() { // ends with ln
		s := newServer()
		s.ReduceMemoryUsage = true
		s.Handler = listen.NewWorkers(g.Handle, ended).Handle
		lean <- s.Serve(&ln.Lean)
	}()
	return errors.Join(newServer().Serve(ln), <-lean)
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
