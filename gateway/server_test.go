package gateway

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
	"yatagarasu/gateway/config"
	"yatagarasu/pool"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
)

// newTestServer returns a server of a configuration, without a listener and without logs.
func newTestServer(t testing.TB, yaml string) *server {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(yaml), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{metrics: newMetricSet()}
	if err := o.checkLogs(&c.Logging); err != nil {
		t.Fatal(err)
	}
	s := &server{observer: o, started: time.Now(), now: time.Now, streamBuffer: pool.DefaultBufferSize}
	s.origins = &shared{observer: o, buffers: pool.NewBuffers(s.streamBuffer, 0)}
	s.origins.background.panicked = func(p any) { t.Errorf("panic: %v", p) }
	gen, err := newGeneration(c, &generationOptions{origins: s.origins, now: time.Now, limitClients: 1 << 17, inFlight: &s.inFlight}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.generation.Store(gen)
	t.Cleanup(gen.Close)
	return s
}

// bucketOf is one item of buckets, mounted at a prefix; more are further lines of it.
func bucketOf(name, prefix, endpoint string, more ...string) string {
	s := fmt.Sprintf("  - name: %s\n    path_prefix: %s\n    s3: {bucket: things, region: us-east-1, endpoint: %q, access_key: AK, secret_key: SK}\n", name, prefix, endpoint)
	for _, line := range more {
		s += "    " + line + "\n"
	}
	return s
}

// requestOf returns a context with the request of a head.
func requestOf(t testing.TB, head string) *fasthttp.RequestCtx {
	t.Helper()
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(&ctx.Request, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, nil)
	if err := ctx.Request.Header.Read(bufio.NewReader(strings.NewReader(head))); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// fetched has the cache take the object of a target: a client that takes its body asks for
// it, on a connection of its own.
func (s *server) fetched(t *testing.T, target string) {
	t.Helper()
	ln := fasthttputil.NewInmemoryListener()
	server := &fasthttp.Server{Handler: s.handle}
	go server.Serve(ln) // ends with ln
	defer ln.Close()
	client := &fasthttp.Client{Dial: func(string) (net.Conn, error) { return ln.Dial() }}
	if status, _, err := client.Get(nil, "http://g"+target); err != nil || status != 200 {
		t.Fatalf("%s: %d, %v", target, status, err)
	}
	s.origins.background.Wait()
}
