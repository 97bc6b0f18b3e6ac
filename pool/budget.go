package pool

import (
	"sync"
	"time"
)

// RetryBudget bounds extra requests, such as retries, to a share of the clients' own, so that
// they cannot multiply the load on an origin in trouble (see "The Tail at Scale" and the
// retry budgets of Finagle and Envoy).
//
// A RetryBudget is safe for concurrent use. Use NewRetryBudget.
type RetryBudget struct {
	share float64      // of the clients' requests
	least int          // extra requests that are always allowed in a span
	burst int          // extra requests beyond the share
	of    *RetryBudget // the one that counts the clients' requests; itself, unless made by Beside

	mu     sync.Mutex // guards window
	window window     // all: clients' requests; marked: extra ones
}

// NewRetryBudget returns a budget of percent of the clients' requests in the latest span, plus
// burst, and of least where that is more.
func NewRetryBudget(percent, burst, least int, span time.Duration) *RetryBudget {
	b := &RetryBudget{share: float64(percent) / 100, burst: burst, least: least, window: newWindow(span)}
	b.of = b
	return b
}

// Beside returns another budget, as large as b, that goes by the clients' requests which b
// counts.
func (b *RetryBudget) Beside() *RetryBudget {
	return &RetryBudget{share: b.share, burst: b.burst, least: b.least, of: b.of, window: newWindow(b.window.slot * windowSlots)}
}

// Count counts a request of a client.
func (b *RetryBudget) Count(now time.Time) {
	b.mu.Lock()
	b.window.add(now, 1, 0)
	b.mu.Unlock()
}

// Take counts an extra request if there is room for one, and tells whether there was.
func (b *RetryBudget) Take(now time.Time) bool {
	requests := b.of.requests(now)
	b.mu.Lock()
	defer b.mu.Unlock()
	_, taken := b.window.sum(now)
	if taken >= max(b.least, int(float64(requests)*b.share)+b.burst) {
		return false
	}
	b.window.add(now, 0, 1)
	return true
}

// requests returns how many requests of clients there were in the latest span.
func (b *RetryBudget) requests(now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, _ := b.window.sum(now)
	return n
}
