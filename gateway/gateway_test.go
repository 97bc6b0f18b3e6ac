package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/generation"
)

// testGateway is a running gateway on a loopback port.
type testGateway struct {
	*Gateway
	t       *testing.T
	addr    string
	log     *syncBuffer
	signals chan os.Signal
	done    chan error
	stopped bool
}

// mustConfig parses a configuration text.
func mustConfig(t testing.TB, yaml string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(yaml), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatalf("configuration: %v", err)
	}
	return c
}

// handlerGateway is a gateway whose handler is called without a listener.
func handlerGateway(t testing.TB, endpoint, logLevel string) *Gateway {
	t.Helper()
	return configuredGateway(t, oneBucket("/pub", endpoint), logLevel)
}

// configuredGateway is handlerGateway for any configuration.
func configuredGateway(t testing.TB, yaml, logLevel string) *Gateway {
	t.Helper()
	c := mustConfig(t, yaml)
	o := NewOptions()
	o.LogLevel = logLevel
	o.Output = io.Discard
	g, err := newGateway(o, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { generation.Close(g.Generation.Load()) })
	return g
}

// request returns a context with the request of a head, for handlers without a server.
func request(t testing.TB, head string) *fasthttp.RequestCtx {
	t.Helper()
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(&ctx.Request, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, nil)
	if err := ctx.Request.Header.Read(bufio.NewReaderSize(strings.NewReader(head), 16<<10)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// startGateway runs a gateway over the configuration text. It is stopped, and
// must stop cleanly, at the end of the test.
func startGateway(t *testing.T, yaml string, tune ...func(*Options)) *testGateway {
	t.Helper()
	c := mustConfig(t, yaml)
	o := NewOptions()
	o.Version = "test"
	o.Address = "127.0.0.1:0"
	o.ShutdownTimeout = 5 * time.Second
	log := new(syncBuffer)
	o.Output = log
	for _, f := range tune {
		f(o)
	}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	g, err := newGateway(o, c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	tg := &testGateway{Gateway: g, t: t, log: log, signals: make(chan os.Signal, 2), done: make(chan error, 1)}
	go func() { tg.done <- g.Run(tg.signals) }()
	eventually(t, "the gateway listens", func() bool { return g.Addr() != nil })
	tg.addr = g.Addr().String()
	t.Cleanup(func() {
		if err := tg.stop(); err != nil && !tg.stopped {
			t.Errorf("Run: %v", err)
		}
	})
	return tg
}

// stop sends SIGTERM once and returns what Run returns.
func (tg *testGateway) stop() error {
	if tg.stopped {
		return nil
	}
	tg.stopped = true
	tg.signals <- syscall.SIGTERM
	select {
	case err := <-tg.done:
		return err
	case <-time.After(20 * time.Second):
		return fmt.Errorf("the gateway does not stop")
	}
}

// beginStop has the gateway stop; what Run returns comes from the channel.
func (tg *testGateway) beginStop() <-chan error {
	stopped := make(chan error, 1)
	go func() { stopped <- tg.stop() }() // ends with Run
	return stopped
}

func (tg *testGateway) url(path string) string { return "http://" + tg.addr + path }

// metricValue returns the value of a metric, written with its labels; 0 if it
// does not exist.
func (tg *testGateway) metricValue(name string) (v float64) {
	var b bytes.Buffer
	tg.operators.WriteMetrics(&b)
	for line := range strings.Lines(b.String()) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			fmt.Sscan(rest, &v)
		}
	}
	return v
}

// raw sends bytes on a connection of its own, ends its own side of it, and returns all that comes
// back.
func (tg *testGateway) raw(request string) string {
	tg.t.Helper()
	return tg.exchange(tg.addr, 10*time.Second, request, true)
}

// rawFor is raw on a connection that stays open; it waits at most so long for the gateway to close
// it.
func (tg *testGateway) rawFor(limit time.Duration, request string) string {
	tg.t.Helper()
	return tg.rawAt(tg.addr, limit, request)
}

// rawAt is rawFor for a listener at address.
func (tg *testGateway) rawAt(address string, limit time.Duration, request string) string {
	tg.t.Helper()
	return tg.exchange(address, limit, request, false)
}

func (tg *testGateway) exchange(address string, limit time.Duration, request string, end bool) string {
	tg.t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		tg.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		tg.t.Log(err) // it was refused before it was whole: the answer tells
	}
	if end {
		c.(*net.TCPConn).CloseWrite()
	}
	c.SetReadDeadline(time.Now().Add(limit))
	b, _ := io.ReadAll(c)
	return string(b)
}

// dial connects to address; the connection is closed after the test.
func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// statusOf returns the status of the first response in raw; 0 if there is none.
func statusOf(raw string) int {
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw)), nil)
	if err != nil {
		return 0
	}
	return r.StatusCode
}

// get requests a target, byte for byte as given, and returns the response with
// its body read.
func (tg *testGateway) do(method, target string, header ...string) (*http.Response, []byte) {
	tg.t.Helper()
	c, err := net.Dial("tcp", tg.addr)
	if err != nil {
		tg.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n", method, target)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(c, b.String()); err != nil {
		tg.t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		tg.t.Fatalf("%s %s: %v", method, target, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		tg.t.Fatalf("%s %s: body: %v", method, target, err)
	}
	return r, body
}

// syncBuffer is a log sink that may be read while it is written to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// waitFor waits until the log holds text.
func (s *syncBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	s.waitForWithin(t, 5*time.Second, text)
}

func (s *syncBuffer) waitForWithin(t *testing.T, limit time.Duration, text string) {
	t.Helper()
	if !polled(limit, func() bool { return strings.Contains(s.String(), text) }) {
		t.Fatalf("the log never says %q; it says:\n%s", text, s.String())
	}
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !polled(20*time.Second, cond) {
		t.Fatal("never:", what)
	}
}

// polled tells whether cond comes to hold within limit. It is for what tells nobody when it
// happens; no other test here sleeps until something is likely to have happened.
func polled(limit time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(limit)
	for pause := 20 * time.Microsecond; !cond(); pause = min(2*pause, 2*time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause) // the only way to look again later
	}
	return true
}

// awaitInFlight waits until n requests are under way. The test goes on without them, too:
// what blocks them must come to be released.
func (tg *testGateway) awaitInFlight(n int64) {
	tg.t.Helper()
	if !polled(10*time.Second, func() bool { return tg.InFlight.Load() >= n }) {
		tg.t.Errorf("%d requests are under way, want %d", tg.InFlight.Load(), n)
	}
}

// testOrigin is an S3 stand-in that records what it is asked.
type testOrigin struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

// startOrigin serves objects with handle. Probes of the bucket itself are
// answered apart and not recorded.
func startOrigin(t *testing.T, handle http.HandlerFunc) *testOrigin {
	t.Helper()
	o := new(testOrigin)
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.requests = append(o.requests, r.Clone(r.Context()))
		o.mu.Unlock()
		handle(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

// seen returns the requests so far.
func (o *testOrigin) seen() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*http.Request(nil), o.requests...)
}

// serveText is an origin of one object at every path.
func serveText(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("ETag", `"e1"`)
		http.ServeContent(w, r, "", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), strings.NewReader(text))
	}
}

// oneBucket is a configuration with a public bucket at prefix.
func oneBucket(prefix, endpoint string, more ...string) string {
	return "server: {ready: config}\nbuckets:\n" + bucketYAML("main", prefix, endpoint, more...)
}

// onceYAML returns yaml with every request to an origin made once, whatever comes
// of it and of others.
func onceYAML(yaml string) string {
	return strings.ReplaceAll(yaml, "    s3:\n", "    s3:\n      retry: {tries: 0, resumes: 0}\n      breaker: {enabled: false}\n")
}

// bucketYAML is one item of buckets; more are further lines of its s3 block.
func bucketYAML(name, prefix, endpoint string, more ...string) string {
	s := fmt.Sprintf("  - name: %q\n    path_prefix: %q\n    s3:\n      bucket: \"things\"\n      region: \"us-east-1\"\n      endpoint: %q\n      access_key: \"AK%s\"\n      secret_key: \"secret-of-%s\"\n", name, prefix, endpoint, name, name)
	for _, m := range more {
		s += "      " + m + "\n"
	}
	return s
}
