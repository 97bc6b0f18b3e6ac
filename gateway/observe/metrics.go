package observe

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Metrics counts what the gateway does. A new metric is a field here or in
// Bucket.
type Metrics struct {
	Set             *metrics.Set
	Panics          *metrics.Counter
	RefusedConns    *metrics.Counter
	BadProxyHeaders *metrics.Counter
	KeyFetches      attempts       // fetches of key sets
	Reloads         attempts       // of the configuration
	unrouted        *BucketMetrics // requests that no bucket is mounted for

	mu       sync.Mutex                 // guards the following fields
	buckets  map[string]*BucketMetrics  // by bucket
	replicas map[string]*ReplicaMetrics // by bucket and replica
}

func NewMetrics() *Metrics {
	s := metrics.NewSet()
	m := &Metrics{
		Set:             s,
		Panics:          s.NewCounter("yatagarasu_panics_total"),
		RefusedConns:    s.NewCounter("yatagarasu_refused_connections_total"),
		BadProxyHeaders: s.NewCounter("yatagarasu_bad_proxy_headers_total"),
		KeyFetches:      newAttempts(s, "yatagarasu_jwks_fetches_total"),
		Reloads:         newAttempts(s, "yatagarasu_config_reloads_total"),
		buckets:         make(map[string]*BucketMetrics),
		replicas:        make(map[string]*ReplicaMetrics),
	}
	m.unrouted = m.Bucket("")
	return m
}

// attempts counts what works or fails.
type attempts struct{ ok, failed *metrics.Counter }

func newAttempts(s *metrics.Set, metric string) attempts {
	return attempts{s.NewCounter(metric + `{outcome="ok"}`), s.NewCounter(metric + `{outcome="failed"}`)}
}

// Count counts an attempt that ended with err; nil: it worked.
func (a attempts) Count(err error) {
	if err == nil {
		a.ok.Inc()
	} else {
		a.failed.Inc()
	}
}

// BucketMetrics are the metrics of one bucket. Labels come from the configuration and fixed
// tables alone. Use Metrics.Bucket. Safe for concurrent use.
type BucketMetrics struct {
	set      *metrics.Set
	Name     string
	requests [numMethods]codeCounters
	verdicts [maxReasons]atomic.Pointer[metrics.Counter] // by reason
	rejects  [NumLimits]atomic.Pointer[metrics.Counter]

	ResponseBytes atomic.Uint64 // of bodies
	Latencies     [NumOutcomes]atomic.Pointer[Latency]
}

// Latency is how long responses took, and until their first byte.
type Latency struct{ Duration, TTFB Histogram }

// Bucket returns the counters of a bucket; the same for the same name.
func (m *Metrics) Bucket(name string) *BucketMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.buckets[name]
	if b == nil {
		b = &BucketMetrics{set: m.Set, Name: name}
		m.buckets[name] = b
	}
	return b
}

// Buckets yields the metrics of each bucket that ever was, by name.
func (m *Metrics) Buckets() iter.Seq2[string, *BucketMetrics] {
	return func(yield func(string, *BucketMetrics) bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(m.buckets)) {
			if !yield(name, m.buckets[name]) {
				return
			}
		}
	}
}

// ReplicaMetrics are the counters of one replica of a bucket.
type ReplicaMetrics struct {
	Set            *metrics.Set
	Bucket, origin string
	codes          codeCounters

	mu     sync.Mutex                  // guards errors
	errors map[string]*metrics.Counter // by reason
}

// Replica returns the counters of a replica; the same for the same names.
func (m *Metrics) Replica(bucket, name string) *ReplicaMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := bucket + "\x00" + name
	r := m.replicas[id]
	if r == nil {
		r = &ReplicaMetrics{Set: m.Set, Bucket: bucket, origin: name, errors: make(map[string]*metrics.Counter)}
		m.replicas[id] = r
	}
	return r
}

// Latency returns the histograms of responses with an outcome, made when first needed.
func (b *BucketMetrics) Latency(o Outcome) *Latency {
	l := b.Latencies[o].Load()
	if l == nil {
		b.Latencies[o].CompareAndSwap(nil, new(Latency))
		l = b.Latencies[o].Load()
	}
	return l
}

// codeCounters holds a counter for each status, made when first needed.
type codeCounters [600]atomic.Pointer[metrics.Counter]

func (c *codeCounters) get(code int, create func(code string) *metrics.Counter) *metrics.Counter {
	if code < 0 || code >= len(c) {
		code = 0
	}
	return cached(&c[code], func() *metrics.Counter { return create(strconv.Itoa(code)) })
}

func (b *BucketMetrics) Requests(m Method, code int) *metrics.Counter {
	return b.requests[m].get(code, func(code string) *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_requests_total{bucket=%q,method=%q,code=%q}", b.Name, MethodNames[m], code))
	})
}

// CountResponse counts an answer by its status.
func (r *ReplicaMetrics) CountResponse(code int) {
	r.codes.get(code, func(code string) *metrics.Counter {
		return r.Set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_upstream_requests_total{bucket=%q,origin=%q,code=%q}", r.Bucket, r.origin, code))
	}).Inc()
}

// Verdicts returns the counter of a verdict; number is that of its reason, and of public
// paths the largest.
func (b *BucketMetrics) Verdicts(number int, a *Auth) *metrics.Counter {
	return cached(&b.verdicts[number], func() *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_auth_total{bucket=%q,outcome=%q,reason=%q}", b.Name, a.Outcome, a.Reason))
	})
}

func (b *BucketMetrics) Rejections(by Limit) *metrics.Counter {
	return cached(&b.rejects[by], func() *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_rejected_total{bucket=%q,limit=%q}", b.Name, by))
	})
}

// cached returns the counter at p, made when first needed.
func cached(p *atomic.Pointer[metrics.Counter], create func() *metrics.Counter) *metrics.Counter {
	n := p.Load()
	if n == nil {
		n = create()
		p.Store(n)
	}
	return n
}

// CountError counts a failure by its typed reason: a value of pool.Reason or of the table
// of S3 errors.
func (r *ReplicaMetrics) CountError(reason string) {
	r.mu.Lock()
	c := r.errors[reason]
	if c == nil {
		c = r.Set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_upstream_errors_total{bucket=%q,origin=%q,reason=%q}", r.Bucket, r.origin, reason))
		r.errors[reason] = c
	}
	r.mu.Unlock()
	c.Inc()
}

// What is done beside the requests of clients, as metrics name it.
const (
	Failovers     = "yatagarasu_upstream_failovers_total"
	Retries       = "yatagarasu_upstream_retries_total"
	RetriesDenied = "yatagarasu_upstream_retries_denied_total"
	Resumes       = "yatagarasu_upstream_resumes_total"
	ResumesDenied = "yatagarasu_upstream_resumes_denied_total"
	Hedges        = "yatagarasu_upstream_hedges_total"
	HedgesWon     = "yatagarasu_upstream_hedges_won_total"
)

// Count counts one of those, by its metric: rare, so it is looked up each time.
func (r *ReplicaMetrics) Count(metric string) {
	r.Set.GetOrCreateCounter(fmt.Sprintf("%s{bucket=%q,origin=%q}", metric, r.Bucket, r.origin)).Inc()
}

// Errors returns the failures by their reasons.
func (r *ReplicaMetrics) Errors() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[string]uint64, len(r.errors))
	for reason, c := range r.errors {
		counts[reason] = c.Get()
	}
	return counts
}

// HistogramBounds are the upper bounds of the buckets of durations: from what an
// answer from memory takes to a download's minute.
var HistogramBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Histogram counts durations in buckets. Unlike that of the metrics library, it
// takes no lock, and tells its counts to the status page.
type Histogram struct {
	buckets [len(HistogramBounds) + 1]atomic.Uint64 // the last one: longer than all bounds
	sum     atomic.Int64                            // in nanoseconds
}

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	i, _ := slices.BinarySearch(HistogramBounds[:], d)
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Counts returns what h has counted so far.
func (h *Histogram) Counts() (c Counts) {
	for i := range c.Buckets {
		c.Buckets[i] = h.buckets[i].Load()
	}
	c.Sum = time.Duration(h.sum.Load())
	return c
}

// Counts are the counts of one or more histograms at a moment.
type Counts struct {
	Buckets [len(HistogramBounds) + 1]uint64
	Sum     time.Duration
}

// add adds what o counted to c, times 1, or times -1 for a difference.
func (c *Counts) add(o *Counts, times int64) {
	for i := range c.Buckets {
		c.Buckets[i] += uint64(times) * o.Buckets[i]
	}
	c.Sum += time.Duration(times) * o.Sum
}

// Count returns the number of durations.
func (c *Counts) Count() (n uint64) {
	for _, b := range c.Buckets {
		n += b
	}
	return n
}

// quantile returns the duration below which the part q of all is, by interpolation
// within a bucket, as Prometheus does; 0 where nothing was counted, and the highest
// bound for what is longer.
func (c *Counts) quantile(q float64) time.Duration {
	rank := q * float64(c.Count())
	if rank == 0 {
		return 0
	}
	seen := 0.0
	for i, bound := range HistogramBounds {
		n := float64(c.Buckets[i])
		if n > 0 && seen+n >= rank {
			low := time.Duration(0)
			if i > 0 {
				low = HistogramBounds[i-1]
			}
			return low + time.Duration(float64(bound-low)*(rank-seen)/n)
		}
		seen += n
	}
	return HistogramBounds[len(HistogramBounds)-1]
}
