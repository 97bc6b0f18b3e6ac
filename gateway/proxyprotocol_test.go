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
// all others do, make room for others at the limit, and a stop does not wait for them.
func TestProxyHeadersAwaited(t *testing.T) {
	const most = 5
	gw := startGateway(t, strings.Replace(oneBucket("/pub", "http://127.0.0.1:1"), "server: {ready: config", proxyYAML+fmt.Sprintf(", limits: {max_connections: %d}", most), 1),
		func(o *Options) { o.ShutdownTimeout = time.Millisecond })
	var first []net.Conn
	for range most {
		first = append(first, dial(t, gw.addr))
	}
	eventually(t, "they are accepted", func() bool { return gw.conns.Len() == most })
	for i := range 3 {
		dial(t, gw.addr)
		first[i].SetReadDeadline(time.Now().Add(boundProxyHeader / 2)) // those before are still awaited
		if b, err := io.ReadAll(first[i]); err != nil || len(b) > 0 {
			t.Errorf("the oldest: %.100q, %v", b, err)
		}
	}
	eventually(t, "they are removed", func() bool { return gw.conns.Len() == most })
	if n, refused := gw.metricValue("yatagarasu_displaced_connections_total"), gw.metricValue("yatagarasu_refused_connections_total"); n != 3 || refused != 0 {
		t.Errorf("%v made room and %v are refused, want 3 and 0", n, refused)
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

// proxyHeader2 returns a header of version 2 with any command, family and block.
func proxyHeader2(command, family byte, block string) string {
	return string(proxyproto.SIGV2) + string([]byte{command, family, byte(len(block) >> 8), byte(len(block))}) + block
}

// proxyHeaderCase is a header and the client it names: "" for none, "-" where the
// connection is closed.
type proxyHeaderCase struct{ name, header, client string }

func proxyHeaderCases() (cases []proxyHeaderCase) {
	const local, proxy = 0x20, 0x21
	add := func(name, header, client string) { cases = append(cases, proxyHeaderCase{name, header, client}) }

	add("version 1, unknown", "PROXY UNKNOWN\r\n", "")
	add("version 1, unknown with addresses", "PROXY UNKNOWN 192.0.2.66 203.0.113.9 1000 443\r\n", "")
	add("version 1, unknown, the longest line", "PROXY UNKNOWN "+strings.Repeat("ffff:", 7)+"ffff "+strings.Repeat("ffff:", 7)+"ffff 65535 65535\r\n", "")
	add("version 1, unknown with nonsense", "PROXY UNKNOWN \x00\xff @\r\n", "")
	add("version 1, TCP4", "PROXY TCP4 192.0.2.66 203.0.113.9 1000 443\r\n", "192.0.2.66")
	add("version 1, TCP6", "PROXY TCP6 2001:db8::42 2001:db8::9 1000 443\r\n", "2001:db8::42")
	add("version 1, IPv4 in TCP6", "PROXY TCP6 ::ffff:192.0.2.66 ::ffff:203.0.113.9 1000 443\r\n", "192.0.2.66")
	add("version 1, another family's address", "PROXY TCP4 2001:db8::42 2001:db8::9 1000 443\r\n", "-")
	add("version 1, no addresses", "PROXY TCP4\r\n", "-")
	add("version 1, UDP4", "PROXY UDP4 192.0.2.66 203.0.113.9 1000 443\r\n", "-") // there is none
	add("version 1, another word", "PROXY UNKNOWNS\r\n", "-")

	for _, family := range []byte{0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, 0x01, 0x10, 0x13, 0x41, 0xff} {
		for name, block := range map[string]string{"no block": "", "short block": "x", "IPv4": block4, "IPv6": block6, "a path": blockUnix, "IPv4 and more": block4 + noopTLV + uniqueTLV} {
			add(fmt.Sprintf("version 2, local, family %#02x, %s", family, name), proxyHeader2(local, family, block), "")
		}
	}
	for name, block := range map[string]string{"no block": "", "more": noopTLV, "IPv4": block4, "IPv6 and more": block6 + noopTLV} {
		add("version 2, unspecified, "+name, proxyHeader2(proxy, 0x00, block), "")
	}
	for _, f := range []struct {
		name          string
		family        byte
		block, client string
	}{
		{"TCP over IPv4", 0x11, block4, "192.0.2.66"},
		{"UDP over IPv4", 0x12, block4, "192.0.2.66"},
		{"TCP over IPv6", 0x21, block6, "2001:db8::42"},
		{"UDP over IPv6", 0x22, block6, "2001:db8::42"},
		{"TCP over IPv6 with IPv4", 0x21, block4In6, "192.0.2.66"},
		{"UDP over IPv6 with IPv4", 0x22, block4In6, "192.0.2.66"},
		{"a stream of a local socket", 0x31, blockUnix, ""},
		{"datagrams of a local socket", 0x32, blockUnix, ""},
	} {
		add("version 2, "+f.name, proxyHeader2(proxy, f.family, f.block), f.client)
		add("version 2, "+f.name+" and more", proxyHeader2(proxy, f.family, f.block+noopTLV+uniqueTLV), f.client)
		add("version 2, "+f.name+", short", proxyHeader2(proxy, f.family, f.block[:len(f.block)-1]), "-")
		add("version 2, "+f.name+", without a block", proxyHeader2(proxy, f.family, ""), "-")
	}
	for _, family := range []byte{0x01, 0x02, 0x03, 0x10, 0x13, 0x20, 0x23, 0x30, 0x33, 0x41, 0xff} {
		add(fmt.Sprintf("version 2, family %#02x", family), proxyHeader2(proxy, family, block6+blockUnix), "-")
	}
	for _, command := range []byte{0x22, 0x2f, 0x10, 0x11, 0x31, 0x00} {
		add(fmt.Sprintf("version 2, command %#02x", command), proxyHeader2(command, 0x11, block4), "-")
		add(fmt.Sprintf("version 2, command %#02x, unspecified", command), proxyHeader2(command, 0x00, ""), "-")
	}
	return cases
}

// TestProxyHeaders has the headers of both versions in all their families: what
// docs/CONFIGURATION.md says of connections for which no client is named holds for each.
func TestProxyHeaders(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	start := func(more string) *testGateway {
		return startGateway(t, strings.Replace(oneBucket("/pub", origin.URL), "server: {ready: config", proxyYAML+more, 1))
	}
	gw, closed, limited := start(", deny: [192.0.2.77]"), start(", deny: [127.0.0.1]"), start(", limits: {max_connections_per_address: 1}")

	// Of the proxy itself, for as long as the test takes.
	held := dial(t, limited.addr)
	io.WriteString(held, "PROXY UNKNOWN\r\nGET /health HTTP/1.1\r\nHost: g\r\n\r\n")
	if n, err := held.Read(make([]byte, 4096)); n == 0 {
		t.Fatal(err)
	}

	const get = "GET /pub/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\nX-Request-ID: invented\r\nX-Forwarded-For: 192.0.2.77\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
	bad := 0.0
	for _, c := range proxyHeaderCases() {
		t.Run(c.name, func(t *testing.T) {
			raw := gw.rawFor(5*time.Second, c.header+get)
			if c.client == "-" {
				bad++
				if raw != "" {
					t.Errorf("answered: %.100q", raw)
				}
				return
			}
			client, ofProxy := c.client, c.client == ""
			if ofProxy {
				client = "127.0.0.1"
			}
			if statusOf(raw) != 200 || strings.Contains(raw, "invented") {
				t.Fatalf("%.300q", raw)
			}
			_, id, _ := strings.Cut(raw, "\r\nX-Request-ID: ")
			id, _, _ = strings.Cut(id, "\r\n")
			gw.log.waitFor(t, id)
			for line := range strings.Lines(gw.log.String()) {
				if strings.Contains(line, id) && (!strings.Contains(line, `"client":"`+client+`"`) || strings.Contains(line, "0af7651916cd43dd8448eb211c80319c")) {
					t.Errorf("want the client %s, and no trace: %s", client, line)
				}
			}

			// Lists and limits take it for the proxy, and nobody else.
			want := 200
			if ofProxy {
				want = 403
				if raw := limited.rawFor(5*time.Second, c.header+get); statusOf(raw) != 503 {
					t.Errorf("beyond the proxy's limit: %.300q", raw)
				}
			}
			if raw := closed.rawFor(5*time.Second, c.header+get); statusOf(raw) != want {
				t.Errorf("with the proxy denied: status %d, want %d: %.300q", statusOf(raw), want, raw)
			}
			if raw := closed.rawFor(5*time.Second, c.header+"GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n"); statusOf(raw) != 200 {
				t.Errorf("a health check: %.300q", raw)
			}
		})
	}
	if n := gw.metricValue("yatagarasu_bad_proxy_headers_total"); n != bad {
		t.Errorf("%v bad headers, want %v", n, bad)
	}
}
