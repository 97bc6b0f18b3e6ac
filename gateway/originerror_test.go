package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestHeadErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		code   string
		more   string // of the bucket
		want   int
		reason string
	}{
		{"denied", 403, "AccessDenied", "", 403, "access_denied"},
		{"denied, shown as absent", 403, "AccessDenied", "access_denied: 404", 404, "no_such_key"},
		{"our signature", 403, "SignatureDoesNotMatch", "", 502, "signature"},
		{"archived", 403, "InvalidObjectState", "", 403, "object_archived"},
		{"expired token", 400, "ExpiredToken", "", 502, "credentials"},
		{"absent", 404, "NoSuchKey", "", 404, "no_such_key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := startOrigin(t, s3Refusal(c.status, c.code))
			gw := startGateway(t, oneBucket("/pub", origin.URL, c.more))
			r, _ := gw.do("HEAD", "/pub/x")
			if r.StatusCode != c.want {
				t.Errorf("status %d, want %d", r.StatusCode, c.want)
			}
			gw.log.waitFor(t, fmt.Sprintf(`"reason":%q`, c.reason))
			for _, asked := range origin.seen()[1:] {
				if asked.Method != "GET" || asked.Header.Get("Range") != "bytes=0-0" {
					t.Errorf("to classify, the origin was asked %s %v", asked.Method, asked.Header)
				}
			}
		})
	}
}

// TestHeadRefusals has an origin refuse HEAD without a document, many requests at once
// and one after another: each gets what GET gets.
func TestHeadRefusals(t *testing.T) {
	const firewall = "<html><body>403 Forbidden</body></html>"
	doc := func(code string) string { return "<Error><Code>" + code + "</Code></Error>" }
	for _, c := range []struct {
		name   string
		head   int
		get    int
		body   string
		more   string // of the bucket
		want   int
		reason string
		most   int // look-ups for 60 requests
	}{
		{"absent, without ListBucket", 403, 403, doc("AccessDenied"), "", 403, "access_denied", 20},
		{"absent, without ListBucket, shown as absent", 403, 403, doc("AccessDenied"), "access_denied: 404", 404, "no_such_key", 20},
		{"HEAD alone is denied", 403, 206, "h", "", 403, "access_denied", 20},
		{"no permission to decrypt", 403, 403, doc("kms:NotAuthorized"), "", 0, "", 20}, // then taken for denied, as the key is proven
		{"absent", 404, 404, doc("NoSuchKey"), "", 404, "no_such_key", 20},
		{"an unknown key, by versitygw", 404, 404, doc("XAdminUserNotFound"), "", 502, "credentials", 60},
		{"no bucket", 404, 404, doc("NoSuchBucket"), "", 502, "no_such_bucket", 60},
		{"a backend that is no S3 server", 404, 404, "default backend - 404", "", 502, "not_s3", 60},
		{"a wrong secret", 403, 403, doc("SignatureDoesNotMatch"), "", 502, "signature", 60},
		{"R2, a wrong key", 401, 401, doc("Unauthorized"), "", 502, "credentials", 60},
		{"expired token", 400, 400, doc("ExpiredToken"), "", 502, "credentials", 60},
		{"a malformed version id", 400, 400, doc("InvalidArgument"), "", 400, "bad_key", 60},
		{"a customer's key is missing", 400, 400, doc("InvalidRequest"), "", 502, "protocol", 60},
		{"a firewall", 403, 403, firewall, "", 502, "not_s3", 60},
		{"400 of a proxy", 400, 400, firewall, "", 502, "not_s3", 60},
		{"405 of a proxy", 405, 405, firewall, "", 502, "not_s3", 60},
		{"405 of a proxy, without a word", 405, 405, "", "", 502, "protocol", 60},
		{"405 to a deleted version", 405, 405, doc("MethodNotAllowed"), "", 404, "delete_marker", 60},
		{"HEAD alone is unknown", 405, 206, "h", "", 502, "unknown_head", 60},
		{"HEAD alone says that it is absent", 404, 206, "h", "", 404, "no_such_key", 20},
		{"HEAD of an empty object alone is denied", 403, 416, doc("InvalidRange"), "", 403, "access_denied", 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			var gets atomic.Int64
			origin := startFaulty(t, func(conn net.Conn, head string) bool {
				if strings.HasPrefix(head, "HEAD ") {
					fmt.Fprintf(conn, "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", c.head)
					return true
				}
				gets.Add(1)
				partial := ""
				if c.get == 206 {
					partial = "Content-Range: bytes 0-0/5\r\n"
				}
				fmt.Fprintf(conn, "HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s", c.get, partial, len(c.body), c.body)
				return true
			})
			gw := startGateway(t, onceYAML(oneBucket("/pub", origin.endpoint, c.more)))
			var wg sync.WaitGroup
			ask := func(key string) {
				r, _ := gw.do("HEAD", "/pub/"+key)
				if c.want != 0 && r.StatusCode != c.want {
					t.Errorf("status %d, want %d", r.StatusCode, c.want)
				}
				if c.want == 0 && r.StatusCode != 403 && r.StatusCode != 502 {
					t.Errorf("status %d", r.StatusCode)
				}
			}
			for i := range 40 {
				wg.Go(func() { ask(fmt.Sprint("at-once-", i)) })
			}
			wg.Wait()
			for i := range 20 {
				ask(fmt.Sprint("in-turn-", i))
			}
			gw.log.waitFor(t, c.reason)
			if n := gets.Load(); n == 0 || n > int64(c.most) {
				t.Errorf("%d look-ups, want 1 to %d", n, c.most)
			}
			gw.settle(t)
		})
	}
	t.Run("a look-up that is slow, or breaks off, is nobody else's", func(t *testing.T) {
		gate := make(chan struct{})
		begun := make(chan struct{}, 1)
		origin := startFaulty(t, func(conn net.Conn, head string) bool {
			switch {
			case strings.HasPrefix(head, "HEAD "):
				io.WriteString(conn, "HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")
				return true
			case strings.Contains(head, "/slow "):
				begun <- struct{}{}
				<-gate
				return false
			}
			return says(403, "AccessDenied")(conn, head)
		})
		gw := startGateway(t, onceYAML(oneBucket("/pub", origin.endpoint)))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if r, _ := gw.do("HEAD", "/pub/slow"); r.StatusCode != 502 {
				t.Errorf("slow: status %d", r.StatusCode)
			}
		}()
		<-begun
		for range 3 {
			if r, _ := gw.do("HEAD", "/pub/x"); r.StatusCode != 403 {
				t.Errorf("another: status %d", r.StatusCode)
			}
		}
		close(gate)
		<-done
		gw.settle(t)
	})
	t.Run("the object is there by now", func(t *testing.T) {
		var heads atomic.Int64
		origin := startFaulty(t, func(conn net.Conn, head string) bool {
			switch {
			case strings.HasPrefix(head, "GET "):
				io.WriteString(conn, "HTTP/1.1 206 X\r\nContent-Range: bytes 0-0/5\r\nContent-Length: 1\r\n\r\nh")
			case heads.Add(1) == 1:
				io.WriteString(conn, "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
			default:
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
			}
			return true
		})
		gw := startGateway(t, onceYAML(oneBucket("/pub", origin.endpoint)))
		if r, _ := gw.do("HEAD", "/pub/x"); r.StatusCode != 200 || r.ContentLength != 5 {
			t.Errorf("status %d, length %d", r.StatusCode, r.ContentLength)
		}
		gw.settle(t)
	})
	t.Run("something else answers under a credential that is taken", func(t *testing.T) {
		for _, kind := range []string{"text/html", "text/plain; charset=utf-8", "application/xhtml+xml", "application/json"} {
			for _, status := range []int{403, 404} {
				origin := startFaulty(t, func(conn net.Conn, head string) bool {
					if strings.Contains(head, "/good ") {
						io.WriteString(conn, okHead+"Content-Length: 2\r\n\r\nok")
						return true
					}
					fmt.Fprintf(conn, "HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: 2\r\n\r\n", status, kind)
					if strings.HasPrefix(head, "GET ") {
						io.WriteString(conn, "no")
					}
					return true
				})
				gw := startGateway(t, onceYAML(oneBucket("/pub", origin.endpoint, "access_denied: 404")))
				gw.do("GET", "/pub/good")
				for _, method := range []string{"HEAD", "GET", "HEAD"} {
					if r, _ := gw.do(method, "/pub/x"); r.StatusCode != 502 {
						t.Errorf("%d %s: %s: status %d", status, kind, method, r.StatusCode)
					}
				}
				gw.settle(t)
			}
		}
	})
	t.Run("what is said before a credential is looked at proves nothing", func(t *testing.T) {
		for _, before := range []struct {
			status int
			code   string
		}{{400, "InvalidURI"}, {400, "KeyTooLongError"}, {400, "XMinioInvalidObjectName"}, {414, ""}, {431, ""}, {501, "NotImplemented"}, {400, "InvalidArgument"}} {
			origin := startFaulty(t, func(conn net.Conn, head string) bool {
				if strings.Contains(head, "/odd ") {
					return says(before.status, before.code)(conn, head)
				}
				return says(404, "XAdminUserNotFound")(conn, head)
			})
			gw := startGateway(t, onceYAML(oneBucket("/pub", origin.endpoint)))
			gw.do("GET", "/pub/odd")
			if r, _ := gw.do("HEAD", "/pub/x"); r.StatusCode != 502 {
				t.Errorf("after %d %s: status %d", before.status, before.code, r.StatusCode)
			}
			gw.settle(t)
		}
	})
	t.Run("another bucket after a reload", func(t *testing.T) {
		origin := startFaulty(t, func(conn net.Conn, head string) bool {
			if strings.Contains(head, "/things/") {
				io.WriteString(conn, okHead+"Content-Length: 2\r\n\r\nok")
				return true
			}
			return says(404, "NoSuchBucket")(conn, head)
		})
		yaml := onceYAML(metricsYAML + oneBucket("/pub", origin.endpoint))
		gw, write := fileGateway(t, yaml)
		gw.do("GET", "/pub/x")
		write(strings.Replace(yaml, `"things"`, `"thigns"`, 1))
		if status, r := gw.reloadCall(); status != 200 {
			t.Fatalf("%d %+v", status, r)
		}
		for _, method := range []string{"HEAD", "GET"} {
			if r, _ := gw.do(method, "/pub/x"); r.StatusCode != 502 {
				t.Errorf("%s: status %d", method, r.StatusCode)
			}
		}
		gw.settle(t)
	})
	t.Run("a credential that was taken and is no longer", func(t *testing.T) {
		var revoked atomic.Bool
		origin := startFaulty(t, func(conn net.Conn, head string) bool {
			if revoked.Load() {
				return says(403, "InvalidAccessKeyId")(conn, head)
			}
			return says(403, "AccessDenied")(conn, head)
		})
		gw := startGateway(t, onceYAML(oneBucket("/pub", origin.endpoint)))
		for _, c := range []struct {
			method string
			revoke bool
			want   int
		}{{"HEAD", false, 403}, {"GET", true, 502}, {"HEAD", true, 502}} {
			revoked.Store(c.revoke)
			if r, _ := gw.do(c.method, "/pub/x"); r.StatusCode != c.want {
				t.Errorf("%s: status %d, want %d", c.method, r.StatusCode, c.want)
			}
		}
		gw.settle(t)
	})
	t.Run("a 404 that S3 did not say", func(t *testing.T) {
		origin := startFaulty(t, func(conn net.Conn, head string) bool {
			const body = "default backend - 404"
			fmt.Fprintf(conn, "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", len(body))
			if !strings.HasPrefix(head, "HEAD ") {
				io.WriteString(conn, body)
			}
			return true
		})
		gw := startGateway(t, onceYAML(oneBucket("/pub", origin.endpoint)))
		if r, _ := gw.do("HEAD", "/pub/x"); r.StatusCode != 502 {
			t.Errorf("status %d", r.StatusCode)
		}
		gw.settle(t)
	})
}

// TestHeadIsCured has origins refuse HEAD for what helps a GET, too.
func TestHeadIsCured(t *testing.T) {
	ok := func(c net.Conn, head string) bool {
		if strings.Contains(head, "range: ") {
			io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/5\r\nContent-Length: 1\r\n\r\nh")
			return true
		}
		io.WriteString(c, okHead+"Content-Length: 5\r\n\r\n")
		return true
	}
	check := func(t *testing.T, gw *testGateway, times int) {
		t.Helper()
		for range times {
			if r, _ := gw.do("HEAD", "/pub/x"); r.StatusCode != 200 || r.ContentLength != 5 {
				t.Errorf("status %d, length %d", r.StatusCode, r.ContentLength)
			}
		}
		gw.settle(t)
	}
	for _, status := range []int{400, 403} {
		t.Run(fmt.Sprintf("a credential has expired, %d", status), func(t *testing.T) {
			origin := startFaulty(t, func(c net.Conn, head string) bool {
				if credentialOf.FindStringSubmatch(head)[1] != "AK2" {
					return says(status, "ExpiredToken")(c, head)
				}
				return ok(c, head)
			})
			i := startIssuer(t, numbered(time.Hour))
			check(t, startGateway(t, credentialsYAML(origin.endpoint, "source: instance, endpoint: "+i.URL)), 2)
		})
	}
	t.Run("the clock is wrong", func(t *testing.T) {
		origin := startFaulty(t, hourAhead(ok))
		check(t, startGateway(t, oneBucket("/pub", origin.endpoint)), 2)
	})
	for _, code := range []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "SlowDown"} {
		t.Run("another replica, "+code, func(t *testing.T) {
			first, second := startFaulty(t, says(403, code)), startFaulty(t, ok)
			check(t, startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint})), 5)
		})
	}
}

// TestHedgedHead has a HEAD refused that a hedge sent: what explains it is no cure.
func TestHedgedHead(t *testing.T) {
	var heads, gets atomic.Int64
	first := startFaulty(t, func(c net.Conn, head string) bool {
		time.Sleep(400 * time.Millisecond)
		return failing(0, "", nil)(c, head)
	})
	second := startFaulty(t, func(c net.Conn, head string) bool {
		if strings.HasPrefix(head, "HEAD ") {
			heads.Add(1)
			io.WriteString(c, "HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")
			return true
		}
		gets.Add(1)
		io.WriteString(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/5\r\nContent-Length: 1\r\n\r\nh")
		return true
	})
	gw := startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint}, "hedge: {after: 20ms, max: 100%}", "retry: {tries: 0}"))
	gw.do("HEAD", "/pub/x")
	gw.settle(t)
	if heads.Load() != 1 || gets.Load() != 1 {
		t.Errorf("%d HEADs and %d GETs, want one each", heads.Load(), gets.Load())
	}
}

// hourAhead is an origin whose clock is ahead by an hour.
func hourAhead(then func(net.Conn, string) bool) func(net.Conn, string) bool {
	stamp := regexp.MustCompile(`X-Amz-Date: (\w+)`)
	return func(c net.Conn, head string) bool {
		now := time.Now().Add(time.Hour).UTC()
		at, err := time.Parse("20060102T150405Z", stamp.FindStringSubmatch(head)[1])
		if off := at.Sub(now); err != nil || off > 15*time.Minute || off < -15*time.Minute {
			return says(403, "RequestTimeTooSkewed", "Date: "+now.Format(http.TimeFormat))(c, head)
		}
		return then(c, head)
	}
}

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
			if _, opens := gw.generation.Load().buckets[0].replicas[0].health.breaker.State(); opens != 0 {
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
