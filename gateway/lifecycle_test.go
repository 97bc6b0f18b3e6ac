package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/inspect"
	"yatagarasu/gateway/probe"
)

// gatedOrigin serves an object of which it sends the second half after gate is
// closed.
func gatedOrigin(t *testing.T, size int, gate chan struct{}) *testOrigin {
	return startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write(make([]byte, size/2))
		w.(http.Flusher).Flush()
		select {
		case <-gate:
			w.Write(make([]byte, size-size/2))
		case <-r.Context().Done():
		}
	})
}

// beginDownload requests the object and returns once the first half arrived.
func beginDownload(t *testing.T, gw *testGateway, size int) *http.Response {
	t.Helper()
	r, err := http.Get(gw.url("/pub/x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r.Body, int64(size/2)); err != nil {
		t.Fatal(err)
	}
	return r
}

// expectRest expects that the second half arrives, and the download ends well.
func expectRest(t *testing.T, r *http.Response, size int) {
	t.Helper()
	if n, err := io.Copy(io.Discard, r.Body); err != nil || n != int64(size-size/2) {
		t.Errorf("the rest of the download: %d bytes, %v", n, err)
	}
}

func TestStop(t *testing.T) {
	const size = 4 << 20
	t.Run("T79_a_download_under_way_completes", func(t *testing.T) {
		gate := make(chan struct{})
		gw := startGateway(t, oneBucket("/pub", gatedOrigin(t, size, gate).URL))
		r := beginDownload(t, gw, size)
		defer r.Body.Close()
		stopped := gw.beginStop()
		gw.log.waitFor(t, `"stopping"`)
		waitRefused(t, gw.addr)
		close(gate)
		expectRest(t, r, size)
		if err := <-stopped; err != nil {
			t.Errorf("Run returns %v", err)
		}
		gw.log.waitFor(t, "nothing was cut")
	})
	for _, c := range []struct {
		name    string
		timeout time.Duration
		second  bool
	}{
		{"T79_a_second_signal_cuts", 20 * time.Second, true},
		{"the timeout cuts", 300 * time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			gw := startGateway(t, oneBucket("/pub", gatedOrigin(t, size, make(chan struct{})).URL), func(o *Options) { o.ShutdownTimeout = c.timeout })
			r := beginDownload(t, gw, size)
			defer r.Body.Close()
			stopped := gw.beginStop()
			gw.log.waitFor(t, `"stopping"`)
			if c.second {
				gw.signals <- syscall.SIGTERM
			}
			if err := <-stopped; !errors.Is(err, ErrCut) {
				t.Errorf("Run returns %v, want ErrCut", err)
			}
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				t.Error("a cut download looks complete")
			}
			gw.log.waitFor(t, `"requests":1`)
		})
	}
	t.Run("drain keeps serving while not ready", func(t *testing.T) {
		origin := startOrigin(t, serveText("hello"))
		gw := startGateway(t, oneBucket("/pub", origin.URL), func(o *Options) { o.Drain = 20 * time.Second })
		if r, _ := gw.do("GET", "/ready"); r.StatusCode != 200 {
			t.Fatalf("/ready before: %d", r.StatusCode)
		}
		stopped := gw.beginStop()
		gw.log.waitFor(t, `"stopping"`)
		eventually(t, "it drains", gw.Draining.Load)
		if r, body := gw.do("GET", "/ready"); r.StatusCode != 503 || !strings.Contains(string(body), "stopping") {
			t.Errorf("/ready while draining: %d %s", r.StatusCode, body)
		}
		raw := gw.raw("GET /pub/x HTTP/1.1\r\nHost: x\r\n\r\n")
		if statusOf(raw) != 200 || !strings.Contains(raw, "\r\nConnection: close\r\n") {
			t.Errorf("an object while draining: %.200q", raw)
		}
		eventually(t, "no request is under way", func() bool { return gw.conns.Active() == 0 })
		gw.signals <- syscall.SIGTERM
		if err := <-stopped; err != nil {
			t.Errorf("Run returns %v", err)
		}
	})
}

// waitRefused waits until nothing accepts connections at addr.
func waitRefused(t *testing.T, addr string) {
	t.Helper()
	eventually(t, "connections are refused", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

func TestLimits(t *testing.T) {
	const size = 4 << 20
	t.Run("connections", func(t *testing.T) {
		for _, flag := range []string{"all", "address"} {
			gate := make(chan struct{})
			gw := startGateway(t, oneBucket("/pub", gatedOrigin(t, size, gate).URL), func(o *Options) {
				if flag == "all" {
					o.MaxConns = 2
				} else {
					o.MaxConnsPerAddress = 2
				}
			})
			open := []*http.Response{beginDownload(t, gw, size), beginDownload(t, gw, size)} // which make no room
			if got := gw.raw(""); statusOf(got) != 503 || !strings.Contains(got, "Retry-After: 1") {
				t.Errorf("%s: the third connection gets %.200q", flag, got)
			}
			if v := gw.metricValue("yatagarasu_refused_connections_total"); v != 1 {
				t.Errorf("%s: refused connections: %v", flag, v)
			}
			close(gate)
			for _, r := range open {
				expectRest(t, r, size)
				r.Body.Close()
			}
			http.DefaultClient.CloseIdleConnections()
			eventually(t, "one is left", func() bool { return gw.conns.Len() <= 1 })
			if r, _ := gw.do("GET", "/health"); r.StatusCode != 200 {
				t.Errorf("%s: after one was closed: status %d", flag, r.StatusCode)
			}
		}
	})
	t.Run("requests under way, until the last byte", func(t *testing.T) {
		gate := make(chan struct{})
		gw := startGateway(t, oneBucket("/pub", gatedOrigin(t, size, gate).URL), func(o *Options) { o.MaxInFlight = 1 })
		first := beginDownload(t, gw, size)
		defer first.Body.Close()
		r, body := gw.do("GET", "/pub/x")
		if r.StatusCode != 429 || r.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "too_many_requests") {
			t.Errorf("status %d, body %s", r.StatusCode, body)
		}
		if r, _ := gw.do("GET", "/health"); r.StatusCode != 200 {
			t.Errorf("/health under load: %d", r.StatusCode)
		}
		close(gate)
		io.Copy(io.Discard, first.Body)
		gw.settle(t)
		if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
			t.Errorf("after it ended: status %d", r.StatusCode)
		}
	})
	t.Run("stream buffers", func(t *testing.T) {
		block := make(chan struct{})
		origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) { <-block })
		gw := startGateway(t, oneBucket("/pub", origin.URL), func(o *Options) { o.StreamBuffers = 1 })
		done := make(chan bool)
		go func() { gw.do("GET", "/pub/x"); done <- true }()
		eventually(t, "the buffer is taken", func() bool { return gw.Origins.Buffers.InUse() > 0 })
		if r, body := gw.do("GET", "/pub/y"); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("status %d, body %s", r.StatusCode, body)
		}
		close(block)
		<-done
	})
	t.Run("the file's limits hold unless a flag is given", func(t *testing.T) {
		rates := frontend.Rates{PerAddress: frontend.Rate{PerSecond: 3, Burst: 5}}
		limits := frontend.Limits{MaxConnections: 7, MaxConnectionsPerAddress: 8, MaxInFlight: 9, Rates: rates, TokenFailures: rates.PerAddress}
		file := &config.Config{Server: frontend.Server{Limits: limits}}
		o := NewOptions()
		if got := o.over(file).Server.Limits; got != limits {
			t.Errorf("without flags: %+v", got)
		}
		o.MaxConns, o.MaxInFlight = 0, 3
		if got, want := o.over(file).Server.Limits, (frontend.Limits{MaxConnectionsPerAddress: 8, MaxInFlight: 3, Rates: rates, TokenFailures: rates.PerAddress}); got != want {
			t.Errorf("with flags: %+v, want %+v", got, want)
		}
	})
}

// TestListenerConnections holds what writev and splice depend on: the server
// sees bare TCP connections with their options set.
func TestListenerConnections(t *testing.T) {
	g := handlerGateway(t, "http://127.0.0.1:1", "warn")
	g.address = "127.0.0.1:0"
	l, err := g.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expectBareTCP(t, l)
}

// expectBareTCP holds that what l accepts is what writev and splice need, with the options
// of an accepted connection.
func expectBareTCP(t *testing.T, l net.Listener) {
	t.Helper()
	dial(t, l.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("the server sees a %T", c)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for name, o := range map[string][2]int{"TCP_NODELAY": {syscall.IPPROTO_TCP, syscall.TCP_NODELAY}, "SO_KEEPALIVE": {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}} {
			if v, err := syscall.GetsockoptInt(int(fd), o[0], o[1]); err != nil || v == 0 {
				t.Errorf("%s is %d, %v", name, v, err)
			}
		}
	})
}

func TestStartRefuses(t *testing.T) {
	for name, want := range map[string]func(*Options){
		"-stream.buffer-size": func(o *Options) { o.StreamBuffer = 1 },
		"-log.level":          func(o *Options) { o.LogLevel = "loud" },
	} {
		o := NewOptions()
		o.ConfigPath = "/no/such/file"
		want(o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := NewOptions()
	o.ConfigPath = "/no/such/file"
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("a missing file: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := handlerGateway(t, "http://127.0.0.1:1", "warn")
	busy.address = taken.Addr().String()
	if err := busy.Run(make(chan os.Signal)); err == nil || !strings.Contains(err.Error(), "-listen.address") {
		t.Errorf("a taken port: %v", err)
	}
	second := configuredGateway(t, oneBucket("/pub", "http://127.0.0.1:1")+fmt.Sprintf("metrics: {enabled: true, address: 127.0.0.1, port: %d}\n", taken.Addr().(*net.TCPAddr).Port), "warn")
	second.address = "127.0.0.1:0"
	if err := second.Run(make(chan os.Signal)); err == nil || !strings.Contains(err.Error(), "metrics.port") || second.Addr() != nil {
		t.Errorf("a taken port of the metrics listener: %v", err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name, text, says, fails string
	}{
		{"good", oneBucket("/pub", "http://127.0.0.1:1"), "valid, 1 bucket", ""},
		{"bad", "buckets: []\n", "", "bad.yaml:1:"},
	} {
		o := NewOptions()
		o.ConfigPath = write(c.name+".yaml", c.text)
		gen, err := Inspect(o)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer generation.Close(gen)
		var out strings.Builder
		if inspect.Check(gen, o.ConfigPath, &out); !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: %q", c.name, out.String())
		}
	}
}

func TestHealth(t *testing.T) {
	gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1"))
	r, body := gw.do("GET", "/health")
	var doc struct {
		Status, Version string
		Uptime          *int64 `json:"uptime_seconds"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || r.StatusCode != 200 || doc.Status != "healthy" || doc.Version != "test" || doc.Uptime == nil {
		t.Errorf("status %d, body %s, %v", r.StatusCode, body, err)
	}
	if r, body := gw.do("HEAD", "/health"); r.StatusCode != 200 || len(body) != 0 || r.ContentLength <= 0 {
		t.Errorf("HEAD: status %d, length %d", r.StatusCode, r.ContentLength)
	}
	if r, _ := gw.do("POST", "/health"); r.StatusCode != 405 {
		t.Errorf("POST: status %d", r.StatusCode)
	}
}

func TestReady(t *testing.T) {
	alive := startOrigin(t, serveText("x"))
	denied := startOrigin(t, s3Refusal(403, "AccessDenied"))
	missing := startOrigin(t, s3Refusal(404, "NoSuchBucket"))
	wrong := startOrigin(t, s3Refusal(403, "SignatureDoesNotMatch"))
	const dead = "http://127.0.0.1:1"
	for _, c := range []struct {
		name, mode string
		endpoints  []string
		status     int
		reasons    []string // of each bucket, empty: reachable
	}{
		{"any, one of two", "any", []string{dead, alive.URL}, 200, []string{"connect", ""}},
		{"any, none", "any", []string{dead}, 503, []string{"connect"}},
		{"all, one of two", "all", []string{alive.URL, dead}, 503, []string{"", "connect"}},
		{"all", "all", []string{alive.URL, denied.URL}, 200, []string{"", ""}},
		{"no bucket", "any", []string{missing.URL}, 503, []string{"no_such_bucket"}},
		{"wrong secret", "any", []string{wrong.URL}, 503, []string{"signature"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			yaml := "server: {ready: " + c.mode + "}\nbuckets:\n"
			for i, e := range c.endpoints {
				yaml += bucketYAML(fmt.Sprintf("b%d", i), fmt.Sprintf("/b%d", i), e)
			}
			gw := startGateway(t, yaml)
			gw.probed(t)
			r, _ := gw.do("GET", "/ready")
			_, body := gw.ready()
			var doc struct{ Buckets []probe.BucketState }
			if err := json.Unmarshal(body, &doc); err != nil || len(doc.Buckets) != len(c.endpoints) {
				t.Fatalf("%v: %s", err, body)
			}
			if r.StatusCode != c.status {
				t.Errorf("status %d, want %d", r.StatusCode, c.status)
			}
			for i, b := range doc.Buckets {
				if b.Name != fmt.Sprintf("b%d", i) || b.Reason != c.reasons[i] || b.Reachable != (c.reasons[i] == "") {
					t.Errorf("bucket %d: %+v, want reason %q", i, b, c.reasons[i])
				}
			}
		})
	}
	t.Run("it recovers", func(t *testing.T) {
		var up syncBuffer // empty: down
		origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if up.String() == "" {
				w.WriteHeader(503)
			}
		})
		gw := startGateway(t, "buckets:\n"+bucketYAML("b", "/b", origin.URL))
		gw.log.waitFor(t, `"serving"`)
		eventually(t, "it is ready", func() bool {
			r, _ := gw.do("GET", "/ready")
			if _, body := gw.ready(); strings.Contains(string(body), "slow_down") {
				up.Write([]byte("up"))
			}
			return r.StatusCode == 200
		})
	})
}

// s3Refusal is an origin that refuses everything.
func s3Refusal(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		}
	}
}

func TestAccessLog(t *testing.T) {
	origin := startOrigin(t, serveDialect(dialect{}, strings.Repeat("x", 100_000)))
	gw := startGateway(t, oneBucket("/pub", origin.URL, "allow_query: [versionId]"))
	gw.do("GET", "/pub/obj?versionId=v1&token=hidden")
	gw.log.waitFor(t, `"path":"/pub/obj"`)
	var line map[string]any
	for l := range strings.Lines(gw.log.String()) {
		if strings.Contains(l, `"path":"/pub/obj"`) {
			if err := json.Unmarshal([]byte(l), &line); err != nil {
				t.Fatalf("%v: %s", err, l)
			}
		}
	}
	for name, want := range map[string]any{
		"level": "info", "message": "request", "client": "127.0.0.1", "method": "GET", "path": "/pub/obj", "query": "versionId=v1",
		"bucket": "main", "route": "/pub", "status": 200., "bytes": 100000., "upstream_status": 200., "s3_request_id": "RID1",
	} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
	stamp, _ := line["time"].(string)
	if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || time.Since(at) > time.Minute {
		t.Errorf("time is %q", stamp)
	}
	took, _ := line["duration_ms"].(float64)
	first, _ := line["ttfb_ms"].(float64)
	if first <= 0 || took < first {
		t.Errorf("duration %v, first byte %v", took, first)
	}
	if id, _ := line["request_id"].(string); len(id) != 36 {
		t.Errorf("request id %q", id)
	}
}

// TestRequestsAreCountedOnce compares the counters with what was sent.
func TestRequestsAreCountedOnce(t *testing.T) {
	origin := startOrigin(t, serveDialect(dialect{}, strings.Repeat("x", 100_000)))
	gw := startGateway(t, oneBucket("/pub", origin.URL))
	for range 7 {
		gw.do("GET", "/pub/obj")
		gw.do("HEAD", "/pub/obj")
		gw.do("GET", "/pub/missing")
		gw.do("GET", "/nowhere")
		gw.do("POST", "/pub/obj")
		gw.raw("GET /pub/obj HTTP/1.1\r\nbroken\r\n\r\n")
	}
	gw.settle(t)
	for name, want := range map[string]float64{
		`yatagarasu_requests_total{bucket="main",method="GET",code="200"}`:                                                                       7,
		`yatagarasu_requests_total{bucket="main",method="HEAD",code="200"}`:                                                                      7,
		`yatagarasu_requests_total{bucket="main",method="GET",code="404"}`:                                                                       7,
		`yatagarasu_requests_total{bucket="main",method="other",code="405"}`:                                                                     7,
		`yatagarasu_requests_total{bucket="",method="GET",code="404"}`:                                                                           7,
		`yatagarasu_requests_total{bucket="",method="GET",code="400"}`:                                                                           7,
		fmt.Sprintf(`yatagarasu_upstream_requests_total{bucket="main",origin=%q,code="200"}`, strings.TrimPrefix(origin.URL, "http://")):         14,
		fmt.Sprintf(`yatagarasu_upstream_errors_total{bucket="main",origin=%q,reason="no_such_key"}`, strings.TrimPrefix(origin.URL, "http://")): 7,
	} {
		if got := gw.metricValue(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// TestPanic proves T80: a panic of the handler is a 500, and nothing is lost.
func TestPanic(t *testing.T) {
	t.Run("T80_handler_panic", func(t *testing.T) {
		gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1"), func(o *Options) { o.Version = "test" })
		replica := gw.Generation.Load().Buckets[0].Origin.Replicas[0]
		health := replica.Health
		replica.Health = nil // the next request panics
		r, body := gw.do("GET", "/pub/x")
		replica.Health = health
		if r.StatusCode != 500 || !strings.Contains(string(body), `"error":"internal"`) {
			t.Errorf("status %d, body %s", r.StatusCode, body)
		}
		if r, _ := gw.do("GET", "/health"); r.StatusCode != 200 {
			t.Errorf("afterwards: status %d", r.StatusCode)
		}
		if v := gw.metricValue("yatagarasu_panics_total"); v != 1 {
			t.Errorf("panics: %v", v)
		}
		gw.log.waitFor(t, "request handler panicked")
		gw.settle(t)
	})
	t.Run("T80_panic_in_a_body", func(t *testing.T) {
		origin := startOrigin(t, serveText(strings.Repeat("x", 900_000)))
		gw := startGateway(t, oneBucket("/pub", origin.URL))
		gw.do("GET", "/health") // it is set up
		client, server := net.Pipe()
		defer client.Close()
		served := make(chan error, 1)
		go func() { served <- gw.newServer().ServeConn(fragileConn{server}) }() // ends with the panic
		if _, err := io.WriteString(client, "GET /pub/x HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(client)
		if statusOf(string(answer)) != 200 || len(answer) > 10_000 || <-served == nil {
			t.Errorf("%d bytes, %v: %.200s", len(answer), err, answer)
		}
		gw.settle(t)
		if v := gw.metricValue("yatagarasu_panics_total"); v != 1 {
			t.Errorf("panics: %v", v)
		}
		gw.log.waitFor(t, "request handler panicked")
		gw.log.waitFor(t, `"reason":"panic","cause":"sending the body panicked"`)
	})
}

// fragileConn panics when a body is written to it.
type fragileConn struct{ net.Conn }

func (c fragileConn) Write(b []byte) (int, error) {
	if len(b) > 10_000 {
		panic("a mistake")
	}
	return c.Conn.Write(b)
}
