//go:build !race

package cache

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/loadtest/needs"
)

// p99 returns the 99th percentile of the time that n look-ups
// take, one after the other.
func p99(t *testing.T, c *Cache, keys *requests, n int) time.Duration {
	t.Helper()
	times := make([]time.Duration, n)
	begin := rand.IntN(draws)
	for i := range times {
		key := keys.at(begin + i)
		start := time.Now()
		c.Get(key)
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[n*99/100]
}

// TestHitsDuringPurge has purges of a million entries go on and on, and asks that
// hits take at most twice as long as without.
func TestHitsDuringPurge(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it takes seconds, and a quiet machine")
	}
	if runtime.GOMAXPROCS(0) < 2 {
		needs.Skip(t, "a purge needs a core of its own")
	}
	c := filled(t, PolicyLRU, million, 16)
	r := rand.New(rand.NewPCG(1, 2))
	keys := drawRequests(func() uint64 { return r.Uint64N(million) })
	prefix := appendBenchKey(nil, 0)[1:20]
	for name, purge := range map[string]func() int{
		"group, soft":  func() int { return c.PurgeGroup("bucket", true) },
		"prefix, soft": func() int { return c.PurgePrefix("bucket", prefix, true) },
		"tag":          func() int { return c.PurgeTag("bucket", "none", false) },
		"group": func() int {
			n := c.PurgeGroup("bucket", false)
			for i := range uint64(million) {
				c.Put(benchObject(i, nil))
			}
			return n
		},
	} {
		t.Run(name, func(t *testing.T) {
			for try := 0; ; try++ {
				p99(t, c, keys, 200_000)
				alone := p99(t, c, keys, 200_000)
				var stop atomic.Bool
				purges := make(chan int)
				go func() { // ends with stop
					n := 0
					for ; !stop.Load(); n++ {
						start := time.Now()
						k := purge()
						t.Logf("%d purged in %v", k, time.Since(start))
					}
					purges <- n
				}()
				during := p99(t, c, keys, 200_000)
				stop.Store(true)
				n := <-purges
				t.Logf("p99 of hits: %v, with %d purges %v", alone, n, during)
				if during <= 2*alone {
					return
				}
				if try == 3 {
					t.Fatalf("p99 of hits: %v, with %d purges %v", alone, n, during)
				}
			}
		})
	}
}
