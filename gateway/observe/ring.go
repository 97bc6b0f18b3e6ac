package observe

import (
	"math"
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

// add adds what o counted to t.
func (t *Tally) add(o *Tally) {
	t.Requests += o.Requests
	t.Errors4xx += o.Errors4xx
	t.Errors5xx += o.Errors5xx
	t.Bytes += o.Bytes
	for i, n := range o.Outcomes {
		t.Outcomes[i] += n
	}
	t.durations = t.durations.plus(&o.durations)
}

// Minus returns what was counted since before.
func (t Tally) Minus(before *Tally) Tally {
	t.Requests -= before.Requests
	t.Errors4xx -= before.Errors4xx
	t.Errors5xx -= before.Errors5xx
	t.Bytes -= before.Bytes
	for i, n := range before.Outcomes {
		t.Outcomes[i] -= n
	}
	t.durations = t.durations.minus(&before.durations)
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
	if t.durations.count() == 0 {
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
		t := b.Answers.tally()
		t.countRequests(b)
		buckets[name] = t
		all.add(&t)
	}
	return all, buckets
}

// countRequests adds the requests of one bucket.
func (t *Tally) countRequests(b *Bucket) {
	for m := range numMethods {
		for code := range len(codeCounters{}) {
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
}

// tally returns what a counts.
func (a *Answers) tally() (t Tally) {
	t.Bytes = a.Bytes.Load()
	for o := range NumOutcomes {
		if m := a.Outcomes[o].Load(); m != nil {
			before := t.durations.count()
			t.durations.Add(&m.Duration)
			t.Outcomes[o] = t.durations.count() - before
		}
	}
	return t
}

// Ring keeps what the counters said a little while ago, for rates and charts.
// Its size is fixed, but for the number of buckets.
type Ring struct {
	mu      sync.Mutex // guards the following fields
	moments [MinuteSteps + 1]Moment
	taken   int // moments so far; the last one is at (taken-1) % len(moments)
	points  [points]Point
	drawn   int // points so far
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
	slot := &r.moments[r.taken%len(r.moments)]
	*slot = Moment{At: now, All: all, Buckets: buckets}
	r.taken++
	if r.taken == 1 {
		return
	}
	before := &r.moments[(r.taken-2)%len(r.moments)]
	d := slot.All.Minus(&before.All)
	seconds := max(now.Sub(before.At).Seconds(), 1)
	r.points[r.drawn%len(r.points)] = Point{
		At: now, Requests: float64(d.Requests) / seconds, Bytes: float64(d.Bytes) / seconds, Errors: float64(d.Errors5xx) / seconds,
		HitRatio: d.HitRatio(), P99: d.Quantile(0.99),
	}
	r.drawn++
}

// Since returns what the counters said at least d ago, or at first; what it returns
// does not change.
func (r *Ring) Since(now time.Time, d time.Duration) Moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found Moment
	for i := range min(r.taken, len(r.moments)) {
		m := &r.moments[(r.taken-1-i)%len(r.moments)]
		found = *m
		if now.Sub(m.At) >= d {
			break
		}
	}
	return found
}

// Series returns the points, the oldest first.
func (r *Ring) Series() []Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(r.drawn, len(r.points))
	list := make([]Point, n)
	for i := range list {
		list[i] = r.points[(r.drawn-n+i)%len(r.points)]
	}
	return list
}

// Rounded returns v with a number of decimals.
func Rounded(v float64, decimals int) *float64 {
	scale := math.Pow10(decimals)
	v = math.Round(v*scale) / scale
	return &v
}
