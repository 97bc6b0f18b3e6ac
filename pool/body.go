package pool

import (
	"io"
	"time"
)

// slowest is the rate in bytes per second below which a small body is given
// up, so that an origin that drips cannot hold a buffer for hours.
const slowest = 1 << 10

// Await waits until the first byte of the body is there, without consuming it,
// so that an origin which fails right after its head can still be answered with
// a status. The time to the head and to this byte together is bounded by
// Options.HeadTimeout.
func (x *Exchange) Await() error {
	if x.rest <= 0 || x.br.Buffered() > 0 {
		return nil
	}
	if x.conn.tls != nil {
		if _, err := x.br.Peek(1); err != nil {
			return bodyError(err)
		}
		return nil
	}
	// Left in the socket, the bytes can be spliced.
	if err := x.conn.raw.Read(x.conn.ready); err != nil {
		return bodyError(err)
	}
	if x.conn.peeked != peekBytes {
		return bodyError(io.ErrUnexpectedEOF)
	}
	return nil
}

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
			by := time.Now().Add(x.up.opts.IdleTimeout)
			if by.After(end) {
				by = end
			}
			if err := x.conn.SetReadDeadline(by); err != nil {
				return nil, bodyError(err)
			}
			if _, err := x.br.Peek(have + 1); err != nil {
				return nil, bodyError(err)
			}
		}
	}
	b, _ := x.br.Peek(n)
	x.consume(int64(n))
	x.noteSurplus(x.br.Buffered() > n)
	x.releaseConn()
	return b, nil
}

// Surplus tells, at the end of a body, whether the origin has sent more than its
// length: then it is not certain which bytes are the object. More may be on its way.
func (x *Exchange) Surplus() bool { return x.surplus }

// noteSurplus notes whether more came than the body: that would answer the next request.
func (x *Exchange) noteSurplus(more bool) {
	if more {
		x.surplus, x.reuse = true, false
	}
}

// consume counts bytes of the body that were taken from the connection.
func (x *Exchange) consume(n int64) {
	x.rest -= n
	x.up.received.Add(uint64(n))
}

// armRead begins a wait for more of the body, of at most the idle timeout. It fails where
// Pace has ended the transfer: looked at after arming, or Pace may have been first.
func (x *Exchange) armRead() error {
	if err := x.conn.SetReadDeadline(time.Now().Add(x.up.opts.IdleTimeout)); err != nil {
		return bodyError(err)
	}
	return x.cutError()
}

// Fill reads the whole body into b, which has its length, and tells each time how
// many bytes are there. pace ends it where the origin sends too slowly. An error is
// an *Error.
func (x *Exchange) Fill(pace *Pace, b []byte, filled func(n int)) error {
	x.watch(pace, nil, x.conn, Claim{})
	defer x.leave()
	for n := 0; n < len(b); {
		read, err := x.Read(b[n:])
		n += read
		x.sent.Store(int64(n))
		if err == io.EOF {
			err = bodyError(io.ErrUnexpectedEOF)
		}
		if err != nil {
			return x.orCut(err)
		}
		filled(n)
	}
	x.noteSurplus(x.br.Buffered() > 0 || x.conn.unasked())
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
		if err := x.armRead(); err != nil {
			return 0, err
		}
	}
	n, err := x.br.Read(b[:min(int64(len(b)), x.rest)])
	x.consume(int64(n))
	if err != nil && x.rest > 0 { // TLS tells the end together with the last bytes
		return n, bodyError(err)
	}
	return n, nil
}
