package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
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
	t.Run("classified at most once a second", func(t *testing.T) {
		origin := startOrigin(t, s3Refusal(403, "AccessDenied"))
		gw := startGateway(t, oneBucket("/pub", origin.URL))
		statuses := map[int]int{}
		for range 20 {
			r, _ := gw.do("HEAD", "/pub/x")
			statuses[r.StatusCode]++
		}
		gets := 0
		for _, asked := range origin.seen() {
			if asked.Method == "GET" {
				gets++
			}
		}
		if gets == 0 || gets > 2 || statuses[403] != gets || statuses[502] != 20-gets {
			t.Errorf("%d GETs, statuses %v", gets, statuses)
		}
		gw.log.waitFor(t, "unknown_head")
	})
	t.Run("a GET that answers otherwise explains nothing", func(t *testing.T) {
		origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "HEAD" {
				w.WriteHeader(403)
				return
			}
			fmt.Fprint(w, "x")
		})
		gw := startGateway(t, oneBucket("/pub", origin.URL))
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

// TestHeadTakesEachTurn has three replicas refuse HEAD: to ask each for the reason takes
// the turn of each.
func TestHeadTakesEachTurn(t *testing.T) {
	var ends []string
	for range 3 {
		ends = append(ends, startFaulty(t, says(403, "SignatureDoesNotMatch")).endpoint)
	}
	gw := startGateway(t, replicasYAML(ends, "retry: {tries: 5}"))
	gw.do("HEAD", "/pub/x")
	for i, r := range gw.generation.Load().buckets[0].replicas {
		if r.classifiedAt.Load() == 0 {
			t.Errorf("replica %d was asked out of turn", i)
		}
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
