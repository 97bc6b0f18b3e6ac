package pool

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// pair returns both ends of a client connection: ours, bare TCP or TLS, and the
// client's.
func pair(t testing.TB, overTLS bool) (ours, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	if overTLS {
		server, trusting := tlsPair(t.(*testing.T))
		ours, client = tls.Server(ours, server), tls.Client(client, trusting)
		go client.(*tls.Conn).Handshake() // ends with the other side's
		if err := ours.(*tls.Conn).Handshake(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { ours.Close(); client.Close() })
	return ours, client
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// pace returns a Pace that ends with the test.
func pace(t testing.TB, rate int, window time.Duration) *Pace {
	p := NewPace(rate, window)
	t.Cleanup(p.Stop)
	return p
}

func TestStreamBodies(t *testing.T) {
	for name, over := range map[string]struct{ origin, client bool }{
		"plain to plain": {false, false}, "tls to plain": {true, false}, "plain to tls": {false, true}, "tls to tls": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, 1, 1000, DefaultBufferSize - 1, DefaultBufferSize, DefaultBufferSize + 1, 300_000, 3 << 20} {
				body := noise(size)
				s := startScripted(t, over.origin, func(c net.Conn, _ int, _ string) bool {
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
					c.Write(body)
					return true
				})
				u := s.upstream()
				ours, client := pair(t, over.client)
				var x Exchange
				if err := u.Do(&x, []byte(getHead), false); err != nil {
					t.Fatal(err)
				}
				if x.FitsBuffer() != (size <= DefaultBufferSize) {
					t.Errorf("%d bytes: FitsBuffer is %t", size, x.FitsBuffer())
				}
				if err := x.Await(); err != nil {
					t.Fatal(err)
				}
				got := make(chan []byte, 1)
				go func() {
					b := make([]byte, size)
					io.ReadFull(client, b)
					got <- b
				}()
				n, err := x.Stream(ours, pace(t, 1<<10, time.Minute))
				x.Close()
				if err != nil || n != int64(size) || !bytes.Equal(<-got, body) {
					t.Errorf("%d bytes: sent %d, %v", size, n, err)
				}
				idle(t, u, 1)
			}
		})
	}
}

// stream runs one exchange whose body goes to a client and returns Stream's
// error.
func stream(t *testing.T, u *Upstream, p *Pace, ours net.Conn) error {
	t.Helper()
	var x Exchange
	if err := u.Do(&x, []byte(getHead), false); err != nil {
		t.Fatal(err)
	}
	_, err := x.Stream(ours, p)
	x.Close()
	idle(t, u, 0)
	return err
}

const largeHead = "HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n"

func TestStreamBreaks(t *testing.T) {
	half := noise(300_000)
	taken := make(chan bool) // half, by the client
	for _, c := range []struct {
		name   string
		script func(net.Conn, int, string) bool
		client func(net.Conn)
		reason Reason
	}{
		{"origin closes", func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead)
			c.Write(half)
			return false
		}, drain, ReasonTruncated},
		{"origin resets", func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead)
			c.Write(half)
			<-taken // a reset discards what was not read yet
			if t, ok := c.(*net.TCPConn); ok {
				t.SetLinger(0)
			}
			return false
		}, func(c net.Conn) {
			io.CopyN(io.Discard, c, int64(len(half)))
			taken <- true
			drain(c)
		}, ReasonTruncated},
		{"origin falls silent", func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead)
			c.Write(half)
			io.Copy(io.Discard, c)
			return false
		}, drain, ReasonTimeout},
		{"client closes", func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead)
			for {
				if _, err := c.Write(half); err != nil {
					return false
				}
			}
		}, func(c net.Conn) { io.CopyN(io.Discard, c, 1000); c.Close() }, ReasonClientGone},
		{"client resets", func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, largeHead)
			for {
				if _, err := c.Write(half); err != nil {
					return false
				}
			}
		}, func(c net.Conn) {
			io.CopyN(io.Discard, c, 1000)
			if t, ok := c.(*net.TCPConn); ok {
				t.SetLinger(0)
			}
			c.Close()
		}, ReasonClientGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, overTLS bool) {
				u := startScripted(t, overTLS, c.script).upstream(func(o *Options) { o.IdleTimeout = 200 * time.Millisecond })
				ours, client := pair(t, false)
				go c.client(client)
				want(t, stream(t, u, pace(t, 0, time.Minute), ours), c.reason, PhaseBody, true)
			})
		})
	}
	t.Run("client is gone already", func(t *testing.T) {
		u := startScripted(t, false, answer(largeHead)).upstream()
		ours, _ := pair(t, false)
		ours.Close()
		want(t, stream(t, u, pace(t, 0, time.Minute), ours), ReasonClientGone, PhaseBody, true)
	})
}

func drain(c net.Conn) { io.Copy(io.Discard, c) }

func TestSlowButNotIdleOrigin(t *testing.T) {
	const pieces, size = 12, 20_000
	overBoth(t, func(t *testing.T, overTLS bool) {
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", pieces*size)
		u := startScripted(t, overTLS, slowly(head, pieces, size, 60*time.Millisecond)).
			upstream(func(o *Options) { o.HeadTimeout, o.IdleTimeout = 300*time.Millisecond, 400*time.Millisecond }) // well below the whole
		ours, client := pair(t, false)
		go drain(client)
		var x Exchange
		if err := u.Do(&x, []byte(getHead), false); err != nil {
			t.Fatal(err)
		}
		if n, err := x.Stream(ours, pace(t, 0, time.Minute)); err != nil || n != pieces*size {
			t.Errorf("%d bytes, %v", n, err)
		}
		x.Close()
		idle(t, u, 1)
	})
}

func TestPace(t *testing.T) {
	endless := func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
		for piece := noise(100_000); ; {
			if _, err := c.Write(piece); err != nil {
				return false
			}
		}
	}
	for _, overTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("a client that stops reading, tls %t", overTLS), func(t *testing.T) {
			u := startScripted(t, false, endless).upstream()
			ours, _ := pair(t, overTLS)
			want(t, stream(t, u, pace(t, 1<<20, 100*time.Millisecond), ours), ReasonClientSlow, PhaseBody, true)
		})
		t.Run(fmt.Sprintf("an origin that drips, tls %t", overTLS), func(t *testing.T) {
			u := startScripted(t, overTLS, drip(largeHead)).upstream()
			ours, client := pair(t, false)
			go drain(client)
			want(t, stream(t, u, pace(t, 10<<10, 200*time.Millisecond), ours), ReasonTimeout, PhaseBody, true)
		})
	}
	t.Run("stopping ends streams", func(t *testing.T) {
		u := startScripted(t, false, drip(largeHead)).upstream()
		ours, client := pair(t, false)
		p := NewPace(0, time.Minute)
		go func() {
			io.ReadFull(client, make([]byte, 5))
			p.Stop()
		}()
		want(t, stream(t, u, p, ours), ReasonClosed, PhaseBody, true)
	})
	t.Run("a sufficient rate is left alone", func(t *testing.T) {
		const head = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"
		u := startScripted(t, false, slowly(head, 40, 5000, 30*time.Millisecond)).upstream()
		ours, client := pair(t, false)
		go drain(client)
		var x Exchange
		if err := u.Do(&x, []byte(getHead), false); err != nil {
			t.Fatal(err)
		}
		if n, err := x.Stream(ours, pace(t, 20<<10, 400*time.Millisecond)); err != nil || n != 40*5000 {
			t.Errorf("%d bytes, %v", n, err)
		}
		x.Close()
	})
}

func TestAwait(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		for name, c := range map[string]struct {
			script func(net.Conn, int, string) bool
			reason Reason
		}{
			"closed after the head": {func(c net.Conn, _ int, _ string) bool { io.WriteString(c, largeHead); return false }, ReasonTruncated},
			"silent after the head": {func(c net.Conn, _ int, _ string) bool {
				io.WriteString(c, largeHead)
				io.Copy(io.Discard, c)
				return false
			}, ReasonTimeout},
		} {
			t.Run(name, func(t *testing.T) {
				u := startScripted(t, overTLS, c.script).upstream(func(o *Options) { o.HeadTimeout = 200 * time.Millisecond })
				var x Exchange
				if err := u.Do(&x, []byte(getHead), false); err != nil {
					t.Fatal(err)
				}
				want(t, x.Await(), c.reason, PhaseBody, true)
				x.Close()
				idle(t, u, 0)
			})
		}
	})
}

// TestNothingIsLost mixes exchanges that end in all kinds of ways.
func TestNothingIsLost(t *testing.T) {
	body := noise(200_000)
	s := startScripted(t, false, func(c net.Conn, n int, _ string) bool {
		switch n % 7 {
		case 1, 2, 3:
			io.WriteString(c, ok("body"))
		case 4, 5:
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
			c.Write(body)
		case 6:
			io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\noops!")
		default:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort")
			return false
		}
		return true
	})
	u := s.upstream(func(o *Options) { o.MaxConns = 8 })
	p := pace(t, 1<<10, time.Minute)
	goroutines, descriptors := runtime.NumGoroutine(), descriptors(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			ours, client := pair(t, false)
			go drain(client)
			for i := range 200 {
				var x Exchange
				if err := u.Do(&x, []byte(getHead), false); err != nil {
					continue
				}
				switch {
				case i%5 == 0: // the client changed its mind
				case x.Header.StatusCode() != 200:
					x.Document(1 << 10)
				case x.FitsBuffer():
					x.Body()
				default:
					if _, err := x.Stream(ours, p); err != nil {
						t.Error(err)
					}
				}
				x.Close()
			}
			ours.Close()
			client.Close()
		})
	}
	wg.Wait()
	var stats Stats
	u.UpdateStats(&stats)
	if stats.Open != stats.Idle || stats.Waiting != 0 || u.opts.Buffers.InUse() != 0 {
		t.Errorf("%+v, %d buffers", stats, u.opts.Buffers.InUse())
	}
	u.Close()
	nothingLeft(t, goroutines, descriptors)
}

// nothingLeft waits until there are no more goroutines and descriptors than before.
func nothingLeft(t *testing.T, goroutines, descriptors int) {
	t.Helper()
	var g, d int
	if !eventually(func() bool {
		runtime.GC() // package net keeps the pipes of splices until a collection
		g, d = runtime.NumGoroutine(), descriptorsNow()
		return g <= goroutines && d <= descriptors
	}) {
		t.Fatalf("goroutines %d -> %d, descriptors %d -> %d", goroutines, g, descriptors, d)
	}
}

func descriptors(t *testing.T) int {
	n := descriptorsNow()
	if n < 0 {
		t.Skip("descriptors can be counted on Linux alone")
	}
	return n
}

func descriptorsNow() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
