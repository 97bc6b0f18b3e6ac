package pool

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// early is an origin that answers each connection before it is asked, and keeps it open.
// It returns its pool, tells when it has answered, and what it reads then.
func early(t *testing.T, overTLS, halfClose bool) (u *Upstream, answered chan bool, heads chan string) {
	t.Helper()
	var server, client *tls.Config
	if overTLS {
		server, client = tlsPair(t)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	answered, heads = make(chan bool, 1), make(chan string, 1)
	go func() { // ends with the listener, and the pool's connections
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if overTLS {
				c = tls.Server(c, server)
			}
			io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
			if halfClose {
				c.(interface{ CloseWrite() error }).CloseWrite()
			}
			answered <- true
			go func() {
				b := make([]byte, 4096)
				n, _ := c.Read(b)
				heads <- string(b[:n])
			}()
		}
	}()
	u = NewUpstream(Options{Address: ln.Addr().String(), TLS: client, Buffers: NewBuffers(DefaultBufferSize, 0)})
	t.Cleanup(u.Abort)
	return u, answered, heads
}

// TestSendAfterTheAnswer has an answer lie in the socket before the request is written:
// no event of the poller tells of it any more, and it is not the answer to that.
func TestSendAfterTheAnswer(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		for _, halfClose := range []bool{false, true} {
			for _, reused := range []bool{false, true} {
				u, answered, heads := early(t, overTLS, halfClose)
				c, _, err := u.acquire(0, nil, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				<-answered // under TLS not the first that comes
				if !eventually(func() bool { return c.look() != peekClean }) {
					t.Fatal("nothing came")
				}
				x := Exchange{up: u}
				if err := x.takeBuffer(c); err != nil {
					t.Fatal(err)
				}
				err = x.roundTrip(c, reused, []byte(getHead), false, time.Now())
				want(t, err, ReasonReset, PhaseSend, false)
				if (err == errStale) != reused {
					t.Errorf("half closed %t, reused %t: %v", halfClose, reused, err)
				}
				x.releaseBuffer()
				u.discard(c)
				if head := <-heads; head != "" {
					t.Errorf("half closed %t: the origin has read %q", halfClose, head)
				}
			}
		}
	})
}

// TestHalfClosedConnection has the origin close its half of kept connections, and never
// the other: each request gets a connection that answers.
func TestHalfClosedConnection(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		closed := make(chan bool, 1)
		s := startScripted(t, overTLS, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, ok("body"))
			c.(interface{ CloseWrite() error }).CloseWrite()
			closed <- true
			return true
		})
		u := s.upstream()
		for range 5 {
			if _, body, err := fetch(u); body != "body" || err != nil {
				t.Fatalf("%q %v", body, err)
			}
			<-closed
		}
		var stats Stats
		u.UpdateStats(&stats)
		if stats.Stale != 4 || stats.Reuses != 0 || stats.Dials != 5 {
			t.Errorf("%+v", stats)
		}
	})
}
