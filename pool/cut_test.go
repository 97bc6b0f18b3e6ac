package pool

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestCutOverTLS has streams end that pass through the buffer.
func TestCutOverTLS(t *testing.T) {
	t.Run("stopping ends a stream to a silent client", func(t *testing.T) {
		u := startScripted(t, true, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead)
			for {
				if _, err := c.Write(make([]byte, 100_000)); err != nil {
					return false
				}
			}
		}).upstream()
		ours, _ := pair(t, true)
		p := NewPace(1, time.Minute)
		go func() {
			registered(p)
			p.Stop()
		}()
		want(t, stream(t, u, p, ours), ReasonClosed, PhaseBody, true)
	})
	t.Run("stopping ends a stream from a silent origin", func(t *testing.T) {
		u := startScripted(t, true, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead+"begin")
			io.Copy(io.Discard, c)
			return false
		}).upstream(func(o *Options) { o.IdleTimeout = 10 * time.Second })
		ours, client := pair(t, false)
		p := NewPace(1, time.Minute)
		go func() {
			io.ReadFull(client, make([]byte, 5))
			p.Stop()
		}()
		want(t, stream(t, u, p, ours), ReasonClosed, PhaseBody, true)
	})
	t.Run("a client that closes its TLS", func(t *testing.T) {
		u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead)
			for {
				if _, err := c.Write(make([]byte, 100_000)); err != nil {
					return false
				}
			}
		}).upstream()
		ours, client := pair(t, true)
		go func() {
			io.CopyN(io.Discard, client, 1000)
			client.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			client.Close()
		}()
		want(t, stream(t, u, pace(t, 0, time.Minute), ours), ReasonClientGone, PhaseBody, true)
	})
}

// opaque is a client whose delivered bytes nobody knows.
type opaque struct{ net.Conn }

// TestPaceOfOpaqueClient falls back to the bytes handed to the kernel.
func TestPaceOfOpaqueClient(t *testing.T) {
	u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, largeHead)
		for {
			if _, err := c.Write(make([]byte, 100_000)); err != nil {
				return false
			}
		}
	}).upstream()
	ours, _ := pair(t, false)
	want(t, stream(t, u, pace(t, 1<<20, 100*time.Millisecond), opaque{ours}), ReasonClientSlow, PhaseBody, true)
}

// TestSurplusAfterStream has more bytes than the head promised, in the buffer,
// in the socket and under TLS: none of them answers the next request.
func TestSurplusAfterStream(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		for _, size := range []int{100, DefaultBufferSize - 10, DefaultBufferSize + 1, 200_000} {
			body := strings.Repeat("b", size)
			s := startScripted(t, overTLS, answer(ok(body)+ok("evil")))
			u := s.upstream()
			ours, client := pair(t, false)
			got := make(chan int64, 1)
			go func() { n, _ := io.Copy(io.Discard, client); got <- n }()
			const rounds = 3
			for range rounds {
				var x Exchange
				if err := u.Do(&x, []byte(getHead), false); err != nil {
					t.Fatal(err)
				}
				if x.Length() != int64(size) {
					t.Fatalf("a body of %d bytes, want %d", x.Length(), size)
				}
				if n, err := x.Stream(ours, pace(t, 0, time.Minute)); n != int64(size) || err != nil {
					t.Fatalf("%d bytes, %v", n, err)
				}
				if !overTLS && size > DefaultBufferSize {
					arrived(t, x.conn)
				}
				x.Close()
			}
			ours.Close()
			if n := <-got; n != rounds*int64(size) {
				t.Errorf("the client got %d bytes, want %d", n, rounds*size)
			}
		}
	})
}
