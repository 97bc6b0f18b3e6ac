package serve

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/credentials"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/media"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/route"
	"yatagarasu/pool"
)

// newTestServer returns a server of the origins and caches of a configuration, without a listener
// and without logs.
func newTestServer(t testing.TB, yaml string) *Server {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(yaml), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	o := &observe.Observer{Metrics: observe.NewMetrics()}
	if err := o.CheckLogs(&observe.Logging{Level: "info", Output: "stdout", Sample: 1}); err != nil {
		t.Fatal(err)
	}
	s := &Server{Observer: o, Started: time.Now(), Now: time.Now, Clients: new(listen.Conns), StreamBuffer: pool.DefaultBufferSize}
	s.Origins = &origin.Shared{Observer: o, Buffers: pool.NewBuffers(s.StreamBuffer, 0), Retrieve: credentials.New}
	s.Origins.Pace = pool.NewPace(0, time.Second)
	s.Origins.Background.Panicked = func(p any) { t.Errorf("panic: %v", p) }
	gen := &Generation{Config: c, Limits: limit.NewScope(new(limit.Bounds), &limit.Scope{InFlight: &s.InFlight})}
	var routes route.Builder[Bucket]
	for i := range c.Buckets {
		one := &c.Buckets[i]
		b := &Bucket{Name: one.Name, Prefix: one.PathPrefix, Limits: limit.NewScope(new(limit.Bounds), nil), Metrics: o.Metrics.Bucket(one.Name)}
		if b.Origin, err = origin.NewBucket(one.Name, &one.S3, media.New(false, nil), s.Origins, false, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Origin.Close)
		if one.Cache != nil {
			b.Cached = fill.NewCache(make(fill.Budgets).For(nil, b.Name, one.Cache, time.Now, nil), b.Origin, one.Cache, nil)
		}
		if err := routes.Add("", b.Prefix, b); err != nil {
			t.Fatal(err)
		}
		gen.Buckets = append(gen.Buckets, b)
	}
	gen.Table = routes.Build()
	s.Generation.Store(gen)
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
func (s *Server) fetched(t *testing.T, target string) {
	t.Helper()
	ln := fasthttputil.NewInmemoryListener()
	server := &fasthttp.Server{Handler: s.Handle}
	go server.Serve(ln) // ends with ln
	defer ln.Close()
	client := &fasthttp.Client{Dial: func(string) (net.Conn, error) { return ln.Dial() }}
	if status, _, err := client.Get(nil, "http://g"+target); err != nil || status != 200 {
		t.Fatalf("%s: %d, %v", target, status, err)
	}
	s.Origins.Background.Wait()
}
