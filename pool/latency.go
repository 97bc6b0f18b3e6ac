package pool

import (
	"slices"
	"sync"
	"time"
)

const (
	latencySamples = 256
	latencyLeast   = 64 // fewer say nothing about the slow ones
	latencyMost    = 3  // bound of P95, in medians: where one request in twenty hangs, P95 would be how long
)

// Latencies knows how long the latest requests took.
//
// A Latencies is safe for concurrent use; the zero value is ready.
type Latencies struct {
	mu   sync.Mutex // guards the following fields
	ring [latencySamples]time.Duration
	n    int // requests so far
	p95  time.Duration
}

// Add notes how long a request took, or for how long it was waited for in vain.
func (l *Latencies) Add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring[l.n%latencySamples] = d
	l.n++
	if l.n < latencyLeast || l.n%(latencyLeast/2) != 0 {
		return
	}
	sorted := l.ring
	have := sorted[:min(l.n, latencySamples)]
	slices.Sort(have)
	// A request that is hardly slower than the median is not worth another.
	median := have[len(have)/2]
	l.p95 = min(max(have[len(have)*95/100], median+median/4), latencyMost*median)
}

// P95 returns how long 95 % of the latest requests took at most, but no less than 1.25 and
// no more than 3 times their median; ok is false until enough are known.
func (l *Latencies) P95() (d time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.p95, l.p95 > 0
}
