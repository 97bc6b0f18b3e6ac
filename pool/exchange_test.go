package pool

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// headOf returns a response head of exactly n bytes for a body of 4.
func headOf(n int) string {
	const begin, end = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nA: ", "\r\n\r\n"
	return begin + strings.Repeat("b", n-len(begin)-len(end)) + end
}

func TestHeadLimit(t *testing.T) {
	for _, size := range []int{maxHead, DefaultBufferSize} {
		t.Run(fmt.Sprintf("buffers of %d", size), func(t *testing.T) {
			sized := func(o *Options) { o.Buffers = NewBuffers(size, 0) }
			if _, body, err := fetch(startScripted(t, false, answer(headOf(maxHead)+"body")).upstream(sized)); body != "body" || err != nil {
				t.Errorf("a head of the limit: %q %v", body, err)
			}
			for name, response := range map[string]string{
				"one byte over":              headOf(maxHead+1) + "body",
				"far over":                   headOf(40<<10) + "body",
				"over, after blank lines":    "\r\n\r\n" + headOf(40<<10) + "body",
				"over, after bare LF":        "\n\r\n\r\n" + headOf(40<<10) + "body",
				"blank lines without an end": strings.Repeat("\r\n", 20<<10),
			} {
				t.Run(name, func(t *testing.T) {
					u := startScripted(t, false, answer(response)).upstream(sized)
					_, _, err := fetch(u)
					want(t, err, ReasonProtocol, PhaseHead, true)
					idle(t, u, 0)
				})
			}
		})
	}
}

func TestHeadsThatAreRefused(t *testing.T) {
	for name, response := range map[string]string{
		"length out of range":       "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nbody",
		"hexadecimal length":        "HTTP/1.1 200 OK\r\nContent-Length: 0x4\r\n\r\nbody",
		"empty length":              "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nbody",
		"two different lengths":     "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody!",
		"part without a length":     "HTTP/1.1 206 Partial Content\r\n\r\nbody",
		"chunked before the length": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
		"a coding and a length":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbody",
		"chunked in HTTP/1.0":       "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"a status below 100":        "HTTP/1.1 099 Odd\r\nContent-Length: 4\r\n\r\n" + ok("body"),
		"a status of two digits":    "HTTP/1.1 20 Odd\r\nContent-Length: 4\r\n\r\n" + ok("body"),
		"a status above 599":        "HTTP/1.1 600 Odd\r\nContent-Length: 4\r\n\r\nbody",
		"a status of four digits":   "HTTP/1.1 2000 Odd\r\nContent-Length: 4\r\n\r\nbody",
		"no status":                 "HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody",
		"TLS record":                "\x15\x03\x01\x00\x02\x02\x28\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t, false, answer(response))
			u := s.upstream(func(o *Options) { o.HeadTimeout = 500 * time.Millisecond })
			code, body, err := fetch(u)
			if err == nil {
				t.Fatalf("taken as %d %q", code, body)
			}
			want(t, err, ReasonProtocol, PhaseHead, true)
			if n := s.Requests.Load(); n != 1 {
				t.Errorf("%d attempts", n)
			}
			idle(t, u, 0)
		})
	}
}

// TestT91OriginLines has origins write what two readers may read differently.
func TestT91OriginLines(t *testing.T) {
	const status, length, end = "HTTP/1.1 200 OK\r\n", "Content-Length: 4\r\n", "\r\nbody"
	for name, c := range map[string]struct{ response, cause string }{
		"bare LF after the status line":     {"HTTP/1.1 200 OK\n" + length + end, "CRLF"},
		"bare LF after a header":            {status + "A: b\n" + length + end, "CRLF"},
		"bare LF hides a header":            {status + "A: b\nContent-Type: text/html\r\n" + length + end, "CRLF"},
		"bare LF after the last header":     {status + "Content-Length: 4\n" + end, "CRLF"},
		"an empty line of a bare LF":        {status + length + "\n\r\n" + end, "CRLF"},
		"bare LF in an interim response":    {"HTTP/1.1 103 Early Hints\nA: b\r\n\r\n" + status + length + end, "CRLF"},
		"nothing but bare LF":               {"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody" + end + "\r\n\r\n", "CRLF"},
		"two types":                         {status + "Content-Type: text/plain\r\nContent-Type: text/html\r\n" + length + end, "two lines of Content-Type"},
		"two types, one in capitals":        {status + "CONTENT-TYPE: text/plain\r\nContent-Type: text/html\r\n" + length + end, "two lines of Content-Type"},
		"two types, a space before colon":   {status + "Content-Type: text/plain\r\nContent-Type : text/html\r\n" + length + end, "two lines of Content-Type"},
		"two types that are equal":          {status + "Content-Type: text/plain\r\nContent-Type: text/plain\r\n" + length + end, "two lines of Content-Type"},
		"two types, the first one folded":   {status + "Content-Type:\r\n text/plain\r\nA: b\r\nContent-Type: text/html\r\n" + length + end, "two lines of Content-Type"},
		"two types of an error document":    {"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n" + length + end, "two lines of Content-Type"},
		"two codings":                       {status + "Content-Encoding: gzip\r\nContent-Encoding: br\r\n" + length + end, "two lines of Content-Encoding"},
		"two dispositions":                  {status + "Content-Disposition: inline\r\nContent-Disposition: attachment\r\n" + length + end, "two lines of Content-Disposition"},
		"two ranges":                        {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\nContent-Range: bytes 4-7/9\r\n" + length + end, "two lines of Content-Range"},
		"two tags":                          {status + "ETag: \"a\"\r\nEtag: \"b\"\r\n" + length + end, "two lines of ETag"},
		"two dates of change":               {status + "Last-Modified: x\r\nlast-modified: y\r\n" + length + end, "two lines of Last-Modified"},
		"two dates, as of LocalStack":       {status + "Date: x\r\nDate: y\r\nX-Amz-Request-Id: x\r\nx-amz-request-id: x\r\n" + length + end, ""},
		"lists in several lines, as S3 may": {status + "Cache-Control: no-store\r\nCache-Control: private\r\nContent-Language: de\r\nContent-Language: en\r\nVary: a\r\nVary: b\r\n" + length + end, ""},
		"names that begin alike":            {status + "Content-Type: text/plain\r\nContent-Type-X: a\r\nContent_Type: b\r\nE: c\r\n" + length + end, ""},
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, overTLS bool) {
				s := startScripted(t, overTLS, answer(c.response))
				u := s.upstream(func(o *Options) { o.HeadTimeout = 10 * time.Second })
				_, body, err := fetch(u)
				if c.cause == "" {
					if body != "body" || err != nil {
						t.Errorf("%q %v", body, err)
					}
					return
				}
				want(t, err, ReasonProtocol, PhaseHead, true)
				if err == nil || !strings.Contains(err.Error(), c.cause) || s.Requests.Load() != 1 {
					t.Errorf("%v after %d requests, want %q", err, s.Requests.Load(), c.cause)
				}
				idle(t, u, 0)
			})
		})
	}
}

// TestT91ChunkLines has the lines of a chunked document end in bare LF.
func TestT91ChunkLines(t *testing.T) {
	for name, chunks := range map[string]string{
		"after a size":      "4\nbody\r\n0\r\n\r\n",
		"after data":        "4\r\nbody\n0\r\n\r\n",
		"after the last":    "4\r\nbody\r\n0\n\r\n",
		"after a trailer":   "4\r\nbody\r\n0\r\nA: b\n\r\n",
		"as the empty line": "4\r\nbody\r\n0\r\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, answer("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks+"\r\n\r\n")).upstream()
			var x Exchange
			if err := u.Do(&x, []byte(getHead), false); err != nil {
				t.Fatal(err)
			}
			doc, err := x.Document(1 << 10)
			x.Close()
			if err == nil && string(doc) != "body" || err != nil && ReasonOf(err) != ReasonProtocol {
				t.Errorf("%q %v", doc, err)
			}
			idle(t, u, 0) // in any case
		})
	}
}

func TestConnectionClosesInAnyLine(t *testing.T) {
	for name, lines := range map[string]string{
		"in the second line":  "Connection: keep-alive\r\nConnection: close\r\n",
		"in the first line":   "Connection: close\r\nConnection: keep-alive\r\n",
		"in capitals":         "CONNECTION: CLOSE\r\n",
		"kept-alive HTTP/1.0": "",
	} {
		t.Run(name, func(t *testing.T) {
			response := "HTTP/1.1 200 OK\r\n" + lines + "Content-Length: 4\r\n\r\nbody"
			if lines == "" {
				response = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody"
			}
			u := startScripted(t, false, answer(response)).upstream()
			if _, body, err := fetch(u); body != "body" || err != nil {
				t.Fatalf("%q %v", body, err)
			}
			idle(t, u, 0)
		})
	}
}

func TestStaleReplacement(t *testing.T) {
	t.Run("not after an interim response", func(t *testing.T) {
		s := startScripted(t, false, func(c net.Conn, n int, _ string) bool {
			if n == 2 {
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
				return false
			}
			io.WriteString(c, ok("body"))
			return true
		})
		u := s.upstream()
		if _, _, err := fetch(u); err != nil {
			t.Fatal(err)
		}
		_, _, err := fetch(u)
		want(t, err, ReasonReset, PhaseHead, true)
		if n := s.Requests.Load(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
	t.Run("once", func(t *testing.T) {
		answered := false // one request comes after the other
		s := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			if answered {
				return false
			}
			answered = true
			io.WriteString(c, ok("body"))
			return true
		})
		u := s.upstream()
		if _, _, err := fetch(u); err != nil {
			t.Fatal(err)
		}
		_, _, err := fetch(u)
		want(t, err, ReasonReset, PhaseHead, true)
		if n := s.Requests.Load(); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		idle(t, u, 0)
	})
	// retrying starts an exchange on a kept connection, the only one allowed,
	// which breaks when fail is sent to.
	retrying := func(t *testing.T) (u *Upstream, fail chan bool, result chan error) {
		fail, result = make(chan bool), make(chan error, 1)
		var asked atomic.Int64
		s := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			if asked.Add(1) == 2 {
				<-fail
				return false
			}
			io.WriteString(c, ok("body"))
			return true
		})
		u = s.upstream(func(o *Options) { o.MaxConns = 1 })
		if _, _, err := fetch(u); err != nil {
			t.Fatal(err)
		}
		go func() { _, _, err := fetch(u); result <- err }()
		s.asked(2)
		return u, fail, result
	}
	t.Run("ahead of those that wait", func(t *testing.T) {
		u, fail, result := retrying(t)
		other := make(chan error, 1)
		go func() { _, _, err := fetch(u); other <- err }()
		waiting(t, u, 1)
		fail <- true
		for _, c := range []chan error{result, other} {
			if err := <-c; err != nil {
				t.Error(err)
			}
		}
		var stats Stats
		if u.UpdateStats(&stats); stats.Dials != 2 || stats.Retries != 1 {
			t.Errorf("%+v; want one more connection, for the exchange that had the place", stats)
		}
	})
	t.Run("also when the Upstream was closed meanwhile", func(t *testing.T) {
		u, fail, result := retrying(t)
		u.Close()
		fail <- true
		if err := <-result; err != nil {
			t.Errorf("an exchange under way: %v", err)
		}
		idle(t, u, 0)
	})
}

func TestDocumentsOutOfOrder(t *testing.T) {
	for name, c := range map[string]struct {
		response string
		reason   Reason
	}{
		"malformed chunk length": {"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody\r\n0\r\n\r\n", ReasonProtocol},
		"chunk without an end":   {"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodybody\r\n0\r\n\r\n", ReasonProtocol},
		"cut in a chunk":         {"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nbody", ReasonTruncated},
		"cut between chunks":     {"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", ReasonTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, func(conn net.Conn, _ int, _ string) bool {
				io.WriteString(conn, c.response)
				return false
			}).upstream()
			var x Exchange
			if err := u.Do(&x, []byte(getHead), false); err != nil {
				t.Fatal(err)
			}
			_, err := x.Document(1 << 10)
			want(t, err, c.reason, PhaseBody, true)
			x.Close()
			idle(t, u, 0)
		})
	}
	t.Run("surplus after a chunked one", func(t *testing.T) {
		u := startScripted(t, false, answer("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\nsurplus")).upstream()
		var x Exchange
		if err := u.Do(&x, []byte(getHead), false); err != nil {
			t.Fatal(err)
		}
		if doc, err := x.Document(1 << 10); string(doc) != "body" || err != nil {
			t.Errorf("%q %v", doc, err)
		}
		x.Close()
		idle(t, u, 0)
	})
	t.Run("of a HEAD request", func(t *testing.T) {
		u := startScripted(t, false, answer("HTTP/1.1 404 Not Found\r\nContent-Length: 243\r\n\r\n")).upstream()
		for range 2 {
			var x Exchange
			if err := u.Do(&x, []byte(getHead), true); err != nil {
				t.Fatal(err)
			}
			if doc, err := x.Document(1 << 10); len(doc) != 0 || err != nil || x.Length() != 243 {
				t.Errorf("%q %v, length %d", doc, err, x.Length())
			}
			x.Close()
			endRests(u)
		}
		idle(t, u, 1)
	})
}

func TestDrip(t *testing.T) {
	t.Run("of a head", func(t *testing.T) {
		u := startScripted(t, false, drip("HTTP/1.1 200 OK\r\nA: ")).upstream(func(o *Options) { o.HeadTimeout = 300 * time.Millisecond })
		begin := time.Now()
		_, _, err := fetch(u)
		want(t, err, ReasonTimeout, PhaseHead, true)
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("it took %s", took)
		}
		idle(t, u, 0)
	})
	t.Run("of a small body", func(t *testing.T) {
		// 500 bytes get 0.5 s and the idle time; the drip would take 2.5 s.
		u := startScripted(t, false, drip("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")).upstream(func(o *Options) { o.IdleTimeout = 300 * time.Millisecond })
		begin := time.Now()
		_, _, err := fetch(u)
		want(t, err, ReasonTimeout, PhaseBody, true)
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		idle(t, u, 0)
	})
}
