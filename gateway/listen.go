package gateway

import (
	"net"
	"net/netip"
	"strconv"
)

// listen opens the listener.
func (g *Gateway) listen() (*listener, error) {
	ln, err := g.opts.Inherited.listen(socketMain, g.address, &g.log)
	if err != nil {
		return nil, listenProblem(g.address, err, "server.address or -listen.address")
	}
	o := listenOptions{
		conns: &g.conns, tls: g.tls, leanAfter: g.opts.LeanAfter,
		log: &g.log, refused: g.metrics.refusedConns, badHeaders: g.metrics.badProxyHeaders,
	}
	if g.generation.Load().config.Server.ProxyProtocol {
		o.trusted = func(peer netip.Addr) bool { return g.generation.Load().trusted.trusts(peer) }
		g.behindProxies = &g.conns
	}
	l := newListener(ln, o)
	g.listener.Store(l)
	return l, nil
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
	g.operators.open(ln, g.newHTTPServer())
	return nil
}
