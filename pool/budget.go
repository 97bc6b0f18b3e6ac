package pool

import (
	"sync"
	"time"
)

// Budget bounds requests that are made beside the clients' own, such as retries, to a
// share of those, so that they cannot multiply the load on an origin that is in
// trouble (see "The Tail at Scale" and the retry budgets of Finagle and Envoy).
//
// A Budget is safe for concurrent use. Use NewBudget.
type Budget struct {
	share float64
	least int
	burst int
	of    *Budget // that counts the requests of clients; itself, unless made by Beside

	mu     sync.Mutex
	window window // all: requests of clients; marked: those beside them
}

// NewBudget returns a budget of percent of the requests in the latest span, and of burst
// more, but at least of so many in each span.
func NewBudget(percent, burst, least int, span time.Duration) *Budget {
	b := &Budget{share: float64(percent) / 100, burst: burst, least: least, window: newWindow(span)}
	b.of = b
	return b
}

// Beside returns a budget of its own, as large as b, of the requests that b counts.
func (b *Budget) Beside() *Budget {
	return &Budget{share: b.share, burst: b.burst, least: b.least, of: b.of, window: newWindow(b.window.slot * windowSlots)}
}

// Count counts a request of a client.
func (b *Budget) Count(now time.Time) {
	b.mu.Lock()
	b.window.add(now, 1, 0)
	b.mu.Unlock()
}

// Take takes one of the requests that may be made beside those, if there is one.
func (b *Budget) Take(now time.Time) bool {
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
func (b *Budget) requests(now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, _ := b.window.sum(now)
	return n
}
