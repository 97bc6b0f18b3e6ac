package admin

import (
	"maps"
	"math"
	"runtime"
	"slices"
	"time"

	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/probe"
	"yatagarasu/gateway/serve"
)

// StatusReply is the data of the status page. Numbers since start are those of
// /metrics, read from the same counters.
type StatusReply struct {
	Time       time.Time   `json:"time"`
	Version    string      `json:"version"`
	Go         string      `json:"go"`
	Started    time.Time   `json:"started"`
	Uptime     int64       `json:"uptime_seconds"`
	Draining   bool        `json:"draining"`
	Ready      bool        `json:"ready"`
	Generation int64       `json:"generation"`
	Loaded     time.Time   `json:"loaded"` // time when the configuration in effect was loaded
	LastReload *LastReload `json:"last_reload"`

	InFlight    int64 `json:"requests_in_flight"`
	Connections int   `json:"client_connections"`

	statusTraffic

	Buckets []statusBucket `json:"buckets"` // the last one, without a name: requests that no bucket is mounted for
	Budgets []BudgetStats  `json:"cache_budgets"`
	Slowest []StatusSlow   `json:"slowest"` // of the last minutes
	Series  statusSeries   `json:"series"`

	KeySets []statusKeySet `json:"key_sets"` // in the order of their names
	Issuers []statusIssuer `json:"issuers"`  // that judge tokens, likewise

	Cluster *cluster.Status `json:"cluster,omitempty"` // absent: there are no other gateways
}

// statusKeySet is the state of a key set that tokens are verified with.
type statusKeySet struct {
	Name    string     `json:"name"`
	Fetched *time.Time `json:"fetched"`         // null: not yet
	MaxAge  float64    `json:"max_age_seconds"` // how long after that it is trusted; 0: for good
}

// statusIssuer is the state of an issuer that judges tokens.
type statusIssuer struct {
	Name    string            `json:"name"`
	Up      bool              `json:"up"`       // it can be asked
	LookUps map[string]uint64 `json:"look_ups"` // since start, by outcome
}

// statusTraffic is the traffic of clients, for one bucket or all.
type statusTraffic struct {
	Now        statusRates  `json:"now"`
	LastMinute StatusWindow `json:"last_minute"`
	SinceStart statusTotals `json:"since_start"`
}

// statusRates are averages over the last seconds.
type statusRates struct {
	Seconds  float64  `json:"window_seconds"`
	Requests float64  `json:"requests_per_second"`
	Bytes    float64  `json:"bytes_per_second"`
	Errors   float64  `json:"errors_5xx_per_second"`
	HitRatio *float64 `json:"hit_ratio"` // null: there was no cacheable request
}

// StatusWindow is the traffic of the last minute.
type StatusWindow struct {
	Seconds   float64  `json:"window_seconds"`
	Requests  uint64   `json:"requests"`
	Errors4xx uint64   `json:"errors_4xx"`
	Errors5xx uint64   `json:"errors_5xx"`
	Bytes     uint64   `json:"bytes"`
	HitRatio  *float64 `json:"hit_ratio"`
	P50       *float64 `json:"p50_ms"` // null: there was no request
	P90       *float64 `json:"p90_ms"`
	P99       *float64 `json:"p99_ms"`
}

// statusTotals are the counters since start.
type statusTotals struct {
	Requests  uint64            `json:"requests"`
	Errors4xx uint64            `json:"errors_4xx"`
	Errors5xx uint64            `json:"errors_5xx"`
	Bytes     uint64            `json:"bytes"`
	Outcomes  map[string]uint64 `json:"cache_requests"`
	HitRatio  *float64          `json:"hit_ratio"`
}

// statusBucket is the state of one bucket.
type statusBucket struct {
	Name     string   `json:"name"`
	Prefix   string   `json:"path_prefix,omitempty"`
	Hosts    []string `json:"hosts,omitempty"`
	Private  bool     `json:"private"`
	InFlight int64    `json:"requests_in_flight"`

	Reachable *bool      `json:"reachable"` // null: the bucket is not probed
	Reason    string     `json:"reason,omitempty"`
	Checked   *time.Time `json:"checked,omitempty"`

	statusTraffic

	Cache    *statusCache    `json:"cache"`    // null: the bucket has no cache
	Upstream *statusUpstream `json:"upstream"` // null: the bucket has no origin
}

// statusCache are the figures of a bucket's objects in the cache.
type statusCache struct {
	Budget  string `json:"budget"` // empty: the shared one
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
}

// statusUpstream are the figures of a bucket's replicas, or of one of them.
type statusUpstream struct {
	Origin        string                 `json:"origin"`
	Max           int                    `json:"max_connections"`
	Open          int                    `json:"open"`
	Idle          int                    `json:"idle"`
	InUse         int                    `json:"in_use"`
	Waiting       int                    `json:"waiting"`
	Dials         uint64                 `json:"dials"`
	Reuses        uint64                 `json:"reuses"`
	Stale         uint64                 `json:"stale"`
	QueueTimeouts uint64                 `json:"queue_timeouts"`
	Received      uint64                 `json:"received_bytes"`
	Errors        uint64                 `json:"errors"`
	Reasons       map[string]uint64      `json:"error_reasons"`
	Breaker       string                 `json:"breaker"`
	Credentials   *probe.CredentialState `json:"credentials,omitempty"` // of the preferred replica, if they are retrieved
	Replicas      []*statusUpstream      `json:"replicas,omitempty"`    // one by one, if there are several
}

// StatusSlow is one of the slowest requests.
type StatusSlow struct {
	At        time.Time `json:"at"` // end of the request
	RequestID string    `json:"request_id"`
	Bucket    string    `json:"bucket"`
	Method    string    `json:"method"`
	Path      string    `json:"path"` // without the query; the beginning of a long path
	Status    int       `json:"status"`
	Bytes     int64     `json:"bytes"`
	Duration  float64   `json:"duration_ms"`
	FirstByte float64   `json:"ttfb_ms"`
	Cache     string    `json:"cache,omitempty"`
}

// statusSeries are the charts of the last ten minutes, the oldest point first.
type statusSeries struct {
	Step     float64    `json:"step_seconds"`
	End      time.Time  `json:"end"` // of the last step
	Requests []float64  `json:"requests_per_second"`
	Bytes    []float64  `json:"bytes_per_second"`
	Errors   []float64  `json:"errors_5xx_per_second"`
	HitRatio []*float64 `json:"hit_ratio"`
	P99      []*float64 `json:"p99_ms"`
}

// StatusAt returns the status, with averages that end now.
func (a *Server) StatusAt(now time.Time) *StatusReply {
	gen := a.Generation.Load()
	// The past first, so that it is never more than the present.
	recent, minute := a.History.Ago(now, observe.CurrentWindow), a.History.Ago(now, observe.SamplesPerMinute*observe.SampleInterval)
	all, tallies := a.Metrics.Totals()
	traffic := func(t, recently, minuteAgo observe.Totals) statusTraffic {
		return statusTraffic{ratesOf(t.Minus(&recently), now.Sub(recent.At)), windowOf(t.Minus(&minuteAgo), now.Sub(minute.At)), totalsOf(&t)}
	}
	code, _ := a.Ready.Load().Report(a.Draining.Load(), false)
	s := &StatusReply{
		Time: now.UTC(), Version: a.Version, Go: runtime.Version(), Started: a.Started.UTC(), Uptime: int64(now.Sub(a.Started).Seconds()),
		Draining: a.Draining.Load(), Ready: code == 200, Generation: gen.Number, Loaded: gen.Loaded.UTC(), LastReload: a.LastReload.Load(),
		InFlight: a.InFlight.Load(), Connections: a.Clients.Len(),
		statusTraffic: traffic(all, recent.All, minute.All),
		Budgets:       budgetStats(gen), Slowest: []StatusSlow{}, Series: seriesOf(a.History.Series()),
		KeySets: statusOfKeySets(gen), Issuers: statusOfIssuers(gen), Cluster: a.clusterStatus(),
	}
	for i, b := range a.figuresOf(gen.Buckets) {
		s.Buckets = append(s.Buckets, statusOfBucket(&b, &gen.Config.Buckets[i]))
	}
	s.Buckets = append(s.Buckets, statusBucket{})
	for i := range s.Buckets {
		name := s.Buckets[i].Name
		s.Buckets[i].statusTraffic = traffic(tallies[name], recent.Buckets[name], minute.Buckets[name])
	}
	for _, slow := range a.Slow.Slowest() {
		s.Slowest = append(s.Slowest, replyOf(&slow))
	}
	return s
}

// clusterStatus returns how this gateway is doing among several; nil: there are no others.
func (a *Server) clusterStatus() *cluster.Status {
	if a.Cluster == nil {
		return nil
	}
	return a.Cluster.Status()
}

func statusOfKeySets(gen *serve.Generation) []statusKeySet {
	list := []statusKeySet{}
	sets := keySets(gen)
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		s := statusKeySet{Name: name, MaxAge: sets[name].maxAge.Seconds()}
		if fetched := sets[name].fetched.UTC(); !fetched.IsZero() {
			s.Fetched = &fetched
		}
		list = append(list, s)
	}
	return list
}

func statusOfIssuers(gen *serve.Generation) []statusIssuer {
	list := []statusIssuer{}
	issuers := issuersOf(gen)
	for _, name := range slices.Sorted(maps.Keys(issuers)) {
		list = append(list, statusIssuer{Name: name, Up: issuers[name].up, LookUps: issuers[name].lookUps})
	}
	return list
}

// statusOfBucket returns what is known of b, configured by c, but for its traffic.
func statusOfBucket(b *bucketFigures, c *config.Bucket) statusBucket {
	s := statusBucket{Name: b.Name, Prefix: b.Prefix, Hosts: c.Hosts, Private: b.Policy != nil, InFlight: b.Limits.InFlight.Load(), Upstream: upstreamOf(b.replicas)}
	if b.probed {
		s.Reachable, s.Reason = &b.state.Reachable, b.state.Reason
		if !b.state.Checked.IsZero() {
			s.Checked = &b.state.Checked
		}
	}
	if b.Cached != nil {
		s.Cache = &statusCache{Entries: b.memory.Entries, Bytes: b.memory.Bytes}
		if c.Cache.OwnBudget {
			s.Cache.Budget = b.Name
		}
	}
	return s
}

// upstreamOf returns the sums of the figures of a bucket's replicas, with the name and the
// state of the preferred one.
func upstreamOf(replicas []replicaFigures) *statusUpstream {
	r := &replicas[0]
	s := &statusUpstream{Origin: r.Name, Breaker: r.breaker.String(), Credentials: probe.CredentialStateOf(r.Replica), Reasons: make(map[string]uint64)}
	for i := range replicas {
		r = &replicas[i]
		s.Max += r.S3.MaxConnections
		s.Open += r.Open
		s.Idle += r.Idle
		s.InUse += r.Open - r.Idle
		s.Waiting += r.Waiting
		s.Dials += r.Dials
		s.Reuses += r.Reuses
		s.Stale += r.Stale
		s.QueueTimeouts += r.QueueTimeouts
		s.Received += r.Received
		for reason, n := range r.Metrics.Errors() {
			s.Reasons[reason] += n
			s.Errors += n
		}
		if len(replicas) > 1 {
			s.Replicas = append(s.Replicas, upstreamOf(replicas[i:i+1]))
		}
	}
	return s
}

func ratesOf(d observe.Totals, elapsed time.Duration) statusRates {
	seconds := max(elapsed.Seconds(), 1)
	return statusRates{
		Seconds: *observe.Rounded(elapsed.Seconds(), 3), Requests: *observe.Rounded(float64(d.Requests)/seconds, 3), Bytes: math.Round(float64(d.Bytes) / seconds),
		Errors: *observe.Rounded(float64(d.Errors5xx)/seconds, 3), HitRatio: d.HitRatio(),
	}
}

func windowOf(d observe.Totals, elapsed time.Duration) StatusWindow {
	return StatusWindow{
		Seconds: *observe.Rounded(elapsed.Seconds(), 3), Requests: d.Requests, Errors4xx: d.Errors4xx, Errors5xx: d.Errors5xx, Bytes: d.Bytes,
		HitRatio: d.HitRatio(), P50: d.Quantile(0.5), P90: d.Quantile(0.9), P99: d.Quantile(0.99),
	}
}

func totalsOf(t *observe.Totals) statusTotals {
	return statusTotals{Requests: t.Requests, Errors4xx: t.Errors4xx, Errors5xx: t.Errors5xx, Bytes: t.Bytes, Outcomes: outcomesOf(t), HitRatio: t.HitRatio()}
}

// outcomesOf returns the requests by outcomes of the cache.
func outcomesOf(t *observe.Totals) map[string]uint64 {
	requests := make(map[string]uint64, len(t.Outcomes))
	for o, n := range t.Outcomes {
		requests[observe.Outcomes[o].Name] = n
	}
	return requests
}

func seriesOf(points []observe.ChartPoint) statusSeries {
	n := len(points)
	s := statusSeries{
		Step: observe.SampleInterval.Seconds(), Requests: make([]float64, n), Bytes: make([]float64, n), Errors: make([]float64, n),
		HitRatio: make([]*float64, n), P99: make([]*float64, n),
	}
	for i, p := range points {
		s.End = p.At.UTC()
		s.Requests[i], s.Bytes[i], s.Errors[i] = *observe.Rounded(p.Requests, 3), math.Round(p.Bytes), *observe.Rounded(p.Errors, 3)
		s.HitRatio[i], s.P99[i] = p.HitRatio, p.P99
	}
	return s
}

func replyOf(r *observe.SlowRequest) StatusSlow {
	return StatusSlow{
		At: r.At.UTC(), RequestID: string(r.ID), Bucket: r.Bucket, Method: observe.MethodNames[r.Method], Path: string(r.Path), Status: r.Status, Bytes: r.Bytes,
		Duration: observe.Milliseconds(r.Duration), FirstByte: observe.Milliseconds(r.TTFB), Cache: r.Cache,
	}
}
