package admin

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/observe"
)

// family describes one metric. docs/METRICS.md is made of it: go test ./gateway/admin -run
// TestMetricsDocs -update.
type family struct {
	Name, Kind, labels, help string
	value                    func(*source) float64 // of a sample, read from each source with these labels; nil: WriteMetrics adds the samples
}

// Families are all metrics whose names begin with yatagarasu_, in the order of their
// names.
var Families = []family{
	{"yatagarasu_auth_total", "counter", "bucket, outcome, reason", "Requests to private buckets by what became of their token.", nil},
	{"yatagarasu_bad_proxy_headers_total", "counter", "", "Connections of trusted proxies without a sound PROXY header.", nil},
	{"yatagarasu_bucket_reachable", "gauge", "bucket", "1 if the last probe reached the bucket, else 0. Absent with server.ready: config.", func(s *source) float64 { return known(s.bucket.probed, oneIf(s.bucket.state.Reachable)) }},
	{"yatagarasu_build_info", "gauge", "version, go", "Always 1; the labels tell the build.", nil},
	{"yatagarasu_cache_arriving_bytes", "gauge", "budget", "Memory of bodies that arrive for the cache.", func(s *source) float64 { return float64(s.budget.ArrivingBytes) }},
	{"yatagarasu_cache_budget_bytes", "gauge", "budget", "Memory that a cache takes. The budget is the bucket whose own it is, empty for the shared one.", func(s *source) float64 { return float64(s.budget.Bytes) }},
	{"yatagarasu_cache_budget_max_bytes", "gauge", "budget", "Memory that a cache may take.", func(s *source) float64 { return float64(s.budget.MaxBytes) }},
	{"yatagarasu_cache_bytes", "gauge", "bucket", "Memory that a bucket's cached objects take.", func(s *source) float64 { return known(s.bucket.Cached != nil, float64(s.bucket.memory.Bytes)) }},
	{"yatagarasu_cache_entries", "gauge", "bucket", "Objects of a bucket in the cache.", func(s *source) float64 { return known(s.bucket.Cached != nil, float64(s.bucket.memory.Entries)) }},
	{"yatagarasu_cache_evicted_bytes_total", "counter", "budget", "Memory of objects that made room for others.", func(s *source) float64 { return float64(s.budget.EvictedBytes) }},
	{"yatagarasu_cache_evictions_total", "counter", "budget", "Objects that made room for others.", func(s *source) float64 { return float64(s.budget.Evicted) }},
	{"yatagarasu_cache_fetches_in_flight", "gauge", "budget", "Fetches under way that fill the cache.", func(s *source) float64 { return float64(s.budget.Fetches) }},
	{"yatagarasu_cache_pinned_bytes", "gauge", "budget", "Memory of bodies that are read though they are not stored.", func(s *source) float64 { return float64(s.budget.PinnedBytes) }},
	{"yatagarasu_cache_purged_total", "counter", "budget", "Objects that purges dropped or marked stale.", func(s *source) float64 { return float64(s.budget.Purged) }},
	{"yatagarasu_cache_rejected_total", "counter", "budget", "Objects that the cache did not take, because others are asked for more.", func(s *source) float64 { return float64(s.budget.Rejected) }},
	{"yatagarasu_cache_requests_total", "counter", "bucket, outcome", "Requests by what the cache had to do with the answer.", nil},
	{"yatagarasu_cache_stored_total", "counter", "budget", "Objects stored.", func(s *source) float64 { return float64(s.budget.Stored) }},
	{"yatagarasu_cache_yielded_total", "counter", "budget", "Answers from memory that were cut because bodies that are not stored took too much of it, and these would have held theirs longest.", func(s *source) float64 { return float64(s.budget.Yielded) }},
	{"yatagarasu_client_connections", "gauge", "", "Open connections of clients.", func(s *source) float64 { return float64(s.Clients.Len()) }},
	{"yatagarasu_client_connections_limit", "gauge", "", "Largest number of open connections of clients: max_connections, or less where the limit of open files is too low for that.", func(s *source) float64 { return float64(s.Clients.Most()) }},
	{"yatagarasu_cluster_connected", "gauge", "", "1 if Valkey answered the last time, else 0. This and the others of the cluster are absent without the block cluster.", ofCluster(func(s *cluster.Status) float64 { return oneIf(s.Connected) })},
	{"yatagarasu_cluster_failures_total", "counter", "", "Times that Valkey could not be asked.", ofCluster(func(s *cluster.Status) float64 { return float64(s.Failures) })},
	{"yatagarasu_cluster_nodes", "gauge", "", "Gateways that share purges, this one among them, when they were counted last. Absent before the first time.", ofCluster(func(s *cluster.Status) float64 { return known(s.Nodes > 0, float64(s.Nodes)) })},
	{"yatagarasu_cluster_position", "gauge", "", "Position in the log of the last purge that is applied here.", ofCluster(func(s *cluster.Status) float64 { return float64(s.Position) })},
	{"yatagarasu_cluster_purge_unverified_seconds", "gauge", "", "Time since every purge was applied here. Beyond cluster.purge.within, what is in memory is validated sooner. Absent before the first time.", ofCluster(func(s *cluster.Status) float64 { return known(s.Unverified >= 0, s.Unverified) })},
	{"yatagarasu_cluster_purges_appended_total", "counter", "", "Purges that this gateway told the others of; those told again after a failover count again.", ofCluster(func(s *cluster.Status) float64 { return float64(s.Appended) })},
	{"yatagarasu_cluster_purges_applied_total", "counter", "", "Purges of other gateways that were made here.", ofCluster(func(s *cluster.Status) float64 { return float64(s.Applied) })},
	{"yatagarasu_cluster_purges_waiting", "gauge", "", "Purges that are made here, and that the others do not know of because Valkey could not be told.", ofCluster(func(s *cluster.Status) float64 { return float64(s.Waiting) })},
	{"yatagarasu_cluster_resyncs_total", "counter", "reason", "Times that everything in memory became stale, because purges may have been missed.", nil},
	{"yatagarasu_cluster_store_total", "counter", "operation, outcome", "Small objects that gateways share, read from Valkey and written to it, by what came of that. Absent without cluster.store.", nil},
	{"yatagarasu_config_generation", "gauge", "", "Number of the configuration in effect, from 1.", func(s *source) float64 { return float64(s.Generation.Load().Number) }},
	{"yatagarasu_config_last_reload_success", "gauge", "", "1 if the last reload worked, or none was tried, else 0.", func(s *source) float64 {
		last := s.LastReload.Load()
		return oneIf(last == nil || len(last.Errors) == 0)
	}},
	{"yatagarasu_config_last_reload_timestamp_seconds", "gauge", "", "When the configuration in effect was loaded, in Unix time.", func(s *source) float64 { return unixSeconds(s.Generation.Load().Loaded) }},
	{"yatagarasu_config_reloads_total", "counter", "outcome", "Reloads that worked and that failed.", nil},
	{"yatagarasu_credentials_expiry_timestamp_seconds", "gauge", "bucket, origin", "When the credential at hand expires, in Unix time. Absent for those that do not.", func(s *source) float64 { return known(!s.replica.expires.IsZero(), float64(s.replica.expires.Unix())) }},
	{"yatagarasu_credentials_refreshes_total", "counter", "bucket, origin, outcome", "Credentials retrieved from their source: ok or failed.", nil},
	{"yatagarasu_displaced_connections_total", "counter", "", "Connections of clients without a request that made room for new ones, at the limit.", func(s *source) float64 { return float64(s.Clients.Displaced.Load()) }},
	{"yatagarasu_draining", "gauge", "", "1 while the gateway is stopping.", func(s *source) float64 { return oneIf(s.Draining.Load()) }},
	{"yatagarasu_introspection_duration_seconds", "histogram", "bucket", "Time that the issuer of a bucket's tokens took to answer, or not to. Of buckets with jwt.introspection alone.", nil},
	{"yatagarasu_introspections_total", "counter", "bucket, outcome", "Look-ups of tokens at their issuer, by what it said of them. Of buckets with jwt.introspection alone.", nil},
	{"yatagarasu_issuer_up", "gauge", "issuer", "0 while the issuer that judges tokens is not asked, because it has failed five times in a row or its address is not known yet, else 1. The issuer is its issuer_url, or introspection.url without the query.", func(s *source) float64 { return oneIf(s.issuer.up) }},
	{"yatagarasu_jwks_age_seconds", "gauge", "jwks", "Time since a key set was last fetched. The jwks is its URL without the query, its path, or the issuer_url that names it. Absent before the first fetch.", func(s *source) float64 { return known(!s.keys.fetched.IsZero(), time.Since(s.keys.fetched).Seconds()) }},
	{"yatagarasu_jwks_fetches_total", "counter", "outcome", "Fetches of key sets that worked and that failed, with the documents of issuers that say where these are.", nil},
	{"yatagarasu_jwks_max_age_seconds", "gauge", "jwks", "Age at which a key set is no longer trusted. Absent where it is for good.", func(s *source) float64 { return known(s.keys.maxAge > 0, s.keys.maxAge.Seconds()) }},
	{"yatagarasu_log_dropped_total", "counter", "log", "Lines of the log that were dropped, because it was not written fast enough.", nil},
	{"yatagarasu_log_left_out_total", "counter", "log", "Lines of refused requests and health checks that were left out of the log, because there were too many in a second.", nil},
	{"yatagarasu_panics_total", "counter", "", "Requests that failed by a mistake in the gateway.", nil},
	{"yatagarasu_refused_connections_total", "counter", "", "Connections of clients that were refused by a limit.", nil},
	{"yatagarasu_rejected_total", "counter", "bucket, limit", "Requests that a limit refused. The bucket is empty where none is mounted.", nil},
	{"yatagarasu_request_duration_seconds", "histogram", "bucket, outcome", "Time from a request's head to the last byte of its answer; without that of writing small hits, heads and errors.", nil},
	{"yatagarasu_requests_in_flight", "gauge", "bucket", "Requests under way, until their bodies are sent.", func(s *source) float64 { return float64(s.bucket.Limits.InFlight.Load()) }},
	{"yatagarasu_requests_total", "counter", "bucket, method, code", "Requests; each counts once, at its end. The bucket is empty where none is mounted.", nil},
	{"yatagarasu_response_bytes_total", "counter", "bucket", "Bytes of bodies that were handed to the clients' connections; of small hits and errors before they are written.", nil},
	{"yatagarasu_start_time_seconds", "gauge", "", "When the gateway started, in Unix time.", func(s *source) float64 { return unixSeconds(s.Started) }},
	{"yatagarasu_stream_buffers_in_use", "gauge", "", "Buffers of requests that wait for their origin's answer, or stream it.", func(s *source) float64 { return float64(s.Origins.Buffers.InUse()) }},
	{"yatagarasu_time_to_first_byte_seconds", "histogram", "bucket, outcome", "Time from a request's head to the origin's answer, or to that from memory.", nil},
	{"yatagarasu_upstream_addresses_aside", "gauge", "bucket, origin", "Addresses of the origin that are left alone because they could not be connected to.", func(s *source) float64 { return float64(s.replica.Aside) }},
	{"yatagarasu_upstream_breaker_opens_total", "counter", "bucket, origin", "Times that an origin was given up for a while.", func(s *source) float64 { return float64(s.replica.opens) }},
	{"yatagarasu_upstream_breaker_state", "gauge", "bucket, origin", "0: all requests pass; 1: one at a time, on trial; 2: none.", func(s *source) float64 { return float64(s.replica.breaker) }},
	{"yatagarasu_upstream_clock_skew_seconds", "gauge", "bucket, origin", "How far the origin's clock is ahead of this one. Beyond 5 s it is corrected for signatures.", func(s *source) float64 {
		return known(s.replica.Health.SkewMeasured.Load() != 0, time.Duration(s.replica.Health.Skew.Load()).Seconds())
	}},
	{"yatagarasu_upstream_connections", "gauge", "bucket, origin, state", "Connections to the origin: idle ones, also those that rest after a HEAD, and those in use.", nil},
	{"yatagarasu_upstream_dials_total", "counter", "bucket, origin", "Connections opened to the origin.", func(s *source) float64 { return float64(s.replica.Dials) }},
	{"yatagarasu_upstream_errors_total", "counter", "bucket, origin, reason", "Failed requests to the origin by their typed reason.", nil},
	{"yatagarasu_upstream_failovers_total", "counter", "bucket, origin", "Requests to a replica because another one failed.", nil},
	{"yatagarasu_upstream_hedges_total", "counter", "bucket, origin", "Requests to a replica because another one took long.", nil},
	{"yatagarasu_upstream_hedges_won_total", "counter", "bucket, origin", "Of those, the ones that were answered first.", nil},
	{"yatagarasu_upstream_lookups_failed_total", "counter", "bucket, origin", "Look-ups of the origin's name that failed.", func(s *source) float64 { return float64(s.replica.LookUpsFailed) }},
	{"yatagarasu_upstream_lookups_total", "counter", "bucket, origin", "Look-ups of the origin's name.", func(s *source) float64 { return float64(s.replica.LookUps) }},
	{"yatagarasu_upstream_queue_full_total", "counter", "bucket, origin", "Requests that gave up their wait for a connection because too many waited.", func(s *source) float64 { return float64(s.replica.QueueFull) }},
	{"yatagarasu_upstream_queue_timeouts_total", "counter", "bucket, origin", "Requests that no connection became free for in time.", func(s *source) float64 { return float64(s.replica.QueueTimeouts) }},
	{"yatagarasu_upstream_reachable", "gauge", "bucket, origin", "1 if the last probe reached the origin, else 0.", func(s *source) float64 { return known(s.replica.probed, oneIf(s.replica.reachable)) }},
	{"yatagarasu_upstream_received_bytes_total", "counter", "bucket, origin", "Bytes of bodies that came from the origin.", func(s *source) float64 { return float64(s.replica.Received) }},
	{"yatagarasu_upstream_requests_total", "counter", "bucket, origin, code", "Requests to the origin by the status of its answer.", nil},
	{"yatagarasu_upstream_resumes_denied_total", "counter", "bucket, origin", "Bodies that were not continued at the same origin because the budget was used up.", nil},
	{"yatagarasu_upstream_resumes_total", "counter", "bucket, origin", "Bodies that broke off and were continued.", nil},
	{"yatagarasu_upstream_retries_denied_total", "counter", "bucket, origin", "Failed requests that were not repeated because the budget was used up.", nil},
	{"yatagarasu_upstream_retries_total", "counter", "bucket, origin", "Failed requests that were repeated at the same origin.", nil},
	{"yatagarasu_upstream_reuses_total", "counter", "bucket, origin", "Requests to the origin on a connection that was kept.", func(s *source) float64 { return float64(s.replica.Reuses) }},
	{"yatagarasu_upstream_stale_connections_total", "counter", "bucket, origin", "Kept connections that turned out closed or dirty.", func(s *source) float64 { return float64(s.replica.Stale) }},
	{"yatagarasu_upstream_waiting", "gauge", "bucket, origin", "Requests that wait for a connection.", func(s *source) float64 { return float64(s.replica.Waiting) }},
	{"yatagarasu_upstream_yielded_total", "counter", "bucket, origin", "Answers that were cut because others waited for a connection, and these would have held theirs longest.", func(s *source) float64 { return float64(s.replica.Yielded) }},
}

// source has the values for one set of labels. The labels tell which field is set: budget
// for "budget", bucket for "bucket", replica for "bucket, origin", keys for "jwks", issuer for
// "issuer", Server and cluster for none.
type source struct {
	*Server
	budget  BudgetStats
	bucket  bucketFigures
	replica replicaFigures
	keys    keySet
	issuer  issuer
	cluster *cluster.Status // nil: there are no other gateways
	labels  string          // with their values
}

// known returns v if it is known, else NaN, which makes no sample.
func known(isKnown bool, v float64) float64 {
	if !isKnown {
		return math.NaN()
	}
	return v
}

// ofCluster returns value for a source with a cluster; others have no sample.
func ofCluster(value func(s *cluster.Status) float64) func(*source) float64 {
	return func(s *source) float64 {
		if s.cluster == nil {
			return math.NaN()
		}
		return value(s.cluster)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// WriteMetrics writes all metrics in the Prometheus text format.
func (a *Server) WriteMetrics(w io.Writer) {
	e := make(exposition)
	var set bytes.Buffer
	a.Metrics.Set.WritePrometheus(&set)
	for line := range bytes.Lines(set.Bytes()) {
		if end := bytes.IndexAny(line, "{ "); line[0] != '#' && end > 0 {
			name := string(line[:end])
			e[name] = append(e[name], line...)
		}
	}
	e.add("yatagarasu_build_info", 1, fmt.Sprintf("version=%q,go=%q", a.Version, runtime.Version()))
	for log, n := range a.Logs.Dropped() {
		e.add("yatagarasu_log_dropped_total", float64(n), fmt.Sprintf("log=%q", log))
	}
	for log, n := range a.Logs.LeftOut() {
		e.add("yatagarasu_log_left_out_total", float64(n), fmt.Sprintf("log=%q", log))
	}
	e.addAnswers(a.Metrics)
	gen := a.Generation.Load()
	shared := a.clusterStatus()
	sources := map[string][]source{"": {{Server: a, cluster: shared}}} // by the names of their labels
	if shared != nil {
		for _, reason := range cluster.Resyncs {
			e.add("yatagarasu_cluster_resyncs_total", float64(shared.Resyncs[reason]), fmt.Sprintf("reason=%q", reason))
		}
		if s := shared.Store; s != nil {
			for operation, counts := range map[string]map[string]uint64{"read": s.Read, "write": s.Write} {
				for _, outcome := range cluster.Outcomes {
					e.add("yatagarasu_cluster_store_total", float64(counts[outcome]), fmt.Sprintf("operation=%q,outcome=%q", operation, outcome))
				}
			}
		}
	}
	for _, b := range budgetStats(gen) {
		sources["budget"] = append(sources["budget"], source{budget: b, labels: fmt.Sprintf("budget=%q", b.Bucket)})
	}
	for _, b := range a.figuresOf(gen.Buckets) {
		sources["bucket"] = append(sources["bucket"], source{bucket: b, labels: fmt.Sprintf("bucket=%q", b.Name)})
		for _, r := range b.replicas {
			labels := fmt.Sprintf("bucket=%q,origin=%q", b.Name, r.Name)
			sources["bucket, origin"] = append(sources["bucket, origin"], source{replica: r, labels: labels})
			e.add("yatagarasu_upstream_connections", float64(r.Idle), labels+`,state="idle"`)
			e.add("yatagarasu_upstream_connections", float64(r.Open-r.Idle), labels+`,state="in_use"`)
		}
	}
	sets := keySets(gen)
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		sources["jwks"] = append(sources["jwks"], source{keys: sets[name], labels: fmt.Sprintf("jwks=%q", name)})
	}
	issuers := issuersOf(gen)
	for _, name := range slices.Sorted(maps.Keys(issuers)) {
		sources["issuer"] = append(sources["issuer"], source{issuer: *issuers[name], labels: fmt.Sprintf("issuer=%q", name)})
	}
	for _, f := range Families {
		if f.value != nil {
			for _, s := range sources[f.labels] {
				e.add(f.Name, f.value(&s), s.labels)
			}
		}
		if lines := e[f.Name]; len(lines) > 0 {
			fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s", f.Name, f.help, f.Name, f.Kind, lines)
		}
	}
	writeProcess(w)
	metrics.WriteFDMetrics(w)
}

// writeProcess writes the metrics of the runtime and the process. Where the system does not show
// what the process reads and writes, as to one that cannot be dumped and is not root, those
// metrics are left out: the library has them be 0.
func writeProcess(w io.Writer) {
	var all bytes.Buffer
	metrics.WriteProcessMetrics(&all)
	shown := false
	if f, err := os.Open("/proc/self/io"); err == nil {
		f.Close()
		shown = true
	}
	for line := range bytes.Lines(all.Bytes()) {
		if shown || !bytes.HasPrefix(line, []byte("process_io_")) {
			w.Write(line)
		}
	}
}

// exposition has the lines of the samples of each family.
type exposition map[string][]byte

// add adds a sample, unless its value is NaN.
func (e exposition) add(name string, value float64, labels string) {
	if !math.IsNaN(value) {
		e.line(name, name, labels, strconv.FormatFloat(value, 'g', -1, 64))
	}
}

func (e exposition) line(family, name, labels, value string) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	e[family] = fmt.Appendf(e[family], "%s%s %s\n", name, labels, value)
}

// addAnswers adds the samples of answers, by bucket and by outcome of the cache, and of look-ups at
// issuers.
func (e exposition) addAnswers(m *observe.Metrics) {
	for name, b := range m.Buckets() {
		e.add("yatagarasu_response_bytes_total", float64(b.ResponseBytes.Load()), fmt.Sprintf("bucket=%q", name))
		for o := range observe.NumOutcomes {
			if l := b.Latencies[o].Load(); l != nil {
				labels := fmt.Sprintf("bucket=%q,outcome=%q", name, observe.Outcomes[o].Name)
				e.addHistogram("yatagarasu_request_duration_seconds", &l.Duration, labels)
				e.addHistogram("yatagarasu_time_to_first_byte_seconds", &l.TTFB, labels)
				c := l.Duration.Counts()
				e.add("yatagarasu_cache_requests_total", float64(c.Count()), labels)
			}
		}
		if i := b.Introspections.Load(); i != nil {
			e.addHistogram("yatagarasu_introspection_duration_seconds", &i.Duration, fmt.Sprintf("bucket=%q", name))
		}
	}
}

func (e exposition) addHistogram(name string, h *observe.Histogram, labels string) {
	c := h.Counts()
	n := uint64(0)
	for i, count := range c.Buckets {
		n += count
		bound := "+Inf"
		if i < len(observe.HistogramBounds) {
			bound = strconv.FormatFloat(observe.HistogramBounds[i].Seconds(), 'g', -1, 64)
		}
		e.line(name, name+"_bucket", labels+",le="+strconv.Quote(bound), strconv.FormatUint(n, 10))
	}
	e.line(name, name+"_sum", labels, strconv.FormatFloat(c.Sum.Seconds(), 'g', -1, 64))
	e.line(name, name+"_count", labels, strconv.FormatUint(n, 10))
}
