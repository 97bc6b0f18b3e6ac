package pool

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestResetAfterOriginClosed has a splice fail with a reset while the kernel
// holds the rest of a body whose origin has properly closed.
func TestResetAfterOriginClosed(t *testing.T) {
	for _, c := range []struct {
		name           string
		origin, client bool // resets
		reason         Reason
	}{
		{"by the client", false, true, ReasonClientGone},
		{"by the origin", true, false, ReasonTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			goOn := make(chan bool)
			u := startScripted(t, false, func(conn net.Conn, _ int, _ string) bool {
				io.WriteString(conn, ok("body"))
				<-goOn
				if c.origin {
					conn.(*net.TCPConn).SetLinger(0)
				}
				return false
			}).upstream()
			ours, client := pair(t, false)
			var x Exchange
			if err := u.Do(&x, []byte(getHead), false); err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			goOn <- true
			if c.client {
				client.(*net.TCPConn).SetLinger(0)
				client.Close()
			}
			ready := func() bool { // both sides' ends have arrived
				d, ok := delivered(ours.(*net.TCPConn))
				return x.conn.look() == peekEOF && (!ok || d.over == c.client)
			}
			if !eventually(ready) {
				t.Fatal("the connections stay open")
			}
			if _, ok := delivered(ours.(*net.TCPConn)); !ok {
				t.Skip("the sides can be told apart on Linux alone")
			}
			want(t, x.spliceError(ours.(*net.TCPConn), syscall.ECONNRESET), c.reason, PhaseBody, true)
			// Only the client is written to.
			want(t, x.spliceError(ours.(*net.TCPConn), syscall.EPIPE), ReasonClientGone, PhaseBody, true)
		})
	}
}

// TestHalfClosedClient has a client that shuts down its sending side; it still
// takes the body, and a reset by the origin is the origin's.
func TestHalfClosedClient(t *testing.T) {
	t.Run("takes the body", func(t *testing.T) {
		body := noise(300_000)
		u := startScripted(t, false, answer(ok(string(body)))).upstream()
		ours, client := pair(t, false)
		client.(*net.TCPConn).CloseWrite()
		got := make(chan string, 1)
		go func() { b := make([]byte, len(body)); io.ReadFull(client, b); got <- string(b) }()
		var x Exchange
		if err := u.Do(&x, []byte(getHead), false); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Stream(ours, pace(t, 0, time.Minute)); err != nil || <-got != string(body) {
			t.Error(err)
		}
		x.Close()
		idle(t, u, 1)
	})
	t.Run("the origin resets", func(t *testing.T) {
		const sent = 200_000
		taken := make(chan bool)
		u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead)
			c.Write(make([]byte, sent))
			<-taken // a reset discards what was not read yet
			c.(*net.TCPConn).SetLinger(0)
			return false
		}).upstream()
		ours, client := pair(t, false)
		client.(*net.TCPConn).CloseWrite()
		go func() {
			io.CopyN(io.Discard, client, sent)
			taken <- true
			drain(client)
		}()
		want(t, stream(t, u, pace(t, 0, time.Minute), ours), ReasonTruncated, PhaseBody, true)
	})
}
