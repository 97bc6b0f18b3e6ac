package gateway

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cachedYAML is a configuration with a cached bucket at /pub; lines are further
// keys of its cache block.
func cachedYAML(endpoint string, lines ...string) string {
	s := oneBucket("/pub", endpoint) + "    cache:\n      enabled: true\n"
	for _, l := range lines {
		s += "      " + l + "\n"
	}
	return s
}

// without returns the headers that a hit shares with its miss.
func without(h http.Header) string {
	h = h.Clone()
	for _, name := range []string{"X-Request-Id", "X-Cache", "Cache-Status", "Age", "Date"} {
		h.Del(name)
	}
	return fmt.Sprint(h)
}

func TestHitIsTheMiss(t *testing.T) {
	object := http.Header{
		"Content-Type": {"text/css"}, "Content-Encoding": {"gzip"}, "Content-Language": {"de"}, "Content-Disposition": {`inline; filename="x"`}, "Cache-Control": {"max-age=60"},
		"Etag": {`"e1"`}, "Last-Modified": {"Fri, 02 Jan 2026 03:04:05 GMT"}, "X-Amz-Meta-Color": {"blue"}, "X-Amz-Version-Id": {"v1"}, "X-Amz-Checksum-Crc32": {"AAAA"},
	}
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), object)
		for _, name := range []string{"Server", "Strict-Transport-Security", "X-Amz-Request-Id"} {
			w.Header().Set(name, "the origin's")
		}
		w.Header()["Vary"] = []string{"Origin", "Accept-Encoding"}
		fmt.Fprint(w, "body of "+r.URL.Path)
	})
	gw := startGateway(t, cachedYAML(origin.URL))
	for _, target := range []string{"/pub/a.css", "/pub/b%2Fc", "/pub/d?x=1"} {
		miss, missBody := gw.do("GET", target)
		hit, hitBody := gw.do("GET", target)
		if miss.Header.Get("X-Cache") != "MISS" || hit.Header.Get("X-Cache") != "HIT" || string(missBody) != string(hitBody) || !strings.HasPrefix(string(hitBody), "body of /things/") {
			t.Errorf("%s: %q then %q; %q, %q", target, miss.Header.Get("X-Cache"), hit.Header.Get("X-Cache"), missBody, hitBody)
		}
		want := object.Clone()
		want.Set("Accept-Ranges", "bytes")
		want.Set("Content-Length", fmt.Sprint(len(missBody)))
		if strings.Contains(target, "?") {
			want.Set("Referrer-Policy", "no-referrer")
		}
		if a, b := without(miss.Header), without(hit.Header); a != b || a != fmt.Sprint(want) {
			t.Errorf("%s: the miss has\n%s, the hit\n%s, want\n%v", target, a, b, want)
		}
		if hit.Header.Get("Age") != "0" || hit.Header.Get("Content-Encoding") != "gzip" || hit.Header.Get("Etag") != `"e1"` || !strings.HasPrefix(hit.Header.Get("Cache-Status"), "yatagarasu; hit; ttl=") {
			t.Errorf("%s: %v", target, hit.Header)
		}
		head, _ := gw.do("HEAD", target)
		if a, b := without(head.Header), without(hit.Header); a != b || head.Header.Get("X-Cache") != "HIT" {
			t.Errorf("%s: HEAD has\n%s, want\n%s", target, a, b)
		}
	}
	if n := len(origin.seen()); n != 3 {
		t.Errorf("%d requests to the origin, want 3", n)
	}
	gw.log.waitFor(t, `"cache":"hit"`)
	if got := gw.metricValue(`yatagarasu_cache_requests_total{bucket="main",outcome="hit"}`); got != 6 {
		t.Errorf("%v hits", got)
	}
}

func TestHitSizes(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 10, 64 << 10, 64<<10 + 1, 1 << 20, 5 << 20} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		origin := startOrigin(t, serveText(body))
		gw := startGateway(t, cachedYAML(origin.URL))
		for i, want := range []string{"MISS", "HIT", "HIT"} {
			r, got := gw.do("GET", "/pub/x")
			if i == 1 {
				gw.settleFills(t)
			}
			if string(got) != body || r.Header.Get("X-Cache") != want && !(i == 1 && r.Header.Get("X-Cache") == "COALESCED") {
				t.Errorf("%d bytes: %d bytes, %s, want %s", size, len(got), r.Header.Get("X-Cache"), want)
			}
		}
		for _, c := range []struct{ header, status, body, contentRange string }{
			{"Range: bytes=0-9", "206", body[:min(10, size)], fmt.Sprintf("bytes 0-%d/%d", min(10, size)-1, size)},
			{"Range: bytes=-5", "206", body[max(0, size-5):], fmt.Sprintf("bytes %d-%d/%d", max(0, size-5), size-1, size)},
			{"If-None-Match: \"e1\"", "304", "", ""},
			{"If-Match: \"other\"", "412", "", ""},
		} {
			r, got := gw.do("GET", "/pub/x", c.header)
			want := c.status
			if size == 0 && want == "206" {
				want = "416"
			}
			if fmt.Sprint(r.StatusCode) != want || want == "206" && (string(got) != c.body || r.Header.Get("Content-Range") != c.contentRange) {
				t.Errorf("%d bytes, %s: status %d, %d bytes, %q", size, c.header, r.StatusCode, len(got), r.Header.Get("Content-Range"))
			}
		}
		if n := len(origin.seen()); n != 1 {
			t.Errorf("%d bytes: %d requests to the origin", size, n)
		}
	}
}

// staleGateway returns a gateway with a cache that has an object, /pub/x, whose freshness
// of a minute has just ended; answer is what its origin gave, with this body.
func staleGateway(t *testing.T, answer http.HandlerFunc, body string, options ...string) (*scripted, *testGateway) {
	t.Helper()
	origin := startScripted(t, answer)
	gw := startGateway(t, cachedYAML(origin.URL, append([]string{"ttl: 60s"}, options...)...))
	clock := gw.withClock()
	gw.expect(t, "/pub/x", 200, body, "MISS")
	clock.advance(61 * time.Second)
	return origin, gw
}

// awaitBackground waits for the fetches that no request waits for. Those that began
// them must have ended: a WaitGroup is not waited for while it may be added to.
func (tg *testGateway) awaitBackground() {
	tg.t.Helper()
	eventually(tg.t, "requests end", func() bool { return tg.InFlight.Load() == 0 })
	tg.Origins.Background.Wait()
}

// settleFills waits until no body is arriving.
func (tg *testGateway) settleFills(t *testing.T) {
	t.Helper()
	arrived := polled(5*time.Second, func() bool {
		n := 0
		for _, b := range tg.Generation.Load().Budgets {
			n += b.Flights.Len()
		}
		return n == 0
	})
	if !arrived {
		t.Fatal("a flight does not end")
	}
}

// T57: many misses are one fetch, and all get the bytes.
func TestManyMissesAreOneFetch(t *testing.T) {
	clients, size := 200, 5<<20
	if raceEnabled { // which pages in shadow memory for each byte
		clients, size = 50, 512<<10
	}
	body := strings.Repeat("0123456789abcdef", size/16)
	var asked atomic.Int64
	release := make(chan struct{})
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		serveText(body)(w, r)
	})
	gw := startGateway(t, cachedYAML(origin.URL))
	var wg sync.WaitGroup
	var good atomic.Int64
	for range clients {
		wg.Go(func() {
			r, got := gw.do("GET", "/pub/x")
			if r.StatusCode == 200 && string(got) == body {
				good.Add(1)
			}
		})
	}
	gw.awaitInFlight(int64(clients))
	close(release)
	wg.Wait()
	if asked.Load() != 1 || good.Load() != int64(clients) {
		t.Errorf("%d fetches, %d of %d bodies are right", asked.Load(), good.Load(), clients)
	}
}

// readAnswer reads one response; complete tells that all of its body came.
func readAnswer(c io.Reader) (r *http.Response, body []byte, complete bool) {
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, nil, false
	}
	body, err = io.ReadAll(r.Body)
	return r, body, err == nil && int64(len(body)) == r.ContentLength
}

// TestPrivateBesideTheWords has objects whose other fields have the name of
// Cache-Control in them: what a token was needed for is still private.
func TestPrivateBesideTheWords(t *testing.T) {
	token := "Authorization: Bearer " + goodToken()
	for field, want := range map[string]string{
		"X-Amz-Meta-Note: mind the Cache-Control: header": "private",
		"X-Amz-Meta-Cache-Control: max-age=9":             "private",
		"Cache-Control: max-age=9":                        "private, max-age=9",
	} {
		origin := startScripted(t, version("secret", field))
		gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+privateYAML("main", "/pub", origin.URL)+"    cache: {enabled: true}\n")
		for _, says := range []string{"MISS", "HIT"} {
			if r := gw.expect(t, "/pub/x", 200, "secret", says, token); r.Header.Get("Cache-Control") != want {
				t.Errorf("%s, %s: Cache-Control %q, want %q", field, says, r.Header.Get("Cache-Control"), want)
			}
		}
	}
}
