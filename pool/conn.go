package pool

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// conn is one connection to an origin. It belongs to the Upstream while idle
// and to exactly one Exchange while in use.
type conn struct {
	net.Conn              // plain TCP or TLS
	tcp      *net.TCPConn // the socket below; equal to Conn on plain TCP
	tls      *tls.Conn    // nil on plain TCP
	remote   netip.Addr   // of the origin, or of the proxy
	opened   time.Time
	idleAt   time.Time // when it last became idle

	queued, dialed time.Duration // what the exchange that is to begin waited for it

	in     *connSet
	raw    syscall.RawConn
	peek   func(fd uintptr)      // bound once, so that a check allocates nothing
	ready  func(fd uintptr) bool // the same, for waiting
	peeked peekResult

	ask    func(fd uintptr) bool // the same, for request
	asking []byte                // what it is to write; nil: it has
	asked  int
	askErr error
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
	if at, ok := tcp.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = at.AddrPort().Addr().Unmap()
	}
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
	c.ask = func(uintptr) bool {
		if c.asking == nil {
			return true
		}
		c.asked, c.askErr = c.Conn.Write(c.asking)
		c.asking = nil
		return c.askErr != nil
	}
	return c, nil
}

// request writes head and waits until there is something to read, or the read deadline
// has passed. It returns how many bytes were written, and errors of writing: a read tells
// the others.
//
// A read that comes right after a write finds nothing in nearly every case, and costs a
// system call. So the write is made between telling the poller that readiness is to be
// waited for and waiting: none that comes after it is missed.
func (c *conn) request(head []byte) (int, error) {
	c.asking, c.asked, c.askErr = head, 0, nil
	err := c.raw.Read(c.ask)
	if c.asking != nil { // nothing was written
		c.asking = nil
		return 0, err
	}
	return c.asked, c.askErr
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

// Close closes the connection.
func (c *conn) Close() error {
	c.in.remove(c)
	return c.Conn.Close()
}

// connSet holds the open connections of an upstream, to close those in use from
// outside. The zero value is empty.
type connSet struct {
	mu     sync.Mutex // guards the following fields
	all    map[*conn]struct{}
	closed bool // closeAll was called
}

// add puts c in, unless closeAll was called.
func (s *connSet) add(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if s.all == nil {
		s.all = make(map[*conn]struct{})
	}
	s.all[c] = struct{}{}
	c.in = s
	return nil
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

// closeAll closes every connection now and later. Who uses one finds it closed.
func (s *connSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.all {
		c.tcp.Close() // not by TLS, which would wait for a write under way
	}
}
