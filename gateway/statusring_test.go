package gateway

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"yatagarasu/gateway/admin"
	"yatagarasu/gateway/observe"
)

// TestStatusRing moves the time on by hand: rates, the window of a minute, and the
// charts are of what was counted then.
func TestStatusRing(t *testing.T) {
	g := configuredGateway(t, adminYAML("http://127.0.0.1:1"), "error")
	b := g.Generation.Load().Buckets[0].Metrics
	now := g.Started
	count := func(n int, o observe.Outcome, took time.Duration) {
		for range n {
			b.Requests(observe.MethodGet, 200).Inc()
			b.ResponseBytes.Add(100)
			b.Latency(o).Duration.Observe(took)
		}
	}
	step := func() {
		now = now.Add(observe.SampleInterval)
		g.operators.History.Sample(g.Metrics, now)
	}
	// An hour of 10 hits in each step, and 10 misses that are slow in the last six.
	const steps = 720
	for i := range steps {
		count(10, observe.Hit, 80*time.Microsecond)
		if i >= steps-6 {
			count(10, observe.Miss, 80*time.Millisecond)
		}
		step()
	}
	s := g.operators.StatusAt(now.Add(time.Second))
	if n := len(s.Series.Requests); n != 120 || len(s.Series.P99) != n || len(s.Series.HitRatio) != n || len(s.Series.Bytes) != n || len(s.Series.Errors) != n || !s.Series.End.Equal(now) {
		t.Errorf("the charts have %d points, up to %s", n, s.Series.End)
	}
	first, last := 0, 120-1
	if s.Series.Requests[first] != 2 || s.Series.Requests[last] != 4 || s.Series.Bytes[last] != 400 || *s.Series.HitRatio[first] != 1 || *s.Series.HitRatio[last] != 0.5 || *s.Series.P99[first] > 0.1 || *s.Series.P99[last] < 50 {
		t.Errorf("%+v", s.Series)
	}
	if s.SinceStart.Requests != 10*steps+60 {
		t.Errorf("%d requests", s.SinceStart.Requests)
	}
	for name, w := range map[string]admin.StatusWindow{"all": s.LastMinute, "the bucket": s.Buckets[0].LastMinute} {
		if w.Requests != 180 || w.Seconds != 61 || w.Bytes != 18000 || *w.HitRatio != 0.6667 || *w.P50 > 0.1 || *w.P90 < 50 || *w.P99 > 100 {
			t.Errorf("the last minute of %s: %+v", name, w)
		}
	}
	if s.Now.Seconds != 6 || s.Now.Requests != 3.333 || *s.Now.HitRatio != 0.5 {
		t.Errorf("now: %+v", s.Now)
	}
	for range observe.SamplesPerMinute + 1 {
		step()
	}
	if s := g.operators.StatusAt(now); s.LastMinute.Requests != 0 || s.LastMinute.P99 != nil || s.LastMinute.HitRatio != nil || s.Now.Requests != 0 || *s.Series.HitRatio[60] != 1 || s.Series.HitRatio[last] != nil {
		t.Errorf("a minute later: %+v, %+v", s.LastMinute, s.Now)
	}
}

// TestStatusSampling lets three minutes pass: a sample every five seconds, a new list
// of slow requests every minute, and the goroutine ends when it is told to.
func TestStatusSampling(t *testing.T) {
	g := configuredGateway(t, adminYAML("http://127.0.0.1:1"), "error")
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			g.operators.SampleStatus(stop)
		}()
		g.Record(&observe.Entry{Bucket: g.Generation.Load().Buckets[0].Metrics, Start: time.Now()}, time.Second)
		for minute := 1; minute <= 5; minute++ {
			time.Sleep(time.Minute) // of the test's own clock
			synctest.Wait()
			s := g.operators.StatusAt(time.Now())
			if points, slow := len(s.Series.Requests), len(s.Slowest); points != 12*minute || slow != 1 && minute < 5 || slow != 0 && minute == 5 {
				t.Errorf("minute %d: %d points, %d slow requests", minute, points, slow)
			}
		}
		close(stop)
		<-ended
	})
}

// TestStatusRingAtStart asks before the first step is over.
func TestStatusRingAtStart(t *testing.T) {
	g := configuredGateway(t, adminYAML("http://127.0.0.1:1"), "error")
	g.Generation.Load().Buckets[0].Metrics.Requests(observe.MethodGet, 503).Inc()
	for after, rate := range map[time.Duration]float64{0: 1, 100 * time.Millisecond: 1, 2 * time.Second: 0.5} {
		s := g.operators.StatusAt(g.Started.Add(after))
		if s.Now.Requests != rate || s.Now.Errors != rate || s.LastMinute.Errors5xx != 1 || len(s.Series.Requests) != 0 {
			t.Errorf("after %s: %+v, %+v", after, s.Now, s.LastMinute)
		}
	}
}

// TestSlowRequests looks at what the status tells of requests.
func TestSlowRequests(t *testing.T) {
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL))
	long := "/pub/" + strings.Repeat("x", 2*256)
	for _, target := range []string{"/pub/a?token=hidden", "/pub/%3Cimg%20src=x%3E", long, "/health"} {
		gw.do("GET", target)
	}
	gw.log.waitFor(t, "/health")
	_, text := gw.admin("GET", "/admin/status", "")
	if strings.Contains(text, "hidden") {
		t.Errorf("the query is told: %s", text)
	}
	s := gw.statusCall()
	paths := make(map[string]admin.StatusSlow)
	for i, r := range s.Slowest {
		paths[r.Path] = r
		if i > 0 && s.Slowest[i-1].Duration < r.Duration {
			t.Errorf("not the slowest first: %+v", s.Slowest)
		}
	}
	if len(paths) != 3 {
		t.Errorf("%+v", s.Slowest)
	}
	r, ok := paths["/pub/a"]
	if !ok || r.Bucket != "main" || r.Status != 200 || r.Bytes != 5 || r.Cache != "miss" || r.Method != "GET" || r.Duration <= 0 || r.FirstByte > r.Duration || !strings.Contains(gw.log.String(), `"request_id":"`+r.RequestID+`"`) {
		t.Errorf("%+v", paths)
	}
	for _, path := range []string{"/pub/%3Cimg%20src=x%3E", long[:256] + "…"} {
		if _, ok := paths[path]; !ok {
			t.Errorf("lacks %s: %+v", path, s.Slowest)
		}
	}
}

// TestStatusDuringRequests asks while there are requests, reloads and steps, for the
// race detector.
func TestStatusDuringRequests(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw, write := fileGateway(t, adminYAML(origin.URL), func(o *Options) { o.LogLevel = "error" })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	during := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					f(i)
				}
			}
		})
	}
	for range 2 {
		during(func(i int) { gw.do("GET", fmt.Sprintf("/pub/%d", i%10)) })
	}
	during(func(int) {
		gw.operators.History.Sample(gw.Metrics, time.Now())
		gw.Slow.NextMinute()
	})
	during(func(i int) {
		yaml := adminYAML(origin.URL)
		if i%3 == 0 {
			yaml += "mistake: true\n"
		}
		write(yaml)
		gw.requestReload()
	})
	defer wg.Wait()
	defer close(stop)
	last := uint64(0)
	for range 30 {
		s := gw.statusCall()
		if s.SinceStart.Requests < last || s.LastMinute.Requests > s.SinceStart.Requests {
			t.Errorf("%d requests, in the last minute %d, before %d", s.SinceStart.Requests, s.LastMinute.Requests, last)
		}
		last = s.SinceStart.Requests
		if r := s.LastReload; r != nil && (r.Result == "failed") != (len(r.Errors) > 0) {
			t.Errorf("a reload in between: %+v", r)
		}
		gw.operators.WriteMetrics(io.Discard)
	}
}

// BenchmarkStatus is what an answer to the status page costs.
func BenchmarkStatus(b *testing.B) {
	for _, n := range []int{3, 300} {
		b.Run(fmt.Sprintf("%d buckets", n), func(b *testing.B) {
			yaml := "server: {ready: config}\nbuckets:\n"
			for i := range n {
				yaml += bucketYAML(fmt.Sprint("b", i), fmt.Sprint("/b", i), "http://127.0.0.1:1")
			}
			g := configuredGateway(b, yaml, "error")
			for _, bucket := range g.Generation.Load().Buckets {
				bucket.Metrics.Requests(observe.MethodGet, 200).Inc()
				bucket.Metrics.Latency(observe.Hit).Duration.Observe(time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				if s := g.operators.StatusAt(time.Now()); s.SinceStart.Requests != uint64(n) || len(s.Buckets) != n+1 {
					b.Fatal(s.SinceStart.Requests)
				}
			}
		})
	}
}
