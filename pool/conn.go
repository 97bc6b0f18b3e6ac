package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// conn is one connection to an origin. It belongs to the Upstream while idle
// and to exactly one Exchange while in use.
type conn struct {
	net.Conn              // plain TCP or TLS
	tcp      *net.TCPConn // the socket below; equal to Conn on plain TCP
	tls      *tls.Conn    // nil on plain TCP
	records  *records     // below tls; nil on plain TCP
	remote   netip.Addr   // of the origin, or of the proxy
	opened   time.Time
	idleAt   time.Time // when it last became idle
	client   uint64    // whose exchange it serves; see Exchange.Client

	restsUntil time.Time // before which it is not used again; zero: may be at once

	queued, dialed time.Duration // how long the next exchange waited for it, and for it to be opened

	forget func() bool // has the end of the upstream's life no longer close it
	raw    syscall.RawConn
	peek   func(fd uintptr)      // looks at the socket; bound once, so that a check allocates nothing
	ready  func(fd uintptr) bool // the same, and tells whether there is something
	peeked peekResult

	ask     func(fd uintptr) bool // writes request, see send
	request pendingRequest
}

// pendingRequest is a request for ask to write, and how that went.
type pendingRequest struct {
	head   []byte // nil once it is written
	reused bool   // the connection served before
	wrote  int    // bytes
	err    error
}

// peekResult is what a look at a socket's receive queue found.
type peekResult uint8

const (
	peekClean   peekResult = iota // open, nothing to read
	peekBytes                     // bytes that nobody asked for
	peekEOF                       // closed or reset by the origin
	peekUnknown                   // the check itself failed
)

// newConn returns a connection that is closed at the end of life; with an error, close it.
func newConn(life context.Context, nc net.Conn, tcp *net.TCPConn, now time.Time) (*conn, error) {
	c := &conn{Conn: nc, tcp: tcp, opened: now}
	if at, ok := tcp.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = at.AddrPort().Addr().Unmap()
	}
	if c.tls, _ = nc.(*tls.Conn); c.tls != nil {
		c.records = c.tls.NetConn().(*records)
		c.records.look = c.look
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c.raw = raw
	c.peek = func(fd uintptr) { c.peeked = peekSocket(fd) }
	c.ready = func(fd uintptr) bool {
		c.peeked = peekSocket(fd)
		return c.peeked != peekClean
	}
	c.ask = func(fd uintptr) bool {
		r := &c.request
		if r.head == nil {
			return true // there is something to read
		}
		before := peekSocket(fd)
		switch {
		case before != peekClean && r.reused:
			r.err = errStale
			return true
		case before == peekBytes && c.tls == nil:
			r.err = errSpokeFirst
			return true
		}
		r.wrote, r.err = c.Conn.Write(r.head)
		r.head = nil
		return r.err != nil || before != peekClean
	}
	c.forget = context.AfterFunc(life, func() { tcp.Close() }) // not by TLS, which would wait for a write under way
	return c, life.Err()                                       // it may have ended just then
}

// errStale is why a kept connection was not written to: it is closed, or has bytes that
// nobody asked for, which would answer the request.
var errStale = &Error{Reason: ReasonReset, Phase: PhaseSend, Err: errors.New("the kept connection is closed or has bytes that nobody asked for")}

// errSpokeFirst is why a new connection was not written to.
var errSpokeFirst = errors.New("the origin has sent bytes before it was asked")

// send writes head and waits until there is something to read, or the read deadline has
// passed, which the next read reports. reused tells that c served before. It returns how
// many bytes were written.
//
// A read right after a write finds nothing in nearly every case, and costs a system
// call. So the write comes between arming the poller and waiting for it: the poller tells
// what comes afterwards, a look at the queue what came before. Writing must not read, as
// the callback holds the socket's reading side; after its handshake, TLS does not.
//
// Bytes that were there before answer nothing, on a new connection neither. There TLS is
// asked first: its tickets are bytes in the socket, too.
func (c *conn) send(head []byte, reused bool) (int, error) {
	if c.tls != nil && !reused {
		if n, err := c.tlsNow(); n > 0 {
			return 0, errSpokeFirst
		} else if !isTimeout(err) {
			return 0, err
		}
	}
	c.request = pendingRequest{head: head, reused: reused}
	err := c.raw.Read(c.ask)
	r := c.request
	c.request = pendingRequest{}
	if r.head != nil && r.err == nil { // it could not be begun
		r.err = err
	}
	return r.wrote, r.err
}

// look inspects the socket's receive queue without blocking or consuming.
func (c *conn) look() peekResult {
	c.peeked = peekUnknown
	if err := c.raw.Control(c.peek); err != nil {
		return peekUnknown
	}
	return c.peeked
}

// elapsed is a deadline in the past.
var elapsed = time.Unix(1, 0)

// clean reports whether an idle connection may carry another request, as far as can be
// told before send looks at its socket: under TLS, no byte has come, not even of a message
// of TLS itself.
func (c *conn) clean() bool {
	if c.tls == nil {
		return true
	}
	n, err := c.tlsNow()
	return n == 0 && isTimeout(err) && !c.records.came && !c.records.begun()
}

// unasked tells whether bytes are there between two exchanges. Under TLS it may take
// one of them.
func (c *conn) unasked() bool {
	if c.tls == nil {
		return c.look() == peekBytes
	}
	n, _ := c.tlsNow()
	return n > 0 || c.records.begun()
}

// tlsNow reads one byte that TLS has or can get without waiting. A timeout means that
// there is none. Messages of TLS itself, such as tickets, are dealt with on the way.
func (c *conn) tlsNow() (int, error) {
	var b [1]byte
	c.records.now, c.records.came = true, false
	n, err := c.tls.Read(b[:])
	c.records.now = false
	return n, err
}

// Close closes the connection.
func (c *conn) Close() error {
	c.forget()
	return c.Conn.Close()
}
