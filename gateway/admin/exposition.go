package admin

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"time"
	"yatagarasu/cache"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/probe"
	"yatagarasu/gateway/serve"
	"yatagarasu/pool"

	"github.com/VictoriaMetrics/metrics"
)

// family describes one metric. docs/METRICS.md is made of it: go test ./gateway/admin -run
// TestMetricsDocs -update.
type family struct {
	Name, Kind, labels, help string
}

// Families are all metrics whose names begin with yatagarasu_, in the order of their
// names.
var Families = []family{
	{"yatagarasu_auth_total", "counter", "bucket, outcome, reason", "Requests to private buckets by what became of their token."},
	{"yatagarasu_bad_proxy_headers_total", "counter", "", "Connections of trusted proxies without a sound PROXY header."},
	{"yatagarasu_bucket_reachable", "gauge", "bucket", "1 if the last probe reached the bucket, else 0. Absent with server.ready: config."},
	{"yatagarasu_build_info", "gauge", "version, go", "Always 1; the labels tell the build."},
	{"yatagarasu_cache_budget_bytes", "gauge", "budget", "Memory that a cache takes. The budget is the bucket whose own it is, empty for the shared one."},
	{"yatagarasu_cache_budget_max_bytes", "gauge", "budget", "Memory that a cache may take."},
	{"yatagarasu_cache_bytes", "gauge", "bucket", "Memory that a bucket's cached objects take."},
	{"yatagarasu_cache_entries", "gauge", "bucket", "Objects of a bucket in the cache."},
	{"yatagarasu_cache_evicted_bytes_total", "counter", "budget", "Memory of objects that made room for others."},
	{"yatagarasu_cache_evictions_total", "counter", "budget", "Objects that made room for others."},
	{"yatagarasu_cache_fetches_in_flight", "gauge", "budget", "Fetches under way that fill the cache."},
	{"yatagarasu_cache_pinned_bytes", "gauge", "budget", "Memory of bodies that arrive for the cache, or are read though they are no longer stored."},
	{"yatagarasu_cache_purged_total", "counter", "budget", "Objects that purges dropped or marked stale."},
	{"yatagarasu_cache_rejected_total", "counter", "budget", "Objects that the cache did not take, because others are asked for more."},
	{"yatagarasu_cache_requests_total", "counter", "bucket, outcome", "Requests by what the cache had to do with the answer."},
	{"yatagarasu_cache_stored_total", "counter", "budget", "Objects stored."},
	{"yatagarasu_client_connections", "gauge", "", "Open connections of clients."},
	{"yatagarasu_config_generation", "gauge", "", "Number of the configuration in effect, from 1."},
	{"yatagarasu_config_last_reload_success", "gauge", "", "1 if the last reload worked, or none was tried, else 0."},
	{"yatagarasu_config_last_reload_timestamp_seconds", "gauge", "", "When the configuration in effect was loaded, in Unix time."},
	{"yatagarasu_config_reloads_total", "counter", "outcome", "Reloads that worked and that failed."},
	{"yatagarasu_credentials_expiry_timestamp_seconds", "gauge", "bucket, origin", "When the credential at hand expires, in Unix time. Absent for those that do not."},
	{"yatagarasu_credentials_refreshes_total", "counter", "bucket, origin, outcome", "Credentials retrieved from their source: ok or failed."},
	{"yatagarasu_draining", "gauge", "", "1 while the gateway is stopping."},
	{"yatagarasu_jwks_fetches_total", "counter", "outcome", "Fetches of key sets that worked and that failed."},
	{"yatagarasu_log_dropped_total", "counter", "log", "Lines of the log that were dropped, because it was not written fast enough."},
	{"yatagarasu_panics_total", "counter", "", "Requests that failed by a mistake in the gateway."},
	{"yatagarasu_refused_connections_total", "counter", "", "Connections of clients that were refused by a limit."},
	{"yatagarasu_rejected_total", "counter", "bucket, limit", "Requests that a limit refused."},
	{"yatagarasu_request_duration_seconds", "histogram", "bucket, outcome", "Time from a request's head to the last byte of its answer; without that of writing small hits, heads and errors."},
	{"yatagarasu_requests_in_flight", "gauge", "bucket", "Requests under way, until their bodies are sent."},
	{"yatagarasu_requests_total", "counter", "bucket, method, code", "Requests; each counts once, at its end. The bucket is empty where none is mounted."},
	{"yatagarasu_response_bytes_total", "counter", "bucket", "Bytes of bodies that were handed to the clients' connections; of small hits and errors before they are written."},
	{"yatagarasu_start_time_seconds", "gauge", "", "When the gateway started, in Unix time."},
	{"yatagarasu_stream_buffers_in_use", "gauge", "", "Buffers of requests that wait for their origin's answer, or stream it."},
	{"yatagarasu_time_to_first_byte_seconds", "histogram", "bucket, outcome", "Time from a request's head to the origin's answer, or to that from memory."},
	{"yatagarasu_upstream_addresses_aside", "gauge", "bucket, origin", "Addresses of the origin that are left alone because they could not be connected to."},
	{"yatagarasu_upstream_breaker_opens_total", "counter", "bucket, origin", "Times that an origin was given up for a while."},
	{"yatagarasu_upstream_breaker_state", "gauge", "bucket, origin", "0: all requests pass; 1: one at a time, on trial; 2: none."},
	{"yatagarasu_upstream_clock_skew_seconds", "gauge", "bucket, origin", "How far the origin's clock is ahead of this one. Beyond 5 s it is corrected for signatures."},
	{"yatagarasu_upstream_connections", "gauge", "bucket, origin, state", "Connections to the origin: idle ones, and those in use."},
	{"yatagarasu_upstream_dials_total", "counter", "bucket, origin", "Connections opened to the origin."},
	{"yatagarasu_upstream_errors_total", "counter", "bucket, origin, reason", "Failed requests to the origin by their typed reason."},
	{"yatagarasu_upstream_failovers_total", "counter", "bucket, origin", "Requests to a replica because another one failed."},
	{"yatagarasu_upstream_hedges_total", "counter", "bucket, origin", "Requests to a replica because another one took long."},
	{"yatagarasu_upstream_hedges_won_total", "counter", "bucket, origin", "Of those, the ones that were answered first."},
	{"yatagarasu_upstream_lookups_failed_total", "counter", "bucket, origin", "Look-ups of the origin's name that failed."},
	{"yatagarasu_upstream_lookups_total", "counter", "bucket, origin", "Look-ups of the origin's name."},
	{"yatagarasu_upstream_queue_full_total", "counter", "bucket, origin", "Requests that gave up their wait for a connection because too many waited."},
	{"yatagarasu_upstream_queue_timeouts_total", "counter", "bucket, origin", "Requests that no connection became free for in time."},
	{"yatagarasu_upstream_reachable", "gauge", "bucket, origin", "1 if the last probe reached the origin, else 0."},
	{"yatagarasu_upstream_received_bytes_total", "counter", "bucket, origin", "Bytes of bodies that came from the origin."},
	{"yatagarasu_upstream_requests_total", "counter", "bucket, origin, code", "Requests to the origin by the status of its answer."},
	{"yatagarasu_upstream_resumes_denied_total", "counter", "bucket, origin", "Bodies that were not continued at the same origin because the budget was used up."},
	{"yatagarasu_upstream_resumes_total", "counter", "bucket, origin", "Bodies that broke off and were continued."},
	{"yatagarasu_upstream_retries_denied_total", "counter", "bucket, origin", "Failed requests that were not repeated because the budget was used up."},
	{"yatagarasu_upstream_retries_total", "counter", "bucket, origin", "Failed requests that were repeated at the same origin."},
	{"yatagarasu_upstream_reuses_total", "counter", "bucket, origin", "Requests to the origin on a connection that was kept."},
	{"yatagarasu_upstream_stale_connections_total", "counter", "bucket, origin", "Kept connections that turned out closed or dirty."},
	{"yatagarasu_upstream_waiting", "gauge", "bucket, origin", "Requests that wait for a connection."},
}

// exposition collects the samples of families whose values are read when they are
// asked for.
type exposition struct {
	samples map[string][]string // lines by family
}

// add adds a sample; labels come in pairs of name and value.
func (e *exposition) add(name string, value float64, labels ...string) {
	e.line(name, name, strconv.FormatFloat(value, 'g', -1, 64), labels...)
}

func (e *exposition) line(family, name, value string, labels ...string) {
	b := append([]byte(nil), name...)
	for i := 0; i < len(labels); i += 2 {
		b = append(b, "{,"[min(i, 1)])
		b = append(append(b, labels[i]...), '=')
		b = strconv.AppendQuote(b, labels[i+1])
	}
	if len(labels) > 0 {
		b = append(b, '}')
	}
	b = append(append(b, ' '), value...)
	e.samples[family] = append(e.samples[family], string(b))
}

// histogram adds the samples of a histogram.
func (e *exposition) histogram(name string, h *observe.Histogram, labels ...string) {
	c := h.Counts()
	n := uint64(0)
	for i, count := range c.Buckets {
		n += count
		bound := "+Inf"
		if i < len(observe.HistogramBounds) {
			bound = strconv.FormatFloat(observe.HistogramBounds[i].Seconds(), 'g', -1, 64)
		}
		e.line(name, name+"_bucket", strconv.FormatUint(n, 10), append(slices.Clone(labels), "le", bound)...)
	}
	e.line(name, name+"_sum", strconv.FormatFloat(c.Sum.Seconds(), 'g', -1, 64), labels...)
	e.line(name, name+"_count", strconv.FormatUint(n, 10), labels...)
}

// writeTo writes the families that have samples, and what text has of the others.
func (e *exposition) writeTo(w io.Writer, text []byte) {
	for line := range bytes.Lines(text) {
		if name, _, ok := bytes.Cut(line, []byte("{")); !bytes.HasPrefix(line, []byte("#")) {
			if !ok {
				name, _, _ = bytes.Cut(line, []byte(" "))
			}
			e.samples[string(name)] = append(e.samples[string(name)], string(bytes.TrimSuffix(line, []byte("\n"))))
		}
	}
	for _, f := range Families {
		if len(e.samples[f.Name]) == 0 {
			continue
		}
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.Name, f.help, f.Name, f.Kind)
		for _, s := range e.samples[f.Name] {
			fmt.Fprintln(w, s)
		}
	}
}

// WriteMetrics writes all metrics in the Prometheus text format.
func (a *Server) WriteMetrics(w io.Writer) {
	e := &exposition{samples: make(map[string][]string)}
	var counters bytes.Buffer
	a.Metrics.Set.WritePrometheus(&counters)
	a.collectProcess(e)
	a.collectCaches(e)
	for _, b := range a.Generation.Load().Buckets {
		collectBucket(e, b)
	}
	collectReadiness(e, a.Ready.Load())
	collectAnswers(e, a.Metrics)
	e.writeTo(w, counters.Bytes())
	metrics.WriteProcessMetrics(w)
	metrics.WriteFDMetrics(w)
}

func (a *Server) collectProcess(e *exposition) {
	gen := a.Generation.Load()
	e.add("yatagarasu_build_info", 1, "version", a.Version, "go", runtime.Version())
	e.add("yatagarasu_start_time_seconds", unixSeconds(a.Started))
	e.add("yatagarasu_client_connections", float64(a.Clients.Len()))
	e.add("yatagarasu_stream_buffers_in_use", float64(a.Origins.Buffers.InUse()))
	e.add("yatagarasu_config_generation", float64(gen.Number))
	e.add("yatagarasu_config_last_reload_timestamp_seconds", unixSeconds(gen.Loaded))
	for log, n := range a.Logs.Dropped() {
		e.add("yatagarasu_log_dropped_total", float64(n), "log", log)
	}
	success := 1.0
	if last := a.LastReload.Load(); last != nil && len(last.Errors) > 0 {
		success = 0
	}
	e.add("yatagarasu_config_last_reload_success", success)
	draining := 0.0
	if a.Draining.Load() {
		draining = 1
	}
	e.add("yatagarasu_draining", draining)
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (a *Server) collectCaches(e *exposition) {
	for owner, b := range a.Generation.Load().Budgets.Sorted() {
		var s cache.Stats
		b.Cache.UpdateStats(&s)
		e.add("yatagarasu_cache_budget_bytes", float64(s.Bytes), "budget", owner)
		e.add("yatagarasu_cache_budget_max_bytes", float64(b.Options.MaxBytes), "budget", owner)
		e.add("yatagarasu_cache_evicted_bytes_total", float64(s.EvictedBytes), "budget", owner)
		e.add("yatagarasu_cache_evictions_total", float64(s.Evictions), "budget", owner)
		e.add("yatagarasu_cache_fetches_in_flight", float64(b.Flights.Len()), "budget", owner)
		e.add("yatagarasu_cache_pinned_bytes", float64(b.Cache.Pinned()), "budget", owner)
		e.add("yatagarasu_cache_purged_total", float64(s.Purged), "budget", owner)
		e.add("yatagarasu_cache_rejected_total", float64(s.Rejected), "budget", owner)
		e.add("yatagarasu_cache_stored_total", float64(s.Puts), "budget", owner)
	}
}

func collectBucket(e *exposition, b *serve.Bucket) {
	e.add("yatagarasu_requests_in_flight", float64(b.Limits.InFlight.Load()), "bucket", b.Name)
	if b.Cached != nil {
		var s cache.Stats
		b.Cached.Cache.UpdateGroupStats(b.Name, &s)
		e.add("yatagarasu_cache_entries", float64(s.Entries), "bucket", b.Name)
		e.add("yatagarasu_cache_bytes", float64(s.Bytes), "bucket", b.Name)
	}
	for _, r := range b.Origin.Replicas {
		collectReplica(e, b.Name, r)
	}
}

func collectReplica(e *exposition, bucket string, r *origin.Replica) {
	var s pool.Stats
	r.Upstream.UpdateStats(&s)
	labels := []string{"bucket", bucket, "origin", r.Name}
	if c := r.Credentials.State(); !c.Expires.IsZero() {
		e.add("yatagarasu_credentials_expiry_timestamp_seconds", float64(c.Expires.Unix()), labels...)
	}
	if r.Health.Dated.Load() != 0 {
		e.add("yatagarasu_upstream_clock_skew_seconds", time.Duration(r.Health.Skew.Load()).Seconds(), labels...)
	}
	state, opens := r.Health.Breaker.State()
	e.add("yatagarasu_upstream_breaker_state", float64(state), labels...)
	e.add("yatagarasu_upstream_breaker_opens_total", float64(opens), labels...)
	e.add("yatagarasu_upstream_connections", float64(s.Idle), append(labels, "state", "idle")...)
	e.add("yatagarasu_upstream_connections", float64(s.Open-s.Idle), append(labels, "state", "in_use")...)
	e.add("yatagarasu_upstream_waiting", float64(s.Waiting), labels...)
	e.add("yatagarasu_upstream_dials_total", float64(s.Dials), labels...)
	e.add("yatagarasu_upstream_reuses_total", float64(s.Reuses), labels...)
	e.add("yatagarasu_upstream_stale_connections_total", float64(s.Stale), labels...)
	e.add("yatagarasu_upstream_lookups_total", float64(s.LookUps), labels...)
	e.add("yatagarasu_upstream_lookups_failed_total", float64(s.LookUpsFailed), labels...)
	e.add("yatagarasu_upstream_addresses_aside", float64(s.Aside), labels...)
	e.add("yatagarasu_upstream_queue_full_total", float64(s.QueueFull), labels...)
	e.add("yatagarasu_upstream_queue_timeouts_total", float64(s.QueueTimeouts), labels...)
	e.add("yatagarasu_upstream_received_bytes_total", float64(s.Received), labels...)
}

func collectReadiness(e *exposition, r *probe.Readiness) {
	for b, origins := range r.Known() {
		e.add("yatagarasu_bucket_reachable", oneIf(b.Reachable), "bucket", b.Name)
		for _, o := range origins {
			e.add("yatagarasu_upstream_reachable", oneIf(o.Reachable), "bucket", b.Name, "origin", o.Name)
		}
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func collectAnswers(e *exposition, m *observe.Metrics) {
	for name, b := range m.Buckets() {
		e.add("yatagarasu_response_bytes_total", float64(b.ResponseBytes.Load()), "bucket", name)
		for o := range observe.NumOutcomes {
			if l := b.Latencies[o].Load(); l != nil {
				labels := []string{"bucket", name, "outcome", observe.Outcomes[o].Name}
				e.histogram("yatagarasu_request_duration_seconds", &l.Duration, labels...)
				e.histogram("yatagarasu_time_to_first_byte_seconds", &l.TTFB, labels...)
				c := l.Duration.Counts()
				e.add("yatagarasu_cache_requests_total", float64(c.Count()), labels...)
			}
		}
	}
}
