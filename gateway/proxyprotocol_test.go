package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// proxyHeader returns a header of the given version for a client.
func proxyHeader(t *testing.T, version byte, client string) string {
	t.Helper()
	source, destination := netip.MustParseAddrPort(client), netip.MustParseAddrPort("203.0.113.9:443")
	if source.Addr().Is6() {
		destination = netip.MustParseAddrPort("[2001:db8::9]:443")
	}
	var b bytes.Buffer
	if _, err := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(source), net.TCPAddrFromAddrPort(destination)).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const proxyYAML = "server: {ready: config, trusted_proxies: [127.0.0.1, 10.0.0.0/8], proxy_protocol: true"

// TestProxyProtocol has a trusted proxy name its clients.
func TestProxyProtocol(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, strings.Replace(oneBucket("/pub", origin.URL), "server: {ready: config", proxyYAML, 1))
	const get = "GET /pub/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n"
	local := string(proxyproto.SIGV2) + "\x20\x00\x00\x00"
	long := string(proxyproto.SIGV2) + "\x21\x11\x10\x01" + strings.Repeat("x", 0x1001)
	for name, c := range map[string]struct{ header, client string }{
		"version 1":                   {proxyHeader(t, 1, "192.0.2.1:1000"), "192.0.2.1"},
		"version 1, IPv6":             {proxyHeader(t, 1, "[2001:db8::1]:1000"), "2001:db8::1"},
		"version 1, unknown":          {"PROXY UNKNOWN\r\n", "127.0.0.1"},
		"version 2":                   {proxyHeader(t, 2, "192.0.2.2:1000"), "192.0.2.2"},
		"version 2, IPv6":             {proxyHeader(t, 2, "[2001:db8::2]:1000"), "2001:db8::2"},
		"version 2, a health check":   {local, "127.0.0.1"},
		"version 2 with more":         {strings.Replace(proxyHeader(t, 2, "192.0.2.3:1000"), "\x00\x0c", "\x00\x0f", 1) + "\x04\x00\x00", "192.0.2.3"},
		"through another trusted one": {proxyHeader(t, 2, "10.1.1.1:1000") + "\x00", "10.1.1.1"},
		"none":                        {"", ""},
		"half of one":                 {"PROXY TCP4 192.0.2.1", ""},
		"a line that is too long":     {"PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		"nonsense":                    {"PROXY TCP4 300.0.2.1 1.2.3.4 1 2\r\n", ""},
		"more than is allowed":        {long, ""},
	} {
		t.Run(name, func(t *testing.T) {
			header, forwarded := c.header, ""
			if strings.HasSuffix(header, "\x00") && strings.HasPrefix(name, "through") {
				header, forwarded = strings.TrimSuffix(header, "\x00"), "X-Forwarded-For: 192.0.2.77\r\n"
				c.client = "192.0.2.77"
			}
			raw := gw.rawFor(500*time.Millisecond, header+get+forwarded+"\r\n")
			if c.client == "" {
				if raw != "" {
					t.Errorf("answered: %.100q", raw)
				}
				return
			}
			if statusOf(raw) != 200 || !strings.HasSuffix(raw, "hello") {
				t.Fatalf("%.200q", raw)
			}
			gw.log.waitFor(t, `"client":"`+c.client+`"`)
		})
	}
	if n := gw.metricValue("yatagarasu_bad_proxy_headers_total"); n < 4 {
		t.Errorf("%v bad headers", n)
	}
	t.Run("the header and the request come in pieces", func(t *testing.T) {
		c := dial(t, gw.addr)
		for _, b := range []byte(proxyHeader(t, 1, "192.0.2.9:1000") + get + "\r\n") {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		answer, _ := io.ReadAll(c)
		if statusOf(string(answer)) != 200 {
			t.Errorf("%.100q", answer)
		}
		gw.log.waitFor(t, `"client":"192.0.2.9"`)
	})
	t.Run("a silent proxy does not hold up the others", func(t *testing.T) {
		dial(t, gw.addr)
		if raw := gw.raw(proxyHeader(t, 2, "192.0.2.4:1000") + get + "\r\n"); statusOf(raw) != 200 {
			t.Errorf("%.100q", raw)
		}
	})
}

// TestProxyProtocolOfOthers has peers that are no trusted proxies: their connections
// are plain, whatever they claim.
func TestProxyProtocolOfOthers(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, strings.Replace(oneBucket("/pub", origin.URL), "server: {ready: config", strings.Replace(proxyYAML, "127.0.0.1, ", "", 1), 1))
	if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
		t.Errorf("without a header: %d", r.StatusCode)
	}
	if raw := gw.raw(proxyHeader(t, 1, "192.0.2.1:1000") + "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n"); statusOf(raw) != 400 {
		t.Errorf("with one: %.100q", raw)
	}
	if strings.Contains(gw.log.String(), `"client":"192.0.2.1"`) {
		t.Error("it is believed")
	}
}

// TestProxyProtocolKeeps has the limit per address, which takes a /64 for one client, and
// the splice of large bodies work behind a proxy.
func TestProxyProtocolKeeps(t *testing.T) {
	large := strings.Repeat("0123456789", 100_000)
	origin := startOrigin(t, serveText(large))
	gw := startGateway(t, strings.Replace(oneBucket("/pub", origin.URL), "server: {ready: config", proxyYAML+", limits: {max_connections_per_address: 1}", 1))
	open := func(client string) net.Conn {
		c := dial(t, gw.addr)
		fmt.Fprintf(c, "%sGET /health HTTP/1.1\r\nHost: g\r\n\r\n", proxyHeader(t, 2, client))
		return c
	}
	status := func(c net.Conn) int {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		return statusOf(string(b[:n]))
	}
	first := open("192.0.2.1:1")
	defer first.Close()
	if s := status(first); s != 200 {
		t.Errorf("the first: %d", s)
	}
	second, other := open("192.0.2.1:2"), open("192.0.2.2:1")
	defer second.Close()
	defer other.Close()
	if s := status(second); s != 503 {
		t.Errorf("the second of one client: %d", s)
	}
	if s := status(other); s != 200 {
		t.Errorf("another client: %d", s)
	}
	for _, c := range []struct {
		client string
		want   int
	}{{"[2001:db8:0:1::1]:1", 200}, {"[2001:db8:0:1::2]:1", 503}, {"[2001:db8:0:1:ffff::]:1", 503}, {"[2001:db8:0:2::1]:1", 200}} {
		conn := open(c.client)
		defer conn.Close()
		if s := status(conn); s != c.want {
			t.Errorf("%s: %d, want %d", c.client, s, c.want)
		}
	}
	raw := gw.rawFor(5*time.Second, proxyHeader(t, 2, "192.0.2.3:1")+"GET /pub/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
	if !strings.HasSuffix(raw, large) {
		t.Errorf("a large body: %d bytes", len(raw))
	}
}

// TestProxyHeadersAwaited has connections that never send their header: they count as
// all others do, and a stop does not wait for them.
func TestProxyHeadersAwaited(t *testing.T) {
	const most = 5
	gw := startGateway(t, strings.Replace(oneBucket("/pub", "http://127.0.0.1:1"), "server: {ready: config", proxyYAML+fmt.Sprintf(", limits: {max_connections: %d}", most), 1),
		func(o *Options) { o.ShutdownTimeout = time.Millisecond })
	for range most {
		dial(t, gw.addr)
	}
	for range 3 {
		c := dial(t, gw.addr)
		c.SetReadDeadline(time.Now().Add(boundProxyHeader / 2)) // those before are still awaited
		if b, err := io.ReadAll(c); err != nil || statusOf(string(b)) != 503 {
			t.Errorf("beyond the limit: %.100q, %v", b, err)
		}
	}
	if n, refused := gw.metricValue("yatagarasu_client_connections"), gw.metricValue("yatagarasu_refused_connections_total"); n != most || refused != 3 {
		t.Errorf("%v connections and %v refused, want %d and 3", n, refused, most)
	}
	if err := gw.stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(gw.log.String(), "not all that was cut has ended") || gw.conns.Len() != 0 {
		t.Errorf("%d connections are left", gw.conns.Len())
	}
}

// TestUnnamedClientsAreNotBelieved has a trusted proxy pass on a connection without
// saying whose it is: the headers are those of anybody.
func TestUnnamedClientsAreNotBelieved(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, strings.Replace(oneBucket("/pub", origin.URL), "server: {ready: config", proxyYAML+", deny: [192.0.2.66]", 1))
	for name, c := range map[string]struct {
		header   string
		believed bool
	}{
		"version 1, unknown":          {"PROXY UNKNOWN\r\n", false},
		"version 2, a local socket":   {string(proxyproto.SIGV2) + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 0xd8), false},
		"version 2, a health check":   {string(proxyproto.SIGV2) + "\x20\x00\x00\x00", false},
		"through another trusted one": {proxyHeader(t, 2, "10.1.1.1:1000"), true},
	} {
		t.Run(name, func(t *testing.T) {
			raw := gw.raw(c.header + "GET /pub/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\nX-Request-ID: invented\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n")
			want := 200
			if c.believed {
				want = 403
			}
			if statusOf(raw) != want || strings.Contains(raw, "\r\nX-Request-ID: invented\r\n") != c.believed {
				t.Errorf("status %d, want %d: %.300q", statusOf(raw), want, raw)
			}
		})
	}
}

// Blocks of version 2: addresses, and what may follow them.
var (
	block4    = "\xc0\x00\x02\x42" + "\xcb\x00\x71\x09" + "\x03\xe8\x01\xbb" // 192.0.2.66
	block6    = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x42" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x09" + "\x03\xe8\x01\xbb"
	block4In6 = strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x42" + strings.Repeat("\x00", 16) + "\x03\xe8\x01\xbb"
	blockUnix = "/run/proxy.sock" + strings.Repeat("\x00", 216-len("/run/proxy.sock"))
	noopTLV   = "\x04\x00\x03abc"
	uniqueTLV = "\x05\x00\x02id"
)
