package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/pool"
)

// replicasYAML is a configuration of a bucket with a replica at each endpoint, in the
// order of preference. more are lines of its s3 block.
func replicasYAML(endpoints []string, more ...string) string {
	yaml := oneBucket("/pub", endpoints[0], append(more, "replicas:")...)
	for i, e := range endpoints {
		yaml += fmt.Sprintf("        - {name: r%d, endpoint: %q, priority: %d}\n", i, e, i)
	}
	return yaml
}

// failing answers the first n requests with script, and those after it with body.
func failing(n int64, body string, script func(c net.Conn, head string) bool) func(net.Conn, string) bool {
	var asked atomic.Int64
	return func(c net.Conn, head string) bool {
		if asked.Add(1) <= n {
			return script(c, head)
		}
		fmt.Fprintf(c, okHead+"Content-Length: %d\r\n\r\n%s", len(body), body)
		return true
	}
}

// says answers with a status and an S3 error.
func says(status int, code string, headers ...string) func(net.Conn, string) bool {
	return func(c net.Conn, head string) bool {
		doc := "<Error><Code>" + code + "</Code></Error>"
		if strings.HasPrefix(head, "HEAD ") {
			doc = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s", status, len(doc), strings.Join(append(headers, ""), "\r\n"), doc)
		return true
	}
}

// hangsUp closes the connection, without a word or after one.
func hangsUp(word string) func(net.Conn, string) bool {
	return func(c net.Conn, _ string) bool { io.WriteString(c, word); return false }
}

// silent never answers.
func silent(c net.Conn, _ string) bool { io.Copy(io.Discard, c); return false }

const shortTimeouts = "timeouts: {dial: 1, first_byte: 0.5s, idle: 0.5s}"

// TestRetries has an origin fail a number of times before it answers.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(net.Conn, string) bool
		times  int64
		status int
		asked  int64
	}{
		{"closes", hangsUp(""), 2, 200, 3},
		{"closes too often", hangsUp(""), 3, 502, 3},
		{"resets", func(c net.Conn, _ string) bool { reset(c); return false }, 2, 200, 3},
		{"closes in the head", hangsUp("HTTP/1.1 200 OK\r\nConte"), 2, 200, 3},
		{"closes before the body", hangsUp(okHead + "Content-Length: 900000\r\n\r\n"), 2, 200, 3},
		{"closes in a small body", hangsUp(okHead + "Content-Length: 5\r\n\r\nbod"), 2, 200, 3},
		{"500", says(500, "InternalError"), 2, 200, 3},
		{"502", says(502, ""), 2, 200, 3},
		{"503", says(503, "SlowDown"), 2, 200, 3},
		{"504", says(504, ""), 2, 200, 3},
		{"RequestTimeout", says(400, "RequestTimeout"), 2, 200, 3},
		{"503 too often", says(503, "SlowDown"), 3, 503, 3},
		{"soon", says(503, "SlowDown", "Retry-After: 1"), 1, 200, 2},
		{"later", says(503, "SlowDown", "Retry-After: 60"), 1, 503, 1},
		{"at a later time", says(503, "SlowDown", "Retry-After: "+time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), 1, 503, 1},
		{"at a time that is past", says(503, "SlowDown", "Retry-After: "+time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)), 1, 200, 2},
		{"silent", silent, 1, 200, 2},
		{"silent twice", silent, 2, 504, 2},
		{"no key", says(404, "NoSuchKey"), 1, 404, 1},
		{"denied", says(403, "AccessDenied"), 1, 403, 1},
		{"no bucket", says(404, "NoSuchBucket"), 1, 502, 1},
		{"signature", says(403, "SignatureDoesNotMatch"), 1, 502, 1},
		{"nonsense", hangsUp("SSH-2.0-x\r\n\r\n"), 1, 502, 1},
		{"redirect", says(301, "PermanentRedirect"), 1, 502, 1},
	} {
		for _, cached := range []string{"", "    cache: {enabled: true}\n"} {
			t.Run(c.name+strings.TrimSpace(cached), func(t *testing.T) {
				t.Parallel()
				origin := startFaulty(t, failing(c.times, "hello", c.script))
				gw := startGateway(t, oneBucket("/pub", origin.endpoint, shortTimeouts)+cached)
				r, body := gw.do("GET", "/pub/x")
				if r.StatusCode != c.status || c.status == 200 && string(body) != "hello" {
					t.Errorf("%d %s, want %d", r.StatusCode, body, c.status)
				}
				if n := origin.Requests.Load(); n != c.asked {
					t.Errorf("asked %d times, want %d", n, c.asked)
				}
				if c.asked > 1 {
					gw.log.waitFor(t, fmt.Sprintf(`"tries":%d`, c.asked))
				}
				gw.settle(t)
			})
		}
	}
}

func TestHeadIsRetried(t *testing.T) {
	origin := startFaulty(t, failing(2, "", says(503, "")))
	gw := startGateway(t, oneBucket("/pub", origin.endpoint))
	if r, _ := gw.do("HEAD", "/pub/x"); r.StatusCode != 200 || origin.Requests.Load() != 3 {
		t.Errorf("%d after %d requests", r.StatusCode, origin.Requests.Load())
	}
}

// TestFailover has the preferred replica fail for ever.
func TestFailover(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(net.Conn, string) bool
		status int
		more   string
	}{
		{"closes", hangsUp(""), 200, ""},
		{"500", says(500, "InternalError"), 200, ""},
		{"silent", silent, 200, ""},
		{"nonsense", hangsUp("SSH-2.0-x\r\n\r\n"), 200, ""},
		{"wrong key", says(403, "InvalidAccessKeyId"), 200, ""},
		{"wrong secret", says(403, "SignatureDoesNotMatch"), 200, ""},
		{"no bucket", says(404, "NoSuchBucket"), 200, ""},
		{"redirect", says(307, "TemporaryRedirect"), 200, ""},
		{"closes in a small body", hangsUp(okHead + "Content-Length: 5\r\n\r\nbod"), 200, ""},
		{"no key", says(404, "NoSuchKey"), 404, ""},
		{"no key, and asks on", says(404, "NoSuchKey"), 200, "failover_on_404: true"},
		{"denied", says(403, "AccessDenied"), 403, "failover_on_404: true"},
	} {
		for _, cached := range []string{"", "    cache: {enabled: true}\n"} {
			t.Run(c.name+strings.TrimSpace(cached), func(t *testing.T) {
				t.Parallel()
				first, second := startFaulty(t, c.script), startFaulty(t, failing(0, "hello", nil))
				gw := startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint}, shortTimeouts, c.more)+cached)
				r, body := gw.do("GET", "/pub/x")
				if r.StatusCode != c.status || c.status == 200 && string(body) != "hello" {
					t.Errorf("%d %s, want %d", r.StatusCode, body, c.status)
				}
				if n := first.Requests.Load(); n != 1 {
					t.Errorf("the first is asked %d times", n)
				}
				gw.log.waitFor(t, fmt.Sprintf(`"replica":"r%d"`, second.Requests.Load()))
				gw.settle(t)
			})
		}
	}
}

// TestPriorities has replicas of equal priority take turns, and one that is only asked
// when those fail.
func TestPriorities(t *testing.T) {
	var origins []*faultyOrigin
	yaml := oneBucket("/pub", "http://127.0.0.1:1", "replicas:")
	for i, priority := range []int{7, 3, 3, 3} {
		origins = append(origins, startFaulty(t, failing(0, strconv.Itoa(i), nil)))
		yaml += fmt.Sprintf("        - {name: r%d, endpoint: %q, priority: %d}\n", i, origins[i].endpoint, priority)
	}
	gw := startGateway(t, yaml)
	for range 30 {
		gw.do("GET", "/pub/x")
	}
	for i, want := range []int64{0, 10, 10, 10} {
		if n := origins[i].Requests.Load(); n != want {
			t.Errorf("r%d is asked %d times, want %d", i, n, want)
		}
	}
}

// TestTurnsWhileOneFails has the first of two equal replicas fail.
func TestTurnsWhileOneFails(t *testing.T) {
	bad, good := startFaulty(t, says(500, "InternalError")), startFaulty(t, failing(0, "hello", nil))
	gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1", "breaker: {enabled: false}", "replicas:")+
		fmt.Sprintf("        - {name: bad, endpoint: %q}\n        - {name: good, endpoint: %q}\n", bad.endpoint, good.endpoint))
	for range 40 {
		if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
			t.Errorf("status %d", r.StatusCode)
		}
	}
	if n := bad.Requests.Load(); n != 20 {
		t.Errorf("%d of 40 requests began at the one that fails", n)
	}
}

// load sends requests at a rate, and returns how many had each status; 0 is a body
// that broke off. A %d in target is the number of the request.
func (tg *testGateway) load(rate int, span time.Duration, target string) map[int]int {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	results := make(chan int)
	n := int(float64(rate) * span.Seconds())
	before, after, numbered := strings.Cut(tg.url(target), "%d")
	begin := time.Now()
	go func() { // ends with the last request
		for i := range n {
			// The rate is what is asked for.
			time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
			go func() {
				url := before
				if numbered {
					url += strconv.Itoa(i) + after
				}
				r, err := client.Get(url)
				if err != nil {
					results <- 0
					return
				}
				_, err = io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if err != nil {
					results <- 0
					return
				}
				results <- r.StatusCode
			}()
		}
	}()
	statuses := make(map[int]int)
	for range n {
		statuses[<-results]++
	}
	return statuses
}

// TestRetriesDoNotAmplify has an origin say SlowDown to everything: first without a
// breaker, so that only the budget holds the retries back, then with one.
func TestRetriesDoNotAmplify(t *testing.T) {
	t.Parallel()
	const rate, span = 200, 3 * time.Second
	origin := startFaulty(t, says(503, "SlowDown"))
	gw := startGateway(t, oneBucket("/pub", origin.endpoint, "breaker: {enabled: false}"))
	if got := gw.load(rate, span, "/pub/x"); got[503] != rate*3 {
		t.Errorf("%v", got)
	}
	if n := origin.Requests.Load(); n < rate*3 || n > rate*3*5/4 {
		t.Errorf("%d requests for %d of clients", n, rate*3)
	}
	t.Logf("%.3f requests for each of a client", float64(origin.Requests.Load())/(rate*3))

	origin = startFaulty(t, says(503, "SlowDown"))
	gw = startGateway(t, oneBucket("/pub", origin.endpoint))
	got := gw.load(rate, span, "/pub/x%d")
	if got[503] != rate*3 || origin.Requests.Load() > 100 {
		t.Errorf("%v, %d requests", got, origin.Requests.Load())
	}
	t.Logf("with a breaker: %d requests for %d of clients", origin.Requests.Load(), rate*3)
	// The breaker may be trying the origin again just now: three keys that fail open it.
	for i := 0; ; i++ {
		r, body := gw.do("GET", fmt.Sprintf("/pub/y%d", i))
		after, err := strconv.Atoi(r.Header.Get("Retry-After"))
		if r.StatusCode != 503 || err != nil || after < 1 || after > 30 {
			t.Errorf("%d %v %s", r.StatusCode, r.Header, body)
		}
		if strings.Contains(string(body), "origin_down") {
			break
		}
		if i == 3 {
			t.Fatalf("the breaker is still closed: %s", body)
		}
	}
	if v := gw.metricValue(fmt.Sprintf(`yatagarasu_upstream_breaker_opens_total{bucket="main",origin=%q}`, strings.TrimPrefix(origin.endpoint, "http://"))); v < 1 {
		t.Errorf("the breaker opened %v times", v)
	}
	gw.log.waitFor(t, `"reason":"breaker_open"`)
}

// TestWaitsHoldNoConnection has an origin ask for time.
func TestWaitsHoldNoConnection(t *testing.T) {
	again := make(chan struct{})
	first := failing(1, "hello", says(503, "SlowDown", "Retry-After: 2"))
	var asked atomic.Int64
	origin := startFaulty(t, func(c net.Conn, head string) bool {
		if asked.Add(1) == 2 {
			close(again)
		}
		return first(c, head)
	})
	gw := startGateway(t, oneBucket("/pub", origin.endpoint, "max_connections: 1"))
	var wg sync.WaitGroup
	wg.Go(func() {
		if r, _ := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
			t.Errorf("status %d", r.StatusCode)
		}
	})
	defer wg.Wait()
	for {
		var s pool.Stats
		if gw.Generation.Load().Buckets[0].Origin.Replicas[0].Upstream.UpdateStats(&s); s.Idle == 1 {
			return
		}
		select {
		case <-again:
			t.Error("the connection was held while the request waited")
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// TestRepeatedBodiesDoNotAmplify has every small body break off: the repetitions are no
// requests of clients, of which there may be repetitions.
func TestRepeatedBodiesDoNotAmplify(t *testing.T) {
	const rate, span = 100, 2 * time.Second
	origin := startFaulty(t, hangsUp(okHead+"Content-Length: 5\r\n\r\nbod"))
	gw := startGateway(t, oneBucket("/pub", origin.endpoint, "breaker: {enabled: false}", "retry: {budget: 50%, tries: 10}"))
	gw.load(rate, span, "/pub/x")
	if n := origin.Requests.Load(); n < rate*2 || n > rate*2*8/5 {
		t.Errorf("%d requests for %d of clients", n, rate*2)
	}
}

// TestStaleWhileTheBreakerIsOpen has an object in the cache that may be served stale.
func TestStaleWhileTheBreakerIsOpen(t *testing.T) {
	var down atomic.Bool
	origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			s3Answer(503, "SlowDown")(w, r)
			return
		}
		version("v1", "Cache-Control: max-age=0, stale-if-error=600")(w, r)
	})
	gw := startGateway(t, oneBucket("/pub", origin.URL, "breaker: {cooldown: 60}", "retry: {tries: 0}")+"    cache: {enabled: true}\n")
	gw.do("GET", "/pub/x")
	down.Store(true)
	for range 30 {
		if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 || cacheHeader(r) != "STALE" || string(body) != "v1" {
			t.Fatalf("%d %s %s", r.StatusCode, cacheHeader(r), body)
		}
	}
	if r, _ := gw.do("GET", "/pub/other"); r.StatusCode != 503 || len(origin.seen()) > 25 {
		t.Errorf("%d after %d requests", r.StatusCode, len(origin.seen()))
	}
}

// TestHalfOpen has an origin fail and recover a thousand times. Its answers in between
// are of all kinds, of which none is a failure.
func TestHalfOpen(t *testing.T) {
	cycles := 1000
	if testing.Short() {
		cycles = 100
	}
	var failing atomic.Bool
	var asked atomic.Int64
	answers := []func(net.Conn, string) bool{
		says(301, "PermanentRedirect"), says(307, "TemporaryRedirect"), says(400, "InvalidArgument"), says(403, "AccessDenied"),
		says(404, "NoSuchKey"), says(404, "NoSuchBucket"), says(412, "PreconditionFailed"), says(416, "InvalidRange"),
		func(c net.Conn, _ string) bool {
			io.WriteString(c, okHead+"Content-Length: 5\r\n\r\nhello")
			return true
		},
	}
	faults := []func(net.Conn, string) bool{says(500, "InternalError"), says(503, "SlowDown"), hangsUp(""), hangsUp("HTTP/1.1 2")}
	origin := startFaulty(t, func(c net.Conn, head string) bool {
		n := int(asked.Add(1))
		if failing.Load() {
			return faults[n%len(faults)](c, head)
		}
		return answers[n%len(answers)](c, head)
	})
	gw := startGateway(t, oneBucket("/pub", origin.endpoint, "breaker: {cooldown: 1ms, consecutive: 3, failure_rate: 10%}", "retry: {tries: 0}"), func(o *Options) { o.LogLevel = "error" })
	breaker := gw.Generation.Load().Buckets[0].Origin.Replicas[0].Health.Breaker
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	requests := 0
	until := func(cycle int, want pool.BreakerState) {
		for i := 0; ; i++ {
			if s, _ := breaker.State(); s == want {
				return
			}
			if i > 5000 {
				t.Fatalf("cycle %d: the breaker is not %v", cycle, want)
			}
			requests++ // each for another object
			r, err := client.Get(gw.url(fmt.Sprint("/pub/x", requests)))
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
	}
	for cycle := range cycles {
		failing.Store(true)
		until(cycle, pool.BreakerOpen)
		failing.Store(false)
		until(cycle, pool.BreakerClosed)
	}
	if _, opens := breaker.State(); opens < uint64(cycles) {
		t.Errorf("it opened %d times in %d cycles", opens, cycles)
	}
}

// TestPartAfterAFlight has a client ask for a part of a stale object that the first replica
// can no longer give: the flight tries the second, and so does the request for the part alone,
// though the flight's fetch goes on without it.
func TestPartAfterAFlight(t *testing.T) {
	old, replacement := strings.Repeat("o", 3<<20), strings.Repeat("n", 3<<20)
	first := startScripted(t, version(old, "Cache-Control: max-age=0"))
	second := startScripted(t, version(replacement))
	gw := startGateway(t, replicasYAML([]string{first.URL, second.URL}, "retry: {tries: 1}")+"    cache: {enabled: true}\n")
	gw.do("GET", "/pub/x")
	gw.settleFills(t)
	first.set(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		io.WriteString(w, "<Error><Code>InternalError</Code></Error>")
	})
	before := len(first.seen())
	if r, body := gw.do("GET", "/pub/x", "Range: bytes=0-4"); r.StatusCode != 206 || string(body) != "nnnnn" {
		t.Errorf("status %d, %.100q", r.StatusCode, body)
	}
	if n := len(first.seen()) - before; n != 1 {
		t.Errorf("the failed replica is asked %d times", n)
	}
	gw.settleFills(t)
}
