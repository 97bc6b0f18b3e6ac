package pool

import (
	"net"
	"time"
)

// maxWrite bounds the bytes of one write, so that Pace sees progress where only the
// bytes handed over can be counted.
const maxWrite = 256 << 10

// Sending is a body in memory on its way to a client. The zero value is ready for Begin. Not
// safe for concurrent use.
type Sending struct{ transfer }

// Begin has pace, which may be nil, look at s until End, also while the head of the answer
// is still to be written: it ends it where the client is too slow, or others need what c
// says that it holds.
func (s *Sending) Begin(client net.Conn, pace *Pace, c Claim) {
	s.cut.Store(0)
	s.watch(pace, client, nil, c)
}

// Send writes bytes in memory to client, the one of Begin, as next hands them out until it
// returns none, and returns how many were written. next may block; it is given how many
// bytes it has handed out, which must not change until the next call.
//
// As with Exchange.Stream, client must have nothing buffered before it, and an error, an
// *Error unless it comes from next, means that the connection must be closed.
func (s *Sending) Send(client net.Conn, next func(sent int64) ([]byte, error)) (sent int64, err error) {
	err = s.paced(client, func() error { return s.send(client, next) })
	return s.sent.Load(), err
}

// End has nobody look at s any more, and makes it a zero value. It may be called again.
func (s *Sending) End() {
	s.leave()
	s.transfer = transfer{}
}

// Cut returns the error of a transfer that Pace has ended since it looks at it; nil if it
// has not. Not to be called together with the transfer.
func (t *transfer) Cut() error { return t.cutError() }

// paced runs move, which sends a body to client, while Pace looks at it. client has no
// write deadline but Pace's meanwhile, and none afterwards.
func (t *transfer) paced(client net.Conn, move func() error) error {
	if err := client.SetWriteDeadline(time.Time{}); err != nil {
		return clientGone(err)
	}
	// After the deadline was taken away: it may have been Pace's.
	if cut := t.cutError(); cut != nil {
		return cut
	}
	err := move()
	t.leave()
	if err == nil && t.cut.Swap(0) != 0 {
		// Pace gave the transfer up as it completed; its deadline must not stay.
		if err := client.SetWriteDeadline(time.Time{}); err != nil {
			return clientGone(err)
		}
	}
	return err
}

func (t *transfer) send(client net.Conn, next func(sent int64) ([]byte, error)) error {
	for {
		b, err := next(t.sent.Load())
		if err != nil || len(b) == 0 {
			return err
		}
		for len(b) > 0 {
			if cut := t.cutError(); cut != nil {
				return cut
			}
			n, err := client.Write(b[:min(len(b), maxWrite)])
			t.sent.Add(int64(n))
			b = b[n:]
			if err != nil {
				return t.orCut(clientGone(err))
			}
		}
	}
}
