package gateway

import (
	"math"
	"runtime"
	"time"

	"yatagarasu/cache"
	"yatagarasu/gateway/config"
	"yatagarasu/pool"
)

// statusReply is what the status page shows. Numbers since start are those of
// /metrics, read from the same counters.
type statusReply struct {
	Time       time.Time   `json:"time"`
	Version    string      `json:"version"`
	Go         string      `json:"go"`
	Started    time.Time   `json:"started"`
	Uptime     int64       `json:"uptime_seconds"`
	Draining   bool        `json:"draining"`
	Ready      bool        `json:"ready"`
	Generation int64       `json:"generation"`
	Loaded     time.Time   `json:"loaded"` // when the configuration in effect was
	LastReload *lastReload `json:"last_reload"`

	InFlight    int64 `json:"requests_in_flight"`
	Connections int   `json:"client_connections"`

	Now        statusRates    `json:"now"`
	LastMinute statusWindow   `json:"last_minute"`
	SinceStart statusTotals   `json:"since_start"`
	Buckets    []statusBucket `json:"buckets"` // the last one, without a name: what no bucket is mounted for
	Budgets    []budgetStats  `json:"cache_budgets"`
	Slowest    []statusSlow   `json:"slowest"` // of the last minutes
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

// statusWindow is what happened in the last minute.
type statusWindow struct {
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
	LastMinute statusWindow `json:"last_minute"`
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
	Origin        string            `json:"origin"`
	Max           int               `json:"max_connections"`
	Open          int               `json:"open"`
	Idle          int               `json:"idle"`
	InUse         int               `json:"in_use"`
	Waiting       int               `json:"waiting"`
	Dials         uint64            `json:"dials"`
	Reuses        uint64            `json:"reuses"`
	Stale         uint64            `json:"stale"`
	QueueTimeouts uint64            `json:"queue_timeouts"`
	Received      uint64            `json:"received_bytes"`
	Errors        uint64            `json:"errors"`
	Reasons       map[string]uint64 `json:"error_reasons"`
	Breaker       string            `json:"breaker"`
	Credentials   *credentialState  `json:"credentials,omitempty"` // if they are retrieved; of the preferred replica
	Replicas      []*statusUpstream `json:"replicas,omitempty"`    // if there are several: each apart
}

// statusSlow is one of the slowest requests.
type statusSlow struct {
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
func (r *adminRequest) status() (any, error) { return r.a.statusAt(time.Now()), nil }

// statusAt returns the status, with averages that end now.
func (a *admin) statusAt(now time.Time) *statusReply {
	gen, ready := a.generation.Load(), a.ready.Load()
	// The past first, so that it is never more than the present.
	recent, minute := a.ring.since(now, statusNow), a.ring.since(now, statusMinute*statusStep)
	all, tallies := a.metrics.tallies()
	code, _ := ready.report(a.draining.Load())
	s := &statusReply{
		Time: now.UTC(), Version: a.version, Go: runtime.Version(), Started: a.started.UTC(), Uptime: int64(now.Sub(a.started).Seconds()),
		Draining: a.draining.Load(), Ready: code == 200, Generation: gen.number, Loaded: gen.loaded.UTC(),
		InFlight: a.inFlight.Load(), Connections: a.clients.len(),
		Now:        ratesOf(&all, &recent.all, now.Sub(recent.at)),
		LastMinute: windowOf(&all, &minute.all, now.Sub(minute.at)),
		SinceStart: totalsOf(&all),
		Budgets:    a.budgetStats(),
		Slowest:    []statusSlow{},
		Series:     seriesOf(a.ring.series()),
	}
	s.LastReload = a.lastReload.Load()
	fill := func(b *statusBucket) {
		t, r, m := tallies[b.Name], recent.buckets[b.Name], minute.buckets[b.Name]
		b.Now = ratesOf(&t, &r, now.Sub(recent.at))
		b.LastMinute = windowOf(&t, &m, now.Sub(minute.at))
		b.SinceStart = totalsOf(&t)
		s.Buckets = append(s.Buckets, *b)
	}
	for i, b := range gen.buckets {
		sb := statusOfBucket(b, &gen.config.Buckets[i])
		if state, ok := ready.state(b.origin); ok {
			sb.Reachable, sb.Reason = &state.Reachable, state.Reason
			if !state.Checked.IsZero() {
				sb.Checked = &state.Checked
			}
		}
		fill(sb)
	}
	fill(&statusBucket{})
	for _, slow := range a.slow.slowest() {
		s.Slowest = append(s.Slowest, replyOf(&slow))
	}
	return s
}

// statusOfBucket returns what b, configured by c, knows of itself.
func statusOfBucket(b *bucket, c *config.Bucket) *statusBucket {
	s := &statusBucket{Name: b.name, Prefix: b.prefix, Hosts: c.Hosts, Private: b.policy != nil, InFlight: b.limits.inFlight.Load()}
	if b.cached != nil {
		var own cache.Stats
		b.cached.cache.UpdateGroupStats(b.name, &own)
		s.Cache = &statusCache{Entries: own.Entries, Bytes: own.Bytes}
		if c.Cache.OwnBudget {
			s.Cache.Budget = b.name
		}
	}
	s.Upstream = &statusUpstream{Reasons: map[string]uint64{}}
	for _, r := range b.origin.replicas {
		one := statusOfReplica(r)
		s.Upstream.add(one)
		if len(b.origin.replicas) > 1 {
			s.Upstream.Replicas = append(s.Upstream.Replicas, one)
		}
	}
	return s
}

// statusOfReplica returns what r knows of itself.
func statusOfReplica(r *replica) *statusUpstream {
	var u pool.Stats
	r.upstream.UpdateStats(&u)
	state, _ := r.health.breaker.State()
	s := &statusUpstream{
		Origin: r.name, Max: r.s3.MaxConnections, Open: u.Open, Idle: u.Idle, InUse: u.Open - u.Idle, Waiting: u.Waiting,
		Dials: u.Dials, Reuses: u.Reuses, Stale: u.Stale, QueueTimeouts: u.QueueTimeouts, Received: u.Received,
		Breaker: state.String(), Reasons: r.metrics.reasons(), Credentials: credentialStateOf(r),
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

// budgetStats returns the figures of all budgets, the shared one first.
func (a *admin) budgetStats() []budgetStats {
	list := []budgetStats{}
	for owner, b := range a.generation.Load().budgets.sorted() {
		list = append(list, statsOf(owner, b))
	}
	return list
}

func ratesOf(t, before *tally, elapsed time.Duration) statusRates {
	d, seconds := t.minus(before), max(elapsed.Seconds(), 1)
	return statusRates{
		Seconds: *rounded(elapsed.Seconds(), 3), Requests: *rounded(float64(d.requests)/seconds, 3), Bytes: math.Round(float64(d.bytes) / seconds),
		Errors: *rounded(float64(d.errors5xx)/seconds, 3), HitRatio: d.hitRatio(),
	}
}

func windowOf(t, before *tally, elapsed time.Duration) statusWindow {
	d := t.minus(before)
	return statusWindow{
		Seconds: *rounded(elapsed.Seconds(), 3), Requests: d.requests, Errors4xx: d.errors4xx, Errors5xx: d.errors5xx, Bytes: d.bytes,
		HitRatio: d.hitRatio(), P50: d.quantile(0.5), P90: d.quantile(0.9), P99: d.quantile(0.99),
	}
}

func totalsOf(t *tally) statusTotals {
	s := statusTotals{Requests: t.requests, Errors4xx: t.errors4xx, Errors5xx: t.errors5xx, Bytes: t.bytes, Outcomes: make(map[string]uint64), HitRatio: t.hitRatio()}
	for o, n := range t.outcomes {
		s.Outcomes[outcomes[o].name] = n
	}
	return s
}

func seriesOf(points []point) statusSeries {
	n := len(points)
	s := statusSeries{
		Step: statusStep.Seconds(), Requests: make([]float64, n), Bytes: make([]float64, n), Errors: make([]float64, n),
		HitRatio: make([]*float64, n), P99: make([]*float64, n),
	}
	for i, p := range points {
		s.End = p.at.UTC()
		s.Requests[i], s.Bytes[i], s.Errors[i] = *rounded(p.requests, 3), math.Round(p.bytes), *rounded(p.errors, 3)
		s.HitRatio[i], s.P99[i] = p.hitRatio, p.p99
	}
	return s
}

func replyOf(r *slowRequest) statusSlow {
	s := statusSlow{
		At: r.at.UTC(), RequestID: string(r.id[:r.idLength]), Bucket: r.bucket, Method: methodNames[r.method],
		Path: string(r.path[:min(r.pathLength, len(r.path))]), Status: r.status, Bytes: r.bytes,
		Duration: milliseconds(r.took), FirstByte: milliseconds(r.ttfb), Cache: r.cache,
	}
	if r.pathLength > len(r.path) {
		s.Path += "…"
	}
	return s
}
