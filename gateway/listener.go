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

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config"
)

// listener accepts client connections within the limits. On plain HTTP it
// returns bare *net.TCPConn: any wrapper would lose writev and splice.
type listener struct {
	*net.TCPListener
	g *Gateway
}

// listen opens the listener.
func (g *Gateway) listen() (*listener, error) {
	ln, err := net.Listen("tcp", g.address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; choose another server.address or -listen.address", g.address, err)
	}
	l := &listener{TCPListener: ln.(*net.TCPListener), g: g}
	g.listener.Store(l)
	return l, nil
}

// Accept implements net.Listener. A lack of descriptors or memory ends the
// listener of fasthttp, so it is waited out here.
func (l *listener) Accept() (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; {
		c, err := l.AcceptTCP()
		if err != nil {
			if !isShortage(err) {
				return nil, err
			}
			l.g.log.Warn().Err(err).Msg("cannot accept connections; raise the open files limit or lower -limit.connections")
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		if !l.g.conns.add(c) {
			l.g.refuse(c)
			continue
		}
		if l.g.tls != nil {
			return tls.Server(c, l.g.tls), nil
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

// refuse answers a connection beyond the limits, without waiting for its
// request, and closes it.
func (g *Gateway) refuse(c *net.TCPConn) {
	g.metrics.refusedConns.Inc()
	if g.tls == nil {
		c.SetWriteDeadline(time.Now().Add(time.Second)) // the socket's buffer is empty: it does not block
		body := appendErrorBody(nil, false, fasthttp.StatusServiceUnavailable, "too_many_connections", "too many connections are open; try again soon", nil)
		fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		c.CloseWrite()
	}
	c.Close()
}

// connState is told by fasthttp what becomes of a connection.
func (g *Gateway) connState(c net.Conn, s fasthttp.ConnState) {
	if s != fasthttp.StateClosed {
		return
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	g.conns.remove(c)
}

// connTable holds the open client connections, for the limits and for cutting
// them at the end.
type connTable struct {
	max, maxPerAddr int // 0: no limit

	mu      sync.Mutex // guards the following fields
	open    map[net.Conn]netip.Addr
	perAddr map[netip.Addr]int // only with maxPerAddr
}

func (t *connTable) init(limit, limitPerAddr int) {
	t.max, t.maxPerAddr = limit, limitPerAddr
	t.open = make(map[net.Conn]netip.Addr)
	t.perAddr = make(map[netip.Addr]int)
}

// add registers c, unless a limit stands against it.
func (t *connTable) add(c net.Conn) bool {
	addr := peerAddr(c.RemoteAddr())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.max > 0 && len(t.open) >= t.max {
		return false
	}
	if t.maxPerAddr > 0 {
		if t.perAddr[addr] >= t.maxPerAddr {
			return false
		}
		t.perAddr[addr]++
	}
	t.open[c] = addr
	return true
}

func (t *connTable) remove(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	addr, ok := t.open[c]
	if !ok {
		return
	}
	delete(t.open, c)
	if t.maxPerAddr > 0 {
		if t.perAddr[addr]--; t.perAddr[addr] <= 0 {
			delete(t.perAddr, addr)
		}
	}
}

// closeAll closes every open connection. They are removed as fasthttp notices.
func (t *connTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		c.Close()
	}
}

func (t *connTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// listenerTLS returns the server configuration; nil when https is off. TLS 1.2
// and later, with the cipher suites that crypto/tls holds to be secure.
func listenerTLS(h *config.HTTPS) (*tls.Config, error) {
	if !h.Enabled {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(h.CertPath, h.KeyPath)
	if err != nil {
		return nil, fmt.Errorf("cannot load server.https certificate: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
		// Full records from the start: small ones cost a system call each.
		DynamicRecordSizingDisabled: true,
	}, nil
}
