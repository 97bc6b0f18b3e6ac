package pool

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	maxHead    = 16 << 10 // bytes of a response head
	maxInterim = 8        // 1xx responses before the final one
)

// Exchange is one request to an origin and its response. The zero value is
// ready for Upstream.Do; after Close it may be used again.
//
// An Exchange belongs to one goroutine; only Pace and Interrupt touch it from another.
type Exchange struct {
	// Header is the response head after a successful Do.
	Header fasthttp.ResponseHeader
	// Queued and Dialed are how long the last Do waited for a connection, and took to
	// open one; 0 where there was one.
	Queued, Dialed time.Duration

	up     *Upstream
	conn   *conn
	br     *bufio.Reader
	start  time.Time
	length int64 // of the body by the head; -1: not given
	rest   int64 // bytes of the body not yet delivered
	reuse  bool  // the connection may be kept once the body was read
	began  bool  // a response head came, if only an interim one

	surplus bool // more came than the body
	closes  bool // a response to HEAD says that the connection ends with it

	splice io.LimitedReader // source of one splice
	wide   joined           // source of a buffer that was widened
	interrupt
	transfer
}

// interrupt lets another goroutine end Do.
type interrupt struct {
	done  chan struct{} // closed by Interrupt; nil: it may not be called
	fired atomic.Bool

	mu sync.Mutex // guards what follows
	on *conn      // that Do writes to or reads from
}

// SetInterruptible says whether Interrupt may end what Do begins from now on. Nobody
// may call Interrupt meanwhile.
func (x *Exchange) SetInterruptible(yes bool) {
	x.fired.Store(false)
	x.done = nil
	if yes {
		x.done = make(chan struct{})
	}
}

// Interrupt ends a Do of an interruptible exchange, with ReasonClosed, or the one to
// come. It may be called once, from any goroutine.
func (x *Exchange) Interrupt() {
	x.fired.Store(true)
	close(x.done)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.on != nil {
		x.on.SetDeadline(elapsed)
	}
}

// Interrupted tells whether Interrupt has ended the last Do.
func (x *Exchange) Interrupted() bool { return x.done != nil && x.fired.Load() }

// uses notes the connection that Interrupt has to wake.
func (i *interrupt) uses(c *conn) {
	if i.done != nil {
		i.mu.Lock()
		i.on = c
		i.mu.Unlock()
	}
}

var (
	errHeadTooLarge = errors.New("response head over 16 KiB")
	errHeadBad      = errors.New("malformed response head")
	errNotHTTP      = errors.New("no HTTP response begins like this")
	errTwoAnswers   = errors.New("two responses to one request")
	errInterim      = errors.New("too many 1xx responses")
	errSwitching    = errors.New("101 without an upgrade")
	errChunks       = errors.New("malformed chunks")
	errFraming      = errors.New("a body needs exactly one valid Content-Length")
	errInterimBody  = errors.New("a 1xx response announces a body")
)

// Do sends head, a complete request head without a body, and reads the
// response head into x.Header. bodiless tells that the method is HEAD.
//
// A kept connection is replaced once if it brings no byte of a response, because the
// origin has closed it, or is out of step: it brings something else than a response,
// or two at once. Do does not retry otherwise. An error is an *Error; x then needs no
// Close. After success the caller must Close x, before or after reading the body.
//
// Hot path: no allocation on a kept connection, guarded by TestExchangeAllocs.
func (u *Upstream) Do(x *Exchange, head []byte, bodiless bool) error {
	x.up = u
	x.cut.Store(0)
	x.surplus = false
	err := u.attempt(x, head, bodiless)
	x.uses(nil)
	if err != nil {
		x.conn = nil
		x.releaseBuffer()
		if x.Interrupted() {
			return &Error{Reason: ReasonClosed, Phase: PhaseHead, Sent: true}
		}
		return err
	}
	return nil
}

// attempt runs one exchange on one connection, or, if that was kept and is closed or
// out of step, on a new one in its place. It discards the connection on failure.
func (u *Upstream) attempt(x *Exchange, head []byte, bodiless bool) error {
	x.Queued, x.Dialed = 0, 0
	if u.opts.Buffers.exhausted() {
		return &Error{Reason: ReasonBuffers, Phase: PhaseQueue} // before a connection is opened for nothing
	}
	now := time.Now()
	c, reused, err := u.acquire(x.done, now)
	if err != nil {
		return err
	}
	if !reused || c.queued > 0 {
		now = time.Now()
	}
	x.Queued, x.Dialed, c.queued, c.dialed = c.queued, c.dialed, 0, 0
	if err = x.takeBuffer(c); err != nil {
		return err
	}
	err = x.roundTrip(c, reused, head, bodiless, now)
	if reused && err != errStale {
		u.reuses.Add(1)
	}
	if err == nil {
		return nil
	}
	var first *Error
	if x.Interrupted() || !reused || !errors.As(err, &first) {
		u.discard(c)
		return err
	}
	switch {
	case err == errStale: // nothing was sent
		u.stale.Add(1)
	case first.Err == errTwoAnswers, first.Err == errNotHTTP && !x.began:
		u.stale.Add(1)
		u.retries.Add(1)
	case first.Reason == ReasonReset && !x.began && x.br.Buffered() == 0:
		u.retries.Add(1)
	default:
		u.discard(c)
		return err
	}
	x.releaseBuffer()
	c.Close() // its place stays with this exchange, which has waited already
	if c, _, err = u.dialSlot(x.done); err == nil {
		x.Dialed, c.dialed = c.dialed, 0
		err = x.takeBuffer(c)
	}
	if err == nil {
		if err = x.roundTrip(c, false, head, bodiless, time.Now()); err == nil {
			return nil
		}
		u.discard(c)
	}
	var second *Error
	if errors.As(err, &second) {
		second.Sent = second.Sent || first.Sent
	}
	return err
}

// takeBuffer borrows a buffer for an exchange on c, or gives c back. There is none before
// there is a connection: who waits for one origin must not take them from another.
func (x *Exchange) takeBuffer(c *conn) error {
	if x.br = x.up.opts.Buffers.acquire(x.up.opts.TLS == nil && x.up.fullBody.Load()); x.br != nil {
		return nil
	}
	x.up.release(c)
	return &Error{Reason: ReasonBuffers, Phase: PhaseQueue}
}

// roundTrip sends the request on c, which may have served before, and reads heads up to
// the final one. now is when it begins.
func (x *Exchange) roundTrip(c *conn, reused bool, head []byte, bodiless bool, now time.Time) error {
	x.conn, x.began = c, false
	x.br.Reset(c.Conn)
	x.start = now
	x.uses(c)
	if err := x.conn.SetDeadline(x.start.Add(x.up.opts.HeadTimeout)); err != nil {
		return ioError(PhaseSend, false, err)
	}
	if x.Interrupted() { // after arming: Interrupt may have been first
		return ioError(PhaseSend, false, net.ErrClosed)
	}
	if n, err := c.send(head, reused); err == errStale {
		return errStale
	} else if err != nil {
		return ioError(PhaseSend, n > 0, err)
	}
	for range maxInterim + 1 {
		if err := x.readHead(bodiless); err != nil {
			return err
		}
		x.began = true
		switch code := x.Header.StatusCode(); {
		case code < 100 || code > 599:
			return protocolError(errHeadBad)
		case code == fasthttp.StatusSwitchingProtocols:
			return protocolError(errSwitching)
		case code >= 200:
			if err := x.frame(bodiless); err != nil {
				return err
			}
			if reused && x.twoAnswers() {
				return protocolError(errTwoAnswers)
			}
			return nil
		case x.announcesBody():
			return protocolError(errInterimBody) // what follows is that, or the answer
		}
	}
	return protocolError(errInterim)
}

var headEnd = []byte("\r\n\r\n")

// readHead waits for a complete head of at most maxHead bytes and parses it.
func (x *Exchange) readHead(bodiless bool) error {
	searched := 0
	for {
		n := x.br.Buffered()
		b, _ := x.br.Peek(n)
		if !beginsResponse(b) {
			// Also a blank line, which the library would skip uncounted.
			return protocolError(errNotHTTP)
		}
		if i := bytes.Index(b[searched:], headEnd); i >= 0 {
			if searched+i+len(headEnd) > maxHead {
				return protocolError(errHeadTooLarge)
			}
			x.closes = bodiless && saysClose(b[:searched+i])
			break
		}
		if n >= maxHead {
			return protocolError(errHeadTooLarge)
		}
		searched = max(0, n-len(headEnd)+1)
		if _, err := x.br.Peek(n + 1); err != nil {
			return ioError(PhaseHead, true, err)
		}
	}
	x.Header.SetNoDefaultContentType(true) // what the origin does not say is not known
	if err := x.Header.Read(x.br); err != nil {
		// The library's text quotes the head: not for logs.
		return protocolError(errHeadBad)
	}
	return nil
}

// saysClose tells whether a head has the connection option close (RFC 9112, 9.6). The
// library tells it also of a head without a length, as it does not know HEAD.
func saysClose(head []byte) bool {
	for line := range bytes.SplitSeq(head, headEnd[:2]) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("connection")) {
			continue
		}
		for option := range bytes.SplitSeq(value, []byte(",")) {
			if bytes.EqualFold(bytes.TrimSpace(option), []byte("close")) {
				return true
			}
		}
	}
	return false
}

// beginsResponse tells whether b can be the beginning of a response, as far as it goes.
func beginsResponse(b []byte) bool {
	const version = "HTTP/0.0 " // 0: any digit
	n := min(len(b), len(version))
	for i, c := range b[:n] {
		if c != version[i] && (version[i] != '0' || !isDigit(c)) {
			return false
		}
	}
	code := bytes.TrimLeft(b[n:], " ")
	for i, c := range code[:min(len(code), 4)] {
		if i < 3 && !isDigit(c) || i == 3 && c != ' ' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func protocolError(cause error) *Error {
	return &Error{Reason: ReasonProtocol, Phase: PhaseHead, Sent: true, Err: cause}
}

// frame determines the length of the body, RFC 9112 section 6.3, and whether
// the connection can be kept.
func (x *Exchange) frame(bodiless bool) error {
	h := &x.Header
	code, n := h.StatusCode(), h.ContentLength()
	x.reuse = (!h.ConnectionClose() || bodiless && !x.closes) && string(h.Protocol()) == "HTTP/1.1"
	x.length = int64(max(n, -1))
	switch {
	case code == fasthttp.StatusNoContent, code == fasthttp.StatusNotModified:
		x.rest = 0
		if x.announcesBody() {
			// It should not come, but may, and later than anyone looks for it.
			x.reuse = false
		}
	case bodiless:
		// The length is that of the body to GET, and says nothing about this connection.
		x.rest = 0
	case code == fasthttp.StatusOK, code == fasthttp.StatusPartialContent:
		if n < 0 || len(h.Peek(fasthttp.HeaderTransferEncoding)) > 0 {
			return protocolError(errFraming)
		}
		x.rest = int64(n)
		if full := x.rest > smallSize && x.FitsBuffer(); x.up.fullBody.Load() != full {
			x.up.fullBody.Store(full)
		}
	default:
		x.rest = -1 // an error document: read by Document in any framing
		if n >= 0 {
			x.rest = int64(n)
		}
	}
	return nil
}

// announcesBody tells whether the head at hand has a length other than 0, or a coding.
func (x *Exchange) announcesBody() bool {
	n := x.Header.ContentLength()
	return n > 0 || n == -1 // -1: chunked
}

// twoAnswers tells whether another response came together with the one at hand: on a
// kept connection the first may be one that nobody asked for, and came too late to be
// seen by send.
func (x *Exchange) twoAnswers() bool {
	n := x.br.Buffered()
	if x.rest < 0 || x.rest >= int64(n) {
		return false
	}
	b, _ := x.br.Peek(n)
	return beginsResponse(b[x.rest:])
}

// Length returns the body's length in bytes as the head gives it, also for a
// response to HEAD; -1 if it does not.
func (x *Exchange) Length() int64 { return x.length }

// FitsBuffer reports whether Body can return the whole body.
func (x *Exchange) FitsBuffer() bool {
	return x.rest >= 0 && x.rest <= int64(x.up.opts.Buffers.size)
}

// slowest is the rate in bytes per second below which a small body is given
// up, so that an origin that drips cannot hold a buffer for hours.
const slowest = 1 << 10

// Body reads the whole body of a response for which FitsBuffer holds and
// returns it; the bytes are valid until Close. The connection is kept or
// closed at once.
//
// Hot path: no allocation, guarded by TestExchangeAllocs.
func (x *Exchange) Body() ([]byte, error) {
	n := int(x.rest)
	if n > x.br.Size() {
		x.wide.Reader = x.conn.Conn
		x.br = x.up.opts.Buffers.widen(x.br, &x.wide)
	}
	if x.br.Buffered() < n {
		end := time.Now().Add(x.up.opts.IdleTimeout + time.Duration(n)*time.Second/slowest)
		for have := x.br.Buffered(); have < n; have = x.br.Buffered() {
			if err := x.conn.SetReadDeadline(earlier(time.Now().Add(x.up.opts.IdleTimeout), end)); err != nil {
				return nil, ioError(PhaseBody, true, err)
			}
			if _, err := x.br.Peek(have + 1); err != nil {
				return nil, ioError(PhaseBody, true, err)
			}
		}
	}
	b, _ := x.br.Peek(n)
	x.consume(int64(n))
	if x.br.Buffered() > n {
		x.surplus = true
		x.reuse = false // surplus bytes would answer the next request
	}
	x.releaseConn()
	return b, nil
}

// Surplus tells, at the end of a body, whether the origin has sent more than its
// length: then it is not certain which bytes are the object. More may be on its way.
func (x *Exchange) Surplus() bool { return x.surplus }

// consume counts bytes of the body that were taken from the connection.
func (x *Exchange) consume(n int64) {
	x.rest -= n
	x.up.received.Add(uint64(n))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Fill reads the whole body into b, which has its length, and tells each time how
// many bytes are there. pace ends it where the origin sends too slowly. An error is
// an *Error.
func (x *Exchange) Fill(pace *Pace, b []byte, filled func(n int)) error {
	pace.add(&x.transfer, nil, x.conn)
	defer pace.remove(&x.transfer)
	for n := 0; n < len(b); {
		read, err := x.Read(b[n:])
		n += read
		x.sent.Store(int64(n))
		if err == io.EOF {
			err = ioError(PhaseBody, true, io.ErrUnexpectedEOF)
		}
		if err != nil {
			if cut := x.cutError(); cut != nil {
				return cut
			}
			return err
		}
		filled(n)
	}
	if x.br.Buffered() > 0 || x.conn.unasked() {
		x.surplus = true
		x.reuse = false // surplus bytes would answer the next request
	}
	return nil
}

// Read reads bytes of the body into b, which is not empty, and waits at most the
// idle timeout for them; at the end of the body it returns io.EOF. An error is an
// *Error.
func (x *Exchange) Read(b []byte) (int, error) {
	if x.rest == 0 {
		return 0, io.EOF
	}
	if x.br.Buffered() == 0 {
		if err := x.conn.SetReadDeadline(time.Now().Add(x.up.opts.IdleTimeout)); err != nil {
			return 0, ioError(PhaseBody, true, err)
		}
		if err := x.cutError(); err != nil { // after arming: Pace may have been first
			return 0, err
		}
	}
	n, err := x.br.Read(b[:min(int64(len(b)), x.rest)])
	x.consume(int64(n))
	if err != nil && x.rest > 0 { // TLS tells the end together with the last bytes
		return n, ioError(PhaseBody, true, err)
	}
	return n, nil
}

// Close ends the exchange: the connection is kept if the response was read to
// its end, else closed, and the buffer goes back. Safe to call again.
func (x *Exchange) Close() {
	if x.conn != nil && x.br != nil {
		if n := x.br.Buffered(); x.rest > 0 && int64(n) == x.rest {
			x.br.Discard(n) // an unread body that came with the head
			x.rest = 0
		} else if n > 0 {
			x.reuse = false // surplus bytes would answer the next request
		}
	}
	x.releaseConn()
	x.releaseBuffer()
}

func (x *Exchange) releaseConn() {
	c := x.conn
	if c == nil {
		return
	}
	x.conn = nil
	if !x.reuse || x.rest != 0 {
		x.up.discard(c)
		return
	}
	x.up.release(c)
}

func (x *Exchange) releaseBuffer() {
	if x.br != nil {
		x.up.opts.Buffers.release(x.br)
		x.br, x.wide.Reader = nil, nil
	}
}
