package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scripted is an origin whose answers a test changes.
type scripted struct {
	*testOrigin
	handle atomic.Pointer[http.HandlerFunc]
}

func startScripted(t *testing.T, h http.HandlerFunc) *scripted {
	t.Helper()
	s := new(scripted)
	s.set(h)
	s.testOrigin = startOrigin(t, func(w http.ResponseWriter, r *http.Request) { (*s.handle.Load())(w, r) })
	return s
}

func (s *scripted) set(h http.HandlerFunc) { s.handle.Store(&h) }

// version answers with text under an entity tag, and 304 to those who have it.
func version(text string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+text[:min(8, len(text))]+`"`)
		w.Header().Set("Content-Type", "text/plain")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Add(name, value)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	}
}

func s3Answer(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
	}
}

// clock is a time that a test moves.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time           { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration)  { c.offset.Add(int64(d)) }
func (tg *testGateway) withClock() *clock { c := new(clock); tg.Now = c.now; return c }
func cacheHeader(r *http.Response) string { return r.Header.Get("X-Cache") }
func (tg *testGateway) expect(t *testing.T, target string, status int, body, xcache string, headers ...string) *http.Response {
	t.Helper()
	r, got := tg.do("GET", target, headers...)
	if r.StatusCode != status || body != "" && string(got) != body || cacheHeader(r) != xcache {
		t.Errorf("%s %v: status %d, %.60q, %s; want %d, %.60q, %s", target, headers, r.StatusCode, got, cacheHeader(r), status, body, xcache)
	}
	return r
}

func threatCache(t *testing.T) {
	t.Run("T49_no_token_after_a_hit", func(t *testing.T) {
		origin := startScripted(t, version("secret"))
		gw := startGateway(t, "server: {ready: config}\nbuckets:\n"+privateYAML("main", "/pub", origin.URL)+"    cache: {enabled: true}\n")
		token := "Authorization: Bearer " + goodToken()
		gw.expect(t, "/pub/x", 200, "secret", "MISS", token)
		hit := gw.expect(t, "/pub/x", 200, "secret", "HIT", token)
		if hit.Header.Get("Cache-Control") != "private" {
			t.Errorf("Cache-Control %q", hit.Header.Get("Cache-Control"))
		}
		gw.expect(t, "/pub/x", 401, "", "")
		gw.expect(t, "/pub/x", 403, "", "", token+"A")
		if r := gw.expect(t, "/pub/x", 304, "", "HIT", token, `If-None-Match: "secret"`); r.Header.Get("Cache-Control") != "private" {
			t.Errorf("304 with Cache-Control %q", r.Header.Get("Cache-Control"))
		}
	})
	t.Run("T50_keys_do_not_collide", func(t *testing.T) {
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.String()) })
		other := startScripted(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "other", r.URL.String()) })
		yaml := "server: {ready: config}\nbuckets:\n"
		for _, b := range []struct{ name, prefix, endpoint string }{{"a", "/a", origin.URL}, {"b", "/b", other.URL}} {
			yaml += bucketYAML(b.name, b.prefix, b.endpoint, "allow_query: [versionId, partNumber]") + "    cache: {enabled: true}\n"
		}
		gw := startGateway(t, yaml)
		targets := []string{"/a/x", "/b/x", "/a/x?versionId=1", "/a/x?versionId=2", "/a/x%3FversionId=1", "/a/x%7Cy", "/a/x/y", "/a//x", "/a/x/"}
		bodies := map[string]string{}
		for range 2 {
			for _, target := range targets {
				_, body := gw.do("GET", target)
				if first, ok := bodies[target]; ok && first != string(body) {
					t.Errorf("%s: %q, then %q", target, first, body)
				}
				bodies[target] = string(body)
			}
		}
		seen := map[string]string{}
		for target, body := range bodies {
			if same, ok := seen[body]; ok {
				t.Errorf("%s and %s have the body %q", target, same, body)
			}
			seen[body] = target
		}
	})
	t.Run("T51_206_is_not_the_whole", func(t *testing.T) {
		origin := startScripted(t, version("0123456789"))
		gw := startGateway(t, cachedYAML(origin.URL))
		gw.expect(t, "/pub/x", 206, "012", "MISS", "Range: bytes=0-2")
		gw.expect(t, "/pub/x", 200, "0123456789", "MISS")
		gw.expect(t, "/pub/x", 206, "345", "HIT", "Range: bytes=3-5")
	})
	t.Run("T52_bad_bodies_are_not_stored", func(t *testing.T) {
		raw := func(answer string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					panic(err)
				}
				defer c.Close()
				fmt.Fprint(c, answer)
			}
		}
		big := strings.Repeat("x", 200<<10)
		for name, answer := range map[string]string{
			"truncated":     "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!",
			"truncated big": fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 2*len(big), big),
			"chunked":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfive!\r\n0\r\n\r\n",
			"no length":     "HTTP/1.1 200 OK\r\n\r\nfive!",
			"overrun":       "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfive!six!",
			"overrun big":   fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(big), big, big),
		} {
			origin := startScripted(t, raw(answer))
			gw := startGateway(t, cachedYAML(origin.URL))
			for range 2 {
				c := dial(t, gw.addr)
				fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
				c.SetReadDeadline(time.Now().Add(5 * time.Second))
				r, body, complete := readAnswer(c)
				c.Close()
				overrun := strings.HasPrefix(name, "overrun") // what is beyond the length is nobody's
				if r != nil && r.StatusCode == 200 && complete != overrun {
					t.Errorf("%s: a 200 of %d bytes, complete: %t", name, len(body), complete)
				}
				gw.settleFills(t)
				if r != nil && cacheHeader(r) != "MISS" {
					t.Errorf("%s: %s", name, cacheHeader(r))
				}
			}
			origin.set(version("good"))
			gw.expect(t, "/pub/x", 200, "good", "MISS")
		}
	})
	t.Run("T53_not_stored", func(t *testing.T) {
		for name, h := range map[string]http.HandlerFunc{
			"no-store": version("v", "Cache-Control: no-store"), "private": version("v", "Cache-Control: max-age=9, private"), "Set-Cookie": version("v", "Set-Cookie: a=b"),
			"Vary": version("v", "Vary: Accept-Encoding, User-Agent"), "Vary *": version("v", "Vary: *"),
			"403": s3Answer(403, "AccessDenied"), "404": s3Answer(404, "NoSuchKey"), "500": s3Answer(500, "InternalError"), "503": s3Answer(503, "SlowDown"), "301": s3Answer(301, "PermanentRedirect"),
		} {
			origin := startScripted(t, h)
			gw := startGateway(t, onceYAML(cachedYAML(origin.URL)))
			for i := range 3 {
				if r, _ := gw.do("GET", "/pub/x"); cacheHeader(r) == "HIT" {
					t.Errorf("%s: %s", name, cacheHeader(r))
				}
				if n := len(origin.seen()); n != i+1 {
					t.Errorf("%s: %d requests to the origin after %d", name, n, i+1)
				}
			}
		}
		origin := startScripted(t, version("v", "Vary: Origin", "Vary: accept-encoding"))
		gw := startGateway(t, cachedYAML(origin.URL))
		gw.expect(t, "/pub/x", 200, "v", "MISS")
		gw.expect(t, "/pub/x", 200, "v", "HIT", "Origin: https://a.test")
	})
	t.Run("T53_negative_entries", func(t *testing.T) {
		origin := startScripted(t, s3Answer(404, "NoSuchKey"))
		gw := startGateway(t, cachedYAML(origin.URL, "negative_ttl: 10s"))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 404, "", "MISS")
		origin.set(version("there"))
		r := gw.expect(t, "/pub/x", 404, "", "HIT")
		if r.Header.Get("Age") == "" {
			t.Error("no Age")
		}
		clock.advance(11 * time.Second)
		gw.expect(t, "/pub/x", 200, "there", "MISS")
	})
	t.Run("T54_HEAD_stores_nothing", func(t *testing.T) {
		origin := startScripted(t, version("body"))
		gw := startGateway(t, cachedYAML(origin.URL))
		if r, _ := gw.do("HEAD", "/pub/x"); r.StatusCode != 200 || cacheHeader(r) != "MISS" || r.ContentLength != 4 {
			t.Errorf("status %d, %s, %d", r.StatusCode, cacheHeader(r), r.ContentLength)
		}
		gw.expect(t, "/pub/x", 200, "body", "MISS")
		if r, _ := gw.do("HEAD", "/pub/x"); cacheHeader(r) != "HIT" || r.ContentLength != 4 {
			t.Errorf("%s, %d", cacheHeader(r), r.ContentLength)
		}
	})
	t.Run("T55_conditionals", func(t *testing.T) {
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
			version("v", "Cache-Control: max-age=60")(w, r)
		})
		gw := startGateway(t, cachedYAML(origin.URL))
		gw.expect(t, "/pub/x", 200, "v", "MISS", `If-None-Match: "other"`)
		for _, c := range []struct {
			headers []string
			status  int
		}{
			{[]string{`If-None-Match: "v"`}, 304}, {[]string{`If-None-Match: W/"v"`}, 304}, {[]string{`If-None-Match: "a", "v"`}, 304}, {[]string{"If-None-Match: *"}, 304}, {[]string{`If-None-Match: "a"`}, 200},
			{[]string{`If-Match: "v"`}, 200}, {[]string{`If-Match: W/"v"`}, 412}, {[]string{`If-Match: "a", "v"`}, 200}, {[]string{"If-Match: *"}, 200}, {[]string{`If-Match: "a"`}, 412},
			{[]string{"If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT"}, 304}, {[]string{"If-Modified-Since: Fri, 02 Jan 2026 03:04:04 GMT"}, 200},
			{[]string{"If-Unmodified-Since: Fri, 02 Jan 2026 03:04:04 GMT"}, 412}, {[]string{"If-Unmodified-Since: Fri, 02 Jan 2026 03:04:05 GMT"}, 200},
			{[]string{`If-None-Match: "a"`, "If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT"}, 200},
			{[]string{`If-Match: "v"`, "If-Unmodified-Since: Fri, 02 Jan 2026 03:04:04 GMT"}, 200},
		} {
			r := gw.expect(t, "/pub/x", c.status, "", "HIT", c.headers...)
			if c.status == 304 && (r.Header.Get("ETag") != `"v"` || r.Header.Get("Cache-Control") != "max-age=60" || r.Header.Get("Content-Type") != "") {
				t.Errorf("%v: 304 with %v", c.headers, r.Header)
			}
		}
		if n := len(origin.seen()); n != 1 {
			t.Errorf("%d requests to the origin", n)
		}
	})
	t.Run("T56_too_large", func(t *testing.T) {
		big := strings.Repeat("b", 300<<10)
		origin := startScripted(t, version(big))
		gw := startGateway(t, cachedYAML(origin.URL, "max_object_size: 200KiB"))
		gw.expect(t, "/pub/x", 200, big, "MISS")
		gw.expect(t, "/pub/x", 200, big, "BYPASS")
		gw.expect(t, "/pub/x", 206, big[:10], "BYPASS", "Range: bytes=0-9")
		var bytes int64
		for _, b := range gw.Generation.Load().Budgets {
			bytes += b.Cache.Bytes()
		}
		if bytes > 2<<10 {
			t.Errorf("%d bytes are stored", bytes)
		}
	})
	t.Run("T56_too_large_to_buffer", func(t *testing.T) {
		const size, chunk = 48 << 20, 64 << 10
		sent := strings.Repeat("b", chunk)
		gate := make(chan struct{})
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			for range size/chunk - 1 {
				fmt.Fprint(w, sent)
			}
			w.(http.Flusher).Flush()
			<-gate
			fmt.Fprint(w, sent)
		})
		gw := startGateway(t, cachedYAML(origin.URL, "max_object_size: 1MiB"))
		c := dial(t, gw.addr)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		before := heapNow()
		fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
		if _, err := io.CopyN(io.Discard, c, size-chunk); err != nil {
			t.Fatal(err)
		}
		if more := heapNow() - before; more > size/4 {
			t.Errorf("%d bytes more of memory in use with a body of %d under way", more, size)
		}
		if n := gw.Generation.Load().Budgets[""].Cache.Pinned(); n != 0 {
			t.Errorf("%d bytes are being filled", n)
		}
		close(gate)
		if _, err := io.CopyN(io.Discard, c, chunk); err != nil {
			t.Error(err)
		}
	})
	t.Run("T57_leader_fails", func(t *testing.T) {
		var asked atomic.Int64
		gate := make(chan struct{})
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			<-gate
			s3Answer(500, "InternalError")(w, r)
		})
		gw := startGateway(t, cachedYAML(origin.URL))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { gw.expect(t, "/pub/x", 502, "", "MISS") })
		}
		gw.awaitInFlight(50)
		close(gate)
		wg.Wait()
		if n := asked.Load(); n < 2 || n > 10 {
			t.Errorf("%d requests to the origin", n)
		}
		origin.set(version("v"))
		answers := polled(5*time.Second, func() bool { // it has failed three times in a row, and is not asked for for a second
			r, body := gw.do("GET", "/pub/x")
			return r.StatusCode == 200 && string(body) == "v"
		})
		if !answers {
			t.Error("the failure stays")
		}
	})
	t.Run("T58_leader_leaves", func(t *testing.T) {
		body := strings.Repeat("0123456789", 100<<10)
		gate := make(chan struct{})
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			fmt.Fprint(w, body[:500<<10])
			w.(http.Flusher).Flush()
			<-gate
			fmt.Fprint(w, body[500<<10:])
		})
		gw := startGateway(t, cachedYAML(origin.URL))
		leader := dial(t, gw.addr)
		fmt.Fprint(leader, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
		leader.Read(make([]byte, 100))
		done := make(chan string)
		for range 4 {
			go func() {
				_, got := gw.do("GET", "/pub/x")
				done <- string(got)
			}()
		}
		gw.awaitInFlight(5)
		leader.Close()
		close(gate)
		for range 4 {
			if got := <-done; got != body {
				t.Errorf("%d bytes", len(got))
			}
		}
		gw.settleFills(t)
		gw.expect(t, "/pub/x", 200, body, "HIT")
		if n := len(origin.seen()); n != 1 {
			t.Errorf("%d requests to the origin", n)
		}
	})
	t.Run("T59_purge_during_a_fill", func(t *testing.T) {
		asked, gate := make(chan struct{}, 9), make(chan struct{})
		origin := startScripted(t, func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-gate
			version("old")(w, r)
		})
		gw := startGateway(t, cachedYAML(origin.URL))
		first := make(chan string)
		go func() {
			_, got := gw.do("GET", "/pub/x")
			first <- string(got)
		}()
		<-asked
		gw.Generation.Load().Budgets[""].Cache.PurgeGroup("main", false)
		origin.set(version("new"))
		gw.expect(t, "/pub/x", 200, "new", "MISS") // it does not join what began before
		close(gate)
		if got := <-first; got != "old" {
			t.Errorf("%q", got)
		}
		gw.settleFills(t)
		gw.expect(t, "/pub/x", 200, "new", "HIT")
	})
	t.Run("T59_deleted_upstream", func(t *testing.T) {
		origin := startScripted(t, version("v"))
		gw := startGateway(t, cachedYAML(origin.URL, "ttl: 60s"))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 200, "v", "MISS")
		origin.set(s3Answer(404, "NoSuchKey"))
		gw.expect(t, "/pub/x", 200, "v", "HIT")
		clock.advance(61 * time.Second)
		gw.expect(t, "/pub/x", 404, "", "MISS")
		gw.expect(t, "/pub/x", 404, "", "MISS")
	})
	t.Run("T60_random_queries", func(t *testing.T) {
		origin := startScripted(t, version("v"))
		gw := startGateway(t, cachedYAML(origin.URL))
		gw.expect(t, "/pub/x?0", 200, "v", "MISS")
		for i := range 50 {
			gw.expect(t, fmt.Sprintf("/pub/x?%d=%d&token=%d", i, i, i), 200, "v", "HIT")
		}
	})
	t.Run("T61_eviction_during_a_hit", func(t *testing.T) {
		body := sixteens(8 << 20) // more than the sockets' buffers take
		origin := startScripted(t, version(body))
		gw := startGateway(t, cachedYAML(origin.URL, "max_size: 20MB", "max_object_size: 10MB", "policy: lru"))
		gw.expect(t, "/pub/x", 200, body, "MISS")
		gw.settleFills(t)
		c := dial(t, gw.addr)
		fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
		first := make([]byte, 1)
		if _, err := io.ReadFull(c, first); err != nil { // the object is being sent
			t.Fatal(err)
		}
		for i := range 5 {
			gw.do("GET", fmt.Sprintf("/pub/other-%d", i))
		}
		gw.settleFills(t)
		eventually(t, "the object is evicted, and is not yet sent", func() bool {
			return gw.Generation.Load().Budgets["main"].Cache.Pinned() == int64(len(body))
		})
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if r, got, complete := readAnswer(io.MultiReader(bytes.NewReader(first), c)); r == nil || !complete || string(got) != body {
			t.Errorf("%d bytes", len(got))
		}
	})
}

// TestStaleObjects shows when objects past their freshness are served.
func TestStaleObjects(t *testing.T) {
	t.Run("revalidation", func(t *testing.T) {
		origin := startScripted(t, version("v1", "X-Amz-Meta-A: 1"))
		gw := startGateway(t, cachedYAML(origin.URL, "ttl: 60s"))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 200, "v1", "MISS")
		clock.advance(30 * time.Second)
		if r := gw.expect(t, "/pub/x", 200, "v1", "HIT"); r.Header.Get("Age") != "30" || r.Header.Get("Cache-Status") != "yatagarasu; hit; ttl=30" {
			t.Errorf("%v", r.Header)
		}
		clock.advance(31 * time.Second)
		origin.set(version("v1", "X-Amz-Meta-A: 2"))
		if r := gw.expect(t, "/pub/x", 200, "v1", "REVALIDATED"); r.Header.Get("X-Amz-Meta-A") != "2" || r.Header.Get("Age") != "0" {
			t.Errorf("%v", r.Header)
		}
		if last := origin.seen()[1]; last.Header.Get("If-None-Match") != `"v1"` {
			t.Errorf("the origin got %v", last.Header)
		}
		gw.expect(t, "/pub/x", 200, "v1", "HIT")
		clock.advance(61 * time.Second)
		origin.set(version("v2"))
		gw.expect(t, "/pub/x", 200, "v2", "MISS")
		gw.expect(t, "/pub/x", 200, "v2", "HIT")
		clock.advance(61 * time.Second)
		gw.expect(t, "/pub/x", 206, "v", "REVALIDATED", "Range: bytes=0-0")
		clock.advance(61 * time.Second)
		if r, _ := gw.do("HEAD", "/pub/x"); cacheHeader(r) != "REVALIDATED" || r.ContentLength != 2 {
			t.Errorf("HEAD: %s, %d", cacheHeader(r), r.ContentLength)
		}
	})
	t.Run("stale-if-error", func(t *testing.T) {
		for name, h := range map[string]http.HandlerFunc{
			"500": s3Answer(500, "InternalError"), "503": s3Answer(503, "SlowDown"),
			"reset": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		} {
			origin := startScripted(t, version("v"))
			gw := startGateway(t, cachedYAML(origin.URL, "ttl: 60s", "stale_if_error: 60s"))
			clock := gw.withClock()
			gw.expect(t, "/pub/x", 200, "v", "MISS")
			origin.set(h)
			clock.advance(61 * time.Second)
			if r := gw.expect(t, "/pub/x", 200, "v", "STALE"); r.Header.Get("Age") != "61" {
				t.Errorf("%s: Age %s", name, r.Header.Get("Age"))
			}
			clock.advance(60 * time.Second)
			if r, _ := gw.do("GET", "/pub/x"); r.StatusCode < 502 {
				t.Errorf("%s: status %d after its window", name, r.StatusCode)
			}
			origin.set(version("v"))
			gw.expect(t, "/pub/x", 200, "v", "REVALIDATED")
		}
	})
	t.Run("an answer is no error", func(t *testing.T) {
		origin, gw := staleGateway(t, version("v"), "v", "stale_if_error: 60s")
		origin.set(s3Answer(403, "AccessDenied"))
		gw.expect(t, "/pub/x", 403, "", "MISS")
	})
	t.Run("stale-while-revalidate", func(t *testing.T) {
		gate := make(chan struct{})
		origin, gw := staleGateway(t, version("v1"), "v1", "stale_while_revalidate: 60s")
		origin.set(func(w http.ResponseWriter, r *http.Request) { <-gate; version("v2")(w, r) })
		for range 5 {
			gw.expect(t, "/pub/x", 200, "v1", "STALE")
		}
		close(gate)
		gw.settleFills(t)
		gw.expect(t, "/pub/x", 200, "v2", "HIT")
		if n := len(origin.seen()); n != 2 {
			t.Errorf("%d requests to the origin", n)
		}
	})
	t.Run("must-revalidate", func(t *testing.T) {
		origin := startScripted(t, version("v", "Cache-Control: max-age=60, must-revalidate"))
		gw := startGateway(t, cachedYAML(origin.URL, "stale_if_error: 1h", "stale_while_revalidate: 1h"))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 200, "v", "MISS")
		clock.advance(61 * time.Second)
		origin.set(s3Answer(500, "InternalError"))
		gw.expect(t, "/pub/x", 502, "", "MISS")
	})
	t.Run("no-cache is asked for every time", func(t *testing.T) {
		origin := startScripted(t, version("v", "Cache-Control: no-cache"))
		gw := startGateway(t, cachedYAML(origin.URL))
		gw.expect(t, "/pub/x", 200, "v", "MISS")
		gw.expect(t, "/pub/x", 200, "v", "REVALIDATED")
		gw.expect(t, "/pub/x", 304, "", "REVALIDATED", `If-None-Match: "v"`)
	})
	t.Run("soft purge", func(t *testing.T) {
		origin := startScripted(t, version("v"))
		gw := startGateway(t, cachedYAML(origin.URL))
		gw.expect(t, "/pub/x", 200, "v", "MISS")
		gw.Generation.Load().Budgets[""].Cache.PurgeGroup("main", true)
		gw.expect(t, "/pub/x", 200, "v", "REVALIDATED")
		gw.expect(t, "/pub/x", 200, "v", "HIT")
	})
	t.Run("the windows of a soft purge begin with it", func(t *testing.T) {
		for _, window := range []string{"stale_if_error: 100s", "stale_while_revalidate: 100s"} {
			origin := startScripted(t, version("v"))
			gw := startGateway(t, onceYAML(cachedYAML(origin.URL, "ttl: 1h", window)))
			clock := gw.withClock()
			gw.expect(t, "/pub/x", 200, "v", "MISS")
			clock.advance(10 * time.Minute)
			c := gw.Generation.Load().Budgets[""].Cache
			c.PurgeGroup("main", true)
			origin.set(s3Answer(500, "InternalError"))
			clock.advance(90 * time.Second)
			gw.expect(t, "/pub/x", 200, "v", "STALE")
			gw.settleFills(t)
			c.PurgeGroup("main", true) // which begins no window anew
			clock.advance(20 * time.Second)
			gw.expect(t, "/pub/x", 502, "", "MISS")
		}
	})
	t.Run("client directives", func(t *testing.T) {
		origin := startScripted(t, version("v"))
		deaf := startGateway(t, cachedYAML(origin.URL))
		deaf.expect(t, "/pub/x", 200, "v", "MISS")
		deaf.expect(t, "/pub/x", 200, "v", "HIT", "Cache-Control: no-cache")
		deaf.expect(t, "/pub/y", 200, "v", "MISS", "Cache-Control: only-if-cached")
		gw := startGateway(t, cachedYAML(origin.URL, "client_directives: true"))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 504, "", "BYPASS", "Cache-Control: only-if-cached")
		gw.expect(t, "/pub/x", 200, "v", "MISS")
		gw.expect(t, "/pub/x", 200, "v", "HIT", "Cache-Control: only-if-cached")
		gw.expect(t, "/pub/x", 200, "v", "REVALIDATED", "Cache-Control: no-cache")
		gw.expect(t, "/pub/x", 200, "v", "REVALIDATED", "Pragma: no-cache")
		clock.advance(10 * time.Second)
		gw.expect(t, "/pub/x", 200, "v", "HIT", "Cache-Control: max-age=20")
		gw.expect(t, "/pub/x", 200, "v", "REVALIDATED", "Cache-Control: max-age=5")
		clock.advance(2 * time.Hour)
		gw.expect(t, "/pub/x", 200, "v", "STALE", "Cache-Control: max-stale=9999")
	})
	t.Run("several ranges", func(t *testing.T) {
		body := strings.Repeat("0123456789", 100)
		origin := startScripted(t, version(body))
		gw := startGateway(t, cachedYAML(origin.URL))
		gw.expect(t, "/pub/x", 200, body, "MISS")
		r, got := gw.do("GET", "/pub/x", "Range: bytes=0-1,500-501,-2")
		if r.StatusCode != 206 || !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/byteranges; boundary=") || strings.Count(string(got), "Content-Range: bytes ") != 3 || r.ContentLength != int64(len(got)) {
			t.Errorf("status %d, %v\n%s", r.StatusCode, r.Header, got)
		}
		gw.expect(t, "/pub/x", 200, body, "HIT", `Range: bytes=0-1`, `If-Range: "other"`)
		if r := gw.expect(t, "/pub/x", 416, "", "HIT", "Range: bytes=1000-"); r.Header.Get("Content-Range") != "bytes */1000" {
			t.Errorf("%v", r.Header)
		}
		gw.expect(t, "/pub/x", 200, body, "HIT", "Range: bytes="+strings.Repeat("0-0,", 99)+"5-5") // T65
	})
	t.Run("fill on range", func(t *testing.T) {
		origin := startScripted(t, version("0123456789"))
		gw := startGateway(t, cachedYAML(origin.URL, "fill_on_range: true"))
		gw.expect(t, "/pub/x", 206, "01", "MISS", "Range: bytes=0-1")
		gw.awaitBackground()
		gw.settleFills(t)
		gw.expect(t, "/pub/x", 206, "23", "HIT", "Range: bytes=2-3")
		if n := len(origin.seen()); n != 2 {
			t.Errorf("%d requests to the origin", n)
		}
	})
}
