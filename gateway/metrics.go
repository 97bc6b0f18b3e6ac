package gateway

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"yatagarasu/pool"
)

// metricSet counts what the gateway does. A new metric is a field here or in
// bucketMetrics.
type metricSet struct {
	set          *metrics.Set
	panics       *metrics.Counter
	refusedConns *metrics.Counter
	unrouted     *bucketMetrics // requests that no bucket is mounted for

	mu      sync.Mutex                // guards buckets
	buckets map[string]*bucketMetrics // by bucket and origin
}

func newMetricSet() *metricSet {
	s := metrics.NewSet()
	m := &metricSet{
		set:          s,
		panics:       s.NewCounter("yatagarasu_panics_total"),
		refusedConns: s.NewCounter("yatagarasu_refused_connections_total"),
		buckets:      make(map[string]*bucketMetrics),
	}
	m.unrouted = m.bucket("", "")
	return m
}

// bucketMetrics are the counters of one bucket. Labels come from the
// configuration and fixed tables alone.
type bucketMetrics struct {
	set            *metrics.Set
	bucket, origin string
	requests       [numMethods]codeCounters
	upstream       codeCounters
	duration       *metrics.PrometheusHistogram
	firstByte      *metrics.PrometheusHistogram

	mu     sync.Mutex // guards errors
	errors map[string]*metrics.Counter
}

// bucket returns the counters of a bucket at an origin; the same for the same
// names.
func (m *metricSet) bucket(name, origin string) *bucketMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := name + "\x00" + origin
	b := m.buckets[id]
	if b == nil {
		label := fmt.Sprintf("{bucket=%q,outcome=%q}", name, "bypass")
		b = &bucketMetrics{
			set: m.set, bucket: name, origin: origin,
			duration:  m.set.GetOrCreatePrometheusHistogram("yatagarasu_request_duration_seconds" + label),
			firstByte: m.set.GetOrCreatePrometheusHistogram("yatagarasu_time_to_first_byte_seconds" + label),
			errors:    make(map[string]*metrics.Counter),
		}
		m.buckets[id] = b
	}
	return b
}

// codeCounters holds a counter for each status, made when first needed.
type codeCounters [600]atomic.Pointer[metrics.Counter]

func (c *codeCounters) get(code int, create func(code string) *metrics.Counter) *metrics.Counter {
	if code < 0 || code >= len(c) {
		code = 0
	}
	n := c[code].Load()
	if n == nil {
		n = create(strconv.Itoa(code))
		c[code].Store(n)
	}
	return n
}

func (b *bucketMetrics) request(m method, code int) *metrics.Counter {
	return b.requests[m].get(code, func(code string) *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_requests_total{bucket=%q,method=%q,code=%q}", b.bucket, methodNames[m], code))
	})
}

func (b *bucketMetrics) upstreamRequest(code int) *metrics.Counter {
	return b.upstream.get(code, func(code string) *metrics.Counter {
		return b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_upstream_requests_total{bucket=%q,origin=%q,code=%q}", b.bucket, b.origin, code))
	})
}

// upstreamError counts a failure by its typed reason: a value of pool.Reason or
// of the table of S3 errors.
func (b *bucketMetrics) upstreamError(reason string) {
	b.mu.Lock()
	c := b.errors[reason]
	if c == nil {
		c = b.set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_upstream_errors_total{bucket=%q,origin=%q,reason=%q}", b.bucket, b.origin, reason))
		b.errors[reason] = c
	}
	b.mu.Unlock()
	c.Inc()
}

func (b *bucket) countUpstream(code int) { b.metrics.upstreamRequest(code).Inc() }

func (b *bucket) countUpstreamError(err error) {
	b.metrics.upstreamError(pool.Of(err).String())
}

// observe counts and logs a request at its end.
func (g *Gateway) observe(x *exchange) {
	took := time.Since(x.start)
	m := g.metrics.unrouted
	if x.bucket != nil {
		m = x.bucket.metrics
	}
	m.request(x.method, x.status).Inc()
	m.duration.Update(took.Seconds())
	m.firstByte.Update(x.ttfb.Seconds())
	g.logAccess(x, took)
}

// WriteMetrics writes all metrics in the Prometheus text format.
func (g *Gateway) WriteMetrics(w io.Writer) {
	g.metrics.set.WritePrometheus(w)
}
