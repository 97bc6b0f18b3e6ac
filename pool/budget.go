package pool

import (
	"sync"
	"time"
)

// RetryBudget bounds extra requests, such as retries, to a share of the clients' own, so that
// they cannot multiply the load on an origin in trouble (see "The Tail at Scale" and the
// retry budgets of Finagle and Envoy).
//
// Requests for one key take half of it at most, or as much of it as of the clients' requests,
// but a quarter of least and of burst is for others: so a key that fails leaves to them what is
// theirs.
//
// A RetryBudget is safe for concurrent use. Use NewRetryBudget.
type RetryBudget struct {
	share float64      // of the clients' requests
	least int          // extra requests that are always allowed in a span
	burst int          // extra requests beyond the share
	of    *RetryBudget // the one that counts the clients' requests; itself, unless made by Beside

	mu     sync.Mutex // guards the following fields
	window window     // all: clients' requests; marked: extra ones
	cells  [budgetCells]budgetCell
}

// budgetCells is how many parts keys fall into.
const budgetCells = 64

// budgetCell counts requests for the keys of one part: in the present span, and in the one
// before.
type budgetCell struct {
	span     int64  // number of the present span since the epoch
	requests [2]int // of clients
	taken    [2]int // extra ones
}

// NewRetryBudget returns a budget of percent of the clients' requests in the latest span, plus
// burst, and of least where that is more.
func NewRetryBudget(percent, burst, least int, span time.Duration) *RetryBudget {
	b := &RetryBudget{share: float64(percent) / 100, burst: burst, least: least, window: newWindow(span)}
	b.of = b
	return b
}

// Beside returns another budget, with another least, that goes by the clients' requests which
// b counts.
func (b *RetryBudget) Beside(least int) *RetryBudget {
	return &RetryBudget{share: b.share, burst: b.burst, least: least, of: b.of, window: newWindow(b.window.slot * windowSlots)}
}

// cell returns the cell of a key, and how much of the span before is still in the latest span;
// b.mu is held.
func (b *RetryBudget) cell(k Key, now time.Time) (c *budgetCell, before float64) {
	length := int64(b.window.slot * windowSlots)
	t := now.UnixNano()
	c = &b.cells[k.name>>58]
	switch span := t / length; span - c.span {
	case 0, -1: // -1: another request was a moment faster
	case 1:
		*c = budgetCell{span, [2]int{0, c.requests[0]}, [2]int{0, c.taken[0]}}
	default:
		*c = budgetCell{span: span}
	}
	return c, 1 - float64(t%length)/float64(length)
}

// Count counts a request of a client.
//
// Hot path: no allocation.
func (b *RetryBudget) Count(k Key, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.add(now, 1, 0)
	c, _ := b.cell(k, now)
	c.requests[0]++
}

// Take counts an extra request if there is room for one, and tells whether there was.
func (b *RetryBudget) Take(k Key, now time.Time) bool {
	requests, own := b.of.requests(k, now)
	b.mu.Lock()
	defer b.mu.Unlock()
	_, taken := b.window.sum(now)
	most := max(b.least, int(float64(requests)*b.share)+b.burst)
	forKey := max(float64(most)/2, min(float64(most)*own/float64(max(requests, 1)), float64(most)-float64(b.least+b.burst)/4))
	c, before := b.cell(k, now)
	if taken >= most || float64(c.taken[0])+float64(c.taken[1])*before >= forKey {
		return false
	}
	b.window.add(now, 0, 1)
	c.taken[0]++
	return true
}

// requests returns how many requests of clients there were in the latest span, and how many
// of those for a key.
func (b *RetryBudget) requests(k Key, now time.Time) (all int, own float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, _ = b.window.sum(now)
	c, before := b.cell(k, now)
	return all, float64(c.requests[0]) + float64(c.requests[1])*before
}
