// Package listen accepts connections within limits: listeners, the table of open connections,
// the PROXY protocol, and the certificate.
package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
)

// Listener accepts client connections within the limits. On plain HTTP it returns bare
// *net.TCPConn: any wrapper would lose writev and splice. Use New. Accept and Lean.Accept are
// for one goroutine each, and end with Close.
type Listener struct {
	*net.TCPListener
	Options

	// With Trusted, a goroutine accepts, and others read the headers. The first Accept starts
	// it: in an upgrade, no connection may be accepted before.
	start    sync.Once
	accepted chan *net.TCPConn // closed at the end
	err      error             // that ended accepted

	Lean leanListener // accepts the connections beyond LeanAfter
}

// Options are the options of a Listener.
type Options struct {
	Conns     *Conns
	TLS       *tls.Config           // nil: plain HTTP
	LeanAfter int                   // open connections after which a new one goes to the lean listener
	Trusted   func(netip.Addr) bool // whether a proxy's connections begin with a PROXY header; nil: none do

	Log        *zerolog.Logger
	Refused    *metrics.Counter // connections beyond a limit
	BadHeaders *metrics.Counter // connections of trusted proxies without a sound header
}

// New returns a listener that accepts from ln.
func New(ln *net.TCPListener, o Options) *Listener {
	l := &Listener{TCPListener: ln, Options: o, accepted: make(chan *net.TCPConn)}
	l.Lean = leanListener{l, make(chan net.Conn)}
	return l
}

// leanListener is the listener of the server that keeps no buffers for idle connections.
type leanListener struct {
	*Listener
	conns chan net.Conn
}

// Accept implements net.Listener, for one goroutine.
func (l *leanListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// Accept implements net.Listener, for one goroutine, until its first error.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.admitted()
		if err != nil {
			close(l.Lean.conns)
			return nil, err
		}
		var c net.Conn = tcp
		if l.TLS != nil {
			c = tls.Server(tcp, l.TLS)
		}
		if l.Conns.Len() <= l.LeanAfter {
			return c, nil
		}
		l.Lean.conns <- c
	}
}

// admitted accepts a connection within the limits.
func (l *Listener) admitted() (*net.TCPConn, error) {
	if l.Trusted != nil {
		l.start.Do(func() { go l.acceptBehindProxies() }) // ends with the listener
		if c, ok := <-l.accepted; ok {
			return c, nil
		}
		return nil, l.err
	}
	for {
		c, err := next(l.TCPListener, l.Log)
		if err != nil || l.admit(c, request.PeerAddr(c.RemoteAddr())) {
			return c, err
		}
	}
}

// acceptBehindProxies accepts connections, and has the PROXY headers of trusted proxies read.
// A connection counts as open while its header is awaited, so that the limit of connections
// bounds the readers as well.
func (l *Listener) acceptBehindProxies() {
	var reading sync.WaitGroup
	for {
		c, err := next(l.TCPListener, l.Log)
		if err != nil {
			reading.Wait()
			l.err = err
			close(l.accepted)
			return
		}
		peer := request.PeerAddr(c.RemoteAddr())
		behind, client := l.Trusted(peer), peer
		if behind {
			client = netip.Addr{} // the header tells
		}
		if !l.admit(c, client) {
			continue
		}
		reading.Go(func() { // ends with the header, or its timeout
			if !behind || l.readClient(c, peer) {
				l.accepted <- c
			}
		})
	}
}

// readClient reads the client of c from the header of a trusted proxy. If there is no sound
// header, or the limit of that client is reached, it closes c and returns false.
func (l *Listener) readClient(c *net.TCPConn, proxy netip.Addr) bool {
	client, err := readProxyHeader(c)
	if err != nil {
		l.BadHeaders.Inc()
		l.Log.Debug().Stringer("proxy", proxy).Err(err).Msg("a proxy's connection is closed")
		c.Close()
		l.Conns.remove(c)
		return false
	}
	unnamed := !client.IsValid()
	if unnamed {
		client = proxy
	}
	if !l.Conns.setClient(c, client, unnamed) {
		l.refuse(c)
		l.Conns.remove(c)
		return false
	}
	return true
}

// admit registers a connection of client, or refuses it if a limit is reached.
func (l *Listener) admit(c *net.TCPConn, client netip.Addr) bool {
	if !l.Conns.add(c, client) {
		l.refuse(c)
		return false
	}
	return true
}

// next accepts a connection. A lack of descriptors or memory would end fasthttp's server, so
// it waits until there are some.
func next(ln *net.TCPListener, log *zerolog.Logger) (*net.TCPConn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := ln.AcceptTCP()
		if !slices.ContainsFunc(shortages, func(e error) bool { return errors.Is(err, e) }) {
			return c, err
		}
		log.Warn().Err(err).Msg("cannot accept connections; raise the open files limit or lower -limit.connections")
		time.Sleep(pause)
	}
}

// refuse refuses a client's connection beyond the limits.
func (l *Listener) refuse(c *net.TCPConn) {
	l.Refused.Inc()
	refuseConn(c, l.TLS == nil)
}

// refuseConn closes a connection beyond the limits. On plain HTTP it answers first, without
// waiting for a request.
func refuseConn(c *net.TCPConn, plain bool) {
	if plain {
		c.SetWriteDeadline(time.Now().Add(time.Second)) // the socket's buffer is empty: it does not block
		body := problem.AppendBody(nil, false, fasthttp.StatusServiceUnavailable, "too_many_connections", "too many connections are open; try again soon", nil)
		fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		c.CloseWrite()
	}
	c.Close()
}

// MaxOperators bounds the connections of an operators' listener.
const MaxOperators = 256

// OperatorsWithin returns the bound for a process that may have so many descriptors.
func OperatorsWithin(files int) int { return min(max(files/16, 8), MaxOperators) }

// OperatorListener accepts the connections of scrapes, probes and administrative calls, within
// the limits of Conns.
type OperatorListener struct {
	*net.TCPListener
	Conns *Conns
	Log   *zerolog.Logger
}

// Accept implements net.Listener, for one goroutine.
func (l *OperatorListener) Accept() (net.Conn, error) {
	for {
		c, err := next(l.TCPListener, l.Log)
		if err != nil {
			return nil, err
		}
		if l.Conns.add(c, request.PeerAddr(c.RemoteAddr())) {
			return c, nil
		}
		refuseConn(c, true)
	}
}
