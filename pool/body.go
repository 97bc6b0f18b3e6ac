package pool

import (
	"io"
	"time"
)

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
