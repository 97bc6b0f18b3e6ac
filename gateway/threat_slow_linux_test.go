package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/limit"
)

// loopback returns the i-th of a number of clients' addresses: all of 127.0.0.0/8 is this
// machine's.
func loopback(net, i int) string { return fmt.Sprintf("127.0.%d.%d", net, 1+i) }

// dialFrom connects to address from a client's own, with little room for what it has not
// read. The connection is closed after the test.
func dialFrom(t testing.TB, from, address string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)},
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }); e != nil {
				return e
			}
			return err
		},
	}
	c, err := d.Dial("tcp", address)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// readSlowly has a client at an address ask for target and read 1,300 bytes a second of it,
// and ask again whenever it is cut, until stop is closed.
func (tg *testGateway) readSlowly(t *testing.T, from, target string, stop <-chan struct{}) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	piece := make([]byte, 65)
	for {
		c, err := dialFrom(t, from, tg.addr)
		if err == nil {
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: g\r\n\r\n", target)
		}
		for err == nil {
			select {
			case <-tick.C:
				_, err = c.Read(piece)
			case <-stop:
				c.Close()
				return
			}
		}
		if c != nil {
			c.Close()
		}
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

// slowReaders starts n clients that read targets slowly; each is told its number. They end
// with the test, or with stop.
func (tg *testGateway) slowReaders(t *testing.T, n int, from, target func(i int) string) (stop func()) {
	ending := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { tg.readSlowly(t, from(i), target(i), ending) })
	}
	stop = sync.OnceFunc(func() {
		close(ending)
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// honest asks for target from an address, and returns what comes and how long it takes.
func (tg *testGateway) honest(from, target string) (r *http.Response, body string, took time.Duration, err error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext}
	defer transport.CloseIdleConnections()
	begin := time.Now()
	if r, err = (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get(tg.url(target)); err != nil {
		return nil, "", 0, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r, string(b), time.Since(begin), err
}

// TestThreatSlowReaders has clients that read just above the minimum rate.
func TestThreatSlowReaders(t *testing.T) {
	t.Parallel()
	big, small := sixteens(32<<20), sixteens(96<<10)
	objects := func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/big") {
			version(big)(w, r)
		} else {
			version(small)(w, r)
		}
	}
	const (
		limit = 4
		busy  = 4 * time.Second // beyond what is promised, for a machine with other things to do
	)
	for _, c := range []struct {
		name  string
		slow  int
		from  func(i int) string
		bound time.Duration // as docs/RESILIENCE.md has it
	}{
		{"four_from_one_address", limit, func(int) string { return loopback(1, 0) }, 2 * time.Second},
		{"forty_from_one_address", 40, func(int) string { return loopback(1, 0) }, 2 * time.Second},
		{"four_from_as_many", limit, func(i int) string { return loopback(1, i) }, 5 * time.Second},
		{"forty_from_as_many", 40, func(i int) string { return loopback(1, i) }, 5 * time.Second},
		{"four_from_the_honest_ones_address", limit, func(int) string { return loopback(2, 0) }, 2 * time.Second},
	} {
		t.Run("T89_"+c.name, func(t *testing.T) {
			origin := startOrigin(t, objects)
			gw := startGateway(t, oneBucket("/pub", origin.URL, fmt.Sprintf("max_connections: %d", limit)), func(o *Options) { o.LogLevel = "error" })
			gw.slowReaders(t, c.slow, c.from, func(int) string { return "/pub/big" })
			inUse := fmt.Sprintf(`yatagarasu_upstream_connections{bucket="main",origin=%q,state="in_use"}`, strings.TrimPrefix(origin.URL, "http://"))
			eventually(t, "the slow ones have all connections", func() bool { return gw.metricValue(inUse) == limit })
			var mu sync.Mutex
			var longest time.Duration
			var wg sync.WaitGroup
			for i := range limit {
				wg.Go(func() {
					for range 3 {
						r, body, took, err := gw.honest(loopback(2, i), "/pub/small")
						mu.Lock()
						longest = max(longest, took)
						mu.Unlock()
						if err != nil || r.StatusCode != 200 || body != small {
							t.Errorf("an honest client gets %v with %d bytes after %v, %v", r, len(body), took, err)
						}
					}
				})
			}
			wg.Wait()
			t.Logf("the longest wait of an honest one was %v", longest)
			if longest > c.bound+busy {
				t.Errorf("an honest client has waited %v, want at most %v", longest, c.bound)
			}
			yielded := fmt.Sprintf(`yatagarasu_upstream_yielded_total{bucket="main",origin=%q}`, strings.TrimPrefix(origin.URL, "http://"))
			if gw.metricValue(yielded) == 0 {
				t.Error("no slow reader is counted as having given way")
			}
		})
	}
}

// TestAnswersAreWatchedFromTheirHead has the handler return: from then on it is known who
// holds what, though the client may not even take the head.
func TestAnswersAreWatchedFromTheirHead(t *testing.T) { // T88, T89
	body := sixteens(300_000)
	client := limit.AddressKey(netip.MustParseAddr("127.0.0.1"))
	begin := func(t *testing.T, gw *testGateway) *fasthttp.RequestCtx {
		eventually(t, "the request before has ended, not only its body", func() bool { return gw.conns.Active() == 0 })
		ctx := request(t, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
		if gw.Handle(ctx); ctx.Response.StatusCode() != 200 {
			t.Fatalf("status %d", ctx.Response.StatusCode())
		}
		return ctx
	}
	origin := startOrigin(t, serveText(body))
	t.Run("a connection to the origin", func(t *testing.T) {
		gw := startGateway(t, oneBucket("/pub", origin.URL))
		gw.do("GET", "/pub/x")
		ctx := begin(t, gw)
		up := gw.Generation.Load().Buckets[0].Origin.Replicas[0].Upstream
		if n := gw.Origins.Pace.Held(up, client); n != 1 {
			t.Errorf("%d connections are held, want 1", n)
		}
		ctx.Response.CloseBodyStream()
		if n := gw.Origins.Pace.Held(up, client); n != 0 {
			t.Errorf("%d connections are held at the end", n)
		}
	})
	for name, size := range map[string]int{"memory": 300_000, "memory of a body that goes out with its head": 100_000} {
		t.Run(name, func(t *testing.T) {
			origin := startOrigin(t, serveText(body[:size]))
			gw := startGateway(t, cachedYAML(origin.URL))
			gw.do("GET", "/pub/x")
			gw.settleFills(t)
			b := gw.Generation.Load().Budgets[""]
			ctx := begin(t, gw)
			if n := gw.Origins.Pace.Held(b, client); n != 0 {
				t.Errorf("%d bytes are held that the cache has, too", n)
			}
			b.Cache.PurgeGroup("main", false)
			if n := gw.Origins.Pace.Held(b, client); n != int64(size) {
				t.Errorf("%d bytes are held, want %d", n, size)
			}
			if ctx.Response.CloseBodyStream(); !ctx.Response.IsBodyStream() {
				ctx.ResetUserValues()
			}
			if n := gw.Origins.Pace.Held(b, client) + b.Cache.Pinned(); n != 0 {
				t.Errorf("%d bytes are held at the end", n)
			}
		})
	}
}

// TestThreatSlowReadersOfMemory has clients that slowly read bodies which are in memory for
// them alone.
func TestThreatSlowReadersOfMemory(t *testing.T) {
	const object = 8_000_000
	large, body := sixteens(object), sixteens(1<<20)
	objects := func(gate <-chan struct{}) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.Contains(r.URL.Path, "/halted"):
				<-gate
				version(body)(w, r)
			case strings.Contains(r.URL.Path, "/large"):
				version(large)(w, r)
			default:
				version(body)(w, r)
			}
		}
	}
	for _, c := range []struct {
		name string
		slow int
		from func(i int) string
	}{
		{"two", 2, func(i int) string { return loopback(1, i) }},
		{"eight", 8, func(i int) string { return loopback(1, i) }},
		{"eight_from_one_address", 8, func(int) string { return loopback(1, 0) }},
	} {
		t.Run("T88_"+c.name+"_of_what_is_not_stored", func(t *testing.T) {
			gate := make(chan struct{})
			origin := startOrigin(t, objects(gate))
			gw := startGateway(t, cachedYAML(origin.URL, "max_size: 64MB"), func(o *Options) { o.LogLevel = "error" })
			b := gw.Generation.Load().Budgets["main"]
			for range 3 { // what the policy prefers to anything new
				for i := range 8 {
					gw.do("GET", fmt.Sprintf("/pub/large-popular-%d", i))
					gw.settleFills(t)
				}
			}
			gw.slowReaders(t, c.slow, c.from, func(i int) string { return fmt.Sprintf("/pub/large-%d", i) })
			eventually(t, "what the slow ones read has come", func() bool { return gw.InFlight.Load() == int64(c.slow) && b.Cache.Pinned() >= 2*object })
			gw.settleFills(t)

			hit := false
			for range 12 {
				r, got, _, err := gw.honest(loopback(2, 0), "/pub/wanted")
				if err != nil || got != body {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				hit = hit || cacheHeader(r) == "HIT"
				gw.settleFills(t)
			}
			if !hit {
				t.Error("an object that is often asked for is not stored")
			}
			before := len(origin.seen())
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if _, got, _, err := gw.honest(loopback(2, 1), "/pub/halted"); err != nil || got != body {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				})
			}
			gw.awaitInFlight(int64(c.slow + 10))
			close(gate)
			wg.Wait()
			if n := len(origin.seen()) - before; n != 1 {
				t.Errorf("%d fetches of one object, want 1", n)
			}
			if beside := b.Cache.Pinned() + b.Cache.Arriving(); beside > 64e6*3/4 {
				t.Errorf("%d bytes are in memory beside the cache", beside)
			}
		})
	}
	t.Run("T88_small_parts_of_large_objects", func(t *testing.T) {
		origin := startOrigin(t, objects(nil))
		gw := startGateway(t, cachedYAML(origin.URL, "max_size: 40MB"), func(o *Options) { o.LogLevel = "error" })
		b := gw.Generation.Load().Budgets["main"]
		part := "GET /pub/large HTTP/1.1\r\nHost: g\r\nRange: bytes=0-60000\r\n\r\n"
		answered := func() float64 { return gw.metricValue(`yatagarasu_cache_requests_total{bucket="main",outcome="hit"}`) }
		eventually(t, "what a client is sent is purged, and counted", func() bool {
			gw.do("GET", "/pub/large")
			gw.settleFills(t)
			c, err := dialFrom(t, loopback(1, 0), gw.addr)
			if err != nil {
				t.Fatal(err)
			}
			go io.WriteString(c, strings.Repeat(part, 1000)) // ends with the connection, which reads nothing
			// Its socket is full when a hit is under way, and none has ended for a while: if
			// that was too early, another client tries.
			last, since := -1.0, time.Now()
			eventually(t, "the client's socket is full", func() bool {
				if n := answered(); n != last || gw.InFlight.Load() != 1 {
					last, since = n, time.Now()
				}
				return time.Since(since) > 100*time.Millisecond
			})
			if b.Cache.PurgeGroup("main", false); b.Cache.Pinned() == object {
				return true
			}
			c.Close()
			eventually(t, "the client is gone", func() bool { return gw.InFlight.Load() == 0 })
			return false
		})
	})
	t.Run("T88_of_what_is_stored_no_more", func(t *testing.T) {
		origin := startOrigin(t, objects(nil))
		gw := startGateway(t, cachedYAML(origin.URL, "max_size: 40MB", "policy: lru"), func(o *Options) { o.LogLevel = "info" })
		b := gw.Generation.Load().Budgets["main"]
		for i := range 4 {
			gw.do("GET", fmt.Sprintf("/pub/large-%d", i))
			gw.settleFills(t)
		}
		gw.slowReaders(t, 4, func(i int) string { return loopback(1, i) }, func(i int) string { return fmt.Sprintf("/pub/large-%d", i) })
		gw.awaitInFlight(4)
		b.Cache.PurgeGroup("main", false)
		eventually(t, "slow readers give way", func() bool { return b.Yielded.Load() > 0 && b.Cache.Pinned() <= 20e6 })
		if n := gw.metricValue(`yatagarasu_cache_yielded_total{budget="main"}`); n == 0 {
			t.Error("no slow reader is counted")
		}
		gw.log.waitFor(t, `"reason":"yielded"`)
	})
}
