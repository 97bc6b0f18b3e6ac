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
	if err := client.SetWriteDeadline(time.Time{}); err != nil {
		return 0, &Error{Reason: ReasonClientGone, Phase: PhaseBody, Sent: true, Err: err}
	}
	var t transfer
	sent, err = t.pacedSend(client, pace, next)
	if err == nil && t.cut.Load() != 0 {
		// Pace gave the transfer up as it completed; its deadline must not stay.
		if err := client.SetWriteDeadline(time.Time{}); err != nil {
			return sent, &Error{Reason: ReasonClientGone, Phase: PhaseBody, Sent: true, Err: err}
		}
	}
	return sent, err
}

func (t *transfer) pacedSend(client net.Conn, pace *Pace, next func(sent int64) ([]byte, error)) (sent int64, err error) {
	pace.add(t, client, nil)
	defer pace.remove(t) // also in a panic, which the caller may survive
	return t.send(client, next)
}

func (t *transfer) send(client net.Conn, next func(sent int64) ([]byte, error)) (sent int64, err error) {
	for {
		b, err := next(sent)
		if err != nil || len(b) == 0 {
			return sent, err
		}
		for len(b) > 0 {
			if cut := t.cutError(); cut != nil {
				return sent, cut
			}
			n, err := client.Write(b[:min(len(b), maxWrite)])
			sent += int64(n)
			t.sent.Add(int64(n))
			b = b[n:]
			if err != nil {
				if cut := t.cutError(); cut != nil {
					return sent, cut
				}
				return sent, &Error{Reason: ReasonClientGone, Phase: PhaseBody, Sent: true, Err: err}
			}
		}
	}
}
