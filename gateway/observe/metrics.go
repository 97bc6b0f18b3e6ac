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

// Metrics are the counters and histograms of the gateway: a new one is a field here, in
// BucketMetrics or in ReplicaMetrics. Use NewMetrics. Safe for concurrent use.
type Metrics struct {
	Set             *metrics.Set
	Panics          *metrics.Counter
	RefusedConns    *metrics.Counter
	BadProxyHeaders *metrics.Counter
	KeyFetches      attempts       // fetches of key sets
	Reloads         attempts       // of the configuration
	unrouted        *BucketMetrics // of requests without a bucket

	mu       sync.Mutex                    // guards the following fields
	buckets  map[string]*BucketMetrics     // by name
	replicas map[[2]string]*ReplicaMetrics // by names of bucket and replica
}

// NewMetrics returns metrics that are all 0.
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
		replicas:        make(map[[2]string]*ReplicaMetrics),
	}
	m.unrouted = m.Bucket("")
	return m
}

// attempts are the counters of an operation that works or fails.
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

	ResponseBytes  atomic.Uint64 // of bodies
	Latencies      [NumOutcomes]atomic.Pointer[Latency]
	Introspections atomic.Pointer[Introspections] // nil: no issuer judges its tokens
}

// Latency is how long responses took, and until their first byte.
type Latency struct{ Duration, TTFB Histogram }

// Bucket returns the metrics of a bucket: the same ones for the same name.
func (m *Metrics) Bucket(name string) *BucketMetrics {
	return getOrMake(&m.mu, m.buckets, name, func() *BucketMetrics { return &BucketMetrics{set: m.Set, Name: name} })
}

// Of returns the metrics of the bucket that a request is for, or those of requests for none.
func (m *Metrics) Of(x *Entry) *BucketMetrics {
	if x.Bucket != nil {
		return x.Bucket
	}
	return m.unrouted
}

// getOrMake returns the value of key in m, which mu guards, and makes it when first needed.
func getOrMake[K comparable, V any](mu *sync.Mutex, m map[K]*V, key K, create func() *V) *V {
	mu.Lock()
	defer mu.Unlock()
	v := m[key]
	if v == nil {
		v = create()
		m[key] = v
	}
	return v
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

// ReplicaMetrics are the counters of one replica of a bucket. Use Metrics.Replica. Safe for
// concurrent use.
type ReplicaMetrics struct {
	Set            *metrics.Set
	Bucket, origin string
	codes          codeCounters

	mu     sync.Mutex                  // guards errors
	errors map[string]*metrics.Counter // by reason
}

// Replica returns the metrics of a replica: the same ones for the same names.
func (m *Metrics) Replica(bucket, name string) *ReplicaMetrics {
	return getOrMake(&m.mu, m.replicas, [2]string{bucket, name}, func() *ReplicaMetrics {
		return &ReplicaMetrics{Set: m.Set, Bucket: bucket, origin: name, errors: make(map[string]*metrics.Counter)}
	})
}

// Latency returns the histograms of responses with an outcome, made when first needed.
func (b *BucketMetrics) Latency(o Outcome) *Latency {
	return loadOrMake(&b.Latencies[o], func() *Latency { return new(Latency) })
}

// codeCounters holds a counter for each status, made when first needed.
type codeCounters [600]atomic.Pointer[metrics.Counter]

func (c *codeCounters) get(code int, create func(code string) *metrics.Counter) *metrics.Counter {
	if code < 0 || code >= len(c) {
		code = 0
	}
	return loadOrMake(&c[code], func() *metrics.Counter { return create(strconv.Itoa(code)) })
}

// Requests returns the counter of requests with a method and a status.
func (b *BucketMetrics) Requests(m Method, code int) *metrics.Counter {
	return b.requests[m].get(code, func(code string) *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_requests_total{bucket=%q,method=%q,code=%q}", b.Name, MethodNames[m], code))
	})
}

// CountResponse counts a response by its status.
func (r *ReplicaMetrics) CountResponse(code int) {
	r.codes.get(code, func(code string) *metrics.Counter {
		return r.Set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_upstream_requests_total{bucket=%q,origin=%q,code=%q}", r.Bucket, r.origin, code))
	}).Inc()
}

// Verdicts returns the counter of a verdict. number is that of its reason; public paths have
// the largest.
func (b *BucketMetrics) Verdicts(number int, a *Auth) *metrics.Counter {
	return loadOrMake(&b.verdicts[number], func() *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_auth_total{bucket=%q,outcome=%q,reason=%q}", b.Name, a.Outcome, a.Reason))
	})
}

// Rejections returns the counter of requests that a limit rejected.
func (b *BucketMetrics) Rejections(by Limit) *metrics.Counter {
	return loadOrMake(&b.rejects[by], func() *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_rejected_total{bucket=%q,limit=%q}", b.Name, by))
	})
}

// Introspections are the look-ups at the issuer that judges a bucket's tokens. Use
// BucketMetrics.IntrospectionsBy. Safe for concurrent use.
type Introspections struct {
	outcomes []string
	counters []*metrics.Counter // by outcome
	Duration Histogram          // of those for which it was asked
}

// IntrospectionsBy returns the metrics of look-ups by their outcomes, made when first needed: all
// outcomes are there from then on.
func (b *BucketMetrics) IntrospectionsBy(outcomes []string) *Introspections {
	return loadOrMake(&b.Introspections, func() *Introspections {
		i := &Introspections{outcomes: outcomes}
		for _, outcome := range outcomes {
			i.counters = append(i.counters, b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_introspections_total{bucket=%q,outcome=%q}", b.Name, outcome)))
		}
		return i
	})
}

// Count counts a look-up. number is that of its outcome.
func (i *Introspections) Count(number int) { i.counters[number].Inc() }

// AddTo adds the look-ups to counts, by outcome.
func (i *Introspections) AddTo(counts map[string]uint64) {
	for n, outcome := range i.outcomes {
		counts[outcome] += i.counters[n].Get()
	}
}

// loadOrMake returns the value at p, and makes it when first needed.
func loadOrMake[T any](p *atomic.Pointer[T], create func() *T) *T {
	if v := p.Load(); v != nil {
		return v
	}
	p.CompareAndSwap(nil, create())
	return p.Load()
}

// CountError counts an error by its reason: a value of pool.Reason or of the table of S3
// errors.
func (r *ReplicaMetrics) CountError(reason string) {
	getOrMake(&r.mu, r.errors, reason, func() *metrics.Counter {
		return r.Set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_upstream_errors_total{bucket=%q,origin=%q,reason=%q}", r.Bucket, r.origin, reason))
	}).Inc()
}

// The metrics that Count counts: what the gateway does beside a client's request.
const (
	Failovers     = "yatagarasu_upstream_failovers_total"
	Retries       = "yatagarasu_upstream_retries_total"
	RetriesDenied = "yatagarasu_upstream_retries_denied_total"
	Resumes       = "yatagarasu_upstream_resumes_total"
	ResumesDenied = "yatagarasu_upstream_resumes_denied_total"
	Hedges        = "yatagarasu_upstream_hedges_total"
	HedgesWon     = "yatagarasu_upstream_hedges_won_total"
)

// Count counts one of these metrics. Events are rare, so it is looked up each time.
func (r *ReplicaMetrics) Count(metric string) {
	r.Set.GetOrCreateCounter(fmt.Sprintf("%s{bucket=%q,origin=%q}", metric, r.Bucket, r.origin)).Inc()
}

// Errors returns the number of errors by reason.
func (r *ReplicaMetrics) Errors() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[string]uint64, len(r.errors))
	for reason, c := range r.errors {
		counts[reason] = c.Get()
	}
	return counts
}

// HistogramBounds are the upper bounds of the buckets of durations: from a hit's 50 µs to a
// download's minute.
var HistogramBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Histogram counts durations in buckets. Unlike that of the metrics library, it takes no
// lock, and the status page can read it. The zero value is empty. Safe for concurrent use.
type Histogram struct {
	buckets [len(HistogramBounds) + 1]atomic.Uint64 // the last one has what is longer than all bounds
	sum     atomic.Int64                            // in nanoseconds
}

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	i, _ := slices.BinarySearch(HistogramBounds[:], d)
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Counts returns the present counts of h.
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

// add adds o to c, times 1, or times -1 for a difference.
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

// quantile returns the q-quantile, interpolated within a bucket as Prometheus does; 0 without
// counts, and the highest bound for what is longer.
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
