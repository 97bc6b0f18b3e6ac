package pool

import (
	"errors"
	"io"
	"net"
)

// maxSplice bounds the bytes of one splice, so that deadlines roll in between.
const maxSplice = 1 << 20

// Watch has pace, which may be nil, look at x until Stream or Close ends, also while the head
// of the answer to client is still to be written.
func (x *Exchange) Watch(client net.Conn, pace *Pace) {
	if pace == nil {
		return
	}
	if u := x.up; u.pace.Load() != pace {
		u.pace.Store(pace)
	}
	x.watch(pace, client, x.conn.Conn, Claim{On: x.up, Client: x.Client, Total: x.rest})
}

// Stream writes the rest of the body to client and returns how many bytes were
// written. Where both sides are plain TCP the kernel moves them (splice(2));
// else they pass through the exchange's buffer. Memory is constant either way.
//
// client must have nothing buffered before it; Stream leaves it without a write
// deadline, pace ends the stream when either side is too slow. An error is an
// *Error whose reason tells whether the origin or the client failed; the client
// then has fewer bytes than it was promised, and its connection must be closed.
func (x *Exchange) Stream(client net.Conn, pace *Pace) (int64, error) {
	total := x.rest
	x.Watch(client, pace)
	defer x.leave() // also in a panic, which the caller may survive
	err := x.paced(client, func() error { return x.send(client) })
	return total - x.rest, err
}

// send moves the rest of the body by the cheapest way there is.
func (x *Exchange) send(client net.Conn) error {
	if err := x.writeBuffered(client); err != nil || x.rest == 0 {
		return err
	}
	if dst, ok := client.(*net.TCPConn); ok && x.conn.tls == nil {
		x.releaseBuffer() // empty, and not needed any more
		return x.spliceTo(dst)
	}
	return x.copyTo(client)
}

// writeBuffered writes what came together with the head.
func (x *Exchange) writeBuffered(client net.Conn) error {
	n := int(min(int64(x.br.Buffered()), x.rest))
	if n == 0 {
		return nil
	}
	b, _ := x.br.Peek(n)
	w, err := client.Write(b)
	x.br.Discard(w)
	x.advance(int64(w))
	if err != nil {
		return x.orCut(clientGone(err))
	}
	return nil
}

func (x *Exchange) advance(n int64) {
	x.consume(n)
	x.sent.Add(n)
}

// copyTo moves the rest of the body through the exchange's buffer.
func (x *Exchange) copyTo(client net.Conn) error {
	for x.rest > 0 {
		if err := x.armRead(); err != nil {
			return err
		}
		if _, err := x.br.Peek(1); err != nil {
			return x.orCut(bodyError(err))
		}
		if err := x.writeBuffered(client); err != nil {
			return err
		}
	}
	return nil
}

// spliceTo has the kernel move the rest of the body from socket to socket.
func (x *Exchange) spliceTo(client *net.TCPConn) error {
	defer func() { x.splice.R = nil }()
	for x.rest > 0 {
		if err := x.armRead(); err != nil {
			return err
		}
		want := min(x.rest, maxSplice)
		x.splice = io.LimitedReader{R: x.conn.tcp, N: want}
		n, err := client.ReadFrom(&x.splice)
		x.advance(n)
		switch {
		case err != nil && n > 0 && isTimeout(err) && x.cut.Load() == 0:
			// Slow, but not idle: the deadline was over the whole piece.
		case err != nil:
			return x.spliceError(client, err)
		case n < want:
			return x.orCut(bodyError(io.ErrUnexpectedEOF))
		}
	}
	return nil
}

// spliceError finds out which side an error of a splice came from.
func (x *Exchange) spliceError(client *net.TCPConn, err error) error {
	var ofClient bool
	switch {
	case errors.Is(err, errnoPeerGone): // the origin is only read
		ofClient = true
	case errors.Is(err, net.ErrClosed), isTimeout(err):
		// By Abort, or by the origin's deadline: the client has none but Pace's.
	default:
		// A reset, and either side may have sent it. The origin's end alone does not
		// tell: it may have closed properly with the rest still on its way.
		d, ok := delivered(client)
		ofClient = d.over || !ok && x.conn.look() != peekEOF
	}
	if ofClient {
		return x.orCut(clientGone(err))
	}
	return x.orCut(bodyError(err))
}

// orCut returns the error of a transfer that Pace ended, else err.
func (t *transfer) orCut(err error) error {
	if cut := t.cutError(); cut != nil {
		return cut
	}
	return err
}

// cutCauses are the errors of the reasons for which Pace ends a transfer.
var cutCauses = [numReasons]error{
	ReasonTimeout:    errors.New("the origin sends below the minimum rate"),
	ReasonClientSlow: errors.New("the client reads below the minimum rate"),
	ReasonYielded:    errors.New("others waited for the connection to the origin, and this would have taken longest"),
}

// errYieldedMemory is the cause of ReasonYielded if it was for memory.
var errYieldedMemory = errors.New("others needed the memory of the body, and this would have taken longest")

// cutError returns the error of a transfer that Pace ended; nil if it did not.
func (t *transfer) cutError() error {
	reason := Reason(t.cut.Load())
	if reason == ReasonNone {
		return nil
	}
	cause := cutCauses[reason]
	if reason == ReasonYielded && t.claim.Part != nil {
		cause = errYieldedMemory
	}
	return &Error{Reason: reason, Phase: PhaseBody, Sent: true, Err: cause}
}
