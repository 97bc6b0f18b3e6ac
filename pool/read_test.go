package pool

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"yatagarasu/loadtest/rawserver"
)

// readAll reads the body of x in pieces of at most n bytes.
func readAll(x *Exchange, n int) (body []byte, err error) {
	b := make([]byte, n)
	for {
		got, err := x.Read(b)
		body = append(body, b[:got]...)
		if err != nil {
			return body, err
		}
	}
}

// do begins an exchange.
func do(t *testing.T, u *Upstream, x *Exchange) {
	t.Helper()
	if err := u.Do(x, []byte(getHead), false); err != nil {
		t.Fatal(err)
	}
}

// TestReadBodies reads bodies that are in the buffer, in the socket, and in both.
func TestReadBodies(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		for _, buffer := range []int{maxHead, DefaultBufferSize} {
			for _, size := range []int{0, 1, 1000, maxHead, DefaultBufferSize - 1, DefaultBufferSize, DefaultBufferSize + 1, 300_000} {
				for _, piece := range []int{7, 1000, buffer, 1 << 20} {
					if piece == 7 && size > 1000 {
						continue // long, and nothing new
					}
					t.Run(fmt.Sprintf("buffer %d, body %d, pieces %d", buffer, size, piece), func(t *testing.T) {
						body := noise(size)
						s := startScripted(t, overTLS, func(c net.Conn, n int, _ string) bool {
							head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
							if n == 1 { // the head by itself
								io.WriteString(c, head)
								c.Write(body)
							} else {
								c.Write(append([]byte(head), body...))
							}
							return true
						})
						u := s.upstream(func(o *Options) { o.Buffers = NewBuffers(buffer, 0) })
						for range 2 {
							var x Exchange
							do(t, u, &x)
							if got, err := readAll(&x, piece); err != io.EOF || !bytes.Equal(got, body) {
								t.Fatalf("%d bytes, %v", len(got), err)
							}
							if n, err := x.Read(make([]byte, 1)); n != 0 || err != io.EOF {
								t.Errorf("after the end: %d bytes, %v", n, err)
							}
							x.Close()
							idle(t, u, 1)
						}
						if n := s.Conns.Load(); n != 1 {
							t.Errorf("%d connections, want 1: a body that was read leaves it usable", n)
						}
					})
				}
			}
		}
	})
}

// TestReadBreaks has origins fail within a body.
func TestReadBreaks(t *testing.T) {
	const sent = 100_000
	for name, c := range map[string]struct {
		end    func(net.Conn)
		reason Reason
	}{
		"the origin closes": {func(net.Conn) {}, ReasonTruncated},
		"the origin resets": {func(c net.Conn) {
			if t, ok := c.(*tls.Conn); ok {
				c = t.NetConn()
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}, ReasonTruncated},
		"the origin falls silent": {func(c net.Conn) { io.Copy(io.Discard, c) }, ReasonTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, overTLS bool) {
				read := make(chan bool)
				u := startScripted(t, overTLS, func(conn net.Conn, _ int, _ string) bool {
					io.WriteString(conn, largeHead)
					conn.Write(noise(sent))
					<-read // a reset discards what was not read yet
					c.end(conn)
					return false
				}).upstream(func(o *Options) { o.HeadTimeout, o.IdleTimeout = time.Hour, 200*time.Millisecond })
				var x Exchange
				do(t, u, &x)
				got := make([]byte, sent)
				if _, err := io.ReadFull(&x, got); err != nil || !bytes.Equal(got, noise(sent)) {
					t.Fatalf("what came before: %v", err)
				}
				close(read)
				rest, err := readAll(&x, 1000)
				want(t, err, c.reason, PhaseBody, true)
				if len(rest) != 0 {
					t.Errorf("%d bytes that nobody sent", len(rest))
				}
				x.Close()
				idle(t, u, 0)
			})
		})
	}
	t.Run("the connection is closed here", func(t *testing.T) {
		u := startScripted(t, false, answer(largeHead)).upstream()
		var x Exchange
		do(t, u, &x)
		x.conn.Close()
		_, err := x.Read(make([]byte, 1))
		want(t, err, ReasonClosed, PhaseBody, true)
		x.Close()
		idle(t, u, 0)
	})
}

// TestReadSlowly has origins that take longer than a head may, but never too long.
func TestReadSlowly(t *testing.T) {
	const pieces, size = 12, 20_000
	shorter := func(o *Options) { o.HeadTimeout, o.IdleTimeout = 300*time.Millisecond, 400*time.Millisecond }
	overBoth(t, func(t *testing.T, overTLS bool) {
		t.Run("the origin", func(t *testing.T) {
			head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", pieces*size)
			u := startScripted(t, overTLS, slowly(head, pieces, size, 60*time.Millisecond)).upstream(shorter)
			var x Exchange
			for range 2 { // the times of one exchange are not those of the next
				do(t, u, &x)
				if got, err := readAll(&x, 1<<20); err != io.EOF || len(got) != pieces*size {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				x.Close()
				idle(t, u, 1)
			}
		})
	})
}

// TestReadSurplus has more bytes than the head promised: they are not part of the
// body, and answer no other request.
func TestReadSurplus(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		for _, size := range []int{4, DefaultBufferSize + 1} {
			body := noise(size)
			u := startScripted(t, overTLS, answer(ok(string(body))+ok("evil"))).upstream()
			for range 3 {
				var x Exchange
				do(t, u, &x)
				if x.Length() != int64(size) {
					t.Fatalf("a body of %d bytes, want %d", x.Length(), size)
				}
				if got, err := readAll(&x, 1<<20); err != io.EOF || !bytes.Equal(got, body) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				if !overTLS && x.br.Buffered() == 0 {
					arrived(t, x.conn)
				}
				x.Close()
			}
		}
	})
}

// TestReadAndClose leaves bodies at any place.
func TestReadAndClose(t *testing.T) {
	small := noise(1000)
	s := startScripted(t, false, func(c net.Conn, _ int, head string) bool {
		c.Write([]byte(ok(string(small))))
		return true
	})
	u := s.upstream()
	t.Run("the rest is in the buffer", func(t *testing.T) {
		var x Exchange
		for range 3 { // an Exchange may be used again after Close
			do(t, u, &x)
			if _, err := io.ReadFull(&x, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			for x.br.Buffered() < len(small)-10 {
				if _, err := x.br.Peek(x.br.Buffered() + 1); err != nil {
					t.Fatal(err)
				}
			}
			x.Close()
			x.Close()
			idle(t, u, 1)
		}
		if n := s.Conns.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
		if n, err := x.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after Close: %d bytes, %v", n, err)
		}
	})
	t.Run("the body was read at once", func(t *testing.T) {
		var x Exchange
		do(t, u, &x)
		if b, err := x.Body(); err != nil || !bytes.Equal(b, small) {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		if n, err := x.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after Body: %d bytes, %v", n, err)
		}
		x.Close()
		idle(t, u, 1)
	})
	t.Run("the rest is not here yet", func(t *testing.T) {
		u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead+"begin")
			io.Copy(io.Discard, c)
			return false
		}).upstream()
		var x Exchange
		do(t, u, &x)
		if n, err := x.Read(make([]byte, 5)); n == 0 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		x.Close()
		idle(t, u, 0)
	})
	t.Run("the Upstream is closed meanwhile", func(t *testing.T) {
		body := noise(200_000)
		goOn := make(chan bool)
		u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			all := []byte(ok(string(body)))
			c.Write(all[:len(all)/2])
			<-goOn
			c.Write(all[len(all)/2:])
			return true
		}).upstream()
		var x Exchange
		do(t, u, &x)
		u.Close()
		close(goOn)
		if got, err := readAll(&x, 10_000); err != io.EOF || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		x.Close()
		idle(t, u, 0)
	})
}

// TestReadWithEnd has the last bytes come together with the end of the connection,
// as TLS tells it: the body is whole nevertheless.
func TestReadWithEnd(t *testing.T) {
	const record = 16 << 10 // the largest of TLS
	body := noise(2 * record)
	closed := make(chan bool)
	server, client := tlsPair(t)
	server.DynamicRecordSizingDisabled, server.MaxVersion = true, tls.VersionTLS12 // later ones hide what is an end
	s := &scripted{t: t, tls: client}
	s.Server = rawserver.Start(t, server, func(c net.Conn, _ int, _ string) bool {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(body))
		c.Write(body) // in two records
		c.Close()
		closed <- true
		return false
	})
	u := s.upstream(func(o *Options) { o.Buffers = NewBuffers(record, 0) })
	var x Exchange
	do(t, u, &x)
	<-closed
	got := make([]byte, len(body))
	for n := 0; n < len(got); {
		read, err := x.Read(got[n:])
		if n += read; err != nil {
			t.Fatalf("%d of %d bytes, %v", n, len(got), err)
		}
	}
	if !bytes.Equal(got, body) {
		t.Error("other bytes")
	}
	x.Close()
	idle(t, u, 0)
}

// TestFill reads bodies into memory, and has Pace end what comes too slowly.
func TestFill(t *testing.T) {
	body := noise(300_000)
	overBoth(t, func(t *testing.T, overTLS bool) {
		u := startScripted(t, overTLS, answer(ok(string(body)))).upstream()
		pace := NewPace(1<<10, time.Minute)
		defer pace.Stop()
		for range 2 {
			var x Exchange
			do(t, u, &x)
			got, last := make([]byte, len(body)), 0
			err := x.Fill(pace, got, func(n int) {
				if n <= last || !bytes.Equal(got[:n], body[:n]) {
					t.Errorf("%d bytes after %d, or others", n, last)
				}
				last = n
			})
			if err != nil || last != len(body) {
				t.Errorf("%d bytes, %v", last, err)
			}
			x.Close()
			idle(t, u, 1)
		}
		slow := startScripted(t, overTLS, drip("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n")).upstream()
		strict := NewPace(100<<10, 200*time.Millisecond)
		defer strict.Stop()
		var x Exchange
		do(t, slow, &x)
		err := x.Fill(strict, make([]byte, 300_000), func(int) {})
		want(t, err, ReasonTimeout, PhaseBody, true)
		x.Close()
		idle(t, slow, 0)
		unregistered(t, strict)

		broken := startScripted(t, overTLS, func(c net.Conn, _ int, _ string) bool {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n%s", body[:1000])
			return false
		}).upstream()
		do(t, broken, &x)
		n := 0
		if err := x.Fill(pace, make([]byte, 300_000), func(filled int) { n = filled }); err == nil || n != 1000 {
			t.Errorf("of a body that breaks off: %d bytes, %v", n, err)
		}
		x.Close()
	})
}
