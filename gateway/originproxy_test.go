package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"yatagarasu/loadtest/rawserver"
)

// TestOriginByProxy has an origin whose name only the proxy of the environment knows.
func TestOriginByProxy(t *testing.T) {
	var signed atomic.Value
	origin := startFaulty(t, func(c net.Conn, head string) bool {
		signed.Store(head)
		fmt.Fprint(c, okHead+"Content-Length: 4\r\n\r\nbody")
		return true
	})
	var connects, strangers atomic.Int64
	proxy := rawserver.Start(t, nil, func(c net.Conn, _ int, head string) bool {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		if err != nil || r.Method != http.MethodConnect || r.Host != "origin.test:9000" || r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpwYXNz" {
			strangers.Add(1)
			return false
		}
		up, err := net.Dial("tcp", origin.Addr)
		if err != nil {
			return false
		}
		defer up.Close()
		connects.Add(1)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { // ends with up
			io.Copy(c, up)
			c.Close()
		}()
		io.Copy(up, c)
		return false
	})
	t.Setenv("HTTP_PROXY", "http://user:pass@"+proxy.Addr)
	t.Setenv("NO_PROXY", "")
	gw := startGateway(t, oneBucket("/pub", "http://origin.test:9000"), func(o *Options) { o.proxies = httpproxy.FromEnvironment().ProxyFunc() })
	for range 3 {
		if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 || string(body) != "body" {
			t.Fatalf("%d %s", r.StatusCode, body)
		}
	}
	if head, _ := signed.Load().(string); !strings.HasPrefix(head, "GET /things/x HTTP/1.1\r\n") || !strings.Contains(head, "\r\nHost: origin.test:9000\r\n") || strings.Contains(head, "Proxy-") {
		t.Errorf("the origin is asked %q", head)
	}
	if n, m := connects.Load(), strangers.Load(); n != 1 || m != 0 {
		t.Errorf("%d connections by the proxy, %d other requests to it", n, m)
	}
	if text := gw.log.String(); strings.Contains(text, "user:pass") {
		t.Errorf("the password of the proxy is in the log: %s", text)
	}
}
