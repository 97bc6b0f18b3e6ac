package pool

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"yatagarasu/loadtest/rawserver"
)

// scripted is an origin whose script writes whatever bytes answer a request.
type scripted struct {
	*rawserver.Server
	t   *testing.T
	tls *tls.Config // of a client that trusts it; nil: plain
}

func startScripted(t *testing.T, overTLS bool, script rawserver.Script) *scripted {
	t.Helper()
	s := &scripted{t: t}
	var server *tls.Config
	if overTLS {
		server, s.tls = tlsPair(t)
	}
	s.Server = rawserver.Start(t, server, script)
	return s
}

// asked waits until n requests came.
func (s *scripted) asked(n int64) {
	s.t.Helper()
	if !eventually(func() bool { return s.Requests.Load() >= n }) {
		s.t.Errorf("%d requests came, want %d", s.Requests.Load(), n)
	}
}

// eventually waits until ok, for ten seconds at most, and reports whether it is. It is for
// what no channel tells: the state of a socket, or of the code under test.
func eventually(ok func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// slowly returns a script that sends head and then n pieces of so many bytes, with a pause
// after each: a slow origin.
func slowly(head string, n, size int, pause time.Duration) rawserver.Script {
	return func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, head)
		piece := bytes.Repeat([]byte("x"), size)
		for range n {
			if _, err := c.Write(piece); err != nil {
				return false
			}
			time.Sleep(pause) // the slowness, which is what is tested
		}
		return true
	}
}

// drip returns a script that sends head and then a byte at a time, for longer than a test
// takes.
func drip(head string) rawserver.Script { return slowly(head, 1<<20, 1, 5*time.Millisecond) }

// upstream returns a pool of connections to s with short timeouts.
func (s *scripted) upstream(tune ...func(*Options)) *Upstream {
	o := Options{
		Address: s.Addr, TLS: s.tls, Buffers: NewBuffers(DefaultBufferSize, 0),
		QueueTimeout: time.Second, DialTimeout: time.Second, HeadTimeout: time.Second, IdleTimeout: time.Second,
	}
	for _, f := range tune {
		f(&o)
	}
	u := NewUpstream(o)
	s.t.Cleanup(u.Close)
	return u
}

func tlsPair(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

const getHead = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"

// answer returns a script that answers every request with the same bytes.
func answer(response string) func(net.Conn, int, string) bool {
	return func(c net.Conn, _ int, _ string) bool {
		io.WriteString(c, response)
		return true
	}
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// fetch runs one exchange and returns its status and whole small body.
func fetch(u *Upstream) (code int, body string, err error) {
	var x Exchange
	if err := u.Do(&x, []byte(getHead), false); err != nil {
		return 0, "", err
	}
	defer x.Close()
	b, err := x.Body()
	return x.Header.StatusCode(), string(b), err
}

// want fails unless err is an *Error with these properties.
func want(t *testing.T, err error, reason Reason, phase Phase, sent bool) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != reason || e.Phase != phase || e.Sent != sent {
		t.Errorf("error %#v, want reason %s in %s, sent %t", err, reason, phase, sent)
	}
	if ReasonOf(err) != reason {
		t.Errorf("ReasonOf is %s, want %s", ReasonOf(err), reason)
	}
}

// idle waits until u holds n connections, all idle.
func idle(t *testing.T, u *Upstream, n int) {
	t.Helper()
	var s Stats
	if !eventually(func() bool {
		s = Stats{}
		u.UpdateStats(&s)
		return s.Open == n && s.Idle == n && s.Waiting == 0 && u.opts.Buffers.InUse() == 0
	}) {
		t.Fatalf("%+v, %d buffers; want %d connections, idle", s, u.opts.Buffers.InUse(), n)
	}
}

func overBoth(t *testing.T, f func(t *testing.T, overTLS bool)) {
	t.Run("plain", func(t *testing.T) { f(t, false) })
	t.Run("tls", func(t *testing.T) { f(t, true) })
}

func TestKeepAlive(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		s := startScripted(t, overTLS, answer(ok("body")))
		u := s.upstream()
		for range 5 {
			if code, body, err := fetch(u); code != 200 || body != "body" || err != nil {
				t.Fatalf("%d %q %v", code, body, err)
			}
		}
		if n := s.Conns.Load(); n != 1 {
			t.Errorf("%d connections for 5 exchanges", n)
		}
		idle(t, u, 1)
		var stats Stats
		u.UpdateStats(&stats)
		if stats.Dials != 1 || stats.Reuses != 4 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestConnectionIsNotKept(t *testing.T) {
	for name, response := range map[string]string{
		"close":             "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
		"close among other": "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 4\r\n\r\nbody",
		"HTTP/1.0":          "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
		"surplus bytes":     "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody!",
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, answer(response)).upstream()
			for range 2 {
				if _, body, err := fetch(u); body != "body" || err != nil {
					t.Fatalf("%q %v", body, err)
				}
			}
			idle(t, u, 0)
		})
	}
	for name, c := range map[string]struct {
		response string
		bodiless bool
	}{
		"surplus after 304":  {"HTTP/1.1 304 Not Modified\r\n\r\nsurplus", false},
		"surplus after HEAD": {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", true},
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, answer(c.response)).upstream()
			var x Exchange
			if err := u.Do(&x, []byte(getHead), c.bodiless); err != nil {
				t.Fatal(err)
			}
			x.Close()
			idle(t, u, 0)
		})
	}
}

func TestCloseOfUnreadBodies(t *testing.T) {
	for name, c := range map[string]struct {
		response string
		kept     int
	}{
		"whole in the buffer": {ok("body"), 1},
		"still on its way":    {"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nbody", 0},
		"none":                {ok(""), 1},
	} {
		t.Run(name, func(t *testing.T) {
			u := startScripted(t, false, answer(c.response)).upstream()
			var x Exchange
			if err := u.Do(&x, []byte(getHead), false); err != nil {
				t.Fatal(err)
			}
			x.Close()
			x.Close()
			idle(t, u, c.kept)
		})
	}
}

func TestStaleConnection(t *testing.T) {
	t.Run("replaced once before the first byte", func(t *testing.T) {
		s := startScripted(t, false, func(c net.Conn, n int, _ string) bool {
			if n == 2 {
				return false // closes without an answer
			}
			io.WriteString(c, ok("body"))
			return true
		})
		u := s.upstream()
		for range 6 {
			if _, body, err := fetch(u); body != "body" || err != nil {
				t.Fatalf("%q %v", body, err)
			}
		}
		var stats Stats
		u.UpdateStats(&stats)
		if stats.Retries == 0 {
			t.Errorf("nothing was retried: %+v", stats)
		}
	})
	t.Run("not after bytes came", func(t *testing.T) {
		s := startScripted(t, false, func(c net.Conn, n int, _ string) bool {
			if n == 2 {
				io.WriteString(c, "HTTP/1.1 2")
				return false
			}
			io.WriteString(c, ok("body"))
			return true
		})
		u := s.upstream()
		fetch(u)
		_, _, err := fetch(u)
		want(t, err, ReasonReset, PhaseHead, true)
		if n := s.Requests.Load(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
	t.Run("not on a new connection", func(t *testing.T) {
		s := startScripted(t, false, func(net.Conn, int, string) bool { return false })
		_, _, err := fetch(s.upstream())
		want(t, err, ReasonReset, PhaseHead, true)
		if n := s.Requests.Load(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
	t.Run("closed while idle", func(t *testing.T) {
		overBoth(t, func(t *testing.T, overTLS bool) {
			closed := make(chan bool, 1)
			s := startScripted(t, overTLS, func(c net.Conn, _ int, _ string) bool {
				io.WriteString(c, ok("body"))
				c.Close()
				closed <- true
				return false
			})
			u := s.upstream()
			for range 3 {
				if _, body, err := fetch(u); body != "body" || err != nil {
					t.Fatalf("%q %v", body, err)
				}
				<-closed
			}
			if n := s.Requests.Load(); n != 3 {
				t.Errorf("%d requests, want 3", n)
			}
		})
	})
}

func TestUnsolicitedBytes(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		taken, late := make(chan bool), make(chan bool)
		s := startScripted(t, overTLS, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, ok("body"))
			<-taken
			io.WriteString(c, ok("evil"))
			late <- true
			return true
		})
		u := s.upstream()
		for range 20 {
			if _, body, err := fetch(u); body != "body" || err != nil {
				t.Fatalf("%q %v", body, err)
			}
			taken <- true
			<-late
		}
	})
}

func TestFraming(t *testing.T) {
	for name, response := range map[string]string{
		"no length":           "HTTP/1.1 200 OK\r\n\r\nbody",
		"chunked":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"chunked part":        "HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"length and chunked":  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nbody",
		"two lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
		"signed length":       "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nbody",
		"negative length":     "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nbody",
		"length of words":     "HTTP/1.1 200 OK\r\nContent-Length: four\r\n\r\nbody",
		"two in one":          "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nbody",
		"switching protocols": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"nine interim":        strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9) + ok("body"),
		"large head":          "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nA: " + strings.Repeat("b", 17<<10) + "\r\n\r\nbody",
		"endless head":        "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 40<<10),
		"not HTTP":            "220 ftp ready\r\n\r\n",
		"NUL in a value":      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nA: \x00\r\n\r\nbody",
	} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t, false, answer(response))
			u := s.upstream()
			_, _, err := fetch(u)
			want(t, err, ReasonProtocol, PhaseHead, true)
			if n := s.Requests.Load(); n != 1 {
				t.Errorf("%d attempts", n)
			}
			if strings.Contains(err.Error(), "bbbb") {
				t.Errorf("the error quotes the response: %v", err)
			}
			idle(t, u, 0)
		})
	}
	t.Run("eight interim responses pass", func(t *testing.T) {
		u := startScripted(t, false, answer(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 8)+ok("body"))).upstream()
		if _, body, err := fetch(u); body != "body" || err != nil {
			t.Errorf("%q %v", body, err)
		}
	})
	t.Run("a head in pieces", func(t *testing.T) {
		u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			for _, b := range []byte(ok("body")) {
				c.Write([]byte{b})
			}
			return true
		}).upstream()
		if _, body, err := fetch(u); body != "body" || err != nil {
			t.Errorf("%q %v", body, err)
		}
	})
}

func TestLengthOfHead(t *testing.T) {
	u := startScripted(t, false, answer("HTTP/1.1 200 OK\r\nContent-Length: 123456789012\r\n\r\n")).upstream()
	for range 2 {
		var x Exchange
		if err := u.Do(&x, []byte("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n"), true); err != nil {
			t.Fatal(err)
		}
		if x.Length() != 123456789012 {
			t.Errorf("length %d", x.Length())
		}
		x.Close()
		endRests(u)
	}
	idle(t, u, 1)
}

func TestTimeoutsAndBreaks(t *testing.T) {
	quick := func(o *Options) {
		o.DialTimeout, o.HeadTimeout, o.IdleTimeout = 500*time.Millisecond, 500*time.Millisecond, 500*time.Millisecond
	}
	silent := func(c net.Conn, _ int, _ string) bool { io.Copy(io.Discard, c); return false }
	for _, c := range []struct {
		name   string
		script func(net.Conn, int, string) bool
		reason Reason
		phase  Phase
	}{
		{"silence", silent, ReasonTimeout, PhaseHead},
		{"silence in a head", func(c net.Conn, n int, h string) bool {
			io.WriteString(c, "HTTP/1.1 200")
			return silent(c, n, h)
		}, ReasonTimeout, PhaseHead},
		{"silence in a body", func(c net.Conn, n int, h string) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")
			return silent(c, n, h)
		}, ReasonTimeout, PhaseBody},
		{"a body too short", func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")
			return false
		}, ReasonTruncated, PhaseBody},
		{"a reset", func(c net.Conn, _ int, _ string) bool { c.(*net.TCPConn).SetLinger(0); return false }, ReasonReset, PhaseHead},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := startScripted(t, false, c.script).upstream(quick)
			_, _, err := fetch(u)
			want(t, err, c.reason, c.phase, true)
			idle(t, u, 0)
		})
	}
	t.Run("refused", func(t *testing.T) {
		_, _, err := fetch(NewUpstream(Options{Address: "127.0.0.1:1", Buffers: NewBuffers(0, 0)}))
		want(t, err, ReasonConnect, PhaseConnect, false)
	})
	t.Run("unknown name", func(t *testing.T) {
		_, _, err := fetch(NewUpstream(Options{Address: "no-such-host.invalid:80", Buffers: NewBuffers(0, 0)}))
		want(t, err, ReasonDNS, PhaseConnect, false)
	})
	t.Run("no handshake", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, client := tlsPair(t)
		begin := time.Now()
		_, _, err = fetch(NewUpstream(Options{Address: ln.Addr().String(), TLS: client, Buffers: NewBuffers(0, 0), DialTimeout: 200 * time.Millisecond}))
		want(t, err, ReasonTimeout, PhaseTLS, false)
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("unknown authority", func(t *testing.T) {
		s := startScripted(t, true, answer(ok("body")))
		_, other := tlsPair(t)
		_, _, err := fetch(s.upstream(func(o *Options) { o.TLS = other }))
		want(t, err, ReasonTLS, PhaseTLS, false)
	})
}

func TestDocument(t *testing.T) {
	doc := strings.Repeat("<Error/>", 100)
	var chunked strings.Builder
	for piece := doc; piece != ""; piece = piece[min(len(piece), 300):] {
		fmt.Fprintf(&chunked, "%x\r\n%s\r\n", min(len(piece), 300), piece[:min(len(piece), 300)])
	}
	for _, c := range []struct {
		name, response string
		ends           bool
		limit          int
		got            string
		kept           int
	}{
		{"length", "HTTP/1.1 403 Forbidden\r\nContent-Length: 800\r\n\r\n" + doc, false, 1 << 10, doc, 1},
		{"length over the limit", "HTTP/1.1 403 Forbidden\r\nContent-Length: 800\r\n\r\n" + doc, false, 100, doc[:100], 0},
		{"no body", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", false, 1 << 10, "", 1},
		{"chunked", "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked.String() + "0\r\n\r\n", false, 1 << 10, doc, 1},
		{"chunked with a trailer", "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked.String() + "0\r\nA: b\r\n\r\n", false, 1 << 10, doc, 0},
		{"chunked over the limit", "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked.String() + "0\r\n\r\n", false, 100, doc[:100], 0},
		{"until close", "HTTP/1.1 403 Forbidden\r\n\r\n" + doc, true, 1 << 10, doc, 0},
		{"a list", "HTTP/1.1 200 OK\r\nContent-Length: 800\r\n\r\n" + doc, false, 1 << 10, doc, 1},
		{"a list in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked.String() + "0\r\n\r\n", false, 1 << 10, doc, 1},
		{"a list until close", "HTTP/1.1 200 OK\r\n\r\n" + doc, true, 1 << 10, doc, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := startScripted(t, false, func(conn net.Conn, _ int, _ string) bool {
				io.WriteString(conn, c.response)
				return !c.ends
			}).upstream()
			x := Exchange{Listed: strings.Contains(c.response, " 200 ")}
			if err := u.Do(&x, []byte(getHead), false); err != nil {
				t.Fatal(err)
			}
			got, err := x.Document(c.limit)
			x.Close()
			if err != nil || string(got) != c.got {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(c.got))
			}
			idle(t, u, c.kept)
			if c.kept == 1 {
				if err := u.Do(&x, []byte(getHead), false); err != nil || !strings.Contains(c.response, strconv.Itoa(x.Header.StatusCode())) {
					t.Errorf("the next exchange: %v", err)
				}
				x.Close()
			}
		})
	}
	t.Run("a list breaks off between chunks", func(t *testing.T) {
		u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+chunked.String())
			return false
		}).upstream()
		x := Exchange{Listed: true}
		if err := u.Do(&x, []byte(getHead), false); err != nil {
			t.Fatal(err)
		}
		_, err := x.Document(1 << 10)
		want(t, err, ReasonTruncated, PhaseBody, true)
		x.Close()
		idle(t, u, 0)
	})
	t.Run("broken off", func(t *testing.T) {
		u := startScripted(t, false, func(c net.Conn, _ int, _ string) bool {
			io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 800\r\n\r\nhalf")
			return false
		}).upstream()
		var x Exchange
		if err := u.Do(&x, []byte(getHead), false); err != nil {
			t.Fatal(err)
		}
		_, err := x.Document(1 << 10)
		want(t, err, ReasonTruncated, PhaseBody, true)
		x.Close()
		idle(t, u, 0)
	})
	t.Run("a drip ends by the deadline", func(t *testing.T) {
		u := startScripted(t, false, drip("HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\n")).upstream(func(o *Options) { o.HeadTimeout = 200 * time.Millisecond })
		var x Exchange
		if err := u.Do(&x, []byte(getHead), false); err != nil {
			t.Fatal(err)
		}
		_, err := x.Document(1 << 10)
		want(t, err, ReasonTimeout, PhaseBody, true)
		x.Close()
		idle(t, u, 0)
	})
}

func TestErrorText(t *testing.T) {
	for r := ReasonNone; r < numReasons; r++ {
		if (r.String() == "") != (r == ReasonNone) {
			t.Errorf("reason %d is %q", r, r)
		}
	}
	e := &Error{Reason: ReasonReset, Phase: PhaseHead, Err: io.EOF}
	if e.Error() != "upstream head: reset: EOF" || !errors.Is(e, io.EOF) {
		t.Errorf("%q", e.Error())
	}
	if ReasonOf(io.EOF) != ReasonNone {
		t.Error("another error has a reason")
	}
}

func ExampleUpstream() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1<<10)); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
		}
	}()

	u := NewUpstream(Options{Address: ln.Addr().String(), Buffers: NewBuffers(DefaultBufferSize, 0)})
	defer u.Close()
	var x Exchange
	if err := u.Do(&x, []byte("GET /greeting HTTP/1.1\r\nHost: example\r\n\r\n"), false); err != nil {
		panic(err)
	}
	defer x.Close()
	body, err := x.Body()
	fmt.Println(x.Header.StatusCode(), string(body), err)
	// Output: 200 hello <nil>
}
