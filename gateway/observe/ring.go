package observe

import (
	"math"
	"slices"
	"sync"
	"time"
)

const (
	Step        = 5 * time.Second
	points      = 120             // of the charts: ten minutes
	MinuteSteps = 12              // steps of the last minute
	Now         = 4 * time.Second // the least time that "now" is an average over
)

// Tally is what the counters of one bucket, or of all, say at a moment.
type Tally struct {
	Requests, Errors4xx, Errors5xx, Bytes uint64
	Outcomes                              [NumOutcomes]uint64
	durations                             Counts
}

// add adds what o counted to t, times 1, or times -1 for a difference.
func (t *Tally) add(o *Tally, times int64) {
	n := uint64(times) // wraps around, as a difference does
	t.Requests += n * o.Requests
	t.Errors4xx += n * o.Errors4xx
	t.Errors5xx += n * o.Errors5xx
	t.Bytes += n * o.Bytes
	for i := range o.Outcomes {
		t.Outcomes[i] += n * o.Outcomes[i]
	}
	t.durations.add(&o.durations, times)
}

// Minus returns what was counted since before.
func (t Tally) Minus(before *Tally) Tally {
	t.add(before, -1)
	return t
}

// HitRatio returns the part that was answered without the origin, of the requests
// that may be; nil if there were none.
func (t *Tally) HitRatio() *float64 {
	ratio, ok := HitRatio(&t.Outcomes)
	if !ok {
		return nil
	}
	return Rounded(ratio, 4)
}

// HitRatio returns the part of requests that was answered without the origin, of those that
// may be; not ok: there were none. n counts them by outcome.
func HitRatio(n *[NumOutcomes]uint64) (ratio float64, ok bool) {
	fromMemory := n[Hit] + n[Stale] + n[Coalesced]
	all := fromMemory + n[Miss] + n[Revalidated]
	if all == 0 {
		return 0, false
	}
	return float64(fromMemory) / float64(all), true
}

// Quantile returns the duration in milliseconds below which the part q of the
// requests ended; nil if there were none.
func (t *Tally) Quantile(q float64) *float64 {
	if t.durations.Count() == 0 {
		return nil
	}
	return Rounded(float64(t.durations.quantile(q))/float64(time.Millisecond), 3)
}

// Tallies reads the counters: those of each bucket that ever was, and their sum.
func (m *Metrics) Tallies() (all Tally, buckets map[string]Tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	buckets = make(map[string]Tally, len(m.buckets))
	for name, b := range m.buckets {
		t := b.Tally()
		buckets[name] = t
		all.add(&t, 1)
	}
	return all, buckets
}

// Tally reads the counters of b.
func (b *BucketMetrics) Tally() (t Tally) {
	for m := range b.requests {
		for code := range b.requests[m] {
			counter := b.requests[m][code].Load()
			if counter == nil {
				continue
			}
			n := counter.Get()
			t.Requests += n
			switch code / 100 {
			case 4:
				t.Errors4xx += n
			case 5:
				t.Errors5xx += n
			}
		}
	}
	t.Bytes = b.ResponseBytes.Load()
	for o := range b.Latencies {
		if l := b.Latencies[o].Load(); l != nil {
			c := l.Duration.Counts()
			t.Outcomes[o] = c.Count()
			t.durations.add(&c, 1)
		}
	}
	return t
}

// Ring keeps what the counters said a little while ago, for rates and charts.
// Its size is fixed, but for the number of buckets.
type Ring struct {
	mu      sync.Mutex // guards the following fields
	moments []Moment   // of the last minute, the oldest first
	points  []Point    // of the last ten minutes, the oldest first
}

// Moment is what the counters said at a time.
type Moment struct {
	At      time.Time
	All     Tally
	Buckets map[string]Tally
}

// Point is one step of the charts.
type Point struct {
	At                      time.Time
	Requests, Bytes, Errors float64 // per second; errors are 5xx
	HitRatio, P99           *float64
}

// Sample notes what the counters say.
func (r *Ring) Sample(m *Metrics, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, buckets := m.Tallies()
	if n := len(r.moments); n > 0 {
		before := &r.moments[n-1]
		d, seconds := all.Minus(&before.All), max(now.Sub(before.At).Seconds(), 1)
		r.points = appendLast(r.points, points, Point{
			At: now, Requests: float64(d.Requests) / seconds, Bytes: float64(d.Bytes) / seconds, Errors: float64(d.Errors5xx) / seconds,
			HitRatio: d.HitRatio(), P99: d.Quantile(0.99),
		})
	}
	r.moments = appendLast(r.moments, MinuteSteps+1, Moment{At: now, All: all, Buckets: buckets})
}

// appendLast appends v to list, whose first element goes where it would have more than most.
func appendLast[T any](list []T, most int, v T) []T {
	if len(list) == most {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, v)
}

// Since returns what the counters said at least d ago, or at first; what it returns
// does not change.
func (r *Ring) Since(now time.Time, d time.Duration) (found Moment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, found = range slices.Backward(r.moments) {
		if now.Sub(found.At) >= d {
			break
		}
	}
	return found
}

// Series returns the points, the oldest first.
func (r *Ring) Series() []Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.points)
}

// Rounded returns v with a number of decimals.
func Rounded(v float64, decimals int) *float64 {
	scale := math.Pow10(decimals)
	v = math.Round(v*scale) / scale
	return &v
}
