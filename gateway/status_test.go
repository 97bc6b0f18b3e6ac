package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"yatagarasu/gateway/admin"
)

// statusCall returns what the call tells.
func (tg *testGateway) statusCall() *admin.StatusReply {
	tg.t.Helper()
	code, body := tg.admin("GET", "/admin/status", "")
	var s admin.StatusReply
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != 200 {
		tg.t.Fatalf("%d %s: %v", code, body, err)
	}
	return &s
}

// metricsText returns what /metrics says.
func (tg *testGateway) metricsText() string {
	var b bytes.Buffer
	tg.operators.WriteMetrics(&b)
	return b.String()
}

// sumSamples returns the sum of the samples of a metric that have all of the labels.
func sumSamples(text, name string, labels ...string) (sum float64) {
samples:
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue samples
			}
		}
		var v float64
		fmt.Sscan(line[strings.LastIndexByte(line, ' '):], &v)
		sum += v
	}
	return sum
}

// TestStatusIsWhatMetricsSay sends a known number of requests and compares every
// number of the status with the metrics.
func TestStatusIsWhatMetricsSay(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "missing"):
			http.Error(w, "", 404)
		case strings.HasSuffix(r.URL.Path, "broken"):
			http.Error(w, "", 500)
		default:
			serveText("hello")(w, r)
		}
	})
	gone := startOrigin(t, serveText("x"))
	gone.Close()
	yaml := strings.Replace(adminYAML(origin.URL), "ready: config", "ready: any", 1)
	yaml = strings.Replace(yaml, "cache:", bucketYAML("own", "/own", origin.URL)+"    cache: {enabled: true, max_size: 4MB}\n"+
		bucketYAML("gone", "/gone", gone.URL)+"    cache: {enabled: false}\ncache:", 1)
	gw := startGateway(t, yaml)
	targets := []string{"/pub/a", "/pub/a", "/pub/a", "/pub/b", "/pub/missing", "/pub/broken", "/own/a", "/own/a", "/own/c", "/gone/x", "/gone/y", "/nowhere", "/pub/%zz"}
	for _, target := range targets {
		gw.do("GET", target)
	}
	gw.do("HEAD", "/pub/a")
	gw.do("POST", "/pub/a")
	total := len(targets) + 2
	absent := gw.Generation.Load().Buckets[2]
	eventually(t, "the requests are counted, and the buckets probed", func() bool {
		probed, _ := gw.operators.Ready.Load().State(absent.Origin)
		return sumSamples(gw.metricsText(), "yatagarasu_requests_total") == float64(total) && !probed.Checked.IsZero()
	})

	before := gw.metricsText()
	s := gw.statusCall()
	after := gw.metricsText()
	// Connections come and go meanwhile.
	same := func(what string, got float64, name string, labels ...string) {
		t.Helper()
		a, b := sumSamples(before, name, labels...), sumSamples(after, name, labels...)
		if got < min(a, b) || got > max(a, b) {
			t.Errorf("%s: %v, the metrics say %v", what, got, a)
		}
	}
	if s.SinceStart.Requests != uint64(total) || s.LastMinute.Requests != uint64(total) {
		t.Errorf("%d requests, %d in the last minute, want %d", s.SinceStart.Requests, s.LastMinute.Requests, total)
	}
	same("requests", float64(s.SinceStart.Requests), "yatagarasu_requests_total")
	same("4xx", float64(s.SinceStart.Errors4xx), "yatagarasu_requests_total", `code="4`)
	same("5xx", float64(s.SinceStart.Errors5xx), "yatagarasu_requests_total", `code="5`)
	same("bytes", float64(s.SinceStart.Bytes), "yatagarasu_response_bytes_total")
	same("generation", float64(s.Generation), "yatagarasu_config_generation")
	same("connections", float64(s.Connections), "yatagarasu_client_connections")
	var names []string
	for _, b := range s.Buckets {
		names = append(names, b.Name)
		label := fmt.Sprintf("bucket=%q", b.Name)
		same(b.Name+" requests", float64(b.SinceStart.Requests), "yatagarasu_requests_total", label)
		same(b.Name+" 4xx", float64(b.SinceStart.Errors4xx), "yatagarasu_requests_total", label, `code="4`)
		same(b.Name+" 5xx", float64(b.SinceStart.Errors5xx), "yatagarasu_requests_total", label, `code="5`)
		same(b.Name+" bytes", float64(b.SinceStart.Bytes), "yatagarasu_response_bytes_total", label)
		same(b.Name+" in flight", float64(b.InFlight), "yatagarasu_requests_in_flight", label)
		for outcome, n := range b.SinceStart.Outcomes {
			same(b.Name+" "+outcome, float64(n), "yatagarasu_cache_requests_total", label, fmt.Sprintf("outcome=%q", outcome))
		}
		if b.Cache != nil {
			same(b.Name+" entries", float64(b.Cache.Entries), "yatagarasu_cache_entries", label)
			same(b.Name+" cache bytes", float64(b.Cache.Bytes), "yatagarasu_cache_bytes", label)
		}
		if u := b.Upstream; u != nil {
			same(b.Name+" idle", float64(u.Idle), "yatagarasu_upstream_connections", label, `state="idle"`)
			same(b.Name+" in use", float64(u.InUse), "yatagarasu_upstream_connections", label, `state="in_use"`)
			same(b.Name+" dials", float64(u.Dials), "yatagarasu_upstream_dials_total", label)
			same(b.Name+" received", float64(u.Received), "yatagarasu_upstream_received_bytes_total", label)
			same(b.Name+" errors", float64(u.Errors), "yatagarasu_upstream_errors_total", label)
		}
		if b.LastMinute.Requests != b.SinceStart.Requests || b.LastMinute.Bytes != b.SinceStart.Bytes {
			t.Errorf("%s: %+v of %+v are of the last minute", b.Name, b.LastMinute, b.SinceStart)
		}
	}
	if want := []string{"main", "own", "gone", ""}; !slices.Equal(names, want) {
		t.Errorf("buckets %q, want %q", names, want)
	}
	if len(s.Budgets) != 2 || s.Budgets[0].Bucket != "" || s.Budgets[1].Bucket != "own" {
		t.Errorf("budgets %+v", s.Budgets)
	}
	for _, b := range s.Budgets {
		same("budget "+b.Bucket, float64(b.Bytes), "yatagarasu_cache_budget_bytes", fmt.Sprintf("budget=%q", b.Bucket))
	}
	if gone := s.Buckets[2]; gone.Reachable == nil || *gone.Reachable || gone.Reason != "connect" || gone.Upstream.Reasons["connect"] < 2 || gone.SinceStart.Errors5xx != 2 {
		t.Errorf("a bucket that is not there: %+v, %+v", gone, gone.Upstream)
	}
	if main := s.Buckets[0]; main.SinceStart.HitRatio == nil || main.LastMinute.P99 == nil || *main.LastMinute.P50 > *main.LastMinute.P99 || main.Cache.Budget != "" || s.Buckets[1].Cache.Budget != "own" {
		t.Errorf("%+v", main)
	}
}
