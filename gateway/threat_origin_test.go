package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"yatagarasu/loadtest/rawserver"
	"yatagarasu/pool"
)

// faultyOrigin answers each request with raw bytes of a script's choice.
type faultyOrigin struct {
	*rawserver.Server
	endpoint string
}

// startFaulty runs script for each request, with its head; the connection is
// closed when script returns false.
func startFaulty(t *testing.T, script func(c net.Conn, head string) bool) *faultyOrigin {
	t.Helper()
	s := rawserver.Start(t, nil, func(c net.Conn, _ int, head string) bool { return script(c, head) })
	return &faultyOrigin{Server: s, endpoint: "http://" + s.Addr}
}

// reset makes the close of c a reset.
func reset(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }

// resetSent is reset once all that was written has arrived: a reset discards the rest.
func resetSent(c net.Conn) {
	arrived(c)
	reset(c)
}

// arrived waits until all that was written to c is in the socket at its other end.
func arrived(c net.Conn) {
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	polled(5*time.Second, func() bool {
		left := 0
		if err == nil {
			err = raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
		}
		return err != nil || left == 0
	})
}

const okHead = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n"

func threatOrigin(t *testing.T) {
	timeouts := "timeouts: {dial: 1, first_byte: 0.8s, idle: 0.8s}"
	// pace makes the minimum rate bite within a test.
	pace := func(o *Options) { o.MinRate, o.MinRateWindow = 10<<10, 600*time.Millisecond }
	for _, c := range []struct {
		name   string
		script func(net.Conn, string) bool
		status int    // 0: the response breaks off after a 200
		reason string // in the log
	}{
		{"T66_never_answers", func(c net.Conn, _ string) bool { io.Copy(io.Discard, c); return false }, 504, "timeout"},
		{"T66_drips_its_head", func(c net.Conn, _ string) bool { return drip(c, okHead+strings.Repeat("A: b\r\n", 1000)) }, 504, "timeout"},
		{"T66_drips_a_small_body", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 60000\r\n\r\n")
			time.Sleep(1200 * time.Millisecond) // two windows of the least rate, and nothing arrives
			return drip(c, strings.Repeat("x", 60000))
		}, 504, "timeout"},
		{"T66_drips_a_large_body", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\n")
			return drip(c, strings.Repeat("x", 900000))
		}, 0, "timeout"},
		{"T66_falls_silent_in_a_large_body", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\n"+strings.Repeat("x", 100000))
			io.Copy(io.Discard, c)
			return false
		}, 0, "timeout"},
		{"T66_resets_at_once", func(c net.Conn, _ string) bool { reset(c); return false }, 502, "reset"},
		{"T66_resets_after_the_head", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\n")
			resetSent(c)
			return false
		}, 502, "truncated"},
		{"T66_resets_in_a_large_body", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\n"+strings.Repeat("x", 300000))
			resetSent(c)
			return false
		}, 0, "truncated"},
		{"T66_body_too_short_small", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 10\r\n\r\nshort")
			return false
		}, 502, "truncated"},
		{"T66_body_too_short_large", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 900000\r\n\r\n"+strings.Repeat("x", 899999))
			return false
		}, 0, "truncated"},
		{"T66_never_ends_chunked", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Transfer-Encoding: chunked\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "4\r\nmore\r\n"); err != nil {
					return false
				}
			}
		}, 502, "protocol"},
		{"T66_no_length", func(c net.Conn, _ string) bool { io.WriteString(c, okHead+"\r\nbody"); return false }, 502, "protocol"},
		{"T66_two_lengths", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody")
			return true
		}, 502, "protocol"},
		{"T66_signed_length", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: +4\r\n\r\nbody")
			return true
		}, 502, "protocol"},
		{"T66_unasked_part", func(c net.Conn, _ string) bool {
			io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n\r\nbody")
			return true
		}, 502, "protocol"},
		{"T66_unasked_304", func(c net.Conn, _ string) bool {
			io.WriteString(c, "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n")
			return true
		}, 502, "protocol"},
		{"T66_not_http", func(c net.Conn, _ string) bool { io.WriteString(c, "SSH-2.0-x\r\n\r\n"); return false }, 502, "protocol"},
		{"T66_switches_protocols", func(c net.Conn, _ string) bool {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			return false
		}, 502, "protocol"},
		{"T67_many_interim_responses", func(c net.Conn, _ string) bool {
			io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 100)+okHead+"Content-Length: 4\r\n\r\nbody")
			return true
		}, 502, "protocol"},
		{"T67_large_head", func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"A: "+strings.Repeat("b", 17<<10)+"\r\nContent-Length: 4\r\n\r\nbody")
			return true
		}, 502, "protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			origin := startFaulty(t, c.script)
			gw := startGateway(t, oneBucket("/pub", origin.endpoint, timeouts), pace)
			begin := time.Now()
			r, err := http.Get(gw.url("/pub/x"))
			if err != nil {
				t.Fatal(err)
			}
			_, bodyErr := io.ReadAll(r.Body)
			r.Body.Close()
			switch {
			case c.status == 0 && (r.StatusCode != 200 || bodyErr == nil):
				t.Errorf("status %d, body ended with %v; want a 200 that breaks off", r.StatusCode, bodyErr)
			case c.status != 0 && (r.StatusCode != c.status || bodyErr != nil):
				t.Errorf("status %d, %v; want %d", r.StatusCode, bodyErr, c.status)
			}
			gw.log.waitFor(t, fmt.Sprintf("%q:%q", "reason", c.reason))
			if took := time.Since(begin); took > 8*time.Second {
				t.Errorf("it took %s", took)
			}
			attempts := int64(3) // the first and two more
			switch {
			case c.reason == "protocol":
				attempts = 1 // it would say the same again
			case c.reason == "timeout", c.status == 0:
				attempts = 2 // it would take as long again; the rest of an object that does not have a part
			}
			if n := origin.Requests.Load(); n != attempts {
				t.Errorf("%d attempts, want %d", n, attempts)
			}
			gw.settle(t)
		})
	}

	t.Run("T66_unsolicited_bytes_answer_nobody", func(t *testing.T) {
		idle, late := make(chan bool), make(chan bool)
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			io.WriteString(c, okHead+"Content-Length: 4\r\n\r\nbody")
			if strings.Contains(head, "/things/dirty ") {
				<-idle
				io.WriteString(c, okHead+"Content-Length: 4\r\n\r\nevil")
				late <- true
			}
			return true
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		for range 50 {
			gw.do("GET", "/pub/dirty")
			gw.settle(t)
			idle <- true
			<-late
			if r, body := gw.do("GET", "/pub/clean"); r.StatusCode != 200 || string(body) != "body" {
				t.Fatalf("status %d, body %q", r.StatusCode, body)
			}
		}
	})
	for _, c := range []struct{ name, method, first, late string }{
		{"T66_304_whose_body_comes_late", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 12\r\n\r\n", "<html>\r\nlate"},
		{"T66_304_whose_late_body_is_a_response", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n", okHead + "Content-Length: 4\r\n\r\nevil"},
		{"T66_HEAD_whose_body_comes_late", "HEAD", okHead + "Content-Length: 4\r\n\r\n", "late"},
		{"T66_two_responses_at_once", "HEAD", okHead + "Content-Length: 4\r\n\r\n", okHead + "Content-Length: 4\r\n\r\nevil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := rawserver.Start(t, nil, func(conn net.Conn, n int, head string) bool {
				switch {
				case strings.Contains(head, "/things/dirty "):
					io.WriteString(conn, c.first)
				case n > 1: // on the same connection
					io.WriteString(conn, c.late+okHead+"Content-Length: 4\r\n\r\ngood")
				default:
					io.WriteString(conn, okHead+"Content-Length: 4\r\n\r\ngood")
				}
				return true
			})
			gw := startGateway(t, oneBucket("/pub", "http://"+origin.Addr))
			for range 5 {
				if r, _ := gw.do(c.method, "/pub/dirty", `If-None-Match: "e"`); r.StatusCode != 304 {
					t.Fatalf("status %d", r.StatusCode)
				}
				if r, body := gw.do("GET", "/pub/clean"); r.StatusCode != 200 || string(body) != "good" {
					t.Fatalf("status %d, body %q", r.StatusCode, body)
				}
			}
			gw.settle(t)
		})
	}
	t.Run("stale_connection_is_replaced_once", func(t *testing.T) {
		var n atomic.Int64
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			if n.Add(1)%2 == 0 {
				reset(c) // the second request on a kept connection
				return false
			}
			io.WriteString(c, okHead+"Content-Length: 4\r\n\r\nbody")
			return true
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		for range 20 {
			if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
				t.Fatalf("status %d", r.StatusCode)
			}
		}
	})
	t.Run("T68_tls_black_hole", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // never accepts: the kernel completes the connect, no handshake follows
		gw := startGateway(t, oneBucket("/pub", "https://"+ln.Addr().String(), timeouts))
		begin := time.Now()
		r, body := gw.do("GET", "/pub/x")
		if took := time.Since(begin); r.StatusCode != 504 || took > 2*time.Second {
			t.Errorf("status %d after %s: %s", r.StatusCode, took, body)
		}
		gw.settle(t)
	})
	t.Run("T63_slow_reader", func(t *testing.T) {
		origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(64<<20))
			w.Write(make([]byte, 64<<20))
		})
		for _, mode := range []string{"http", "https"} {
			t.Run(mode, func(t *testing.T) {
				yaml := oneBucket("/pub", origin.URL)
				if mode == "https" {
					yaml = withTLS(t, yaml)
				}
				gw := startGateway(t, yaml, pace)
				c := dial(t, gw.addr)
				if mode == "https" {
					c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				}
				io.WriteString(c, "GET /pub/x HTTP/1.1\r\nHost: x\r\n\r\n")
				gw.log.waitFor(t, `"reason":"client_slow"`)
				gw.settle(t)
			})
		}
	})
}

// drip writes a byte each 20 ms until the other side is gone.
func drip(c net.Conn, s string) bool {
	for i := range len(s) {
		if _, err := c.Write([]byte{s[i]}); err != nil {
			return false
		}
		time.Sleep(20 * time.Millisecond) // that it is slow is what is tested
	}
	return true
}

// settle waits until nothing of past requests is held: no request under way,
// no buffer, no upstream connection in use.
func (tg *testGateway) settle(t *testing.T) {
	t.Helper()
	var s pool.Stats
	settled := polled(5*time.Second, func() bool {
		s = pool.Stats{}
		for b := range tg.Generation.Load().Origins() {
			for _, r := range b.Replicas {
				r.Upstream.UpdateStats(&s)
			}
		}
		return tg.InFlight.Load() == 0 && tg.Origins.Buffers.InUse() == 0 && s.Open == s.Idle && s.Waiting == 0
	})
	if !settled {
		t.Fatalf("still held: %d requests, %d buffers, %+v", tg.InFlight.Load(), tg.Origins.Buffers.InUse(), s)
	}
}

// TestThreatSoak mixes ranges, HEADs and aborted downloads.
func TestThreatSoak(t *testing.T) {
	t.Run("T69_mixed_ranges_heads_and_aborts", func(t *testing.T) {
		requests := 100_000
		if testing.Short() || raceEnabled {
			requests = 5_000
		}
		body := strings.Repeat("0123456789abcdef", 20_000) // 320 kB
		origin := startOrigin(t, serveText(body))
		gw := startGateway(t, oneBucket("/pub", origin.URL), func(o *Options) { o.LogLevel = "error" })
		gw.do("GET", "/pub/x")
		gw.settle(t)
		goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)

		const clients = 8
		var wg sync.WaitGroup
		for n := range clients {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(n), 69))
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				for range requests / clients {
					mixedRequest(t, client, rnd, gw.url("/pub/x"), body)
				}
			})
		}
		wg.Wait()
		gw.settle(t)
		var g, d int
		ended := polled(30*time.Second, func() bool {
			origin.CloseClientConnections()
			runtime.GC() // package net keeps the pipes of splices until a collection
			g, d = runtime.NumGoroutine(), openDescriptors(t)
			return gw.conns.Len() == 0 && g <= goroutines+2 && d <= descriptors+2
		})
		if !ended {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d connections, goroutines %d -> %d, descriptors %d -> %d\n%s", gw.conns.Len(), goroutines, g, descriptors, d, buf[:runtime.Stack(buf, true)])
		}
		t.Logf("%d requests; goroutines %d -> %d, descriptors %d -> %d", requests, goroutines, g, descriptors, d)
	})
}

// mixedRequest sends one request of a random kind and checks the answer.
func mixedRequest(t *testing.T, client *http.Client, rnd *rand.Rand, url, body string) {
	method, first, last, abort := "GET", 0, len(body)-1, false
	switch rnd.IntN(4) {
	case 0:
		method = "HEAD"
	case 1:
		first = rnd.IntN(len(body))
		last = first + rnd.IntN(len(body)-first)
	case 2:
		abort = true
	}
	req, _ := http.NewRequest(method, url, nil)
	want := 200
	if first > 0 || last < len(body)-1 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
		want = 206
	}
	r, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Body.Close()
	if r.StatusCode != want {
		t.Errorf("%s %s: status %d, want %d", method, req.Header.Get("Range"), r.StatusCode, want)
	}
	if method == "HEAD" {
		return
	}
	if abort {
		io.CopyN(io.Discard, r.Body, int64(rnd.IntN(len(body))))
		return
	}
	got, err := io.ReadAll(r.Body)
	if err != nil || string(got) != body[first:last+1] {
		t.Errorf("range %d-%d: %d bytes, %v", first, last, len(got), err)
	}
}

func openDescriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors can be counted on Linux alone")
	}
	return len(entries)
}
