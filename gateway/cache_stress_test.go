package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/cache"
)

func stressSize(v int) int { return []int{0, 1, 1000, 65536, 65537, 500000, 300000, 700000}[v%8] }
func stressBody(v int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%015d\n", v), stressSize(v)/16+1)[:stressSize(v)])
}

// TestCacheStress has readers of all kinds, purges, evictions, reloads, new versions,
// faults and a clock that jumps, at once, for STRESS_SECONDS: no body is ever of another
// version than its head, and nothing is left over.
func TestCacheStress(t *testing.T) {
	seconds := 2
	if s := os.Getenv("STRESS_SECONDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		seconds = n
	}
	var versions [13]atomic.Int64 // odd: each goes through all sizes
	for i := range versions {
		versions[i].Store(int64(i))
	}
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		k, _ := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		v := int(versions[k].Load())
		switch n := rand.IntN(100); {
		case n < 3:
			s3Refusal(503, "SlowDown")(w, r)
			return
		case n < 5:
			panic(http.ErrAbortHandler)
		case n < 8:
			s3Refusal(404, "NoSuchKey")(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf(`"v%d"`, v))
		w.Header().Set("X-Amz-Meta-V", fmt.Sprint(v))
		if rand.IntN(20) == 0 {
			w.Header().Set("Cache-Control", "no-store")
		}
		b := stressBody(v)
		if rand.IntN(20) == 0 && len(b) > 70000 && r.Header.Get("Range") == "" && r.Header.Get("If-None-Match") == "" && r.Method == "GET" {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b[:70000])
			w.(http.Flusher).Flush()
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // others join or leave meanwhile, or neither
			if rand.IntN(2) == 0 {
				panic(http.ErrAbortHandler)
			}
			w.Write(b[70000:])
			return
		}
		http.ServeContent(w, r, "", time.Unix(1700000000+int64(v), 0), bytes.NewReader(b))
	})
	// All objects together are more than fits.
	yaml := func(ttl int) string {
		return cachedYAML(origin.URL, fmt.Sprintf("ttl: %ds", ttl), "max_size: 1300KB", "max_object_size: 600KB", "policy: lru", "stale_while_revalidate: 5s", "stale_if_error: 20s", "negative_ttl: 2s", "client_directives: true", "fill_on_range: true")
	}
	gw := startGateway(t, yaml(5))
	clock := gw.withClock()
	ch := gw.Generation.Load().Budgets["main"]
	stop := time.Now().Add(time.Duration(seconds) * time.Second)
	var wg sync.WaitGroup
	var n, bad, short, purges, reloads atomic.Int64
	evictions := func() uint64 {
		var s cache.Stats
		ch.Cache.UpdateStats(&s)
		return s.Evictions
	}
	mixed := func() bool { return evictions() > 0 && purges.Load() > 0 && reloads.Load() > 0 }
	running := func() bool { // longer where the machine is slow
		now := time.Now()
		return now.Before(stop) || now.Before(stop.Add(time.Minute)) && !mixed()
	}
	var seen sync.Map
	fail := func(format string, args ...any) { bad.Add(1); t.Errorf(format, args...) }
	one := func(c net.Conn, br *bufio.Reader) (keep bool) {
		k := rand.IntN(len(versions))
		method, hs, multi := "GET", "", false
		switch rand.IntN(12) {
		case 0:
			method = "HEAD"
		case 1, 2:
			a := rand.IntN(400000)
			hs = fmt.Sprintf("Range: bytes=%d-%d\r\n", a, a+rand.IntN(300000))
		case 3:
			hs, multi = "Range: bytes=0-9,500-600,-5\r\n", true
		case 4:
			hs = fmt.Sprintf("If-None-Match: \"v%d\"\r\n", versions[k].Load())
		case 5:
			hs = "Cache-Control: no-cache\r\n"
		case 6:
			hs = fmt.Sprintf("Range: bytes=5-90000\r\nIf-Range: \"v%d\"\r\n", versions[k].Load())
		case 7:
			hs = "Cache-Control: max-stale\r\nRange: bytes=-70000\r\n"
		case 8:
			hs = "Cache-Control: no-cache\r\nRange: bytes=-70000\r\n"
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "%s /pub/%d HTTP/1.1\r\nHost: g\r\n%s\r\n", method, k, hs)
		if rand.IntN(30) == 0 {
			return false
		}
		r, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			fail("%s %s: %v", method, hs, err)
			return false
		}
		body, err := io.ReadAll(r.Body)
		n.Add(1)
		cnt, _ := seen.LoadOrStore(fmt.Sprint(r.StatusCode, " ", cacheHeader(r)), new(atomic.Int64))
		cnt.(*atomic.Int64).Add(1)
		if r.StatusCode != 200 && r.StatusCode != 206 {
			return err == nil && !r.Close
		}
		v, e := strconv.Atoi(strings.Trim(r.Header.Get("ETag"), `"v`))
		if e != nil || fmt.Sprint(v) != r.Header.Get("X-Amz-Meta-V") {
			fail("etag %q meta %q", r.Header.Get("ETag"), r.Header.Get("X-Amz-Meta-V"))
		}
		want := stressBody(v)
		switch {
		case r.StatusCode == 200:
		case strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/"):
			if !multi || !bytes.Contains(body, want[:10]) || !bytes.Contains(body, want[500:601]) {
				fail("multipart of v%d: %q", v, body)
			}
			want = body
		default:
			var a, b, s int
			fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &a, &b, &s)
			if s != len(want) {
				fail("size %d of v%d", s, v)
				return false
			}
			want = want[a : b+1]
		}
		switch {
		case method == "HEAD":
			if r.ContentLength != int64(len(want)) {
				fail("HEAD length %d of v%d", r.ContentLength, v)
			}
		case err != nil:
			if short.Add(1); !bytes.HasPrefix(want, body) {
				fail("v%d %s: wrong bytes before the end", v, hs)
			}
		case !bytes.Equal(body, want):
			fail("%s v%d %s %s: %d bytes, want %d", method, v, hs, cacheHeader(r), len(body), len(want))
		}
		return err == nil && !r.Close
	}
	for range 12 {
		wg.Go(func() {
			for running() && bad.Load() < 10 {
				c, err := net.Dial("tcp", gw.addr)
				if err != nil {
					t.Error(err)
					return
				}
				for br := bufio.NewReader(c); running() && one(c, br); {
				}
				c.Close()
			}
		})
	}
	wg.Go(func() {
		for running() {
			// By requests, not by time: on a busy machine nothing would be stored in between.
			until := n.Load() + int64(rand.IntN(30))
			polled(time.Minute, func() bool { return n.Load() >= until || !running() })
			k := rand.IntN(len(versions))
			switch rand.IntN(8) {
			case 0, 1:
				versions[k].Add(int64(len(versions)))
			case 2, 3:
				clock.advance(time.Duration(rand.IntN(6)) * time.Second)
			case 4:
				ch.Cache.PurgeKey("main", []byte(fmt.Sprint(k)), rand.IntN(2) == 0)
				purges.Add(1)
			case 5:
				ch.Cache.PurgeGroup("main", rand.IntN(2) == 0)
				purges.Add(1)
			case 6, 7:
				swapGeneration(t, gw, yaml(4+int(reloads.Add(1))%2)) // the budget stays
			}
		}
	})
	wg.Wait()
	gw.awaitBackground()
	gw.settleFills(t)
	held := func() bool {
		return ch.Cache.Pinned() != 0 || gw.InFlight.Load() != 0 || gw.Origins.Buffers.InUse() != 0
	}
	polled(5*time.Second, func() bool { return !held() })
	t.Logf("%d evictions, %d purges, %d reloads", evictions(), purges.Load(), reloads.Load())
	if !mixed() || gw.Generation.Load().Budgets["main"] != ch {
		t.Error("not all of evictions, purges and reloads were under way: the test does not test")
	}
	t.Logf("%d requests, %d short; pinned %d, inflight %d, buffers %d, goroutines %d", n.Load(), short.Load(), ch.Cache.Pinned(), gw.InFlight.Load(), gw.Origins.Buffers.InUse(), runtime.NumGoroutine())
	seen.Range(func(k, v any) bool { t.Log(k, v.(*atomic.Int64).Load()); return true })
	if held() {
		t.Error("leak")
	}
}
