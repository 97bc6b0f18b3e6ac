package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// listener accepts client connections within the limits. On plain HTTP it
// returns bare *net.TCPConn: any wrapper would lose writev and splice.
type listener struct {
	*net.TCPListener
	g *Gateway

	// With server.proxy_protocol, headers are read beside the accepting goroutine, which
	// the first Accept starts: in an upgrade, none may be accepted before.
	accepted chan accepted
	started  bool

	lean leanListener
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

// listen opens the listener.
func (g *Gateway) listen() (*listener, error) {
	ln, err := g.opts.Inherited.listen(socketMain, g.address, &g.log)
	if err != nil {
		return nil, listenProblem(g.address, err, "server.address or -listen.address")
	}
	l := &listener{TCPListener: ln, g: g}
	l.lean = leanListener{l, make(chan net.Conn)}
	if g.generation.Load().config.Server.ProxyProtocol {
		l.accepted = make(chan accepted)
		g.clients = &g.conns
	}
	g.listener.Store(l)
	return l, nil
}

// listenProblem says why the address cannot be listened on, and what to do about it,
// where keys are what it comes from.
func listenProblem(address string, err error, keys string) error {
	_, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	var dns *net.DNSError
	fix := "choose another " + keys
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		fix = "stop the program that listens there, or choose another " + keys
	case errors.Is(err, syscall.EACCES) && number > 0 && number < 1024:
		fix = "let the gateway use ports below 1024 (CAP_NET_BIND_SERVICE), or choose another " + keys
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		fix = "something forbids it, such as SELinux or a sandbox: allow it there, or choose another " + keys
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		fix = "this machine has no such address: write one that it has, or none for all, as " + keys
	case errors.Is(err, syscall.EAFNOSUPPORT):
		fix = "this machine has no addresses of this family: write one of the other as " + keys
	case errors.As(err, &dns):
		fix = "no name server knows the host: write an address as " + keys
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		fix = "raise the limit of open files: ulimit -n"
	}
	return fmt.Errorf("cannot listen on %s: %w; %s", address, err, fix)
}

// Accept implements net.Listener, for one goroutine, until its first error.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.admitted()
		if err != nil {
			close(l.lean.conns)
			return nil, err
		}
		if l.g.conns.len() <= l.g.opts.LeanAfter {
			return c, nil
		}
		l.lean.conns <- c
	}
}

// admitted accepts a connection that no limit stands against.
func (l *listener) admitted() (net.Conn, error) {
	if l.accepted == nil {
		for {
			c, err := l.g.next(l.TCPListener)
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
		c, err := l.g.next(l.TCPListener)
		if err != nil {
			reading.Wait()
			l.accepted <- accepted{err: err}
			return
		}
		peer := peerAddr(c.RemoteAddr())
		behind := l.g.generation.Load().trusts(peer)
		client := peer
		if behind {
			client = netip.Addr{} // the header tells
		}
		if !l.admit(c, client) {
			continue
		}
		reading.Go(func() { // ends with the header, or its timeout
			if behind && !l.introduce(c, peer) {
				l.g.conns.remove(c)
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
		l.g.metrics.badProxyHeaders.Inc()
		l.g.log.Debug().Stringer("proxy", proxy).Err(err).Msg("a proxy's connection is closed")
		c.Close()
		return false
	}
	mute := !client.IsValid()
	if mute {
		client = proxy
	}
	if !l.g.conns.name(c, client, mute) {
		l.g.refuse(c)
		return false
	}
	return true
}

// admit registers a connection of client, or refuses it if a limit stands against it.
func (l *listener) admit(c *net.TCPConn, client netip.Addr) bool {
	if !l.g.conns.add(c, client) {
		l.g.refuse(c)
		return false
	}
	return true
}

// served returns c as it is to be served.
func (l *listener) served(c *net.TCPConn) net.Conn {
	if l.g.tls != nil {
		return tls.Server(c, l.g.tls)
	}
	return c
}

// next accepts a connection. A lack of descriptors or memory would end the listener
// of fasthttp, so it is waited out here.
func (g *Gateway) next(ln *net.TCPListener) (*net.TCPConn, error) {
	for pause := 5 * time.Millisecond; ; {
		c, err := ln.AcceptTCP()
		if err != nil {
			if !isShortage(err) {
				return nil, err
			}
			g.log.Warn().Err(err).Msg("cannot accept connections; raise the open files limit or lower -limit.connections")
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
func (g *Gateway) refuse(c *net.TCPConn) {
	g.metrics.refusedConns.Inc()
	refuseConn(c, g.tls == nil)
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

// connState is told by fasthttp what becomes of a connection.
func (g *Gateway) connState(c net.Conn, s fasthttp.ConnState) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if s == fasthttp.StateClosed {
		g.conns.remove(c)
	} else {
		g.conns.note(c, s)
	}
}
