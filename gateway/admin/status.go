package admin

import (
	"math"
	"runtime"
	"time"
	"yatagarasu/cache"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/probe"
	"yatagarasu/gateway/serve"
	"yatagarasu/pool"
)

// StatusReply is what the status page shows. Numbers since start are those of
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
	Loaded     time.Time   `json:"loaded"` // when the configuration in effect was
	LastReload *LastReload `json:"last_reload"`

	InFlight    int64 `json:"requests_in_flight"`
	Connections int   `json:"client_connections"`

	Now        statusRates    `json:"now"`
	LastMinute StatusWindow   `json:"last_minute"`
	SinceStart statusTotals   `json:"since_start"`
	Buckets    []statusBucket `json:"buckets"` // the last one, without a name: what no bucket is mounted for
	Budgets    []BudgetStats  `json:"cache_budgets"`
	Slowest    []StatusSlow   `json:"slowest"` // of the last minutes
	Series     statusSeries   `json:"series"`
}

// statusRates are averages over the last seconds.
type statusRates struct {
	Seconds  float64  `json:"window_seconds"`
	Requests float64  `json:"requests_per_second"`
	Bytes    float64  `json:"bytes_per_second"`
	Errors   float64  `json:"errors_5xx_per_second"`
	HitRatio *float64 `json:"hit_ratio"` // null: nothing was asked for that may be cached
}

// StatusWindow is what happened in the last minute.
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

// statusTotals are what the counters say.
type statusTotals struct {
	Requests  uint64            `json:"requests"`
	Errors4xx uint64            `json:"errors_4xx"`
	Errors5xx uint64            `json:"errors_5xx"`
	Bytes     uint64            `json:"bytes"`
	Outcomes  map[string]uint64 `json:"cache_requests"`
	HitRatio  *float64          `json:"hit_ratio"`
}

// statusBucket tells of one bucket.
type statusBucket struct {
	Name     string   `json:"name"`
	Prefix   string   `json:"path_prefix,omitempty"`
	Hosts    []string `json:"hosts,omitempty"`
	Private  bool     `json:"private"`
	InFlight int64    `json:"requests_in_flight"`

	Reachable *bool      `json:"reachable"` // null: it is not probed
	Reason    string     `json:"reason,omitempty"`
	Checked   *time.Time `json:"checked,omitempty"`

	Now        statusRates  `json:"now"`
	LastMinute StatusWindow `json:"last_minute"`
	SinceStart statusTotals `json:"since_start"`

	Cache    *statusCache    `json:"cache"`    // null: nothing is kept
	Upstream *statusUpstream `json:"upstream"` // null: there is none
}

// statusCache is what a bucket has in memory.
type statusCache struct {
	Budget  string `json:"budget"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
}

// statusUpstream tells of the connections to a bucket's origins, or to one of them.
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
	Credentials   *probe.CredentialState `json:"credentials,omitempty"` // if they are retrieved; of the preferred replica
	Replicas      []*statusUpstream      `json:"replicas,omitempty"`    // if there are several: each apart
}

// StatusSlow is one of the slowest requests.
type StatusSlow struct {
	At        time.Time `json:"at"` // of its end
	RequestID string    `json:"request_id"`
	Bucket    string    `json:"bucket"`
	Method    string    `json:"method"`
	Path      string    `json:"path"` // without the query; the beginning of a long one
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

// status answers the call of the status page.
func (r *call) status() (any, error) { return r.a.StatusAt(time.Now()), nil }

// StatusAt returns the status, with averages that end now.
func (a *Server) StatusAt(now time.Time) *StatusReply {
	gen, ready := a.Generation.Load(), a.Ready.Load()
	// The past first, so that it is never more than the present.
	recent, minute := a.History.Ago(now, observe.CurrentWindow), a.History.Ago(now, observe.SamplesPerMinute*observe.SampleInterval)
	all, tallies := a.Metrics.Totals()
	code, _ := ready.Report(a.Draining.Load())
	s := &StatusReply{
		Time: now.UTC(), Version: a.Version, Go: runtime.Version(), Started: a.Started.UTC(), Uptime: int64(now.Sub(a.Started).Seconds()),
		Draining: a.Draining.Load(), Ready: code == 200, Generation: gen.Number, Loaded: gen.Loaded.UTC(),
		InFlight: a.InFlight.Load(), Connections: a.Clients.Len(),
		Now:        ratesOf(&all, &recent.All, now.Sub(recent.At)),
		LastMinute: windowOf(&all, &minute.All, now.Sub(minute.At)),
		SinceStart: totalsOf(&all),
		Budgets:    a.budgetStats(),
		Slowest:    []StatusSlow{},
		Series:     seriesOf(a.History.Series()),
	}
	s.LastReload = a.LastReload.Load()
	fill := func(b *statusBucket) {
		t, r, m := tallies[b.Name], recent.Buckets[b.Name], minute.Buckets[b.Name]
		b.Now = ratesOf(&t, &r, now.Sub(recent.At))
		b.LastMinute = windowOf(&t, &m, now.Sub(minute.At))
		b.SinceStart = totalsOf(&t)
		s.Buckets = append(s.Buckets, *b)
	}
	for i, b := range gen.Buckets {
		sb := statusOfBucket(b, &gen.Config.Buckets[i])
		if state, ok := ready.State(b.Origin); ok {
			sb.Reachable, sb.Reason = &state.Reachable, state.Reason
			if !state.Checked.IsZero() {
				sb.Checked = &state.Checked
			}
		}
		fill(sb)
	}
	fill(&statusBucket{})
	for _, slow := range a.Slow.Slowest() {
		s.Slowest = append(s.Slowest, replyOf(&slow))
	}
	return s
}

// statusOfBucket returns what b, configured by c, knows of itself.
func statusOfBucket(b *serve.Bucket, c *config.Bucket) *statusBucket {
	s := &statusBucket{Name: b.Name, Prefix: b.Prefix, Hosts: c.Hosts, Private: b.Policy != nil, InFlight: b.Limits.InFlight.Load()}
	if b.Cached != nil {
		var own cache.Stats
		b.Cached.Cache.UpdateGroupStats(b.Name, &own)
		s.Cache = &statusCache{Entries: own.Entries, Bytes: own.Bytes}
		if c.Cache.OwnBudget {
			s.Cache.Budget = b.Name
		}
	}
	s.Upstream = &statusUpstream{Reasons: map[string]uint64{}}
	for _, r := range b.Origin.Replicas {
		one := statusOfReplica(r)
		s.Upstream.add(one)
		if len(b.Origin.Replicas) > 1 {
			s.Upstream.Replicas = append(s.Upstream.Replicas, one)
		}
	}
	return s
}

// statusOfReplica returns what r knows of itself.
func statusOfReplica(r *origin.Replica) *statusUpstream {
	var u pool.Stats
	r.Upstream.UpdateStats(&u)
	state, _ := r.Health.Breaker.State()
	s := &statusUpstream{
		Origin: r.Name, Max: r.S3.MaxConnections, Open: u.Open, Idle: u.Idle, InUse: u.Open - u.Idle, Waiting: u.Waiting,
		Dials: u.Dials, Reuses: u.Reuses, Stale: u.Stale, QueueTimeouts: u.QueueTimeouts, Received: u.Received,
		Breaker: state.String(), Reasons: r.Metrics.Errors(), Credentials: probe.CredentialStateOf(r),
	}
	for _, n := range s.Reasons {
		s.Errors += n
	}
	return s
}

// add adds the figures of one replica to those of its bucket, which has the name and
// the state of the preferred one.
func (s *statusUpstream) add(r *statusUpstream) {
	if s.Origin == "" {
		s.Origin, s.Breaker, s.Credentials = r.Origin, r.Breaker, r.Credentials
	}
	s.Max += r.Max
	s.Open += r.Open
	s.Idle += r.Idle
	s.InUse += r.InUse
	s.Waiting += r.Waiting
	s.Dials += r.Dials
	s.Reuses += r.Reuses
	s.Stale += r.Stale
	s.QueueTimeouts += r.QueueTimeouts
	s.Received += r.Received
	s.Errors += r.Errors
	for reason, n := range r.Reasons {
		s.Reasons[reason] += n
	}
}

// BudgetStats returns the figures of all budgets, the shared one first.
func (a *Server) budgetStats() []BudgetStats {
	list := []BudgetStats{}
	for owner, b := range a.Generation.Load().Budgets.Sorted() {
		list = append(list, statsOf(owner, b))
	}
	return list
}

func ratesOf(t, before *observe.Totals, elapsed time.Duration) statusRates {
	d, seconds := t.Minus(before), max(elapsed.Seconds(), 1)
	return statusRates{
		Seconds: *observe.Rounded(elapsed.Seconds(), 3), Requests: *observe.Rounded(float64(d.Requests)/seconds, 3), Bytes: math.Round(float64(d.Bytes) / seconds),
		Errors: *observe.Rounded(float64(d.Errors5xx)/seconds, 3), HitRatio: d.HitRatio(),
	}
}

func windowOf(t, before *observe.Totals, elapsed time.Duration) StatusWindow {
	d := t.Minus(before)
	return StatusWindow{
		Seconds: *observe.Rounded(elapsed.Seconds(), 3), Requests: d.Requests, Errors4xx: d.Errors4xx, Errors5xx: d.Errors5xx, Bytes: d.Bytes,
		HitRatio: d.HitRatio(), P50: d.Quantile(0.5), P90: d.Quantile(0.9), P99: d.Quantile(0.99),
	}
}

func totalsOf(t *observe.Totals) statusTotals {
	s := statusTotals{Requests: t.Requests, Errors4xx: t.Errors4xx, Errors5xx: t.Errors5xx, Bytes: t.Bytes, Outcomes: make(map[string]uint64), HitRatio: t.HitRatio()}
	for o, n := range t.Outcomes {
		s.Outcomes[observe.Outcomes[o].Name] = n
	}
	return s
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
