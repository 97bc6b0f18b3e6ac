package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHosts sends each authority as Host, and as that of an absolute form: the gateway
// answers both alike, or with 400.
func TestHosts(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, oneBucket("/pub", origin.URL))
	for _, tc := range authorities(t, "request/testdata/authorities.txt") {
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
	// one is Head.Check's to judge in HTTP/1.0 alone, which needs none.
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

// authority is a row of request/testdata/authorities.txt.
type authority struct {
	name, raw string
	want      bool
}

// authorities reads the table of hosts at path.
func authorities(t testing.TB, path string) (rows []authority) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		raw, err := strconv.Unquote(columns[1])
		if err != nil || len(columns) != 3 {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		rows = append(rows, authority{columns[0], raw, columns[2] == "true"})
	}
	return rows
}
