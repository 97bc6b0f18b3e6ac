package gateway

import (
	"math"
	"sync"
	"time"
)

const (
	statusStep   = 5 * time.Second
	statusPoints = 120             // of the charts: ten minutes
	statusMinute = 12              // steps of the last minute
	statusNow    = 4 * time.Second // the least time that "now" is an average over
)

// tally is what the counters of one bucket, or of all, say at a moment.
type tally struct {
	requests, errors4xx, errors5xx, bytes uint64
	outcomes                              [numOutcomes]uint64
	durations                             histogramCounts
}

// add adds what o counted to t.
func (t *tally) add(o *tally) {
	t.requests += o.requests
	t.errors4xx += o.errors4xx
	t.errors5xx += o.errors5xx
	t.bytes += o.bytes
	for i, n := range o.outcomes {
		t.outcomes[i] += n
	}
	t.durations = t.durations.plus(&o.durations)
}

// minus returns what was counted since before.
func (t tally) minus(before *tally) tally {
	t.requests -= before.requests
	t.errors4xx -= before.errors4xx
	t.errors5xx -= before.errors5xx
	t.bytes -= before.bytes
	for i, n := range before.outcomes {
		t.outcomes[i] -= n
	}
	t.durations = t.durations.minus(&before.durations)
	return t
}

// hitRatio returns the part that was answered without the origin, of the requests
// that may be; nil if there were none.
func (t *tally) hitRatio() *float64 {
	ratio, ok := hitRatio(&t.outcomes)
	if !ok {
		return nil
	}
	return rounded(ratio, 4)
}

// hitRatio returns the part of requests that was answered without the origin, of those that
// may be; not ok: there were none. n counts them by outcome.
func hitRatio(n *[numOutcomes]uint64) (ratio float64, ok bool) {
	fromMemory := n[outcomeHit] + n[outcomeStale] + n[outcomeCoalesced]
	all := fromMemory + n[outcomeMiss] + n[outcomeRevalidated]
	if all == 0 {
		return 0, false
	}
	return float64(fromMemory) / float64(all), true
}

// quantile returns the duration in milliseconds below which the part q of the
// requests ended; nil if there were none.
func (t *tally) quantile(q float64) *float64 {
	if t.durations.count() == 0 {
		return nil
	}
	return rounded(float64(t.durations.quantile(q))/float64(time.Millisecond), 3)
}

// tallies reads the counters: those of each bucket that ever was, and their sum.
func (m *metricSet) tallies() (all tally, buckets map[string]tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	buckets = make(map[string]tally, len(m.buckets))
	for name, b := range m.buckets {
		t := b.answers.tally()
		t.countRequests(b)
		buckets[name] = t
		all.add(&t)
	}
	return all, buckets
}

// countRequests adds the requests of one bucket.
func (t *tally) countRequests(b *bucketMetrics) {
	for m := range numMethods {
		for code := range len(codeCounters{}) {
			counter := b.requests[m][code].Load()
			if counter == nil {
				continue
			}
			n := counter.Get()
			t.requests += n
			switch code / 100 {
			case 4:
				t.errors4xx += n
			case 5:
				t.errors5xx += n
			}
		}
	}
}

// tally returns what a counts.
func (a *answerMetrics) tally() (t tally) {
	t.bytes = a.bytes.Load()
	for o := range numOutcomes {
		if m := a.outcomes[o].Load(); m != nil {
			before := t.durations.count()
			t.durations.add(&m.duration)
			t.outcomes[o] = t.durations.count() - before
		}
	}
	return t
}

// statusRing keeps what the counters said a little while ago, for rates and charts.
// Its size is fixed, but for the number of buckets.
type statusRing struct {
	mu      sync.Mutex // guards the following fields
	moments [statusMinute + 1]moment
	taken   int // moments so far; the last one is at (taken-1) % len(moments)
	points  [statusPoints]point
	drawn   int // points so far
}

// moment is what the counters said at a time.
type moment struct {
	at      time.Time
	all     tally
	buckets map[string]tally
}

// point is one step of the charts.
type point struct {
	at                      time.Time
	requests, bytes, errors float64 // per second; errors are 5xx
	hitRatio, p99           *float64
}

// sample notes what the counters say.
func (r *statusRing) sample(m *metricSet, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, buckets := m.tallies()
	slot := &r.moments[r.taken%len(r.moments)]
	*slot = moment{at: now, all: all, buckets: buckets}
	r.taken++
	if r.taken == 1 {
		return
	}
	before := &r.moments[(r.taken-2)%len(r.moments)]
	d := slot.all.minus(&before.all)
	seconds := max(now.Sub(before.at).Seconds(), 1)
	r.points[r.drawn%len(r.points)] = point{
		at: now, requests: float64(d.requests) / seconds, bytes: float64(d.bytes) / seconds, errors: float64(d.errors5xx) / seconds,
		hitRatio: d.hitRatio(), p99: d.quantile(0.99),
	}
	r.drawn++
}

// since returns what the counters said at least d ago, or at first; what it returns
// does not change.
func (r *statusRing) since(now time.Time, d time.Duration) moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found moment
	for i := range min(r.taken, len(r.moments)) {
		m := &r.moments[(r.taken-1-i)%len(r.moments)]
		found = *m
		if now.Sub(m.at) >= d {
			break
		}
	}
	return found
}

// series returns the points, the oldest first.
func (r *statusRing) series() []point {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(r.drawn, len(r.points))
	list := make([]point, n)
	for i := range list {
		list[i] = r.points[(r.drawn-n+i)%len(r.points)]
	}
	return list
}

// rounded returns v with a number of decimals.
func rounded(v float64, decimals int) *float64 {
	scale := math.Pow10(decimals)
	v = math.Round(v*scale) / scale
	return &v
}
