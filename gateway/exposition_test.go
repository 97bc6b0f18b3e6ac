package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"yatagarasu/gateway/admin"
)

// TestExposition has a gateway with everything on write metrics that are all
// described, each family once.
func TestExposition(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, strings.Replace(adminYAML(origin.URL), "ready: config", "ready: any", 1))
	for _, target := range []string{"/pub/a", "/pub/a", "/nowhere", "/pub/"} {
		gw.do("GET", target)
	}
	_, text := gw.admin("GET", "/metrics", "")
	kinds := make(map[string]string)
	for _, f := range admin.Families {
		kinds[f.Name] = f.Kind
	}
	seen := make(map[string]bool)
	current := ""
	sample := regexp.MustCompile(`^([a-z_]+)(\{([a-z]+="[^"]*",?)+\})? [0-9.e+-]+$`)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "# TYPE yatagarasu_"); ok {
			name, kind, _ := strings.Cut("yatagarasu_"+name, " ")
			if seen[name] || kinds[name] != kind {
				t.Errorf("%s: twice, or not described as %s", name, kind)
			}
			seen[name], current = true, name
		}
		if !strings.HasPrefix(line, "yatagarasu_") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil || !strings.HasPrefix(m[1], current) {
			t.Errorf("not a sample of %s: %s", current, line)
		}
	}
	for _, name := range []string{"yatagarasu_requests_total", "yatagarasu_request_duration_seconds", "yatagarasu_cache_budget_max_bytes", "yatagarasu_upstream_connections", "yatagarasu_build_info", "yatagarasu_config_generation", "yatagarasu_response_bytes_total"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
	for _, want := range []string{
		`yatagarasu_cache_requests_total{bucket="main",outcome="hit"} 1`,
		`yatagarasu_cache_requests_total{bucket="main",outcome="miss"} 1`,
		`yatagarasu_request_duration_seconds_count{bucket="main",outcome="hit"} 1`,
		`yatagarasu_response_bytes_total{bucket="main"} `,
		`yatagarasu_upstream_received_bytes_total{bucket="main",origin="` + strings.TrimPrefix(origin.URL, "http://") + `"} 5`,
		`yatagarasu_cache_entries{bucket="main"} 1`,
		`yatagarasu_config_last_reload_success 1`,
		"# HELP yatagarasu_panics_total ", "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(text, "nowhere") {
		t.Error("a path is a label")
	}
}

// TestManyRequestsAreCountedOnce sends 100,000 requests of all kinds, some of them given
// up by the client, and compares the sum of the counters with their number.
func TestManyRequestsAreCountedOnce(t *testing.T) {
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "missing"):
			http.Error(w, "", 404)
		case strings.HasSuffix(r.URL.Path, "large"):
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 300<<10)))
		default:
			serveText("hello")(w, r)
		}
	})
	gw := startGateway(t, adminYAML(origin.URL), func(o *Options) { o.LogLevel = "error" })
	total := 100_000
	if raceEnabled || testing.Short() {
		total = 10_000
	}
	const clients = 8
	kinds := []string{"GET /pub/a", "GET /pub/b", "HEAD /pub/a", "GET /pub/missing", "GET /none", "POST /pub/a", "GET /pub/%", "GET /pub/large", "GET /health"}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			for i := c; i < total; i += clients {
				kind := kinds[i%len(kinds)]
				if i%500 == 7 {
					kind = "GET /pub/large"
				}
				method, target, _ := strings.Cut(kind, " ")
				r, err := http.NewRequest(method, gw.url("/"), nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.URL.Opaque = target
				resp, err := client.Do(r)
				if err != nil {
					t.Errorf("%s: %v", kind, err)
					return
				}
				if i%500 != 7 {
					io.Copy(io.Discard, resp.Body)
				} // else it is given up in the middle
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	sum := func() (n float64) {
		var b bytes.Buffer
		gw.operators.WriteMetrics(&b)
		for line := range strings.Lines(b.String()) {
			if strings.HasPrefix(line, "yatagarasu_requests_total{") {
				var v float64
				fmt.Sscan(line[strings.LastIndexByte(line, ' '):], &v)
				n += v
			}
		}
		return n
	}
	polled(10*time.Second, func() bool { return sum() >= float64(total) }) // those given up end a little later
	if n := sum(); n != float64(total) {
		t.Errorf("%d requests, %v counted", total, n)
	}
	t.Logf("%d requests, as many counted", total)
}
