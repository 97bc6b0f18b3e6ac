package serve

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/observe"
)

// TestRatesAreAccurate takes the rates of a configuration through the handler's
// limits for 10 s of injected time.
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
				g := newTestServer(t, "server: {ready: config, limits: {"+c.limits+"}}\nbuckets:\n"+bucketOf("a", "/a", "http://127.0.0.1:1"))
				gen := g.Generation.Load()
				taken := 0
				n := max(500*clients, 20_000)
				for i := range n {
					x := g.Acquire(time.Now())
					x.Start = g.Started.Add(time.Second + 10*time.Second*time.Duration(i)/time.Duration(n))
					x.bucket = gen.Buckets[0]
					x.Client = netip.AddrFrom4([4]byte{10, 0, byte(i % clients >> 8), byte(i % clients)})
					if by, _ := x.admit(gen.Limits); by == observe.LimitNone {
						taken++
					}
					x.leave()
					x.Release()
				}
				burst := 2 * float64(clients)
				if c.name != "per address" {
					burst = 1
				}
				if got := float64(taken) - burst; math.Abs(got-c.want) > 0.02*c.want {
					t.Errorf("%v in 10 s, want %v", got, c.want)
				}
				if g.InFlight.Load() != 0 || gen.Buckets[0].Limits.InFlight.Load() != 0 {
					t.Error("requests stay under way")
				}
			})
		}
	}
}

// The bound of the configuration is the one of the limits.
func TestLargestRate(t *testing.T) {
	g := newTestServer(t, "server: {ready: config, limits: {requests_per_second: 1000000, burst: 2147483647}}\nbuckets:\n"+bucketOf("a", "/a", "http://127.0.0.1:1"))
	if got := g.Generation.Load().Config.Server.Limits.Rates.All.PerSecond; got != limit.MaxPerSecond {
		t.Errorf("got %v", got)
	}
}

// A token that was not verified for want of a turn is nothing that the client did wrong.
func TestProblemOfNoVerdict(t *testing.T) {
	p := ProblemOfVerdict(auth.VerifiersBusy)
	if p.Status != 503 || p.RetryAfter == 0 || p.Challenge != "" {
		t.Errorf("%+v", p)
	}
	if p := limitProblems[observe.LimitTokenFailures]; p.Status != 429 || p.RetryAfter == 0 || p.Challenge != "" {
		t.Errorf("%+v", p)
	}
}
