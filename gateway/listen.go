package gateway

import (
	"net"
	"net/netip"
	"strconv"
	"yatagarasu/gateway/handover"
	"yatagarasu/gateway/listen"
)

// listen opens the listener.
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

// openMetrics opens the metrics listener, if the configuration wants one.
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
