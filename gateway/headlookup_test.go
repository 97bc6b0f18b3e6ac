package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/pool"
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
	t.Run("look-ups that break off are nobody else's", func(t *testing.T) {
		var refused sync.WaitGroup // HEADs of others
		const others = 10
		refused.Add(others)
		var begun sync.Once
		asked, joined := make(chan struct{}), make(chan struct{}) // the look-up is; the others wait for it
		origin := startFaulty(t, func(conn net.Conn, head string) bool {
			switch {
			case strings.HasPrefix(head, "HEAD "):
				io.WriteString(conn, "HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n")
				if strings.Contains(head, "/x ") {
					refused.Done()
				}
				return true
			case strings.Contains(head, "/broken "):
				begun.Do(func() { close(asked) }) // a kept connection is replaced once
				<-joined
				return false
			}
			return says(400, "InvalidArgument")(conn, head)
		})
		gw := startGateway(t, onceYAML(oneBucket("/pub", origin.endpoint)))
		var wg sync.WaitGroup
		ask := func(key string, want int) {
			wg.Go(func() {
				if r, _ := gw.do("HEAD", "/pub/"+key); r.StatusCode != want {
					t.Errorf("%s: status %d, want %d", key, r.StatusCode, want)
				}
			})
		}
		ask("broken", 502)
		<-asked
		for range others {
			ask("x", 400)
		}
		refused.Wait()
		eventually(t, "only the look-up has a connection", func() bool {
			var s pool.Stats
			for b := range gw.Generation.Load().Origins() {
				for _, r := range b.Replicas {
					r.Upstream.UpdateStats(&s)
				}
			}
			return s.Open-s.Idle == 1
		})
		close(joined)
		wg.Wait()
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
	first := startFaulty(t, silent)
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
	return func(c net.Conn, head string) bool {
		now := time.Now().Add(time.Hour).UTC()
		at, err := signedAt(head)
		if off := at.Sub(now); err != nil || off > 15*time.Minute || off < -15*time.Minute {
			return says(403, "RequestTimeTooSkewed", "Date: "+now.Format(http.TimeFormat))(c, head)
		}
		return then(c, head)
	}
}
