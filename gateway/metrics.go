package gateway

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// metricSet counts what the gateway does. A new metric is a field here or in
// bucketMetrics.
type metricSet struct {
	set             *metrics.Set
	panics          *metrics.Counter
	refusedConns    *metrics.Counter
	badProxyHeaders *metrics.Counter
	keyFetches      [2]*metrics.Counter // of key sets: those that worked, those that failed
	reloads         [2]*metrics.Counter // of the configuration: those that worked, those that failed
	unrouted        *bucketMetrics      // requests that no bucket is mounted for

	mu       sync.Mutex                 // guards the following fields
	buckets  map[string]*bucketMetrics  // by bucket
	replicas map[string]*replicaMetrics // by bucket and replica
}

func newMetricSet() *metricSet {
	s := metrics.NewSet()
	m := &metricSet{
		set:             s,
		panics:          s.NewCounter("yatagarasu_panics_total"),
		refusedConns:    s.NewCounter("yatagarasu_refused_connections_total"),
		badProxyHeaders: s.NewCounter("yatagarasu_bad_proxy_headers_total"),
		buckets:         make(map[string]*bucketMetrics),
		replicas:        make(map[string]*replicaMetrics),
	}
	for i, outcome := range []string{"ok", "failed"} {
		m.reloads[i] = s.NewCounter(fmt.Sprintf("yatagarasu_config_reloads_total{outcome=%q}", outcome))
		m.keyFetches[i] = s.NewCounter(fmt.Sprintf("yatagarasu_jwks_fetches_total{outcome=%q}", outcome))
	}
	m.unrouted = m.bucket("")
	return m
}

// bucketMetrics are the counters of one bucket. Labels come from the
// configuration and fixed tables alone.
type bucketMetrics struct {
	set      *metrics.Set
	bucket   string
	requests [numMethods]codeCounters
	verdicts [maxReasons]atomic.Pointer[metrics.Counter] // by reason
	rejects  [numLimits]atomic.Pointer[metrics.Counter]
	answers  answerMetrics
}

// bucket returns the counters of a bucket; the same for the same name.
func (m *metricSet) bucket(name string) *bucketMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.buckets[name]
	if b == nil {
		b = &bucketMetrics{set: m.set, bucket: name}
		m.buckets[name] = b
	}
	return b
}

// answers yields the answers of each bucket that ever was, by name.
func (m *metricSet) answers() iter.Seq2[string, *answerMetrics] {
	return func(yield func(string, *answerMetrics) bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(m.buckets)) {
			if !yield(name, &m.buckets[name].answers) {
				return
			}
		}
	}
}

// replicaMetrics are the counters of one replica of a bucket.
type replicaMetrics struct {
	set            *metrics.Set
	bucket, origin string
	codes          codeCounters

	mu     sync.Mutex // guards the following fields
	errors map[string]*metrics.Counter
	extras map[string]*metrics.Counter
}

// replica returns the counters of a replica; the same for the same names.
func (m *metricSet) replica(bucket, name string) *replicaMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := bucket + "\x00" + name
	r := m.replicas[id]
	if r == nil {
		r = &replicaMetrics{set: m.set, bucket: bucket, origin: name, errors: make(map[string]*metrics.Counter), extras: make(map[string]*metrics.Counter)}
		m.replicas[id] = r
	}
	return r
}

// answerMetrics are those of the answers for one bucket, whatever its origin.
type answerMetrics struct {
	bytes    atomic.Uint64 // of bodies
	outcomes [numOutcomes]atomic.Pointer[outcomeMetrics]
}

// outcomeMetrics are those of the answers with one outcome of the cache.
type outcomeMetrics struct{ duration, firstByte histogram }

func (a *answerMetrics) outcome(o cacheOutcome) *outcomeMetrics {
	m := a.outcomes[o].Load()
	if m == nil {
		a.outcomes[o].CompareAndSwap(nil, new(outcomeMetrics))
		m = a.outcomes[o].Load()
	}
	return m
}

// count returns the number of answers with an outcome.
func (a *answerMetrics) count(o cacheOutcome) uint64 {
	m := a.outcomes[o].Load()
	if m == nil {
		return 0
	}
	var c histogramCounts
	c.add(&m.duration)
	return c.count()
}

// codeCounters holds a counter for each status, made when first needed.
type codeCounters [600]atomic.Pointer[metrics.Counter]

func (c *codeCounters) get(code int, create func(code string) *metrics.Counter) *metrics.Counter {
	if code < 0 || code >= len(c) {
		code = 0
	}
	return cached(&c[code], func() *metrics.Counter { return create(strconv.Itoa(code)) })
}

func (b *bucketMetrics) request(m method, code int) *metrics.Counter {
	return b.requests[m].get(code, func(code string) *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_requests_total{bucket=%q,method=%q,code=%q}", b.bucket, methodNames[m], code))
	})
}

// answer counts an answer by its status.
func (r *replicaMetrics) answer(code int) {
	r.codes.get(code, func(code string) *metrics.Counter {
		return r.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_upstream_requests_total{bucket=%q,origin=%q,code=%q}", r.bucket, r.origin, code))
	}).Inc()
}

// verdict returns the counter of a verdict; number is that of its reason, and of public
// paths the largest.
func (b *bucketMetrics) verdict(number int, a *authEntry) *metrics.Counter {
	return cached(&b.verdicts[number], func() *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_auth_total{bucket=%q,outcome=%q,reason=%q}", b.bucket, a.outcome, a.reason))
	})
}

func (b *bucketMetrics) reject(by limitKind) *metrics.Counter {
	return cached(&b.rejects[by], func() *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_rejected_total{bucket=%q,limit=%q}", b.bucket, by))
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

// fault counts a failure by its typed reason: a value of pool.Reason or of the table
// of S3 errors.
func (r *replicaMetrics) fault(reason string) {
	r.mu.Lock()
	c := r.errors[reason]
	if c == nil {
		c = r.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_upstream_errors_total{bucket=%q,origin=%q,reason=%q}", r.bucket, r.origin, reason))
		r.errors[reason] = c
	}
	r.mu.Unlock()
	c.Inc()
}

// What is done beside the requests of clients, as metrics name it.
const (
	extraFailover     = "yatagarasu_upstream_failovers_total"
	extraRetry        = "yatagarasu_upstream_retries_total"
	extraRetryDenied  = "yatagarasu_upstream_retries_denied_total"
	extraResume       = "yatagarasu_upstream_resumes_total"
	extraResumeDenied = "yatagarasu_upstream_resumes_denied_total"
	extraHedge        = "yatagarasu_upstream_hedges_total"
	extraHedgeWon     = "yatagarasu_upstream_hedges_won_total"
)

// extra counts one of those, by its metric.
func (r *replicaMetrics) extra(metric string) {
	r.mu.Lock()
	c := r.extras[metric]
	if c == nil {
		c = r.set.GetOrCreateCounter(fmt.Sprintf("%s{bucket=%q,origin=%q}", metric, r.bucket, r.origin))
		r.extras[metric] = c
	}
	r.mu.Unlock()
	c.Inc()
}

// reasons returns the failures by their reasons.
func (r *replicaMetrics) reasons() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[string]uint64, len(r.errors))
	for reason, c := range r.errors {
		counts[reason] = c.Get()
	}
	return counts
}
