package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/pool"
)

// slowReplica answers after a base time, and a part of the requests after a long one,
// unless they are given up.
func slowReplica(base, long time.Duration, part float64, given *atomic.Int64) func(net.Conn, string) bool {
	return func(c net.Conn, _ string) bool {
		wait := base
		if rand.Float64() < part {
			wait = long
		}
		c.SetReadDeadline(time.Now().Add(wait))
		if _, err := c.Read(make([]byte, 1)); err != nil && !isTimeoutError(err) {
			given.Add(1)
			return false
		}
		c.SetReadDeadline(time.Time{})
		fmt.Fprintf(c, okHead+"Content-Length: 5\r\n\r\nhello")
		return true
	}
}

func isTimeoutError(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestHedge has 3 % of the requests take 2 s, and compares how long clients wait with
// and without a second request. The budget is 5 %: what is left is for those that a busy
// machine slows down.
func TestHedge(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it takes seconds")
	}
	const requests, clients = 2000, 40
	run := func(hedge string) (p50, p99 time.Duration, extra float64) {
		var given, none atomic.Int64
		first := startFaulty(t, slowReplica(20*time.Millisecond, 2*time.Second, 0.03, &given))
		second := startFaulty(t, slowReplica(2*time.Millisecond, 0, 0, &none))
		gw := startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint}, hedge))
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
		defer client.CloseIdleConnections()
		var mu sync.Mutex
		var took []time.Duration
		var left atomic.Int64
		left.Store(requests)
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					begin := time.Now()
					r, err := client.Get(gw.url("/pub/x"))
					if err != nil {
						t.Error(err)
						return
					}
					r.Body.Close()
					if r.StatusCode != 200 {
						t.Errorf("status %d", r.StatusCode)
					}
					mu.Lock()
					took = append(took, time.Since(begin))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		gw.settle(t)
		slices.Sort(took)
		extra = float64(second.Requests.Load()) / requests
		if hedge != "" && given.Load() < second.Requests.Load()/2 {
			t.Errorf("%d of %d requests that lost were given up", given.Load(), second.Requests.Load())
		}
		return took[requests/2], took[requests*99/100], extra
	}
	p50, p99, _ := run("")
	t.Logf("without: median %v, 99th percentile %v", p50, p99)
	for _, hedge := range []string{"hedge: {after: p95}", "hedge: {after: 200ms}"} {
		p50, p99, extra := run(hedge)
		t.Logf("%s: median %v, 99th percentile %v, %.1f %% more requests", hedge, p50, p99, extra*100)
		if p99 > time.Second {
			t.Errorf("%s: the 99th percentile is %v", hedge, p99)
		}
		if extra > 0.06 {
			t.Errorf("%s: %.1f %% more requests", hedge, extra*100)
		}
	}
}

// TestHedgeOutcomes has every combination of who answers first, and how.
func TestHedgeOutcomes(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second func(net.Conn, string) bool
		last          string // which of them waits for the other; empty: the first does not wait for a hedge, either
		status        int
		body          string
		won           float64
	}{
		{"the first, before the second is sent", failing(0, "first", nil), failing(0, "second", nil), "", 200, "first", 0},
		{"the first", failing(0, "first", nil), silent, "second", 200, "first", 0},
		{"the second", silent, failing(0, "second", nil), "first", 200, "second", 1},
		{"the first fails first", says(500, "InternalError"), failing(0, "second", nil), "second", 200, "second", 1},
		{"the second fails first", failing(0, "first", nil), says(500, "InternalError"), "first", 200, "first", 0},
		{"the second hangs up", failing(0, "first", nil), hangsUp(""), "first", 200, "first", 0},
		{"both fail", says(503, "SlowDown"), says(503, "SlowDown"), "first", 503, "", 0},
		{"there is no such object", silent, says(404, "NoSuchKey"), "first", 404, "", 1},
	} {
		for _, cached := range []string{"", "    cache: {enabled: true}\n"} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				hedged, answered := make(chan struct{}), make(chan struct{})
				hedge, answer := sync.OnceFunc(func() { close(hedged) }), sync.OnceFunc(func() { close(answered) })
				wait := func() {
					<-answered
					time.Sleep(30 * time.Millisecond) // nearly always it is known by then; if not, all ends the same
				}
				first := startFaulty(t, func(conn net.Conn, head string) bool {
					switch c.last {
					case "first":
						wait()
					case "second":
						<-hedged
						defer answer()
					}
					return c.first(conn, head)
				})
				second := startFaulty(t, func(conn net.Conn, head string) bool {
					hedge()
					if c.last == "second" {
						wait()
					} else {
						defer answer()
					}
					return c.second(conn, head)
				})
				after := "20ms"
				if c.last == "" {
					after = "10s" // longer than the first takes on any machine
				}
				gw := startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint}, "hedge: {after: "+after+", max: 100%}", "retry: {tries: 0}")+cached)
				r, body := gw.do("GET", "/pub/x")
				if r.StatusCode != c.status || c.body != "" && string(body) != c.body {
					t.Errorf("%d %s, want %d %s", r.StatusCode, body, c.status, c.body)
				}
				if won := gw.metricValue(`yatagarasu_upstream_hedges_won_total{bucket="main",origin="r1"}`); won != c.won {
					t.Errorf("the second won %v times", won)
				}
				gw.settle(t)
			})
		}
	}
}

// TestHedgedPhases has a hedge win that waited for its connection: the slow log shows the
// winner's phases, not those of the request that was given up.
func TestHedgedPhases(t *testing.T) {
	const waits = 150 * time.Millisecond
	body := strings.Repeat("x", 200_000)
	gate := make(chan struct{})
	first := startFaulty(t, func(c net.Conn, _ string) bool { io.Copy(io.Discard, c); return false }) // until it is given up
	second := startFaulty(t, func(c net.Conn, head string) bool {
		if !strings.Contains(head, "/hold ") {
			io.WriteString(c, okHead+"Content-Length: 5\r\n\r\nhello")
			return true
		}
		fmt.Fprintf(c, okHead+"Content-Length: %d\r\n\r\n%s", len(body), body[:100_000])
		<-gate
		io.WriteString(c, body[100_000:])
		return true
	})
	gw := startGateway(t, replicasYAML([]string{first.endpoint, second.endpoint}, "hedge: {after: 10ms, max: 100%}", "max_connections: 1")+"logging: {slow: 1ms}\n")
	held, err := http.Get(gw.url("/pub/hold")) // takes the only connection to the second
	if err != nil {
		t.Fatal(err)
	}
	defer held.Body.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r, got := gw.do("GET", "/pub/x"); r.StatusCode != 200 || string(got) != "hello" {
			t.Errorf("status %d, %q", r.StatusCode, got)
		}
	}()
	eventually(t, "the hedge waits", func() bool {
		var s pool.Stats
		gw.Generation.Load().Buckets[0].Origin.Replicas[1].Upstream.UpdateStats(&s)
		return s.Waiting == 1
	})
	time.Sleep(waits) // what is to be measured
	close(gate)
	io.Copy(io.Discard, held.Body)
	<-done
	gw.log.waitFor(t, `"path":"/pub/x"`)
	for line := range strings.Lines(gw.log.String()) {
		if !strings.Contains(line, `"path":"/pub/x"`) {
			continue
		}
		var l struct {
			Phases struct {
				Wait float64 `json:"wait_ms"`
			}
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Phases.Wait < float64(waits.Milliseconds()) {
			t.Errorf("%v: %s", err, line)
		}
	}
	gw.settle(t)
}
