package faulty

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func started(t *testing.T, s Script) *Origin {
	t.Helper()
	o, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// dial returns a connection whose reads and writes fail rather than hang.
func dial(t *testing.T, o *Origin) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", o.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsAreCountedAndRecorded(t *testing.T) {
	o := started(t, OK("body"))
	c := dial(t, o)
	long := strings.Repeat("v", 10_000) // longer than one buffer
	first := "GET /a%2Fb c?x=1 HTTP/1.1\r\nhost:h\r\nX-Two: 1\r\nX-Two:  2 \r\nX-Long: " + long + "\r\nno colon\r\n\r\n"
	send(t, c, first+"HEAD /second HTTP/1.1\r\n\r\n")
	want := "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got, err)
	}
	send(t, dial(t, o), "GET / HTTP/1.1\r\n") // not a whole head
	r := o.Requests()
	if len(r) != 2 || o.Count() != 2 {
		t.Fatalf("%d heads, %d counted", len(r), o.Count())
	}
	if r[0].Method != "GET" || r[0].Target != "/a%2Fb c?x=1" || string(r[0].Raw) != first {
		t.Errorf("%q %q %q", r[0].Method, r[0].Target, r[0].Raw)
	}
	if h := r[0].Header; h.Get("Host") != "h" || len(h["X-Two"]) != 2 || h["X-Two"][1] != "2" || h.Get("X-Long") != long || len(h["no colon"]) != 1 {
		t.Errorf("headers %q", h)
	}
	if r[1].Method != "HEAD" || r[1].N != 2 || r[1].OnConn != 2 || r[1].Conn != r[0].Conn {
		t.Errorf("second: %+v", r[1])
	}
	c.Close()
	for o.Conns() != 2 || o.Open() != 1 {
		runtime.Gosched() // bounded by the test's timeout
	}
}

func TestARequestHeadIsBounded(t *testing.T) {
	o := started(t, OK(""))
	c := dial(t, o)
	line := "X: " + strings.Repeat("x", 1000) + "\r\n"
	for range 2 * maxHead / len(line) {
		if _, err := io.WriteString(c, line); err != nil {
			break
		}
	}
	_, err := c.Read(make([]byte, 1))
	if e, ok := err.(net.Error); err == nil || ok && e.Timeout() || o.Count() != 0 {
		t.Errorf("a head of 2 MiB: error %v, %d requests; want a closed connection and none", err, o.Count())
	}
}

func TestOnlyTheLastRequestsAreKept(t *testing.T) {
	o := &Origin{}
	for range 3*keptHeads + 5 {
		o.record(&Request{})
	}
	r := o.Requests()
	if len(r) != keptHeads || r[0].N != 2*keptHeads+6 || r[keptHeads-1].N != 3*keptHeads+5 || o.Count() != 3*keptHeads+5 {
		t.Errorf("%d kept, from %d to %d", len(r), r[0].N, r[len(r)-1].N)
	}
}

func TestScriptIsReplaced(t *testing.T) {
	o := started(t, OK("old"))
	for _, want := range []string{"old", "new"} {
		r, err := http.Get(o.Endpoint())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || string(b) != want {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
		o.Script(OK("new"))
	}
}

func TestTLS(t *testing.T) {
	o, err := StartTLS(Sequence(OK("secret"), UntilClose("to the end"), Reset(100)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	if !strings.HasPrefix(o.Endpoint(), "https://127.0.0.1:") {
		t.Errorf("endpoint %s", o.Endpoint())
	}
	if _, err := http.Get(o.Endpoint()); err == nil {
		t.Error("an untrusted certificate is accepted")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(o.CA()) {
		t.Fatal("CA is not PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	_, port, _ := net.SplitHostPort(o.Addr())
	for _, c := range []struct {
		url, body string
		fails     bool
	}{{o.Endpoint(), "secret", false}, {"https://localhost:" + port, "to the end", false}, {o.Endpoint(), strings.Repeat("\x00", 100), true}} {
		r, err := client.Get(c.url)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if string(b) != c.body || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v; want %q", c.url, b, err, c.body)
		}
	}
}

func TestMuteNeverAnswers(t *testing.T) {
	o, err := StartMute()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	o.Script(OK("")) // of no effect
	c := dial(t, o)
	c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil || !err.(net.Error).Timeout() {
		t.Errorf("handshake: %v", err)
	}
	if o.Conns() != 1 || o.Count() != 0 || o.Open() != 1 || o.CA() != nil {
		t.Errorf("%d connections, %d requests, %d open", o.Conns(), o.Count(), o.Open())
	}
}

// TestCloseEndsEverything closes origins in the midst of each script that waits.
func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	for name, s := range map[string]Script{
		"drip": Drip(time.Hour, "ab"), "delay": Delay(time.Hour, OK("")), "black hole": BlackHole(),
		"endless": Endless(), "endless head": EndlessHead(), "late bytes": Unsolicited(OK(""), "x", time.Hour), "idle": OK("x"), "mute": nil,
	} {
		t.Run(name, func(t *testing.T) {
			o, err := start(s, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				send(t, dial(t, o), "GET / HTTP/1.1\r\n\r\n")
			}
			for o.Conns() < 4 || s != nil && o.Count() < 4 {
				runtime.Gosched() // bounded by the test's timeout
			}
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(o.Close)
			}
			wg.Wait()
			if o.Open() != 0 {
				t.Errorf("%d connections are open", o.Open())
			}
			if _, err := net.Dial("tcp", o.Addr()); err == nil {
				t.Error("a closed origin accepts")
			}
		})
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<16)
			t.Fatalf("goroutines are left:\n%s", b[:runtime.Stack(b, true)])
		}
	}
}

func TestManyConnections(t *testing.T) {
	o := started(t, CloseAfter(3, OK("body")))
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 20 {
				r, err := client.Get(fmt.Sprintf("%s/%d/%d", o.Endpoint(), i, n))
				if err != nil {
					t.Errorf("request: %v", err)
					return
				}
				if b, err := io.ReadAll(r.Body); err != nil || string(b) != "body" {
					t.Errorf("%q, %v", b, err)
				}
				r.Body.Close()
			}
		})
	}
	wg.Wait()
	// A client retries on connections that closed while idle.
	if o.Count() < 320 || o.Conns() < 320/3 {
		t.Errorf("%d requests on %d connections", o.Count(), o.Conns())
	}
}
