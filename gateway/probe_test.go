package gateway

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/gateway/probe"
	"yatagarasu/pool"
)

// ready returns the status of /ready and its whole document, as the metrics listener has it.
func (tg *testGateway) ready() (status int, body []byte) {
	tg.t.Helper()
	status, doc := tg.operators.Ready.Load().Report(tg.Draining.Load(), true)
	body, err := json.Marshal(doc)
	if err != nil {
		tg.t.Fatal(err)
	}
	return status, body
}

// probed waits until each bucket was probed, and returns what /ready says of them.
func (tg *testGateway) probed(t *testing.T) map[string]probe.BucketState {
	t.Helper()
	var buckets map[string]probe.BucketState
	eventually(t, "each bucket is probed", func() bool {
		_, body := tg.ready()
		var doc struct{ Buckets []probe.BucketState }
		if err := json.Unmarshal(body, &doc); err != nil {
			t.Fatal(err)
		}
		buckets = make(map[string]probe.BucketState)
		for _, b := range doc.Buckets {
			if !b.Checked.IsZero() {
				buckets[b.Name] = b
			}
		}
		return len(buckets) == len(doc.Buckets)
	})
	return buckets
}

// TestProbesAreSharedByAccess has buckets at one origin. Those with one credential are
// probed in turns, and have a fault of it in common; others do not.
func TestProbesAreSharedByAccess(t *testing.T) {
	origin := startFaulty(t, failing(0, "", nil))
	good, bad := startIssuer(t, numbered(time.Hour)), startIssuer(t, numbered(time.Hour))
	bad.down.Store(true)
	bucket := func(name, endpoint string, issuer *issuer) string {
		return strings.NewReplacer("      access_key: \"AK"+name+"\"\n", "", "      secret_key: \"secret-of-"+name+"\"\n", "").
			Replace(bucketYAML(name, "/"+name, endpoint, "probe_interval: 1h", "credentials: {source: instance, endpoint: "+issuer.URL+"}"))
	}
	keys := func(name, secret string) string {
		return strings.NewReplacer("AK"+name, "AK", "secret-of-"+name, secret).Replace(bucketYAML(name, "/"+name, origin.endpoint, "probe_interval: 1h"))
	}
	for _, c := range []struct {
		name   string
		yaml   string
		groups int
		fails  string // the bucket with a credential that cannot be had
	}{
		{"one source of credentials", bucket("a", origin.endpoint, good) + bucket("b", origin.endpoint, good), 1, ""},
		{"two, one of which is down", bucket("a", origin.endpoint, good) + bucket("b", origin.endpoint, bad), 2, "b"},
		{"one key", keys("a", "secret") + keys("b", "secret"), 1, ""},
		{"one key, its secret mistyped", keys("a", "secret") + keys("b", "secert"), 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			gw := startGateway(t, "server: {ready: all}\nbuckets:\n"+c.yaml)
			if n := len(gw.operators.Ready.Load().Groups); n != c.groups {
				t.Errorf("%d groups, want %d", n, c.groups)
			}
			for name, b := range gw.probed(t) {
				if b.Reachable != (name != c.fails) {
					t.Errorf("%s: %+v", name, b)
				}
			}
		})
	}
}

// TestOpenBreakerLeavesProbesToOthers has the breaker of one of two buckets stay open,
// for want of requests.
func TestOpenBreakerLeavesProbesToOthers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("not with -short: probe intervals take seconds")
	}
	var things, others atomic.Int64
	origin := startFaulty(t, func(c net.Conn, head string) bool {
		if strings.Contains(head, " /things") {
			things.Add(1)
		} else {
			others.Add(1)
		}
		fmt.Fprint(c, okHead+"Content-Length: 0\r\n\r\n")
		return true
	})
	yaml := oneBucket("/pub", origin.endpoint, "probe_interval: 2s")
	second := strings.NewReplacer(`"main"`, `"second"`, `"/pub"`, `"/second"`, `"things"`, `"others"`).Replace(yaml[len("server: {ready: config}\nbuckets:\n"):])
	gw := startGateway(t, strings.Replace(yaml, "ready: config", "ready: any", 1)+second)
	gw.probed(t)
	b := gw.Generation.Load().Buckets[0].Origin.Replicas[0].Health.Breaker
	for range 10 {
		now := time.Now()
		ticket, _, _ := b.Allow(pool.Key{}, now)
		b.Done(ticket, pool.ResultUnreachable, now)
	}
	await := func(what string, done func() bool) {
		if !polled(20*time.Second, done) {
			t.Fatalf("never: %s; things are probed %d times, others %d", what, things.Load(), others.Load())
		}
	}
	before := things.Load()
	await("the open one is probed", func() bool { return things.Load() > before })
	before = others.Load()
	await("the other one is probed", func() bool { return others.Load() > before })
	if state, _ := b.State(); state != pool.BreakerOpen {
		t.Errorf("the breaker is %v", state)
	}
}
