package gateway

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
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
