package pool

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSoak mixes ranges, HEADs, error documents, broken origins and clients
// that leave, over TLS and plain, and looks for what was left behind.
func TestSoak(t *testing.T) {
	exchanges := 3000
	if testing.Short() {
		exchanges = 600
	}
	overBoth(t, func(t *testing.T, overTLS bool) {
		large := noise(150_000)
		var asked atomic.Int64
		s := startScripted(t, overTLS, func(c net.Conn, _ int, head string) bool {
			if head[0] == 'H' {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n")
				return true
			}
			switch asked.Add(1) % 11 {
			case 1, 2, 3:
				io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\nbody")
			case 4, 5, 6:
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(large))
				c.Write(large)
			case 7:
				io.WriteString(c, "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\noops\r\n0\r\n\r\n")
			case 8:
				io.WriteString(c, "HTTP/1.1 304 Not Modified\r\n\r\n")
			case 9:
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"+ok("body")+"surplus")
			case 10:
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(large))
				c.Write(large[:100_000])
				return false
			default:
				return false
			}
			return true
		})
		u := s.upstream(func(o *Options) {
			o.MaxConns, o.Buffers = 6, NewBuffers(DefaultBufferSize, 10)
			o.QueueTimeout, o.DialTimeout, o.HeadTimeout, o.IdleTimeout = 10*time.Second, 10*time.Second, 10*time.Second, 10*time.Second
		})
		p := pace(t, 1<<10, time.Minute)
		goroutines, open := runtime.NumGoroutine(), descriptors(t)
		var reasons [numReasons]atomic.Int64
		var served atomic.Int64
		count := func(err error) {
			if err == nil {
				served.Add(1)
			} else if r := ReasonOf(err); r == ReasonNone {
				t.Errorf("an error without a reason: %v", err)
			} else {
				reasons[r].Add(1)
			}
		}
		const workers = 12
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				var x Exchange
				for i := range exchanges / workers {
					if i%13 == 0 {
						err := u.Do(&x, []byte("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n"), true)
						count(err)
						x.Close()
						continue
					}
					if err := u.Do(&x, []byte(getHead), false); err != nil {
						count(err)
						continue
					}
					switch {
					case i%7 == 0: // never read
					case x.Header.StatusCode() >= 300:
						_, err := x.Document(1 << 10)
						count(err)
					case x.FitsBuffer():
						body, err := x.Body()
						if string(body) != "body" {
							t.Errorf("the body is %q, %v", body, err)
						}
						count(err)
					default:
						count(streamOnce(&x, p, large, i%5 == 0))
					}
					x.Close()
				}
			})
		}
		wg.Wait()
		for _, r := range []Reason{ReasonTruncated, ReasonClientGone} {
			if reasons[r].Load() == 0 {
				t.Errorf("no exchange ended with %s", r)
			}
		}
		if served.Load() < int64(exchanges)/4 {
			t.Errorf("only %d of %d were served", served.Load(), exchanges)
		}
		for r := range reasons {
			switch n := reasons[r].Load(); Reason(r) {
			case ReasonTruncated, ReasonReset, ReasonClientGone, ReasonBuffers:
			default:
				if n > 0 {
					t.Errorf("%d exchanges ended with %s", n, Reason(r))
				}
			}
		}
		var stats Stats
		u.UpdateStats(&stats)
		if stats.Retries == 0 || stats.Open != stats.Idle || stats.Open > 6 || stats.Waiting != 0 || u.opts.Buffers.InUse() != 0 {
			t.Errorf("%+v, %d buffers", stats, u.opts.Buffers.InUse())
		}
		u.Close()
		nothingLeft(t, goroutines, open)
	})
}

// streamOnce streams the body of x to a client of its own, which may have
// left, and compares what arrived.
func streamOnce(x *Exchange, p *Pace, body []byte, leaves bool) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	ours, err := ln.Accept()
	if err != nil {
		client.Close()
		return err
	}
	arrived := make(chan string, 1)
	if leaves {
		client.(*net.TCPConn).SetLinger(0)
		client.Close()
		arrived <- ""
	} else {
		go func() { // ends with either side of the connection
			defer client.Close()
			b, _ := io.ReadAll(client)
			arrived <- string(b)
		}()
	}
	n, err := x.Stream(ours, p)
	ours.Close()
	if got := <-arrived; !leaves && got != string(body[:n]) {
		return fmt.Errorf("%d bytes arrived, which differ from the %d sent", len(got), n)
	}
	return err
}
