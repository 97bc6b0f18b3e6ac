package pool

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http/httputil"
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
// An Exchange belongs to one goroutine; only Pace touches it from another.
type Exchange struct {
	// Header is the response head after a successful Do.
	Header fasthttp.ResponseHeader

	up     *Upstream
	conn   *conn
	br     *bufio.Reader
	start  time.Time
	length int64 // of the body by the head; -1: not given
	rest   int64 // bytes of the body not yet delivered
	reuse  bool  // the connection may be kept once the body was read
	began  bool  // a response head came, if only an interim one

	splice io.LimitedReader // source of one splice
	pace   paceEntry        // registration with a Pace while streaming
	cut    atomic.Uint32    // Reason with which Pace ended the stream; 0: not
}

var (
	errHeadTooLarge = errors.New("response head over 16 KiB")
	errHeadBad      = errors.New("malformed response head")
	errInterim      = errors.New("too many 1xx responses")
	errSwitching    = errors.New("101 without an upgrade")
	errChunks       = errors.New("malformed chunks")
	errFraming      = errors.New("a body needs exactly one valid Content-Length")
)

// Do sends head, a complete request head without a body, and reads the
// response head into x.Header. bodiless tells that the method is HEAD.
//
// A connection that the origin closed while it was idle is replaced once,
// provided that no byte of a response came. Do does not retry otherwise. An
// error is an *Error; x then needs no Close. After success the caller must
// Close x, before or after reading the body.
//
// Hot path: no allocation on a kept connection, guarded by TestExchangeAllocs.
func (u *Upstream) Do(x *Exchange, head []byte, bodiless bool) error {
	br := u.opts.Buffers.acquire()
	if br == nil {
		return &Error{Reason: ReasonBuffers, Phase: PhaseQueue}
	}
	x.up, x.br = u, br
	x.cut.Store(0)
	if err := u.attempt(x, head, bodiless); err != nil {
		x.conn = nil
		x.releaseBuffer()
		return err
	}
	return nil
}

// attempt runs one exchange on one connection, or, if that was kept and fails
// before any response byte, on a new one in its place. It discards the
// connection on failure.
func (u *Upstream) attempt(x *Exchange, head []byte, bodiless bool) error {
	c, reused, err := u.acquire()
	if err != nil {
		return err
	}
	if err = x.roundTrip(c, head, bodiless); err == nil {
		return nil
	}
	var first *Error
	if !reused || x.began || x.br.Buffered() > 0 || !errors.As(err, &first) || first.Reason != ReasonReset {
		u.discard(c)
		return err
	}
	u.retries.Add(1)
	c.Close() // its place stays with this exchange, which has waited already
	if c, _, err = u.dialSlot(); err == nil {
		if err = x.roundTrip(c, head, bodiless); err == nil {
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

// roundTrip sends the request on c and reads heads up to the final one.
func (x *Exchange) roundTrip(c *conn, head []byte, bodiless bool) error {
	x.conn, x.began = c, false
	x.br.Reset(c.Conn)
	x.start = time.Now()
	if err := x.conn.SetDeadline(x.start.Add(x.up.opts.HeadTimeout)); err != nil {
		return ioError(PhaseSend, false, err)
	}
	if n, err := x.conn.Write(head); err != nil {
		return ioError(PhaseSend, n > 0, err)
	}
	for range maxInterim + 1 {
		if err := x.readHead(); err != nil {
			return err
		}
		x.began = true
		switch code := x.Header.StatusCode(); {
		case code < 100 || code > 599:
			return protocolError(errHeadBad)
		case code == fasthttp.StatusSwitchingProtocols:
			return protocolError(errSwitching)
		case code >= 200:
			return x.frame(bodiless)
		}
	}
	return protocolError(errInterim)
}

var headEnd = []byte("\r\n\r\n")

// readHead waits for a complete head of at most maxHead bytes and parses it.
func (x *Exchange) readHead() error {
	searched := 0
	for {
		n := x.br.Buffered()
		b, _ := x.br.Peek(n)
		if n > 0 && b[0] != 'H' {
			// Also a blank line, which the library would skip uncounted.
			return protocolError(errHeadBad)
		}
		if i := bytes.Index(b[searched:], headEnd); i >= 0 {
			if searched+i+len(headEnd) > maxHead {
				return protocolError(errHeadTooLarge)
			}
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
	if err := x.Header.Read(x.br); err != nil {
		// The library's text quotes the head: not for logs.
		return protocolError(errHeadBad)
	}
	return nil
}

func protocolError(cause error) *Error {
	return &Error{Reason: ReasonProtocol, Phase: PhaseHead, Sent: true, Err: cause}
}

// frame determines the length of the body, RFC 9112 section 6.3, and whether
// the connection can be kept.
func (x *Exchange) frame(bodiless bool) error {
	h := &x.Header
	code, n := h.StatusCode(), h.ContentLength()
	x.reuse = !h.ConnectionClose() && string(h.Protocol()) == "HTTP/1.1"
	x.length = int64(max(n, -1))
	switch {
	case bodiless, code == fasthttp.StatusNoContent, code == fasthttp.StatusNotModified:
		x.rest = 0
	case code == fasthttp.StatusOK, code == fasthttp.StatusPartialContent:
		if n < 0 || len(h.Peek(fasthttp.HeaderTransferEncoding)) > 0 {
			return protocolError(errFraming)
		}
		x.rest = int64(n)
	default:
		x.rest = -1 // an error document: read by Document in any framing
		if n >= 0 {
			x.rest = int64(n)
		}
	}
	return nil
}

// Length returns the body's length in bytes as the head gives it, also for a
// response to HEAD; -1 if it does not.
func (x *Exchange) Length() int64 { return x.length }

// FitsBuffer reports whether Body can return the whole body.
func (x *Exchange) FitsBuffer() bool {
	return x.rest >= 0 && x.rest <= int64(x.br.Size())
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
	x.rest = 0
	if x.br.Buffered() > n {
		x.reuse = false // surplus bytes would answer the next request
	}
	x.releaseConn()
	return b, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Document reads at most limit bytes of an error document, whatever its
// framing, and keeps the connection only if it ended within them.
func (x *Exchange) Document(limit int) ([]byte, error) {
	if err := x.conn.SetReadDeadline(time.Now().Add(x.up.opts.HeadTimeout)); err != nil {
		return nil, ioError(PhaseBody, true, err)
	}
	var r io.Reader = x.br
	chunked := x.length < 0 && len(x.Header.Peek(fasthttp.HeaderTransferEncoding)) > 0
	switch {
	case x.rest >= 0:
		r = io.LimitReader(r, x.rest)
	case chunked:
		r = httputil.NewChunkedReader(r)
	}
	doc, err := io.ReadAll(io.LimitReader(r, int64(limit)))
	if err != nil {
		return doc, documentError(err, chunked)
	}
	switch {
	case x.rest >= 0 && int64(len(doc)) < min(x.rest, int64(limit)):
		return doc, ioError(PhaseBody, true, io.ErrUnexpectedEOF)
	case x.rest >= 0 && int64(len(doc)) == x.rest:
		x.rest = 0
	case chunked && x.endOfChunks(r):
		x.rest = 0
	default:
		x.reuse = false
	}
	return doc, nil
}

// documentError types an error of reading an error document: of the connection,
// or, when that is sound, of the chunks on it.
func documentError(err error, chunked bool) *Error {
	var ne net.Error
	if chunked && !errors.As(err, &ne) && !isClosedByPeer(err) {
		return &Error{Reason: ReasonProtocol, Phase: PhaseBody, Sent: true, Err: errChunks}
	}
	return ioError(PhaseBody, true, err)
}

// endOfChunks consumes the end of a chunked body: the last chunk, which r must
// have reached, and an empty trailer section.
func (x *Exchange) endOfChunks(r io.Reader) bool {
	var b [1]byte
	if n, err := r.Read(b[:]); n != 0 || err != io.EOF {
		return false
	}
	crlf, err := x.br.Peek(2)
	if err != nil || string(crlf) != "\r\n" {
		return false
	}
	_, err = x.br.Discard(2)
	return err == nil
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
		x.br = nil
	}
}
