package pool

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"yatagarasu/loadtest/rawserver"
)

// startProxy starts an HTTP proxy that knows CONNECT and one password; it answers
// others with 407.
func startProxy(t *testing.T, connected *atomic.Int64) string {
	t.Helper()
	s := rawserver.Start(t, nil, func(c net.Conn, _ int, head string) bool {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		switch {
		case err != nil || r.Method != http.MethodConnect:
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return false
		case r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpwYXNz":
			fmt.Fprint(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return false
		}
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			fmt.Fprint(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return false
		}
		defer up.Close()
		connected.Add(1)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { // ends with up
			io.Copy(c, up)
			c.Close()
		}()
		io.Copy(up, c)
		return false
	})
	return s.Addr
}

func TestProxy(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		var connected atomic.Int64
		proxy := startProxy(t, &connected)
		origin := startScripted(t, overTLS, func(c net.Conn, _ int, _ string) bool { io.WriteString(c, ok("body")); return true })
		by := func(user *url.Userinfo) *Upstream {
			return origin.upstream(func(o *Options) { o.Proxy = &url.URL{Scheme: "http", Host: proxy, User: user} })
		}
		u := by(url.UserPassword("user", "pass"))
		for range 3 {
			mustFetch(t, u)
		}
		if n := connected.Load(); n != 1 {
			t.Errorf("TLS %t: %d connections by the proxy", overTLS, n)
		}
		_, _, err := fetch(by(nil))
		want(t, err, ReasonConnect, PhaseConnect, false)
		if !strings.Contains(err.Error(), "the proxy "+proxy+" answers CONNECT with 407") {
			t.Error(err)
		}
		idle(t, u, 1)
	}
}
