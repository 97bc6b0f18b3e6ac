package gateway

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// keepAlive sends a request on a connection of its own, reads the answer, and leaves
// the connection open.
func keepAlive(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := dial(t, address)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	if answer := exchangeOn(t, c, r, "GET /health HTTP/1.1"); answer.StatusCode != http.StatusOK || answer.Close {
		t.Fatalf("status %d, close is %t", answer.StatusCode, answer.Close)
	}
	return c, r
}

// exchangeOn sends a request and reads the answer.
func exchangeOn(t *testing.T, c net.Conn, r *bufio.Reader, head string) *http.Response {
	t.Helper()
	fmt.Fprintf(c, "%s\r\nHost: x\r\n\r\n", head)
	method, _, _ := strings.Cut(head, " ")
	answer, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestStopConnections(t *testing.T) {
	t.Run("idle ones are not waited for", func(t *testing.T) {
		gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1"), func(o *Options) { o.ShutdownTimeout = time.Hour })
		c, r := keepAlive(t, gw.addr)
		if err := gw.stop(); err != nil {
			t.Error(err)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("the idle connection %s ends with %v", c.LocalAddr(), err)
		}
	})
	t.Run("idle ones end while a proxy's header is still awaited", func(t *testing.T) {
		gw := startGateway(t, strings.Replace(oneBucket("/pub", "http://127.0.0.1:1"), "server: {ready: config", proxyYAML, 1), func(o *Options) { o.ShutdownTimeout = time.Hour })
		c := dial(t, gw.addr)
		fmt.Fprint(c, proxyHeader(t, 1, "192.0.2.1:1000"))
		r := bufio.NewReader(c)
		exchangeOn(t, c, r, "GET /health HTTP/1.1")
		silent := dial(t, gw.addr)
		silent.SetDeadline(time.Now().Add(20 * time.Second))
		// What came after it was accepted: so it was, too.
		if after := gw.raw(proxyHeader(t, 1, "192.0.2.1:1002") + "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); statusOf(after) != 200 {
			t.Fatalf("%q", after)
		}
		stopped := gw.beginStop()
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("the idle connection ends with %v", err)
		}
		fmt.Fprintf(silent, "%sGET /health HTTP/1.1\r\nHost: x\r\n\r\n", proxyHeader(t, 1, "192.0.2.1:1001"))
		if answer, err := io.ReadAll(silent); err != nil || statusOf(string(answer)) != 200 {
			t.Errorf("the late request: %q, %v", answer, err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		gw := startGateway(t, withTLS(t, oneBucket("/pub", "http://127.0.0.1:1")), func(o *Options) { o.ShutdownTimeout = time.Hour })
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		defer client.CloseIdleConnections()
		r, err := client.Get("https://" + gw.addr + "/health")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if err := gw.stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("every answer of a draining gateway says that it is the last", func(t *testing.T) {
		origin := startOrigin(t, serveText("hello"))
		gw := startGateway(t, cachedYAML(origin.URL), func(o *Options) { o.Drain = time.Hour })
		gw.do("GET", "/pub/hit")
		heads := map[string]int{
			"GET /pub/x HTTP/1.1":                             200,
			"GET /pub/hit HTTP/1.1":                           200,
			"HEAD /pub/hit HTTP/1.1":                          200,
			"GET /pub/hit HTTP/1.1\r\nIf-None-Match: \"e1\"":  304,
			"GET /pub/hit HTTP/1.1\r\nRange: bytes=1-2":       206,
			"GET /pub/hit HTTP/1.1\r\nRange: bytes=99-":       416,
			"GET /nowhere HTTP/1.1":                           404,
			"DELETE /pub/x HTTP/1.1":                          405,
			"GET /ready HTTP/1.1":                             503,
			"GET /health HTTP/1.1":                            200,
			"GET /pub/../x HTTP/1.1":                          400,
			"GET /pub/hit HTTP/1.1\r\nConnection: keep-alive": 200,
		}
		type open struct {
			c net.Conn
			r *bufio.Reader
		}
		conns := make(map[string]open)
		for head := range heads {
			c, r := keepAlive(t, gw.addr)
			conns[head] = open{c, r}
		}
		stopped := gw.beginStop()
		gw.log.waitFor(t, `"stopping"`)
		eventually(t, "it drains", gw.Draining.Load)
		for head, want := range heads {
			answer := exchangeOn(t, conns[head].c, conns[head].r, head)
			if answer.StatusCode != want || !answer.Close {
				t.Errorf("%q: status %d, want %d; close is %v", head, answer.StatusCode, want, answer.Close)
			}
			if _, err := conns[head].r.ReadByte(); err != io.EOF {
				t.Errorf("%q: then %v", head, err)
			}
		}
		gw.signals <- syscall.SIGTERM
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// TestStopReopensLogs rotates a log while the gateway stops, which can take long.
func TestStopReopensLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1")+fmt.Sprintf("logging: {output: %q}\n", path), func(o *Options) { o.Output, o.Drain = nil, time.Hour })
	stopped := gw.beginStop()
	eventually(t, "it drains", gw.Draining.Load)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	gw.signals <- syscall.SIGUSR1
	waitForFile(t, path)
	gw.signals <- syscall.SIGTERM
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// slowClient asks for /pub/x, and reads little at a time: most of the body stays with the gateway.
func slowClient(t *testing.T, gw *testGateway) *bufio.Reader {
	t.Helper()
	c := dial(t, gw.addr)
	c.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "GET /pub/x HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReader(c)
	if _, err := r.Peek(1); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStopBodies stops the gateway with bodies on their way that are not streamed
// from the origin by their own request.
func TestStopBodies(t *testing.T) {
	const size = 8 << 20
	body := strings.Repeat("0123456789abcdef", size/16)
	for _, c := range []struct {
		name   string
		buffer int // above size: the handler returns before the body is written
	}{
		{"a hit in one write", 16 << 20},
		{"a hit in pieces", 64 << 10},
	} {
		tune := func(timeout time.Duration) func(o *Options) {
			return func(o *Options) { o.StreamBuffer, o.ShutdownTimeout = c.buffer, timeout }
		}
		t.Run(c.name+" is finished", func(t *testing.T) {
			gw := startGateway(t, cachedYAML(startOrigin(t, serveText(body)).URL), tune(time.Hour))
			gw.do("GET", "/pub/x")
			gw.settleFills(t)
			r := slowClient(t, gw)
			stopped := gw.beginStop()
			waitRefused(t, gw.addr)
			answer, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(answer.Body); err != nil || string(got) != body || answer.Header.Get("X-Cache") != "HIT" {
				t.Errorf("%d bytes, %v, %v", len(got), answer.Header, err)
			}
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
		t.Run(c.name+" is cut and counted", func(t *testing.T) {
			gw := startGateway(t, cachedYAML(startOrigin(t, serveText(body)).URL), tune(100*time.Millisecond))
			gw.do("GET", "/pub/x")
			gw.settleFills(t)
			r := slowClient(t, gw)
			if err := gw.stop(); !errors.Is(err, ErrCut) || !strings.Contains(err.Error(), ": 1") {
				t.Errorf("Run returns %v, want ErrCut of 1", err)
			}
			answer, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, answer.Body); err == nil {
				t.Errorf("a cut body of %d bytes looks complete", n)
			}
			if n := strings.Count(gw.log.String(), `"path":"/pub/x"`); n != 2 {
				t.Errorf("%d access lines, want 2, that of the cut request too", n)
			}
		})
	}
	t.Run("a body that many wait for", func(t *testing.T) {
		gate := make(chan struct{})
		gw := startGateway(t, cachedYAML(gatedOrigin(t, size, gate).URL), func(o *Options) { o.ShutdownTimeout = time.Hour })
		const clients = 5
		var open []*http.Response
		for range clients {
			r := beginDownload(t, gw, size)
			defer r.Body.Close()
			open = append(open, r)
		}
		stopped := gw.beginStop()
		waitRefused(t, gw.addr)
		close(gate)
		for _, r := range open {
			expectRest(t, r, size)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("fetches that no request waits for hold up nothing", func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		var asked atomic.Int64
		origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) > 1 {
				<-hang
			}
			w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
			w.Header().Set("ETag", `"e1"`)
			fmt.Fprint(w, "hello")
		})
		yaml := strings.Replace(cachedYAML(origin.URL), "      access_key", "      timeouts: {first_byte: 1h}\n      access_key", 1)
		gw := startGateway(t, yaml, func(o *Options) { o.ShutdownTimeout = time.Hour })
		gw.do("GET", "/pub/x")
		if r, _ := gw.do("GET", "/pub/x"); r.Header.Get("X-Cache") != "STALE" {
			t.Fatalf("X-Cache is %q", r.Header.Get("X-Cache"))
		}
		eventually(t, "it is fetched in the background", func() bool { return asked.Load() == 2 })
		if err := gw.stop(); err != nil {
			t.Error(err)
		}
	})
}
