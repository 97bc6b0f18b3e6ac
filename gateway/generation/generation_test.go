package generation

import (
	"fmt"
	"math"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/credentials"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/serve"
	"yatagarasu/pool"
)

// newGeneration returns the generation of a configuration, not started.
func newGeneration(t *testing.T, yaml string) *serve.Generation {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(yaml), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	shared := &origin.Shared{Observer: &observe.Observer{Metrics: observe.NewMetrics()}, Buffers: pool.NewBuffers(pool.DefaultBufferSize, 0), Retrieve: credentials.New}
	gen, err := New(c, &Options{Origins: shared, Now: time.Now, LimitClients: 1 << 17, InFlight: new(atomic.Int64)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(gen) })
	return gen
}

// bucketOf is one item of buckets, mounted at a prefix.
func bucketOf(name, prefix, endpoint string) string {
	return fmt.Sprintf("  - name: %s\n    path_prefix: %s\n    s3: {bucket: things, region: us-east-1, endpoint: %q, access_key: AK, secret_key: SK}\n", name, prefix, endpoint)
}

// TestRatesAreAccurate takes the rates of a configuration through the limits
// that are made of them for 10 s of injected time.
func TestRatesAreAccurate(t *testing.T) {
	for _, clients := range []int{1, 10, 1000} {
		for _, c := range []struct {
			name, limits string
			want         float64 // in 10 s
		}{
			{"all", "requests_per_second: 500, burst: 1", 5000},
			{"per address", "requests_per_second_per_address: 20, burst_per_address: 2", 200 * float64(clients)},
			{"both, as much as all may", "requests_per_second: 50, requests_per_second_per_address: 49.9, burst: 1", min(500, 499*float64(clients))},
		} {
			t.Run(fmt.Sprintf("%s, %d clients", c.name, clients), func(t *testing.T) {
				gen := newGeneration(t, "server: {ready: config, limits: {"+c.limits+"}}\nbuckets:\n"+bucketOf("a", "/a", "http://127.0.0.1:1"))
				taken := 0
				n := max(500*clients, 20_000)
				for i := range n {
					now := time.Second + 10*time.Second*time.Duration(i)/time.Duration(n)
					client := netip.AddrFrom4([4]byte{10, 0, byte(i % clients >> 8), byte(i % clients)})
					if by, _ := gen.Limits.Admit(gen.Buckets[0].Limits, client, now); by == limit.Admitted {
						taken++
						gen.Limits.Leave(gen.Buckets[0].Limits)
					}
				}
				burst := 2 * float64(clients)
				if c.name != "per address" {
					burst = 1
				}
				if got := float64(taken) - burst; math.Abs(got-c.want) > 0.02*c.want {
					t.Errorf("%v in 10 s, want %v", got, c.want)
				}
				if gen.Limits.InFlight.Load() != 0 || gen.Buckets[0].Limits.InFlight.Load() != 0 {
					t.Error("requests stay under way")
				}
			})
		}
	}
}

// The bound of the configuration is the one of the limits.
func TestLargestRate(t *testing.T) {
	gen := newGeneration(t, "server: {ready: config, limits: {requests_per_second: 1000000, burst: 2147483647}}\nbuckets:\n"+bucketOf("a", "/a", "http://127.0.0.1:1"))
	if got := gen.Config.Server.Limits.Rates.All.PerSecond; got != limit.MaxPerSecond {
		t.Errorf("got %v", got)
	}
}
