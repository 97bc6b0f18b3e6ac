//go:build !race

package gateway

import (
	"fmt"
	"strings"
	"testing"

	"yatagarasu/loadtest/rawserver"
)

func s3Response(size int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nETag: \"0123456789abcdef\"\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nAccept-Ranges: bytes\r\nServer: MinIO\r\nVary: Origin\r\nVary: Accept-Encoding\r\nX-Amz-Request-Id: 17A1B2C3D4E5F607\r\nX-Amz-Meta-Color: blue\r\n\r\n%s",
		size, strings.Repeat("x", size))
}

const proxyHead = "GET /pub/dir/object.txt HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"

// TestProxyAllocs guards the whole handler on a proxied 1 KiB GET, with metrics,
// without and with the access line.
func TestProxyAllocs(t *testing.T) {
	for _, level := range []string{"warn", "info"} {
		t.Run("log level "+level, func(t *testing.T) { testProxyAllocs(t, level) })
	}
}

// TestAuthorisedProxyAllocs guards the same with a token that is known, two rules
// and the access line.
func TestAuthorisedProxyAllocs(t *testing.T) {
	g := configuredGateway(t, "server: {ready: config}\nbuckets:\n"+privateYAML("main", "/pub", "http://"+rawserver.StartQuiet(t, s3Response(1<<10)).Addr,
		`claims: [{claim: role, operator: equals, value: reader}, {claim: folder, operator: equals, value: "${path.0}"}]`), "info")
	head := strings.TrimSuffix(proxyHead, "\r\n") + "Authorization: Bearer " + goodToken(`"role":"reader"`, `"folder":"dir"`) + "\r\n\r\n"
	guardAllocs(t, g, head)
}

func testProxyAllocs(t *testing.T, level string) {
	guardAllocs(t, handlerGateway(t, "http://"+rawserver.StartQuiet(t, s3Response(1<<10)).Addr, level), proxyHead)
}

func guardAllocs(t *testing.T, g *Gateway, head string) {
	t.Helper()
	ctx := request(t, head)
	serve := func() {
		g.Handle(ctx)
		if ctx.Response.StatusCode() != 200 || len(ctx.Response.Body()) != 1<<10 {
			t.Fatalf("status %d, %d bytes", ctx.Response.StatusCode(), len(ctx.Response.Body()))
		}
		ctx.ResetUserValues() // as fasthttp does after writing: the exchange ends
		ctx.Response.Reset()
	}
	for range 10 {
		serve()
	}
	const want = 0
	if n := testing.AllocsPerRun(500, serve); n > want {
		t.Errorf("%v allocations per proxied GET, want at most %d", n, want)
	}
}

// BenchmarkProxy/1KiB is a proxied GET inside the process.
func BenchmarkProxy(b *testing.B) {
	b.Run("1KiB", func(b *testing.B) {
		g := handlerGateway(b, "http://"+rawserver.StartQuiet(b, s3Response(1<<10)).Addr, "warn")
		ctx := request(b, proxyHead)
		b.ReportAllocs()
		b.SetBytes(1 << 10)
		for b.Loop() {
			g.Handle(ctx)
			if ctx.Response.StatusCode() != 200 {
				b.Fatal(ctx.Response.StatusCode())
			}
			ctx.ResetUserValues()
			ctx.Response.Reset()
		}
	})
}
