package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// spareDescriptors returns how many connections, of which each end is in this process,
// can be opened, at most n.
func spareDescriptors(t *testing.T, n int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return min(n, (int(min(limit.Cur, 1<<20))-1000)/2)
}

func heapNow() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestSlowloris has 10,000 connections send a head that never ends: others are served,
// and the connections are cut in time.
func TestSlowloris(t *testing.T) { // T62
	n := spareDescriptors(t, 10_000)
	if raceEnabled || testing.Short() {
		n = min(n, 1000)
	}
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, oneBucket("/pub", origin.URL)+"    cache: {enabled: true}\n", func(o *Options) { o.LogLevel, o.HeaderTimeout = "error", 4*time.Second })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	ask := func() (p99 time.Duration) {
		var took []time.Duration
		for range 1000 {
			begin := time.Now()
			r, err := client.Get(gw.url("/pub/x"))
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.StatusCode != 200 {
				t.Fatalf("status %d", r.StatusCode)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return took[990]
	}
	alone, before := ask(), heapNow()
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", gw.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\nX-Slow: ")
		conns[i] = c
	}
	among := ask()
	t.Logf("99th percentile %v alone, %v among %d connections that never finish a head; %d bytes for each", alone, among, n, (heapNow()-before)/int64(n))
	var cut atomic.Int64
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			c.SetReadDeadline(time.Now().Add(20 * time.Second))
			if b, err := io.ReadAll(c); err == nil && (len(b) == 0 || strings.HasPrefix(string(b), "HTTP/1.1 408 ")) {
				cut.Add(1)
			}
		})
	}
	wg.Wait()
	if cut.Load() != int64(n) {
		t.Errorf("%d of %d connections are cut", cut.Load(), n)
	}
}

// TestConnectionFlood opens many more connections than are allowed, while each that is has a
// request under way: each further one is refused at once, memory stays flat, and those within the
// limit are served.
func TestConnectionFlood(t *testing.T) { // T64
	const limit, flood = 50, 3000
	gate := make(chan struct{})
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		<-gate
		serveText("hello")(w, r)
	})
	gw := startGateway(t, limitedConns(limit, bucketYAML("main", "/pub", origin.URL)), func(o *Options) { o.LogLevel = "error" })
	keep := make([]net.Conn, limit)
	for i := range keep {
		keep[i] = dial(t, gw.addr)
		fmt.Fprint(keep[i], "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
	}
	gw.awaitInFlight(limit)
	before := heapNow()
	for range flood {
		c, err := net.Dial("tcp", gw.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(c); err != nil || statusOf(string(b)) != 503 || !strings.Contains(string(b), "Retry-After: 1\r\n") {
			t.Fatalf("beyond the limit: %q, %v", b, err)
		}
		c.Close()
	}
	if grown := heapNow() - before; grown > 4<<20 {
		t.Errorf("%d bytes more after %d refused connections", grown, flood)
	}
	if n := gw.metricValue("yatagarasu_refused_connections_total"); n != flood {
		t.Errorf("%v refused, want %d", n, flood)
	}
	close(gate)
	for _, c := range keep {
		if status := answerOn(t, c); status != 200 {
			t.Errorf("within the limit: status %d", status)
		}
	}
}

// limitedConns is a configuration for so many connections.
func limitedConns(most int, buckets string) string {
	return fmt.Sprintf("server: {ready: config, limits: {max_connections: %d}}\nbuckets:\n%s", most, buckets)
}

// answerOn returns the status of the next answer on c; 0: it is closed.
func answerOn(t *testing.T, c net.Conn) int {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return statusOf(string(b[:n]))
}

// TestThreatConns fills the table of connections with ones that want nothing: others are served.
func TestThreatConns(t *testing.T) {
	const most = 20
	const get = "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n"
	origin := startOrigin(t, serveText("hello"))
	bucket := bucketYAML("main", "/pub", origin.URL)
	for _, c := range []struct {
		name, says string
		answered   bool
	}{
		{"T98_idle_clients_give_way", get, true},
		{"T98_silent_clients_give_way", "", false},
		{"T98_heads_that_never_end_give_way", "GET /pub/x HTTP/1.1\r\nHost: g\r\nX-Slow: ", false},
	} {
		for _, lean := range []int{0, 1000} {
			t.Run(fmt.Sprintf("%s/lean_after_%d", c.name, lean), func(t *testing.T) {
				gw := startGateway(t, limitedConns(most, bucket), func(o *Options) { o.LeanAfter = lean })
				conns := make([]net.Conn, most)
				for i := range conns {
					conns[i] = dial(t, gw.addr)
					io.WriteString(conns[i], c.says)
					if c.answered && answerOn(t, conns[i]) != 200 {
						t.Fatal("not served within the limit")
					}
					if c.answered { // its client has the answer before it is idle
						eventually(t, "it is idle", func() bool { return gw.conns.Active() == 0 })
					}
				}
				eventually(t, "the table is full", func() bool { return gw.conns.Len() == most })
				for range 3 {
					if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
						t.Errorf("a new client: %d %s", r.StatusCode, body)
					}
				}
				if c.answered {
					if status := answerOn(t, conns[0]); status != 0 {
						t.Errorf("the one idle longest has another answer: %d", status)
					}
					io.WriteString(conns[most-1], get)
					if status := answerOn(t, conns[most-1]); status != 200 {
						t.Errorf("the one idle for the shortest time: status %d", status)
					}
				}
				if refused, displaced := gw.metricValue("yatagarasu_refused_connections_total"), gw.metricValue("yatagarasu_displaced_connections_total"); refused != 0 || displaced < 1 {
					t.Errorf("%v refused, %v displaced", refused, displaced)
				}
			})
		}
	}
	t.Run("T98_the_address_with_most_gives_way", func(t *testing.T) {
		gw := startGateway(t, "server: {ready: config, trusted_proxies: [127.0.0.1], proxy_protocol: true, limits: {max_connections: "+fmt.Sprint(most)+"}}\nbuckets:\n"+bucket)
		open := func(client string) net.Conn {
			conn := dial(t, gw.addr)
			io.WriteString(conn, proxyHeader(t, 2, client)+get)
			if status := answerOn(t, conn); status != 200 {
				t.Fatalf("%s: status %d", client, status)
			}
			return conn
		}
		honest := []net.Conn{open("192.0.2.1:1"), open("192.0.2.2:1"), open("192.0.2.3:1")}
		for i := range 10 * most { // one address takes the rest, again and again
			open(fmt.Sprintf("198.51.100.1:%d", 1+i))
		}
		for i, conn := range honest {
			io.WriteString(conn, get)
			if status := answerOn(t, conn); status != 200 {
				t.Errorf("honest client %d, idle longest of all: status %d", i, status)
			}
		}
	})
	t.Run("T98a_heads_that_end_after_the_crowd", func(t *testing.T) {
		const most, heads = 200, 64
		gate := make(chan struct{})
		gw := startGateway(t, limitedConns(most, bucketYAML("main", "/pub", gatedOrigin(t, 4<<20, gate).URL)), func(o *Options) { o.ShutdownTimeout = 0 })
		conns := make([]net.Conn, most)
		for i := range conns {
			conns[i] = dial(t, gw.addr)
		}
		eventually(t, "the table is full", func() bool { return gw.conns.Len() == most })
		for _, c := range conns[:heads] {
			io.WriteString(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n")
		}
		eventually(t, "the heads have begun", func() bool { return gw.conns.Active() == heads })
		for _, c := range conns[heads:] {
			c.Close()
		}
		eventually(t, "the crowd is gone", func() bool { return gw.conns.Len() == heads })
		for _, c := range conns[:heads] {
			io.WriteString(c, "\r\n")
			if status := answerOn(t, c); status != 200 {
				t.Fatalf("a head that ends: status %d", status)
			}
		}
		for range most {
			dial(t, gw.addr)
		}
		eventually(t, "those that were told to go have gone", func() bool { return gw.conns.Displaced.Load() >= heads && gw.conns.Len() <= most })
		for range 20 {
			if r, body := gw.do("GET", "/health"); r.StatusCode != 200 {
				t.Fatalf("a new client: %d %s, with %d open", r.StatusCode, body, gw.conns.Len())
			}
		}
		if n := gw.conns.Active(); n < heads {
			t.Errorf("%d requests are under way, want %d", n, heads)
		}
		if err := gw.stop(); !errors.Is(err, ErrCut) {
			t.Errorf("Run returns %v, want ErrCut", err)
		}
	})
	t.Run("T98b_heads_from_before_the_crowd", func(t *testing.T) {
		gw := startGateway(t, limitedConns(most, bucket), func(o *Options) { o.HeaderTimeout = 4 * time.Second })
		heads := make([]net.Conn, most*3/4-1)
		for i := range heads {
			heads[i] = dial(t, gw.addr)
			io.WriteString(heads[i], "GET /pub/x HTTP/1.1\r\n")
		}
		eventually(t, "the heads have begun", func() bool { return gw.conns.Active() == len(heads) })
		for range 3 * most {
			dial(t, gw.addr)
		}
		if r, body := gw.do("GET", "/pub/x"); r.StatusCode != 200 {
			t.Errorf("a new client: %d %s", r.StatusCode, body)
		}
		for _, c := range heads {
			if status := answerOn(t, c); status != 408 {
				t.Errorf("a head that began before the crowd: status %d", status)
			}
		}
		if n := gw.metricValue("yatagarasu_refused_connections_total"); n != 0 {
			t.Errorf("%v refused", n)
		}
	})
	for _, listener := range []string{"main", "metrics"} {
		for name, expect := range map[string]string{"a_body": "", "an_expectation": "Expect: 100-continue\r\n"} {
			t.Run("T98c_a_call_whose_body_arrives_does_not/"+listener+"/"+name, func(t *testing.T) {
				gw := startGateway(t, strings.Replace(adminYAML(origin.URL, `admin: {token: "`+adminToken+`"}`), "ready: config", "ready: config, limits: {max_connections: 20}", 1))
				address, table := gw.addr, &gw.conns
				if listener == "metrics" {
					address, table = gw.MetricsAddr().String(), &gw.operators.Conns
				}
				for n := range table.Most() {
					dial(t, address)
					eventually(t, "it is accepted", func() bool { return table.Len() == n+1 })
				}
				call, body := dial(t, address), `{"all": true}`
				fmt.Fprintf(call, "POST /admin/cache/purge HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%sContent-Length: %d\r\n\r\n", adminToken, expect, len(body))
				if expect != "" {
					if status := answerOn(t, call); status != 100 {
						t.Fatalf("status %d", status)
					}
				}
				io.WriteString(call, body[:5])
				eventually(t, "the call has begun", func() bool { return table.Active() == 1 })
				for range 2 * table.Most() {
					before := table.Displaced.Load()
					dial(t, address)
					eventually(t, "it is accepted", func() bool { return table.Displaced.Load() > before })
				}
				io.WriteString(call, body[5:])
				if status := answerOn(t, call); status != 200 {
					t.Errorf("status %d", status)
				}
			})
		}
	}
	t.Run("T98_a_download_does_not", func(t *testing.T) {
		const size = 4 << 20
		gate := make(chan struct{})
		gw := startGateway(t, limitedConns(2, bucketYAML("main", "/pub", gatedOrigin(t, size, gate).URL)))
		r := beginDownload(t, gw, size)
		defer r.Body.Close()
		for range 50 {
			dial(t, gw.addr)
		}
		eventually(t, "they are accepted", func() bool { return gw.metricValue("yatagarasu_displaced_connections_total") >= 40 })
		if r, _ := gw.do("GET", "/health"); r.StatusCode != 200 {
			t.Errorf("a new client: %d", r.StatusCode)
		}
		close(gate)
		expectRest(t, r, size)
	})
}
