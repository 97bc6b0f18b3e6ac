package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
)

// listener accepts client connections within the limits. On plain HTTP it
// returns bare *net.TCPConn: any wrapper would lose writev and splice.
type listener struct {
	*net.TCPListener
	listenOptions

	// With trusted, headers are read beside the accepting goroutine, which the first Accept
	// starts: in an upgrade, none may be accepted before.
	accepted chan accepted
	started  bool

	lean leanListener
}

// listenOptions are how clients' connections are accepted.
type listenOptions struct {
	conns     *connTable
	tls       *tls.Config // nil: plain HTTP
	leanAfter int         // open connections after which a new one goes to the lean listener
	// trusted names the proxies whose connections begin with a PROXY header; nil: none do.
	trusted func(netip.Addr) bool

	log        *logger
	refused    *metrics.Counter // connections beyond a limit
	badHeaders *metrics.Counter // connections of trusted proxies without a sound header
}

// newListener returns a listener that accepts from ln.
func newListener(ln *net.TCPListener, o listenOptions) *listener {
	l := &listener{TCPListener: ln, listenOptions: o}
	l.lean = leanListener{l, make(chan net.Conn)}
	if o.trusted != nil {
		l.accepted = make(chan accepted)
	}
	return l
}

// leanListener hands connections on to the server that keeps no buffers for idle ones.
type leanListener struct {
	*listener
	conns chan net.Conn
}

// Accept implements net.Listener, for one goroutine.
func (l *leanListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// accepted is a connection that is ready, or why there will be no more.
type accepted struct {
	conn net.Conn
	err  error
}

// Accept implements net.Listener, for one goroutine, until its first error.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.admitted()
		if err != nil {
			close(l.lean.conns)
			return nil, err
		}
		if l.conns.len() <= l.leanAfter {
			return c, nil
		}
		l.lean.conns <- c
	}
}

// admitted accepts a connection that no limit stands against.
func (l *listener) admitted() (net.Conn, error) {
	if l.accepted == nil {
		for {
			c, err := next(l.TCPListener, l.log)
			if err != nil {
				return nil, err
			}
			if l.admit(c, peerAddr(c.RemoteAddr())) {
				return l.served(c), nil
			}
		}
	}
	if !l.started {
		l.started = true
		go l.acceptBehindProxies() // ends with the listener
	}
	a := <-l.accepted
	return a.conn, a.err
}

// acceptBehindProxies accepts connections of which those of trusted proxies begin
// with a PROXY header. They count among the open ones while it is awaited, so that
// there are never more readers than connections may be.
func (l *listener) acceptBehindProxies() {
	var reading sync.WaitGroup
	for {
		c, err := next(l.TCPListener, l.log)
		if err != nil {
			reading.Wait()
			l.accepted <- accepted{err: err}
			return
		}
		peer := peerAddr(c.RemoteAddr())
		behind := l.trusted(peer)
		client := peer
		if behind {
			client = netip.Addr{} // the header tells
		}
		if !l.admit(c, client) {
			continue
		}
		reading.Go(func() { // ends with the header, or its timeout
			if behind && !l.introduce(c, peer) {
				l.conns.remove(c)
				return
			}
			l.accepted <- accepted{conn: l.served(c)}
		})
	}
}

// introduce learns from the header of a trusted proxy whose connection c is. If there
// is none, or a limit stands against that client, c is closed.
func (l *listener) introduce(c *net.TCPConn, proxy netip.Addr) bool {
	client, err := readProxyHeader(c)
	if err != nil {
		l.badHeaders.Inc()
		l.log.Debug().Stringer("proxy", proxy).Err(err).Msg("a proxy's connection is closed")
		c.Close()
		return false
	}
	mute := !client.IsValid()
	if mute {
		client = proxy
	}
	if !l.conns.name(c, client, mute) {
		l.refuse(c)
		return false
	}
	return true
}

// admit registers a connection of client, or refuses it if a limit stands against it.
func (l *listener) admit(c *net.TCPConn, client netip.Addr) bool {
	if !l.conns.add(c, client) {
		l.refuse(c)
		return false
	}
	return true
}

// served returns c as it is to be served.
func (l *listener) served(c *net.TCPConn) net.Conn {
	if l.tls != nil {
		return tls.Server(c, l.tls)
	}
	return c
}

// next accepts a connection. A lack of descriptors or memory would end the listener
// of fasthttp, so it is waited out here.
func next(ln *net.TCPListener, log *logger) (*net.TCPConn, error) {
	for pause := 5 * time.Millisecond; ; {
		c, err := ln.AcceptTCP()
		if err != nil {
			if !isShortage(err) {
				return nil, err
			}
			log.Warn().Err(err).Msg("cannot accept connections; raise the open files limit or lower -limit.connections")
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		return c, nil
	}
}

func isShortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refuse refuses a client's connection beyond the limits.
func (l *listener) refuse(c *net.TCPConn) {
	l.refused.Inc()
	refuseConn(c, l.tls == nil)
}

// refuseConn answers a connection that is one too many, if it is plain HTTP, without
// waiting for its request, and closes it.
func refuseConn(c *net.TCPConn, plain bool) {
	if plain {
		c.SetWriteDeadline(time.Now().Add(time.Second)) // the socket's buffer is empty: it does not block
		body := appendErrorBody(nil, false, fasthttp.StatusServiceUnavailable, "too_many_connections", "too many connections are open; try again soon", nil)
		fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		c.CloseWrite()
	}
	c.Close()
}

// maxOperatorConns bounds the connections of an operators' listener.
const maxOperatorConns = 256

// operatorListener accepts the connections of scrapes, probes and administrative calls. At
// the bound, the oldest without a request gives way to the new one, so that silent ones,
// whoever opened them, keep nobody out. The first byte of a request makes it one, for up to
// the header timeout.
type operatorListener struct {
	*net.TCPListener
	conns *connTable
	log   *logger
}

// Accept implements net.Listener, for one goroutine.
func (l *operatorListener) Accept() (net.Conn, error) {
	for {
		c, err := next(l.TCPListener, l.log)
		if err != nil {
			return nil, err
		}
		if l.conns.len() < maxOperatorConns || l.conns.giveWay() {
			l.conns.add(c, peerAddr(c.RemoteAddr())) // which has no limit of its own
			return c, nil
		}
		refuseConn(c, true)
	}
}
