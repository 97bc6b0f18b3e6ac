package pool

import "io"

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
			return ioError(PhaseBody, true, err)
		}
		return nil
	}
	// Left in the socket, the bytes can be spliced.
	if err := x.conn.raw.Read(x.conn.ready); err != nil {
		return ioError(PhaseBody, true, err)
	}
	if x.conn.peeked != peekBytes {
		return ioError(PhaseBody, true, io.ErrUnexpectedEOF)
	}
	return nil
}
