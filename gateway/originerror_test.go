package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestValidationByHead holds what is answered when the headers alone decide.
func TestValidationByHead(t *testing.T) {
	for _, c := range []struct {
		name   string
		head   func(w http.ResponseWriter) // the origin's answer to HEAD
		header string
		want   int
	}{
		{"gone in the meantime", func(w http.ResponseWriter) { w.WriteHeader(404) }, `If-None-Match: "e1"`, 404},
		{"changed in the meantime", func(w http.ResponseWriter) { w.Header().Set("ETag", `"e2"`); w.Header().Set("Content-Length", "4") }, `If-None-Match: "e1"`, 502},
		{"as it was", func(w http.ResponseWriter) { w.Header().Set("ETag", `"e1"`); w.Header().Set("Content-Length", "4") }, `If-None-Match: "e1"`, 304},
		{"an unsatisfiable range of it", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "4") }, `Range: bytes=-0`, 416},
		{"an unsatisfiable range of nothing", func(w http.ResponseWriter) { w.WriteHeader(404) }, `Range: bytes=-0`, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "HEAD" {
					c.head(w)
					return
				}
				w.WriteHeader(304)
			})
			gw := startGateway(t, oneBucket("/pub", origin.URL))
			r, body := gw.do("GET", "/pub/x", c.header)
			if r.StatusCode != c.want {
				t.Errorf("status %d, want %d; body %s", r.StatusCode, c.want, body)
			}
			if c.want == 416 && r.Header.Get("Content-Range") != "bytes */4" {
				t.Errorf("Content-Range %q", r.Header.Get("Content-Range"))
			}
			gw.settle(t)
		})
	}
	t.Run("the origin breaks off", func(t *testing.T) {
		origin := startFaulty(t, func(c net.Conn, head string) bool {
			if strings.HasPrefix(head, "HEAD ") {
				return false
			}
			io.WriteString(c, "HTTP/1.1 304 Not Modified\r\n\r\n")
			return true
		})
		gw := startGateway(t, oneBucket("/pub", origin.endpoint))
		if r, _ := gw.do("GET", "/pub/x", `If-None-Match: "e1"`); r.StatusCode != 502 {
			t.Errorf("status %d", r.StatusCode)
		}
	})
}

func TestErrorDocuments(t *testing.T) {
	const doc = "<Error><Code>NoSuchKey</Code></Error>"
	for name, c := range map[string]struct {
		response string
		want     int
	}{
		"chunked":      {"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n25\r\n" + doc + "\r\n0\r\n\r\n", 404},
		"until close":  {"HTTP/1.1 404 Not Found\r\n\r\n" + doc, 404},
		"broken off":   {"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n", 502},
		"endless":      {"HTTP/1.1 500 Oops\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 1<<20), 502},
		"an odd code":  {"HTTP/1.1 404 Not Found\r\nContent-Length: 43\r\n\r\n<Error><Code>SomethingElse1</Code></Error>x", 502},
		"status 999":   {"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", 502},
		"plain denial": {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403},
	} {
		t.Run(name, func(t *testing.T) {
			origin := startFaulty(t, func(conn net.Conn, _ string) bool {
				io.WriteString(conn, c.response)
				return false
			})
			gw := startGateway(t, oneBucket("/pub", origin.endpoint))
			r, body := gw.do("GET", "/pub/x")
			if r.StatusCode != c.want || strings.Contains(string(body), "Error>") {
				t.Errorf("status %d, want %d; body %s", r.StatusCode, c.want, body)
			}
			gw.settle(t)
		})
	}
}

// TestForeignAnswers has something else than S3 answer in the origin's place: what is
// stored stays, and what is not gets no entry.
func TestForeignAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"the backend of an ingress": "default backend - 404",
		"HTML of a firewall":        "<html><head><title>Forbidden</title></head><body><h1>Forbidden</h1></body></html>",
		"JSON":                      `{"code":"NoSuchKey","message":"no"}`,
		"XML of another kind":       `<?xml version="1.0"?><Fault><Code>NoSuchKey</Code></Fault>`,
		"XML that is cut off":       `<?xml version="1.0"?><Error><Code>NoSuchKey</Code>`,
		"an encoding of no server":  `<?xml version="1.0" encoding="EBCDIC-US"?><Error><Code>NoSuchKey</Code></Error>`,
	} {
		for _, status := range []int{404, 403, 400, 405, 401, 410} {
			t.Run(fmt.Sprint(name, ", ", status), func(t *testing.T) {
				foreign := func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(status)
					io.WriteString(w, body)
				}
				origin := startScripted(t, version("v1"))
				gw := startGateway(t, onceYAML(cachedYAML(origin.URL, "ttl: 60s", "stale_if_error: 600s", "negative_ttl: 60s")))
				clock := gw.withClock()
				gw.expect(t, "/pub/x", 200, "v1", "MISS")
				clock.advance(61 * time.Second)
				origin.set(foreign)
				gw.expect(t, "/pub/x", 200, "v1", "STALE")
				for range 2 {
					if r, got := gw.do("GET", "/pub/absent"); r.StatusCode != 502 || r.Header.Get("X-Cache") != "MISS" {
						t.Errorf("what is not stored: %d %s %s", r.StatusCode, r.Header.Get("X-Cache"), got)
					}
				}
				origin.set(version("v1"))
				gw.expect(t, "/pub/x", 200, "v1", "REVALIDATED")
				gw.expect(t, "/pub/absent", 200, "v1", "MISS")
			})
		}
	}
	t.Run("an absence with more behind it is not remembered", func(t *testing.T) {
		origin := startFaulty(t, func(c net.Conn, _ string) bool {
			const doc = "<Error><Code>NoSuchKey</Code></Error>"
			fmt.Fprintf(c, "HTTP/1.1 404 X\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\n", len(doc), doc)
			return false
		})
		gw := startGateway(t, onceYAML(cachedYAML(origin.endpoint, "negative_ttl: 60s")))
		for range 2 {
			if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 404 || r.Header.Get("X-Cache") != "MISS" {
				t.Errorf("status %d, %s", r.StatusCode, r.Header.Get("X-Cache"))
			}
		}
	})
	t.Run("an absence with more behind it leaves what is stored", func(t *testing.T) {
		answer := okHead + "Content-Length: 2\r\n\r\nv1"
		origin := startFaulty(t, func(c net.Conn, _ string) bool { io.WriteString(c, answer); return false })
		gw := startGateway(t, onceYAML(cachedYAML(origin.endpoint, "ttl: 60s", "stale_if_error: 600s")))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 200, "v1", "MISS")
		clock.advance(61 * time.Second)
		answer = "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n"
		gw.do("GET", "/pub/x")
		answer = "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
		gw.expect(t, "/pub/x", 200, "v1", "STALE")
	})
	t.Run("an empty 404 is absence", func(t *testing.T) {
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) })
		gw := startGateway(t, onceYAML(cachedYAML(origin.URL, "negative_ttl: 60s")))
		if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 404 {
			t.Errorf("status %d", r.StatusCode)
		}
		if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 404 || r.Header.Get("X-Cache") != "HIT" {
			t.Errorf("status %d, %s", r.StatusCode, r.Header.Get("X-Cache"))
		}
	})
}

// TestCausedByTheRequest has the origin refuse what clients ask for: it is asked once each
// time, and nobody else is refused for it.
func TestCausedByTheRequest(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   int
		code   string
	}{
		{501, "", 501, "not_implemented"},
		{501, "<Error><Code>NotImplemented</Code></Error>", 501, "not_implemented"},
		{501, "<html>Not Implemented</html>", 501, "not_implemented"},
		{414, "<html>URI Too Long</html>", 414, "target_too_long"},
		{431, "<html>Request Header Fields Too Large</html>", 431, "header_too_large"},
		{400, "<Error><Code>RequestHeaderSectionTooLarge</Code></Error>", 431, "header_too_large"},
		{400, "<Error><Code>InvalidArgument</Code></Error>", 400, "bad_key"},
		{400, "<Error><Code>InvalidURI</Code></Error>", 400, "bad_key"},
		{400, "<Error><Code>KeyTooLongError</Code></Error>", 400, "bad_key"},
		{400, "<Error><Code>InvalidRequest</Code></Error>", 502, "bad_gateway"},
		{400, "<html>Bad Request</html>", 502, "bad_gateway"},
		{403, "<html>Forbidden</html>", 502, "bad_gateway"},
		{404, "<Error><Code>NoSuchVersion</Code></Error>", 404, "not_found"},
		{405, "<Error><Code>MethodNotAllowed</Code></Error>", 404, "not_found"},
		{405, "<html>Not Allowed</html>", 502, "bad_gateway"},
		{403, "<Error><Code>InvalidObjectState</Code></Error>", 403, "object_archived"},
		{400, "<Error><Code>KMS.DisabledException</Code></Error>", 502, "bad_gateway"},
		{416, "<Error><Code>InvalidPartNumber</Code></Error>", 502, "bad_gateway"}, // to what is no part
	} {
		t.Run(fmt.Sprint(c.status, " ", c.body), func(t *testing.T) {
			var asked atomic.Int64
			origin := startFaulty(t, func(conn net.Conn, head string) bool {
				if strings.Contains(head, "/good ") {
					io.WriteString(conn, okHead+"Content-Length: 2\r\n\r\nok")
					return true
				}
				asked.Add(1)
				fmt.Fprintf(conn, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", c.status, len(c.body), c.body)
				return true
			})
			gw := startGateway(t, oneBucket("/pub", origin.endpoint))
			const times = 40
			for range times {
				if r, body := gw.do("GET", "/pub/bad"); r.StatusCode != c.want || !strings.Contains(string(body), c.code) {
					t.Fatalf("status %d: %s", r.StatusCode, body)
				}
			}
			if n := asked.Load(); n != times {
				t.Errorf("the origin was asked %d times for %d requests", n, times)
			}
			if r, _ := gw.do("GET", "/pub/good"); r.StatusCode != 200 {
				t.Errorf("another object: %d", r.StatusCode)
			}
			if _, opens := gw.Generation.Load().Buckets[0].Origin.Replicas[0].Health.Breaker.State(); opens != 0 {
				t.Errorf("the breaker has opened %d times", opens)
			}
		})
	}
}

// TestKeyManagementComesBack has the key management of an origin fail for a moment.
func TestKeyManagementComesBack(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		asked  int64
		want   int
	}{
		{400, "KMS.ThrottlingException", 2, 200},
		{503, "KMS.ThrottlingException", 2, 200},
		{500, "KMS.KMSInternalException", 2, 200},
		{400, "KMS.DependencyTimeoutException", 2, 200},
		{400, "KMS.DisabledException", 1, 502},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.code), func(t *testing.T) {
			var asked atomic.Int64
			then := failing(1, "ok", says(c.status, c.code))
			origin := startFaulty(t, func(conn net.Conn, head string) bool { asked.Add(1); return then(conn, head) })
			gw := startGateway(t, oneBucket("/pub", origin.endpoint))
			if r, body := gw.do("GET", "/pub/x"); r.StatusCode != c.want || asked.Load() != c.asked {
				t.Errorf("status %d after %d requests: %s", r.StatusCode, asked.Load(), body)
			}
		})
	}
}
