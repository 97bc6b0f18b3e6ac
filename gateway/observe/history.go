package observe

import (
	"math"
	"slices"
	"sync"
	"time"
)

const (
	SampleInterval   = 5 * time.Second
	SamplesPerMinute = 12
	chartPoints      = 120             // ten minutes
	CurrentWindow    = 4 * time.Second // least time that current rates are an average over
)

// Totals are the values of the counters of one bucket, or of all, at a moment, or what they
// counted between two. The zero value is of no requests.
type Totals struct {
	Requests, Errors4xx, Errors5xx, Bytes uint64
	Outcomes                              [NumOutcomes]uint64
	durations                             Counts
}

// add adds o to t, times 1, or times -1 for a difference.
func (t *Totals) add(o *Totals, times int64) {
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

// Minus returns t less before: what was counted in between.
func (t Totals) Minus(before *Totals) Totals {
	t.add(before, -1)
	return t
}

// HitRatio returns the share of cacheable requests that was answered without the origin; nil
// if there were none.
func (t *Totals) HitRatio() *float64 {
	ratio, ok := HitRatio(&t.Outcomes)
	if !ok {
		return nil
	}
	return Rounded(ratio, 4)
}

// HitRatio returns the share of cacheable requests that was answered without the origin; not
// ok if there were none. n has the requests by outcome.
func HitRatio(n *[NumOutcomes]uint64) (ratio float64, ok bool) {
	fromMemory := n[Hit] + n[Stale] + n[Coalesced] + n[Shared]
	all := fromMemory + n[Miss] + n[Revalidated]
	if all == 0 {
		return 0, false
	}
	return float64(fromMemory) / float64(all), true
}

// Quantile returns the q-quantile of the requests' durations in milliseconds; nil if there
// were none.
func (t *Totals) Quantile(q float64) *float64 {
	if t.durations.Count() == 0 {
		return nil
	}
	return Rounded(float64(t.durations.quantile(q))/float64(time.Millisecond), 3)
}

// Totals returns the totals of each bucket that ever was, and their sum.
func (m *Metrics) Totals() (all Totals, buckets map[string]Totals) {
	m.mu.Lock()
	defer m.mu.Unlock()
	buckets = make(map[string]Totals, len(m.buckets))
	for name, b := range m.buckets {
		t := b.Totals()
		buckets[name] = t
		all.add(&t, 1)
	}
	return all, buckets
}

// Totals returns the present totals of b.
func (b *BucketMetrics) Totals() (t Totals) {
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

// History keeps the totals of the last minute, and the charts of the last ten. The zero value
// is empty. Safe for concurrent use.
type History struct {
	mu        sync.Mutex   // guards the following fields
	snapshots []Snapshot   // the oldest first
	points    []ChartPoint // the oldest first
}

// Snapshot is the totals at one time. It does not change.
type Snapshot struct {
	At      time.Time
	All     Totals
	Buckets map[string]Totals // by name
}

// ChartPoint is what the charts show of one sample interval.
type ChartPoint struct {
	At                      time.Time // end of the interval
	Requests, Bytes, Errors float64   // per second; errors are 5xx
	HitRatio, P99           *float64  // nil: no request
}

// Sample takes a snapshot. To be called each SampleInterval.
func (h *History) Sample(m *Metrics, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all, buckets := m.Totals()
	if n := len(h.snapshots); n > 0 {
		before := &h.snapshots[n-1]
		d, seconds := all.Minus(&before.All), max(now.Sub(before.At).Seconds(), 1)
		h.points = appendLast(h.points, chartPoints, ChartPoint{
			At: now, Requests: float64(d.Requests) / seconds, Bytes: float64(d.Bytes) / seconds, Errors: float64(d.Errors5xx) / seconds,
			HitRatio: d.HitRatio(), P99: d.Quantile(0.99),
		})
	}
	h.snapshots = appendLast(h.snapshots, SamplesPerMinute+1, Snapshot{At: now, All: all, Buckets: buckets})
}

// appendLast appends v to list, and drops the first element of a list that has most.
func appendLast[T any](list []T, most int, v T) []T {
	if len(list) == most {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, v)
}

// Ago returns the latest snapshot that is at least d old, else the oldest one.
func (h *History) Ago(now time.Time, d time.Duration) (found Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, found = range slices.Backward(h.snapshots) {
		if now.Sub(found.At) >= d {
			break
		}
	}
	return found
}

// Series returns the points of the charts, the oldest first.
func (h *History) Series() []ChartPoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.points)
}

// Rounded returns v rounded to a number of decimals.
func Rounded(v float64, decimals int) *float64 {
	scale := math.Pow10(decimals)
	return new(math.Round(v*scale) / scale)
}
