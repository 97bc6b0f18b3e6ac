package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"yatagarasu/gateway/probe"
)

// TestThreatReady has everybody learn whether the gateway can serve, and operators alone what is
// behind it.
func TestThreatReady(t *testing.T) {
	up, down := startOrigin(t, serveText("hello")).URL, "http://127.0.0.1:1"
	for _, c := range []struct {
		mode      string
		endpoints []string
		want      string
		status    int
	}{
		{"any", []string{up, up}, `{"status":"ready","unreachable":0}`, 200},
		{"any", []string{up, down}, `{"status":"ready","unreachable":1}`, 200},
		{"all", []string{up, down}, `{"status":"not ready","unreachable":1}`, 503},
		{"any", []string{down, down}, `{"status":"not ready","unreachable":2}`, 503},
		{"config", []string{down, down}, `{"status":"ready"}`, 200},
	} {
		t.Run(fmt.Sprintf("T99d_ready_names_no_bucket/%s_%d", c.mode, c.status), func(t *testing.T) {
			gw := startGateway(t, "server: {ready: "+c.mode+"}\nmetrics: {enabled: true, address: 127.0.0.1, port: 0}\nbuckets:\n"+
				bucketYAML("first", "/a", c.endpoints[0])+bucketYAML("second", "/b", c.endpoints[1]))
			gw.probed(t)
			if c.mode != "config" && c.endpoints[1] == down {
				gw.log.waitFor(t, `"level":"warn","reason":"connect","bucket":"second"`) // for who has no metrics listener
			}
			r, body := gw.do("GET", "/ready")
			if got := strings.TrimSpace(string(body)); got != c.want || r.StatusCode != c.status {
				t.Errorf("%d %s, want %d %s", r.StatusCode, got, c.status, c.want)
			}
			status, whole := gw.adminAt(gw.MetricsAddr().String(), "GET", "/ready", "")
			var doc struct{ Buckets []probe.BucketState }
			if err := json.Unmarshal([]byte(whole), &doc); err != nil || status != c.status {
				t.Fatalf("the metrics listener: %d %s, %v", status, whole, err)
			}
			if c.mode == "config" {
				return
			}
			if len(doc.Buckets) != 2 || doc.Buckets[0].Name != "first" || doc.Buckets[1].Reachable != (c.endpoints[1] == up) {
				t.Errorf("the metrics listener: %s", whole)
			}
		})
	}
}
