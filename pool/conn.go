package pool

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// conn is one connection to an origin. It belongs to the Upstream while idle
// and to exactly one Exchange while in use.
type conn struct {
	net.Conn              // plain TCP or TLS
	tcp      *net.TCPConn // the socket below; equal to Conn on plain TCP
	tls      *tls.Conn    // nil on plain TCP
	opened   time.Time
	idleAt   time.Time // when it last became idle

	raw    syscall.RawConn
	peek   func(fd uintptr)      // bound once, so that a check allocates nothing
	ready  func(fd uintptr) bool // the same, for waiting
	peeked peekResult
}

// peekResult is what a look at a socket's receive queue found.
type peekResult uint8

const (
	peekClean   peekResult = iota // open, nothing to read
	peekBytes                     // bytes that nobody asked for
	peekEOF                       // closed or reset by the origin
	peekUnknown                   // the check itself failed
)

func newConn(nc net.Conn, tcp *net.TCPConn, now time.Time) (*conn, error) {
	c := &conn{Conn: nc, tcp: tcp, opened: now}
	c.tls, _ = nc.(*tls.Conn)
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
	return c, nil
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

// clean reports whether an idle connection may carry another request: open,
// and nothing unsolicited received, neither in the socket nor, under TLS, in
// records that were already read from it.
func (c *conn) clean() bool {
	if c.look() != peekClean {
		return false
	}
	if c.tls == nil {
		return true
	}
	// With an elapsed deadline the socket is not read, so only a byte that TLS
	// has already decrypted can come back; a timeout means there is none.
	if c.SetReadDeadline(elapsed) != nil {
		return false
	}
	var b [1]byte
	n, err := c.tls.Read(b[:])
	return n == 0 && isTimeout(err)
}
