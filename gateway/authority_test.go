package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// authorities are hosts with and without ports, and what only looks like one.
var authorities = []struct {
	name, raw string
	want      bool
}{
	{"name", "cdn.example.com", true},
	{"name in upper case with a dot at its end", "CDN.Example.COM.", true},
	{"every byte of a name", "aZ09-._~!$&()*+;=", true},
	{"underscore and dash first", "_a.-b", true},
	{"dots alone", "..", true},
	{"longer than any name of DNS", strings.Repeat("a", 300), true}, // equals no host of a bucket
	{"escaped bytes beyond ASCII", "b%C3%BCcher.example", true},
	{"IPv4", "192.0.2.1", true},
	{"numbers that are no address", "999.1.1", true}, // a name
	{"IPv6", "[2001:db8::1]", true},
	{"IPv6 in upper case", "[2001:DB8::1]", true},
	{"IPv4 in IPv6", "[::ffff:192.0.2.1]", true},
	{"port", "a:80", true},
	{"port of IPv6", "[::1]:80", true},
	{"empty port", "a:", true},
	{"empty port of IPv6", "[::1]:", true},
	{"port 0", "a:0", true}, // nobody looks at the port
	{"largest port", "a:65535", true},
	{"port with zeros first", "a:0000000000000000065535", true},

	{"empty", "", false},
	{"port alone", ":80", false},
	{"colon alone", ":", false},
	{"userinfo", "user@a", false},
	{"userinfo with a password", "user:pass@a:80", false},
	{"empty userinfo", "@a", false},
	{"port too large", "a:65536", false},
	{"port much too large", "a:99999", false},
	{"port beyond 64 bits", "a:18446744073709551696", false},
	{"port of IPv6 too large", "[::1]:65536", false},
	{"signed port", "a:+80", false},
	{"negative port", "a:-1", false},
	{"letters for a port", "a:http", false},
	{"hexadecimal port", "a:0x50", false},
	{"space before the port", "a: 80", false},
	{"two ports", "a:80:80", false},
	{"two colons", "a::80", false},
	{"IPv6 without brackets", "2001:db8::1", false},
	{"double quotes", `"a"`, false},
	{"one double quote", `a"`, false},
	{"quotes", "'a'", false},
	{"backquote", "`a`", false},
	{"list", "a,b", false},
	{"list with a space", "a, b", false},
	{"space", "a b", false},
	{"tab", "a\tb", false},
	{"URL", "http://a", false},
	{"path", "a/b", false},
	{"query", "a?b", false},
	{"fragment", "a#b", false},
	{"backslash", `a\b`, false},
	{"angle brackets", "<a>", false},
	{"braces", "{a}", false},
	{"bar", "a|b", false},
	{"caret", "a^b", false},
	{"NUL", "a\x00", false},
	{"DEL", "a\x7f", false},
	{"bytes beyond ASCII", "b\xc3\xbccher", false},
	{"bytes of no character", "a\xff", false},
	{"percent at the end", "a%", false},
	{"one digit", "a%c", false},
	{"escape without digits", "%zz", false},
	{"escaped letter", "%61", false},
	{"escaped NUL", "a%00", false},
	{"escaped at sign", "a%40b", false},
	{"escaped slash", "a%2Fb", false},
	{"open bracket", "[::1", false},
	{"bracket at the end", "::1]", false},
	{"bracket in the middle", "a[b", false},
	{"bracketed name", "[a]", false},
	{"bracketed IPv4", "[192.0.2.1]", false},
	{"empty brackets", "[]", false},
	{"two pairs of brackets", "[[::1]]", false},
	{"something behind the bracket", "[::1]a", false},
	{"a port without a colon", "[::1]80", false},
	{"IPv6 too long", "[1:2:3:4:5:6:7:8:9]", false},
	{"IPv6 with a zone", "[fe80::1%eth0]", false},
	{"IPv6 with an escaped zone", "[fe80::1%25eth0]", false},
	{"address of the future", "[v1.a:b]", false},
}

func TestIsAuthority(t *testing.T) {
	for _, tc := range authorities {
		t.Run(tc.name, func(t *testing.T) {
			got := isAuthority([]byte(tc.raw))
			if got != tc.want {
				t.Errorf("isAuthority(%q) = %t", tc.raw, got)
			}
			if model := naiveAuthority(tc.raw); model != tc.want {
				t.Errorf("the model says %t of %q", model, tc.raw)
			}
			if u, err := url.Parse("http://" + tc.raw + "/"); got && (err != nil || u.User != nil || u.Host != unescaped(tc.raw)) {
				t.Errorf("net/url says %+v, %v of %q", u, err, tc.raw)
			}
		})
	}
	for c := range 256 {
		for _, s := range []string{string([]byte{byte(c)}), string([]byte{'a', byte(c)}), string([]byte{'a', byte(c), 'b'}), "[::1]" + string([]byte{byte(c)}), "a:" + string([]byte{byte(c)})} {
			if got, want := isAuthority([]byte(s)), naiveAuthority(s); got != want {
				t.Errorf("isAuthority(%q) = %t, the model says %t", s, got, want)
			}
		}
	}
}

func FuzzIsAuthority(f *testing.F) {
	for _, tc := range authorities {
		f.Add(tc.raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if got, want := isAuthority([]byte(raw)), naiveAuthority(raw); got != want {
			t.Fatalf("isAuthority(%q) = %t, the model says %t", raw, got, want)
		}
	})
}

// TestHosts sends each authority as Host, and as that of an absolute form: the gateway
// answers both alike, or with 400.
func TestHosts(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, oneBucket("/pub", origin.URL))
	for _, tc := range authorities {
		t.Run(tc.name, func(t *testing.T) {
			want := 400
			if tc.want {
				want = 200
			}
			for _, version := range []string{"1.1", "1.0"} {
				head := fmt.Sprintf("GET /pub/x HTTP/%s\r\nHost: %s\r\nConnection: close\r\n\r\n", version, tc.raw)
				if got := statusOf(gw.raw(head)); got != want && tc.raw != "" {
					t.Errorf("%q: status %d, want %d", head, got, want)
				}
				if strings.ContainsAny(tc.raw, " /?") {
					continue // ends the authority, or the target
				}
				head = fmt.Sprintf("GET http://%s/pub/x HTTP/%s\r\nHost: a\r\nConnection: close\r\n\r\n", tc.raw, version)
				if got := statusOf(gw.raw(head)); got != want {
					t.Errorf("%q: status %d, want %d", head, got, want)
				}
			}
		})
	}
	// fasthttp wants a Host that says something of HTTP/1.1, whatever the target. An empty
	// one is checkHead's for HTTP/1.0 alone, which needs none.
	for head, want := range map[string]int{
		"GET /pub/x HTTP/1.1\r\nHost:\r\n":             400,
		"GET /pub/x HTTP/1.1\r\nHost: \t \r\n":         400,
		"GET /pub/x HTTP/1.0\r\nHost:\r\n":             200,
		"GET /pub/x HTTP/1.0\r\n":                      200,
		"GET /pub/x HTTP/1.1\r\n":                      400,
		"GET http://a/pub/x HTTP/1.1\r\n":              400,
		"GET http://a/pub/x HTTP/1.0\r\n":              200,
		"GET http://a/pub/x HTTP/1.1\r\nHost:\r\n":     400,
		"GET http://a/pub/x HTTP/1.1\r\nHost: b@c\r\n": 400,
		"GET http://a/pub/x HTTP/1.0\r\nHost: b@c\r\n": 400,
	} {
		if got := statusOf(gw.raw(head + "Connection: close\r\n\r\n")); got != want {
			t.Errorf("%q: status %d, want %d", head, got, want)
		}
	}
}

// TestAbsoluteForm has targets with an authority, which takes the place of Host.
func TestAbsoluteForm(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) { serveText(r.URL.Path)(w, r) })
	b := bucketYAML("mine", "/pub", origin.URL)
	b = strings.Replace(strings.Replace(b, "    s3:", "    hosts: [\"mine.test\", \"2001:db8::1\"]\n    s3:", 1), `"things"`, `"mine"`, 1)
	gw := startGateway(t, oneBucket("/pub", origin.URL)+b+"metrics: {enabled: true, address: 127.0.0.1, port: 0}\n")
	const mine, things = "/mine/x", "/things/x"
	for _, c := range []struct{ name, target, host, want string }{
		{"origin form", "/pub/x", "mine.test", mine},
		{"Host says the same", "http://mine.test/pub/x", "mine.test", mine},
		{"Host says another", "http://mine.test/pub/x", "other.test", mine},
		{"Host says the other way round", "http://other.test/pub/x", "mine.test", things},
		{"authority in other spellings", "HTTP://Mine.TEST.:8080/pub/x", "other.test", mine},
		{"https on a plain listener", "https://mine.test/pub/x", "other.test", mine},
		{"IPv6", "http://[2001:DB8::1]:80/pub/x", "other.test", mine},
		{"a URL in the query", "http://other.test/pub/x?http://mine.test/", "mine.test", things},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Another follows on the connection: nothing of the first is left in it.
			raw := gw.raw("GET " + c.target + " HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n" +
				"GET /pub/x HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
			answers := bufio.NewReader(strings.NewReader(raw))
			for _, want := range []string{c.want, things} {
				r, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatalf("%v in %.600q", err, raw)
				}
				if body, _ := io.ReadAll(r.Body); r.StatusCode != 200 || string(body) != want {
					t.Errorf("%d %q, want the object %s", r.StatusCode, body, want)
				}
			}
		})
	}

	for name, request := range map[string]string{
		"served":                 "GET http://mine.test/pub/logged?token=c2VjcmV0 HTTP/1.1\r\nHost: a\r\n",
		"refused for userinfo":   "GET http://user:c2VjcmV0@mine.test/pub/logged?token=c2VjcmV0 HTTP/1.1\r\nHost: a\r\n",
		"refused for its scheme": "GET ftp://user:c2VjcmV0@mine.test/pub/logged HTTP/1.1\r\nHost: a\r\n",
		"refused by the parser":  "GET http://user:c2VjcmV0@mine.test:x/pub/logged HTTP/1.1\r\nHost: a\r\n",
		"refused for its Host":   "GET http://mine.test/pub/logged?token=c2VjcmV0 HTTP/1.1\r\nHost: user:c2VjcmV0@a\r\n",
		"refused for its method": "POST http://mine.test/pub/logged?token=c2VjcmV0 HTTP/1.1\r\nHost: a\r\n",
		"CONNECT with userinfo":  "CONNECT user:c2VjcmV0@mine.test:443 HTTP/1.1\r\nHost: a\r\n",
		"a query without a path": "GET http://mine.test?token=c2VjcmV0 HTTP/1.1\r\nHost: a\r\n",
	} {
		t.Run("logged: "+name, func(t *testing.T) {
			raw := gw.raw(request + "Connection: close\r\n\r\n")
			_, rest, _ := strings.Cut(raw, "\r\nX-Request-ID: ")
			id, _, _ := strings.Cut(rest, "\r\n")
			gw.log.waitFor(t, id)
			path := `"path":"/pub/logged"`
			switch {
			case strings.HasPrefix(request, "CONNECT"):
				path = `"path":"mine.test:443"`
			case strings.Contains(request, "mine.test?"):
				path = `"path":"/"`
			case strings.Contains(request, "Host: user"):
				path = `"path":""` // nothing of a bad head is looked at
			}
			for line := range strings.Lines(gw.log.String()) {
				if strings.Contains(line, id) && !strings.Contains(line, path) {
					t.Errorf("no %s in %s", path, line)
				}
			}
			if strings.Contains(gw.log.String(), "c2VjcmV0") {
				t.Errorf("a secret is logged: %s", gw.log.String())
			}
		})
	}

	own := gw.MetricsAddr().String()
	for _, c := range []struct {
		address, target string
		want            int
	}{
		{gw.addr, "http://mine.test/health", 200},
		{gw.addr, "http://mine.test/admin/status", 404},
		{gw.addr, "http://mine.test/metrics", 404},
		{own, "http://mine.test/metrics", 200},
		{own, "http://mine.test", 200}, // the status page
		{own, "http://mine.test/ready", 200},
		{own, "http://localhost/admin/status", 200},
		{own, "http://localhost:1/admin/status", 200},
		{own, "http://[::1]/admin/status", 200},
		{own, "http://mine.test/admin/status", 403}, // nobody calls localhost by that name
		{own, "http://u@localhost/admin/status", 400},
		{own, "//localhost/admin/status", 400},
	} {
		raw := gw.rawAt(c.address, 10*time.Second, "GET "+c.target+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if got := statusOf(raw); got != c.want {
			t.Errorf("%s: %d, want %d: %.300q", c.target, got, c.want, raw)
		}
	}
	if raw := gw.rawAt(own, 10*time.Second, "GET http://localhost/admin/status HTTP/1.1\r\nHost: mine.test\r\nConnection: close\r\n\r\n"); statusOf(raw) != 200 {
		t.Errorf("the authority does not stand for Host: %.300q", raw)
	}
}
