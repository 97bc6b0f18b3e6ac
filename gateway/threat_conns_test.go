package gateway

import (
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

// TestConnectionFlood opens many more connections than are allowed: each is refused at
// once, memory stays flat, and those within the limit are served.
func TestConnectionFlood(t *testing.T) { // T64
	const limit, flood = 50, 3000
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, strings.Replace(oneBucket("/pub", origin.URL), "ready: config", fmt.Sprintf("ready: config, limits: {max_connections: %d}", limit), 1), func(o *Options) { o.LogLevel = "error" })
	keep := make([]net.Conn, limit)
	answer := make([]byte, 4096)
	for i := range keep {
		c := dial(t, gw.addr)
		fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
		if n, err := c.Read(answer); err != nil || statusOf(string(answer[:n])) != 200 {
			t.Fatalf("within the limit: %q, %v", answer[:n], err)
		}
		keep[i] = c
	}
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
	for _, c := range keep {
		fmt.Fprint(c, "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n")
		if n, err := c.Read(answer); err != nil || statusOf(string(answer[:n])) != 200 {
			t.Errorf("afterwards: %q, %v", answer[:n], err)
		}
	}
}
