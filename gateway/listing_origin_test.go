package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestListingIsCoalesced has many ask for one page at once: S3 is asked once, and again when the
// page is a few seconds old.
func TestListingIsCoalesced(t *testing.T) {
	release := make(chan struct{})
	l := &lister{keys: []string{"a", "b/c"}}
	l.hook = func(http.ResponseWriter, *http.Request) bool { <-release; return false }
	o := startLister(t, l)
	gw := startGateway(t, withListing(oneBucket("/pub", o.URL)))
	clock := gw.withClock()
	const many = 50
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() { wantNames(t, gw.list(t, "/pub/").names(), "a", "b/") })
	}
	gw.awaitInFlight(many)
	close(release)
	wg.Wait()
	for step, want := range []int{1, 1, 2} {
		wantNames(t, gw.list(t, "/pub/").names(), "a", "b/")
		if n := len(o.lists()); n != want {
			t.Errorf("after %d pauses S3 was asked for %d lists, want %d", step, n, want)
		}
		clock.advance(3 * time.Second)
	}
}

// TestListingFailures has the origin answer what is no list. No failure is kept.
func TestListingFailures(t *testing.T) {
	const head, foot = `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`, `</ListBucketResult>`
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, body) }
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9000")
		io.WriteString(w, head)
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		code   string
	}{
		{"internal error", s3Answer(500, "InternalError"), 502, "bad_gateway"},
		{"overloaded", s3Answer(503, "SlowDown"), 503, "overloaded"},
		{"no such bucket", s3Answer(404, "NoSuchBucket"), 502, "bad_gateway"},
		{"wrong credential", s3Answer(403, "InvalidAccessKeyId"), 502, "bad_gateway"},
		{"forbidden by a proxy", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(403)
			io.WriteString(w, "<html>no</html>")
		}, 502, "bad_gateway"},
		{"forbidden without a word", answer(403, ""), 403, "listing_denied"},
		{"404 without a word", answer(404, ""), 404, "not_found"},
		{"not implemented", s3Answer(501, "NotImplemented"), 501, "not_implemented"},
		{"broken off", cut, 502, "bad_gateway"},
		{"no XML", answer(200, "hello"), 502, "bad_gateway"},
		{"a page of HTML", answer(200, "<html></html>"), 502, "bad_gateway"},
		{"an error with 200", answer(200, "<Error><Code>InternalError</Code></Error>"), 502, "bad_gateway"},
		{"a bad escape", answer(200, head+"<EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents>"+foot), 502, "bad_gateway"},
		{"no way on", answer(200, head+"<IsTruncated>true</IsTruncated>"+foot), 502, "bad_gateway"},
		{"part of it", answer(206, head+foot), 502, "bad_gateway"},
		{"a very long list", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, head)
			for range 17 << 10 {
				if _, err := io.WriteString(w, "<Contents><Key>"+strings.Repeat("k", 1000)+"</Key></Contents>"); err != nil {
					return
				}
			}
			io.WriteString(w, foot)
		}, 502, "bad_gateway"},
		{"other folders' keys", answer(200, head+"<Contents><Key>b/x</Key></Contents><CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>"+foot), 404, "not_found"},
		{"nothing", answer(200, head+foot), 404, "not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := startScripted(t, c.answer)
			gw := startGateway(t, withListing(onceYAML(oneBucket("/pub", o.URL))))
			r, body := gw.do("GET", "/pub/a/")
			if r.StatusCode != c.status || !strings.Contains(string(body), fmt.Sprintf(`"error":%q`, c.code)) || strings.Contains(string(body), "Code>") {
				t.Errorf("status %d, %s; want %d, %s", r.StatusCode, body, c.status, c.code)
			}
			if n := gw.Origins.Buffers.InUse(); n != 0 {
				t.Errorf("%d buffers are in use", n)
			}
			// No failure is kept.
			o.set((&lister{keys: []string{"a/x"}}).serve)
			if c.status != 404 || c.name == "404 without a word" {
				wantNames(t, gw.list(t, "/pub/a/").names(), "x")
			}
		})
	}
}

// TestListingGoesOn repeats what fails for a moment, at the other replica if there is one.
func TestListingGoesOn(t *testing.T) {
	var asked atomic.Int64
	good := &lister{keys: []string{"a"}}
	shaky := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			s3Answer(500, "InternalError")(w, r)
		case 2:
			w.Header().Set("Content-Length", "9000")
			io.WriteString(w, "<ListBucketResult>")
		default:
			good.serve(w, r)
		}
	})
	gw := startGateway(t, withListing(oneBucket("/pub", shaky.URL)))
	wantNames(t, gw.list(t, "/pub/").names(), "a")
	if n := asked.Load(); n != 3 {
		t.Errorf("the origin is asked %d times, want 3", n)
	}

	near := startOrigin(t, s3Answer(503, "SlowDown"))
	far := startLister(t, &lister{keys: []string{"copy/b"}})
	gw = startGateway(t, withListing(fmt.Sprintf(`
server: {ready: config}
buckets:
  - name: main
    path_prefix: /pub
    s3:
      region: us-east-1
      access_key: id
      secret_key: s
      probe_interval: 0
      replicas:
        - {name: near, bucket: things, endpoint: %q}
        - {name: far, bucket: things, endpoint: %q, priority: 1, key_prefix: copy/}
`, near.URL, far.URL)))
	wantNames(t, gw.list(t, "/pub/").names(), "b")
	if n := len(near.lists()); n != 1 {
		t.Errorf("the failing replica is asked %d times, want once", n)
	}
	gw.log.waitFor(t, `"replica":"far"`)

	near.Close()
	gw = startGateway(t, withListing(oneBucket("/pub", near.URL)))
	if r, body := gw.do("GET", "/pub/"); r.StatusCode != 502 || !strings.Contains(string(body), "upstream_unreachable") {
		t.Errorf("status %d: %s", r.StatusCode, body)
	}
}

// TestListingIsBounded has one client ask for more and more lists that never come: it gets no
// more than its share, and another gets its own.
func TestListingIsBounded(t *testing.T) {
	release := make(chan struct{})
	l := &lister{keys: []string{"a/x", "b/x"}}
	l.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.RawQuery, "start-after") {
			<-release
		}
		return false
	}
	o := startLister(t, l)
	yaml := strings.Replace(oneBucket("/pub", o.URL), "server: {", "server: {trusted_proxies: [127.0.0.1], ", 1)
	gw := startGateway(t, withListing(yaml))
	var wg sync.WaitGroup
	var served, refused atomic.Int64
	for i := range 30 {
		wg.Go(func() {
			r, body := gw.do("GET", fmt.Sprintf("/pub/?start-after=%d", i), "X-Forwarded-For: 192.0.2.1", "Accept: application/json")
			switch {
			case r.StatusCode == 200:
				served.Add(1)
			case r.StatusCode == 503 && r.Header.Get("Retry-After") != "" && strings.Contains(string(body), "overloaded"):
				refused.Add(1)
			default:
				t.Errorf("status %d: %s", r.StatusCode, body)
			}
		})
	}
	eventually(t, "the client has its share", func() bool { return refused.Load() == 22 && len(o.lists()) == 8 })
	wantNames(t, gw.list(t, "/pub/", "X-Forwarded-For: 192.0.2.2").names(), "a/", "b/")
	close(release)
	wg.Wait()
	if served.Load() != 8 {
		t.Errorf("%d are served, want 8", served.Load())
	}
	wantNames(t, gw.list(t, "/pub/?start-after=a/", "X-Forwarded-For: 192.0.2.1").names(), "b/")
}

// TestListingIsARequest has the limits and the log of any other.
func TestListingIsARequest(t *testing.T) {
	o := startLister(t, &lister{keys: []string{"a"}})
	gw := startGateway(t, withListing(oneBucket("/pub", o.URL)+"    limits: {requests_per_second: 0.001, burst: 2}\n"))
	gw.list(t, "/pub/?start-after=%01")
	gw.list(t, "/pub/?start-after=%01")
	if r, body := gw.do("GET", "/pub/"); r.StatusCode != 429 {
		t.Errorf("status %d: %s", r.StatusCode, body)
	}
	gw.log.waitFor(t, `"path":"/pub/","bucket":"main","route":"/pub","status":200`)
	if n := gw.InFlight.Load(); n != 0 {
		eventually(t, "no request is under way", func() bool { return gw.InFlight.Load() == 0 })
	}
}
