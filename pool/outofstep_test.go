package pool

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// finish ends an exchange as its callers do, by status.
func finish(x *Exchange) error {
	defer x.Close()
	var err error
	switch code := x.Header.StatusCode(); {
	case code == 200 && x.rest > 0:
		_, err = x.Body()
	case code >= 400:
		_, err = x.Document(1 << 10)
	}
	return err
}

// endRests ends the rests of u's connections.
func endRests(u *Upstream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endRests(time.Now().Add(24 * time.Hour))
}

// arrived waits until bytes are in the socket of c.
func arrived(t *testing.T, c *conn) {
	t.Helper()
	if !eventually(func() bool { return c.look() == peekBytes }) {
		t.Fatal("nothing comes")
	}
}

// TestOutOfStep has an origin whose connections bring more than answers: at once, before
// the next request is written, or right after it. The next exchange gets its own answer.
func TestOutOfStep(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	const chunked = "Transfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name  string
		head  bool   // the first request is a HEAD
		first string // what answers it
		more  string // comes as well
		kept  bool   // the connection, if that comes late
	}{
		{"304 with a length", false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "<Late/>\r\n", false},
		{"304 with a length, its body a response", false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n", evil, false},
		{"304 with a coding", false, "HTTP/1.1 304 Not Modified\r\n" + chunked, "4\r\nlate\r\n0\r\n\r\n", false},
		{"304 with a coding and a length", false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n" + chunked, "0\r\n\r\n", false},
		{"304 to HEAD with a length", true, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "<Late/>\r\n", false},
		{"304 with a body that was not announced", false, "HTTP/1.1 304 Not Modified\r\n\r\n", "late", true},
		{"304 with no length", false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n", "late", true},
		{"204 with a length", false, "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", "late", false},
		{"204 with a coding", false, "HTTP/1.1 204 No Content\r\n" + chunked, "4\r\nlate\r\n0\r\n\r\n", false},
		{"204 with a body that was not announced", false, "HTTP/1.1 204 No Content\r\n\r\n", "late", true},
		{"HEAD with a body", true, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "late", true},
		{"HEAD with chunks", true, "HTTP/1.1 200 OK\r\n" + chunked, "4\r\nlate\r\n0\r\n\r\n", true},
		{"HEAD with an error document", true, "HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\n", "<Error/>", true},
		{"a body longer than announced", false, ok("body"), "!", true},
		{"a body longer than announced by a blank line", false, ok("body"), "\r\n", true},
		{"a body longer than announced by what HTTP begins with", false, ok("body"), "HTTP", true},
		{"an empty body that is not", false, ok(""), "late", true},
		{"an error document longer than announced", false, "HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\n<Error/>", "<Error/>", true},
		{"chunks after the last", false, "HTTP/1.1 404 Not Found\r\n" + chunked + "4\r\noops\r\n0\r\n\r\n", "4\r\nlate\r\n0\r\n\r\n", true},
		{"an older protocol's name", false, ok("body"), "HTTPS/1.1 ", true},
		{"text about HTTP", false, ok("body"), "HTTP/1.1 is what this origin speaks\r\n\r\n", true},
		{"a status of four digits", false, ok("body"), "HTTP/1.1 2000\r\n\r\n", true},
		{"a TLS alert", false, ok("body"), "\x15\x03\x01\x00\x02\x02\x28", true},
		{"two responses at once", false, ok("body"), evil, true},
		{"two responses at once, without bodies", false, "HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n", true},
		{"two responses to HEAD at once", true, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true},
	} {
		for _, when := range []string{"at once", "before the request", "after the request", "after the request, in pieces"} {
			pieces := when == "after the request, in pieces"
			if pieces && (len(c.more) < 2 || beginsResponse([]byte(c.more)) && len(c.more) > len("HTTP/1.1 200")) {
				continue // an answer of its own: the next is not there yet, and nobody can tell
			}
			t.Run(c.name+"/"+when, func(t *testing.T) {
				overBoth(t, func(t *testing.T, overTLS bool) {
					asked := make(chan bool) // closed when the first exchange has ended
					var requests atomic.Int64
					s := startScripted(t, overTLS, func(conn net.Conn, n int, _ string) bool {
						switch first := requests.Add(1) == 1; {
						case first && when == "at once":
							io.WriteString(conn, c.first+c.more)
						case first && when == "before the request":
							io.WriteString(conn, c.first)
							<-asked
							io.WriteString(conn, c.more)
						case first:
							io.WriteString(conn, c.first)
						case n == 1:
							io.WriteString(conn, ok("good"))
						case pieces:
							io.WriteString(conn, c.more[:1])
							io.WriteString(conn, c.more[1:]+ok("good"))
						default:
							io.WriteString(conn, c.more+ok("good"))
						}
						return true
					})
					u := s.upstream()
					var x Exchange
					if err := u.Do(&x, []byte(getHead), c.head); err != nil {
						t.Fatal(err)
					}
					if err := finish(&x); err != nil {
						t.Fatal(err)
					}
					kept := 0
					if c.kept && when != "at once" {
						kept = 1
					}
					idle(t, u, kept)
					endRests(u)
					close(asked)
					if kept == 1 && when == "before the request" {
						arrived(t, u.idle[0])
					}
					if code, body, err := fetch(u); code != 200 || body != "good" || err != nil {
						t.Fatalf("the next exchange gets %d %q %v", code, body, err)
					}
					idle(t, u, 1)
					wants := Stats{Dials: 2}
					if kept == 1 {
						wants.Stale = 1
						if when != "before the request" {
							wants.Retries, wants.Reuses = 1, 1
						}
					}
					var stats Stats
					u.UpdateStats(&stats)
					if stats.Dials != wants.Dials || stats.Stale != wants.Stale || stats.Retries != wants.Retries || stats.Reuses != wants.Reuses {
						t.Errorf("%+v, want %+v", stats, wants)
					}
					if n := s.Requests.Load(); n != 2+int64(wants.Retries) {
						t.Errorf("%d requests", n)
					}
				})
			})
		}
	}
}

// TestOutOfStepOnce has origins that never say anything but nonsense: a request is sent
// again on a new connection, and that is all.
func TestOutOfStepOnce(t *testing.T) {
	for name, c := range map[string]struct {
		second   string // the answer on the kept connection
		third    string // on a new one, if that is asked
		requests int64
	}{
		"nonsense twice":                     {"nonsense", "nonsense", 3},
		"nonsense after an interim response": {"HTTP/1.1 103 Early Hints\r\n\r\nnonsense", ok("body"), 2},
		"a malformed head":                   {"HTTP/1.1 200 OK\r\nContent-Length: four\r\n\r\n", ok("body"), 2},
		"a head that is too large":           {headOf(maxHead+1) + "body", ok("body"), 2},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			s := startScripted(t, false, func(conn net.Conn, _ int, _ string) bool {
				io.WriteString(conn, []string{ok("body"), c.second, c.third}[requests.Add(1)-1])
				return true
			})
			u := s.upstream()
			if _, _, err := fetch(u); err != nil {
				t.Fatal(err)
			}
			_, _, err := fetch(u)
			want(t, err, ReasonProtocol, PhaseHead, true)
			if n := s.Requests.Load(); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
			idle(t, u, 0)
		})
	}
	t.Run("a new connection brings two responses", func(t *testing.T) { // the first is the answer
		s := startScripted(t, false, answer(ok("body")+ok("evil")))
		u := s.upstream()
		var x Exchange
		do(t, u, &x)
		if b, err := x.Body(); string(b) != "body" || err != nil || !x.Surplus() {
			t.Errorf("%q %v, surplus %t", b, err, x.Surplus())
		}
		x.Close()
		idle(t, u, 0)
		if n := s.Requests.Load(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

// TestInterimBodies has interim responses announce bodies: what follows may be that, or
// the answer.
func TestInterimBodies(t *testing.T) {
	for name, lines := range map[string]string{
		"a length": "Content-Length: 42\r\n",
		"a coding": "Transfer-Encoding: chunked\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, answer("HTTP/1.1 103 Early Hints\r\n"+lines+"\r\n"+ok("evil")+ok("body"))).upstream()
			_, _, err := fetch(u)
			want(t, err, ReasonProtocol, PhaseHead, true)
			idle(t, u, 0)
		})
	}
	t.Run("no length", func(t *testing.T) {
		u := startScripted(t, false, answer("HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n"+ok("body"))).upstream()
		if _, body, err := fetch(u); body != "body" || err != nil {
			t.Errorf("%q %v", body, err)
		}
	})
}

// TestKeepAliveWithoutBodies has responses that are followed by nothing, as they should:
// their connections are kept, whatever length a response to HEAD tells.
func TestKeepAliveWithoutBodies(t *testing.T) {
	for _, c := range []struct {
		name, response string
		head           bool
	}{
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n", true},
		{"HEAD without a length", "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n\r\n", true},
		{"HEAD without a length, refused", "HTTP/1.1 404 Not Found\r\nConnection: keep-alive\r\n\r\n", true},
		{"HEAD of an empty object", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
		{"HEAD of what is not there", "HTTP/1.1 404 Not Found\r\nContent-Length: 243\r\n\r\n", true},
		{"HEAD that is refused, as S3 does it", "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		{"304", "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n", false},
		{"304 with no length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n", false},
		{"304 to HEAD", "HTTP/1.1 304 Not Modified\r\n\r\n", true},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", false},
		{"204 with no length", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, overTLS bool) {
				s := startScripted(t, overTLS, answer(c.response))
				u := s.upstream()
				for range 5 {
					var x Exchange
					if err := u.Do(&x, []byte(getHead), c.head); err != nil {
						t.Fatal(err)
					}
					if err := finish(&x); err != nil {
						t.Fatal(err)
					}
					endRests(u)
				}
				idle(t, u, 1)
				var stats Stats
				u.UpdateStats(&stats)
				if stats.Dials != 1 || stats.Reuses != 4 || stats.Stale != 0 || stats.Retries != 0 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

// TestHeadSaysClose has responses to HEAD say that no other will come.
func TestHeadSaysClose(t *testing.T) {
	for _, line := range []string{"Connection: close", "connection:Close", "Connection: x, close", "Connection: x\r\nConnection:\tclose "} {
		for _, length := range []string{"", "Content-Length: 5\r\n"} {
			s := startScripted(t, false, answer("HTTP/1.1 200 OK\r\n"+length+line+"\r\n\r\n"))
			u := s.upstream()
			var x Exchange
			if err := u.Do(&x, []byte(getHead), true); err != nil {
				t.Fatal(err)
			}
			if err := finish(&x); err != nil {
				t.Fatal(err)
			}
			idle(t, u, 0)
		}
	}
}

// held is an origin's connection that writes when it is told to.
type held struct {
	net.Conn
	holds bool
	b     bytes.Buffer
}

func (h *held) Write(b []byte) (int, error) {
	if h.holds {
		return h.b.Write(b)
	}
	return h.Conn.Write(b)
}

// TestRecordBegun has the first part of a record that nobody asked for come together
// with an answer, so that TLS has read it, and the rest when the next request is there.
func TestRecordBegun(t *testing.T) {
	for name, last := range map[string]int{"without its end": 3, "without all but its header": 59, "with a part of its header": 61} {
		t.Run(name, func(t *testing.T) {
			server, client := tlsPair(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			serve := func(tcp net.Conn, first bool) {
				defer tcp.Close()
				h := &held{Conn: tcp}
				c := tls.Server(h, server)
				b := make([]byte, 4096)
				if n, _ := c.Read(b); n == 0 {
					return
				}
				if !first {
					io.WriteString(c, ok("good"))
					c.Read(b) // until the end
					return
				}
				h.holds = true
				io.WriteString(c, ok("body"))
				whole := h.b.Len()
				io.WriteString(c, ok("evil"))
				all := h.b.Bytes()
				if all[whole] != 23 || len(all)-last <= whole || len(all)-last >= len(all) {
					t.Errorf("records of %d and %d bytes cannot be held so", whole, len(all)-whole)
				}
				tcp.Write(all[:len(all)-last])
				if n, _ := c.Read(b); n > 0 {
					tcp.Write(all[len(all)-last:])
					c.Read(b)
				}
			}
			go func() { // ends with the listener
				for first := true; ; first = false {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go serve(c, first) // ends with the pool's connection
				}
			}()
			u := NewUpstream(Options{Address: ln.Addr().String(), TLS: client, Buffers: NewBuffers(0, 0), HeadTimeout: 2 * time.Second})
			t.Cleanup(u.Abort)
			for _, wants := range []string{"body", "good", "good"} {
				if _, body, err := fetch(u); body != wants || err != nil {
					t.Fatalf("%q %v, want %q", body, err, wants)
				}
			}
		})
	}
}

// TestFillSurplus has more than the body come in time for Fill to see it.
func TestFillSurplus(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		for _, surplus := range []string{"", "!"} {
			body := strings.Repeat("x", 40_000)
			whole := make(chan bool)
			u := startScripted(t, overTLS, func(c net.Conn, _ int, _ string) bool {
				io.WriteString(c, ok(body))
				<-whole
				io.WriteString(c, surplus)
				return true
			}).upstream()
			var x Exchange
			do(t, u, &x)
			err := x.Fill(pace(t, 0, time.Minute), make([]byte, len(body)), func(n int) {
				if n == len(body) {
					whole <- true
					if surplus != "" {
						arrived(t, x.conn)
					}
				}
			})
			if err != nil || x.Surplus() != (surplus != "") {
				t.Errorf("%q: %v, surplus %t", surplus, err, x.Surplus())
			}
			x.Close()
			idle(t, u, 1-len(surplus))
		}
	})
}

func TestBeginsResponse(t *testing.T) {
	for b, wants := range map[string]bool{
		"":                        true,
		"H":                       true,
		"HTTP/1.":                 true,
		"HTTP/1.1 200 OK\r\nA: b": true,
		"HTTP/1.1 200\r\n":        true,
		"HTTP/1.1  200 OK":        true,
		"HTTP/1.1 20":             true,
		"HTTP/2.0 200 OK":         true, // refused later, with its own error
		"h":                       false,
		"HTML":                    false,
		"\r\n":                    false,
		"HTTP/1.1\r\n":            false,
		"HTTP/11 200 OK":          false,
		"HTTP/1.1 20 OK":          false,
		"HTTP/1.1 2000":           false,
		"HTTP/1.1 OK":             false,
	} {
		if beginsResponse([]byte(b)) != wants {
			t.Errorf("%q: %t", b, !wants)
		}
	}
}

// TestRecords counts records however they are cut.
func TestRecords(t *testing.T) {
	var stream []byte
	ends := map[int]bool{0: true}
	for _, n := range []int{0, 1, 300, 16 << 10} {
		stream = append(append(stream, 23, 3, 3, byte(n>>8), byte(n)), make([]byte, n)...)
		ends[len(stream)] = true
	}
	for _, piece := range []int{1, 2, 5, 7, 1000, len(stream)} {
		var r records
		for at := 0; at < len(stream); {
			n := min(piece, len(stream)-at)
			r.follow(stream[at : at+n])
			if at += n; r.begun() == ends[at] {
				t.Fatalf("pieces of %d: after %d bytes begun is %t", piece, at, r.begun())
			}
		}
	}
}
