package pool

import (
	"net"
	"time"
)

// maxWrite bounds the bytes of one write, so that Pace sees progress where only the
// bytes handed over can be counted.
const maxWrite = 256 << 10

// Send writes bytes in memory to client, as next hands them out until it returns
// none, and returns how many were written. next may block; it is given how many
// bytes it has handed out, which must not change until the next call.
//
// As with Exchange.Stream, client must have nothing buffered before it, pace ends
// the transfer when the client is too slow, and an error, an *Error unless it comes
// from next, means that the connection must be closed.
func Send(client net.Conn, pace *Pace, next func(sent int64) ([]byte, error)) (sent int64, err error) {
	var t transfer
	err = t.paced(client, nil, pace, func() error { return t.send(client, next) })
	return t.sent.Load(), err
}

// paced runs move, which sends a body to client, while pace looks at it. client has no
// write deadline but pace's meanwhile, and none afterwards. origin may be nil.
func (t *transfer) paced(client, origin net.Conn, pace *Pace, move func() error) error {
	if err := client.SetWriteDeadline(time.Time{}); err != nil {
		return clientGone(err)
	}
	err := func() error {
		pace.add(t, client, origin)
		defer pace.remove(t) // also in a panic, which the caller may survive
		return move()
	}()
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
