package gateway

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"yatagarasu/gateway/handover"
)

// redirectGateway is a gateway that speaks TLS, with more keys of server, and with a listener that sends clients to it.
func redirectGateway(t *testing.T, server, yaml string, tune ...func(*Options)) *testGateway {
	gw := startGateway(t, strings.Replace(withTLS(t, yaml), "https: {", server+"https: {redirect_address: \"127.0.0.1:0\", ", 1), tune...)
	eventually(t, "the listener for http is open", func() bool { return gw.redirects.Load() != nil })
	return gw
}

// TestRedirectToHTTPS has clients come by http to the listener that sends them on.
func TestRedirectToHTTPS(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := redirectGateway(t, "deny: [192.0.2.1], trusted_proxies: [127.0.0.1], ", oneBucket("/pub", origin.URL)+"    cors: {origins: \"*\"}\nadmin: {token: \""+adminToken+"\"}\n")
	at := gw.redirects.Load().Addr().String()
	port := fmt.Sprint(gw.HTTPSPort)
	for _, c := range []struct {
		name, line, headers string
		status              int
		location            string
	}{
		{"the same path and query", "GET /pub/a?x=1&y=%20", "Host: files.example\r\n", 308, "https://files.example/pub/a?x=1&y=%20"},
		{"HEAD", "HEAD /pub/a", "Host: files.example\r\n", 308, "https://files.example/pub/a"},
		{"any method", "POST /pub/a", "Host: files.example\r\n", 308, "https://files.example/pub/a"},
		{"another port than http's", "GET /pub/a", "Host: files.example:8081\r\n", 308, "https://files.example:" + port + "/pub/a"},
		{"IPv6", "GET /pub/a", "Host: [2001:db8::1]:8081\r\n", 308, "https://[2001:db8::1]:" + port + "/pub/a"},
		{"a URL as the target", "GET http://other.example/pub/a?b", "Host: files.example\r\n", 308, "https://other.example/pub/a?b"},
		{"no bucket there", "GET /nowhere", "Host: files.example\r\n", 308, "https://files.example/nowhere"},
		{"bytes beyond ASCII, once", "GET /pub/\xc3\xa9%C3%A9\\?\xc3\xa9", "Host: files.example\r\n", 308, "https://files.example/pub/%C3%A9%C3%A9%5C?%C3%A9"},
		{"an encoded slash is no host", "GET /%2Fevil.example", "Host: files.example\r\n", 308, "https://files.example/%2Fevil.example"},
		{"a proxy's client by http", "GET /pub/a", "Host: files.example:8081\r\nX-Forwarded-Proto: http\r\n", 308, "https://files.example/pub/a"},
		{"28 a proxy's client by https is not sent round", "GET /pub/a", "Host: files.example\r\nX-Forwarded-Proto: https\r\n", 200, ""},
		{"no host", "GET /pub/a", "Host:\r\n", 400, ""},
		{"a bad target", "GET /pub/../a", "Host: files.example\r\n", 400, ""},
		{"two slashes", "GET //evil.example/x", "Host: files.example\r\n", 400, ""},
		{"a bad head", "GET /pub/a", "Host: a\r\nHost: b\r\n", 400, ""},
		{"a token for administrative calls is not taken in clear", "GET /admin/status", "Host: files.example\r\nAuthorization: Bearer " + adminToken + "\r\n", 308, "https://files.example/admin/status"},
		{"nor is its body", "POST /admin/cache/purge", "Host: files.example\r\nAuthorization: Bearer " + adminToken + "\r\nContent-Length: 2\r\n", 308, "https://files.example/admin/cache/purge"},
		{"metrics", "GET /metrics", "Host: files.example\r\n", 308, "https://files.example/metrics"},
		{"health", "GET /health", "Host: files.example\r\n", 200, ""},
		{"ready", "GET /ready", "Host: files.example\r\n", 200, ""},
		{"who is denied learns nothing", "GET /pub/a", "Host: files.example\r\nX-Forwarded-For: 192.0.2.1\r\n", 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := gw.rawAt(at, 5*time.Second, c.line+" HTTP/1.1\r\n"+c.headers+"Connection: close\r\n\r\n")
			_, location, _ := strings.Cut(raw, "\r\nLocation: ")
			location, _, _ = strings.Cut(location, "\r\n")
			if statusOf(raw) != c.status || location != c.location {
				t.Errorf("status %d, to %q, want %d, %q\n%s", statusOf(raw), location, c.status, c.location, raw)
			}
		})
	}
	if n := len(origin.seen()); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	if r, err := client.Get("http://" + at + "/pub/a"); err != nil || r.StatusCode != 200 || r.Request.URL.Scheme != "https" {
		t.Errorf("a client that follows: %v, %v", r, err)
	} else {
		r.Body.Close()
	}
}

// TestRedirectsEndTogether has the main listener fail: the process ends, so that it is started
// again, instead of sending clients to a port that nobody listens on.
func TestRedirectsEndTogether(t *testing.T) {
	gw := redirectGateway(t, "", oneBucket("/pub", "http://127.0.0.1:1"))
	gw.stopped = true
	gw.listener.Load().TCPListener.Close() // as a permanent error of accept
	select {
	case err := <-gw.done:
		if err == nil || !strings.Contains(err.Error(), "cannot serve on ") {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the gateway lives on")
	}
}

// TestRedirectsInherited has the listener for http be one that another process has opened.
func TestRedirectsInherited(t *testing.T) {
	socket := listenLocal(t)
	in := handover.NewInherited(nil, map[string]*net.TCPListener{handover.SocketMain: listenLocal(t), handover.SocketRedirect: socket})
	gw := redirectGateway(t, "", oneBucket("/pub", "http://127.0.0.1:1"), func(o *Options) { o.Inherited = in })
	if at := gw.redirects.Load().Addr().String(); at != socket.Addr().String() {
		t.Errorf("listens on %s, not on the inherited %s", at, socket.Addr())
	}
	if ln := gw.sockets()[handover.SocketRedirect]; ln == nil || ln.Addr().String() != socket.Addr().String() {
		t.Error("the next process would not inherit it")
	}
}

// TestRequireHTTPS has trusted proxies say how their clients came.
func TestRequireHTTPS(t *testing.T) {
	for name, forwarded := range map[string]bool{"X-Forwarded-Proto": false, "Forwarded": true} {
		t.Run(name, func(t *testing.T) {
			server, line, vary := "ready: config, require_https: true, trusted_proxies: [127.0.0.1]", "X-Forwarded-Proto: ", "X-Forwarded-Proto"
			if forwarded {
				server, line, vary = server+", forwarded_header: forwarded", `Forwarded: For="192.0.2.9:1";Proto=`, "Forwarded"
			}
			gw := startGateway(t, strings.Replace(oneBucket("/pub", startOrigin(t, serveText("hello")).URL), "ready: config", server, 1))
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			defer client.CloseIdleConnections()
			for _, c := range []struct {
				value, path string
				status      int
			}{
				{"http", "/pub/a?b", 308}, {"HTTP", "/pub/a?b", 308}, {"https", "/pub/a?b", 200}, {"", "/pub/a?b", 200}, {"wss", "/pub/a?b", 200},
				{"https, http", "/pub/a?b", 200}, {"http", "/health", 200}, {"http", "/ready", 200},
			} {
				r, _ := http.NewRequest("GET", gw.url(c.path), nil)
				if name, value, _ := strings.Cut(line+c.value, ": "); c.value != "" {
					r.Header.Set(name, value)
				}
				r.Host = "files.example:8080"
				answer, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
				location, varies := answer.Header.Get("Location"), answer.Header.Get("Vary")
				if answer.StatusCode != c.status || (location == "https://files.example/pub/a?b") != (c.status == 308) || (varies == vary) != (c.status == 308) {
					t.Errorf("%q, %s: status %d, to %q, Vary %q", c.value, c.path, answer.StatusCode, location, varies)
				}
			}
		})
	}
	// 28: a proxy that is not trusted says nothing, so that there is no loop.
	gw := startGateway(t, strings.Replace(oneBucket("/pub", startOrigin(t, serveText("hello")).URL), "ready: config", "ready: config, require_https: true, trusted_proxies: [192.0.2.1]", 1))
	if r, _ := gw.do("GET", "/pub/a", "X-Forwarded-Proto: http"); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
}
