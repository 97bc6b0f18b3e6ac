package pool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// maxInterim bounds the 1xx responses before the final one.
const maxInterim = 8

// Exchange is one request to an origin and its response. The zero value is
// ready for Upstream.Do; after Close it may be used again.
//
// An Exchange belongs to one goroutine; only Pace and Interrupt touch it from another.
type Exchange struct {
	// Client is the key of the client that the exchange is for; 0: the gateway itself. Set it
	// before Do: connections are shared fairly among clients.
	Client uint64
	// Listed tells that the body of a success is a list, which comes in any framing and is read
	// by Document: S3 sends lists in chunks. Set it before each Do.
	Listed bool
	// Header is the response head after a successful Do.
	Header fasthttp.ResponseHeader
	// Queued and Dialed are how long the last Do waited for a connection, and took to
	// open one; 0 where there was one.
	Queued, Dialed time.Duration

	up     *Upstream
	conn   *conn
	br     *bufio.Reader
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

var (
	errHeadTooLarge = errors.New("response head over 16 KiB")
	errHeadBad      = errors.New("malformed response head")
	errLineEnd      = fmt.Errorf("%w: a line does not end in CRLF", errHeadBad)
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
	c, reused, err := u.acquire(x.Client, x.done, now)
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
	first, again := errors.AsType[*Error](err)
	switch {
	case x.Interrupted(), !reused, !again:
		again = false
	case err == errStale: // nothing was sent
		u.stale.Add(1)
	case first.Err == errTwoAnswers, first.Err == errNotHTTP && !x.began:
		u.stale.Add(1)
		u.retries.Add(1)
	case first.Reason == ReasonReset && !x.began && x.br.Buffered() == 0:
		u.retries.Add(1)
	default:
		again = false
	}
	if !again {
		u.discard(c)
		return err
	}
	x.releaseBuffer()
	c.Close() // its place stays with this exchange, which has waited already
	if c, err = u.dialSlot(x.Client, x.done); err == nil {
		x.Dialed, c.dialed = c.dialed, 0
		err = x.takeBuffer(c)
	}
	if err == nil {
		if err = x.roundTrip(c, false, head, bodiless, time.Now()); err == nil {
			return nil
		}
		u.discard(c)
	}
	if second, ok := errors.AsType[*Error](err); ok {
		second.Sent = second.Sent || first.Sent
	}
	return err
}

// takeBuffer borrows a buffer for an exchange on c, or gives c back. It comes after the
// connection: exchanges that wait for one origin must not starve those of another.
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
	x.uses(c)
	if err := x.conn.SetDeadline(now.Add(x.up.opts.HeadTimeout)); err != nil {
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
			if err := x.frame(bodiless, now); err != nil {
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

// Length returns the body's length in bytes as the head gives it, also for a
// response to HEAD; -1 if it does not.
func (x *Exchange) Length() int64 { return x.length }

// FitsBuffer reports whether Body can return the whole body.
func (x *Exchange) FitsBuffer() bool {
	return x.rest >= 0 && x.rest <= int64(x.up.opts.Buffers.size)
}

// Close ends the exchange: the connection is kept if the response was read to
// its end, else closed, and the buffer goes back. Safe to call again.
func (x *Exchange) Close() {
	x.leave()
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
