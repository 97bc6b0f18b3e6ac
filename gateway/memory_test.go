package gateway

import (
	"strings"
	"testing"

	"yatagarasu/cache"
)

func TestMemoryNeeded(t *testing.T) {
	g := configuredGateway(t, oneBucket("/pub", "http://127.0.0.1:1"), "warn")
	if n := g.memoryNeeded(); n != 0 {
		t.Errorf("%d bytes without a cache", n)
	}
	yaml := "server: {ready: config}\ncache: {max_size: 100MB}\nbuckets:\n"
	for _, b := range []string{"a", "b", "c"} {
		yaml += bucketYAML(b, "/"+b, "http://127.0.0.1:1") + "    cache: {enabled: true"
		if b == "c" {
			yaml += ", max_size: 60MB"
		}
		yaml += "}\n"
	}
	g = configuredGateway(t, yaml, "warn")
	if n, want := g.memoryNeeded(), int64(160e6*23/20+memoryBase); n != want {
		t.Errorf("%d bytes, want %d: a and b share one budget, c has its own", n, want)
	}
	if len(g.Generation.Load().Budgets) != 2 {
		t.Errorf("%d budgets", len(g.Generation.Load().Budgets))
	}
}

// Bodies that arrive are bounded, too: what has no room passes the cache by.
func TestFillsAreBounded(t *testing.T) {
	body := strings.Repeat("x", 300<<10)
	origin := startScripted(t, version(body))
	gw := startGateway(t, cachedYAML(origin.URL, "max_size: 1MiB", "max_object_size: 400KiB"))
	b := gw.Generation.Load().Budgets["main"]
	o := &cache.Object{Body: make([]byte, 200<<10)}
	const most = 1 << 20 / 4 // of the memory, for bodies that arrive
	if !b.Cache.Reserve(o, 200<<10, most) || b.Cache.Reserve(new(cache.Object), 100<<10, most) {
		t.Fatal("the reservation is wrong")
	}
	gw.expect(t, "/pub/x", 200, body, "MISS")
	gw.expect(t, "/pub/x", 200, body, "MISS")
	b.Cache.Arrived(o)
	gw.expect(t, "/pub/x", 200, body, "MISS")
	gw.settleFills(t)
	gw.expect(t, "/pub/x", 200, body, "HIT")
	if n := b.Cache.Pinned() + b.Cache.Arriving(); n != 0 {
		t.Errorf("%d bytes are still reserved", n)
	}
}
