// Package observe records each request at its end: in the access and audit logs, in counters
// and histograms, and in the list of the slowest requests. Start with Entry and
// Observer.Record.
package observe

import (
	"hash/fnv"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// Entry is the record of one request, for logs, metrics and the slow list. The request's
// exchange owns it and fills it in; Record copies what it keeps. The zero value, or after
// Reset, is of a request that nothing is known of. Not safe for concurrent use.
type Entry struct {
	Start  time.Time
	Method Method
	Client netip.Addr // not valid: unknown
	ID     []byte     // X-Request-ID
	Path   []byte     // raw, without the query; Record clips it
	Query  []byte     // canonical query for the origin, which the allow-list let through

	Bucket   *BucketMetrics // nil: no bucket is mounted there
	Route    string         // path prefix of the bucket
	HasCache bool           // the bucket has a cache

	Auth         Auth
	RejectedBy   Limit   // LimitNone: not rejected
	LetIn        bool    // neither form nor limit nor policy refuses it, and it is no health check: it has its line
	CacheOutcome Outcome // Bypass without a cache

	Status int
	Bytes  int64         // of the body
	Reason string        // typed reason of a failure
	Cause  error         // underlying error of the failure
	TTFB   time.Duration // time to first byte: from Start to that of the response

	TraceID, ParentSpan []byte // of a trusted proxy's trace; empty: none

	Upstream Upstream
}

// Auth is the verdict on a request's token. The zero value: the bucket asks for none.
type Auth struct {
	Outcome string // public, allowed or denied
	Reason  string // of a denial
	Subject string // of the token
}

// Upstream is a request's part with its origin. The zero value: the origin was not asked.
type Upstream struct {
	Status   int           // of the latest answer; 0: none
	ID       []byte        // of the request at S3
	Replica  string        // name of the replica asked last; empty: the bucket has one alone
	Tries    int           // beside the first
	Resumes  int           // times that the body was continued
	Queued   time.Duration // wait for a connection
	Dialed   time.Duration // opening one
	Answered time.Time     // arrival of the latest answer's head

	// Not for the log, but for further tries of the same request, by package origin.

	Failed    uint32 // set of the replicas that have failed it, by number
	Corrected bool   // a credential or the clock was, once
}

// Reset clears e for the next request, and keeps its buffers.
func (e *Entry) Reset() {
	id, path, query, upstream := e.ID[:0], e.Path[:0], e.Query[:0], e.Upstream.ID[:0]
	*e = Entry{} // in place, as a value with the buffers would be copied
	e.ID, e.Path, e.Query, e.Upstream.ID = id, path, query, upstream
}

// Method is the class of a request's method.
type Method uint8

const (
	MethodGet Method = iota
	MethodHead
	MethodOther
	numMethods
)

var MethodNames = [numMethods]string{"GET", "HEAD", "other"}

// Outcome is the cache's part in a response.
type Outcome uint8

const (
	Bypass      Outcome = iota // none: no cache, or not cacheable
	Hit                        // from memory
	Miss                       // from the origin
	Stale                      // from memory, past its freshness
	Revalidated                // from memory, confirmed by the origin
	Coalesced                  // from another request's fetch
	Shared                     // from what gateways share
	NumOutcomes
)

// Outcomes has the name of each outcome in labels and log lines, and in X-Cache.
var Outcomes = [NumOutcomes]struct{ Name, Header string }{
	Bypass:      {"bypass", "BYPASS"},
	Hit:         {"hit", "HIT"},
	Miss:        {"miss", "MISS"},
	Stale:       {"stale", "STALE"},
	Revalidated: {"revalidated", "REVALIDATED"},
	Coalesced:   {"coalesced", "COALESCED"},
	Shared:      {"shared", "SHARED"},
}

// Limit is the limit that rejected a request.
type Limit uint8

const (
	LimitNone Limit = iota
	LimitAddress
	LimitGlobalRate
	LimitBucketRate
	LimitAddressRate
	LimitGlobalInFlight
	LimitBucketInFlight
	LimitSubjectRate
	LimitTokenFailures
	LimitAdminGuesses
	NumLimits
)

var limitLabels = [NumLimits]string{
	LimitAddress: "address", LimitGlobalRate: "global_rate", LimitBucketRate: "bucket_rate", LimitAddressRate: "address_rate",
	LimitGlobalInFlight: "global_in_flight", LimitBucketInFlight: "bucket_in_flight", LimitSubjectRate: "subject_rate",
	LimitTokenFailures: "token_failures",
	LimitAdminGuesses:  "admin_guesses",
}

// String returns the value of the metrics' label limit.
func (l Limit) String() string { return limitLabels[l] }

// maxReasons is the largest number of reasons of verdicts.
const maxReasons = 32

// Observer records requests and panics in logs and metrics. Its Metrics must be set, and its
// logs opened or checked; it is safe for concurrent use from then on. Close the logs at the end.
type Observer struct {
	Log     zerolog.Logger // of the process; set by OpenLogs
	Logs    logs
	Metrics *Metrics
	Slow    SlowList

	level   level
	logging atomic.Pointer[Logging] // in effect
}

// Record counts and logs a request at its end. took is its whole duration.
//
// Hot path: zero allocations, guarded by TestHitAllocs.
func (o *Observer) Record(x *Entry, took time.Duration) {
	if len(x.Path) > longestPath/6 { // else it fits, whatever it is made of
		x.Path = AppendClipped(x.Path[:0], x.Path, longestPath)
	}
	m := o.Metrics.Of(x)
	m.Requests(x.Method, x.Status).Inc()
	m.ResponseBytes.Add(uint64(x.Bytes))
	l := m.Latency(x.CacheOutcome)
	l.Duration.Observe(took)
	l.TTFB.Observe(x.TTFB)
	if int64(took) > o.Slow.least.Load() { // else it takes no lock
		o.Slow.note(x, took)
	}
	o.logAccess(x, took)
}

// RecordPanic counts and logs a panic, where it is recovered. id is that of the request;
// empty: no request waits.
func (o *Observer) RecordPanic(p any, id []byte) {
	o.Metrics.Panics.Inc()
	e := o.Log.Error().Interface("panic", p).Bytes("stack", debug.Stack())
	what := "a background fetch panicked"
	if len(id) > 0 {
		e, what = e.Bytes("request_id", id), "request handler panicked"
	}
	e.Msg(what)
}

// logAccess writes a request's access line. Successful requests may be sampled; slow ones are
// warnings with the time of each phase. Refused ones and health checks have short lines, and under
// a flood not all.
func (o *Observer) logAccess(x *Entry, took time.Duration) {
	c := o.logging.Load()
	cheap := x.cheap()
	if cheap {
		x.Path = AppendClipped(x.Path[:0], x.Path, longestRefused)
	}
	if o.Logs.auditor != nil {
		o.logAudit(x)
	}
	slow := c.Slow > 0 && took >= c.Slow
	// A failure after the head went out, or one that a stale object hides, has the status
	// of a success.
	failed := x.Status >= 400 || x.Reason != "" || x.Cause != nil
	if !slow && !failed && c.Sample < 1 && !sampled(x.ID, c.Sample) {
		return
	}
	if cheap && !o.LogsRefusal(zerolog.InfoLevel) {
		return
	}
	var e *zerolog.Event
	if slow {
		e = o.Log.Warn().Bool("slow", true).Dict("phases", x.phases(took))
	} else {
		e = o.Log.Info()
	}
	if e == nil {
		return
	}
	e = x.logClient(e)
	if len(x.Query) > 0 {
		e = e.Bytes("query", x.Query)
	}
	if x.Bucket != nil {
		e = e.Str("bucket", x.Bucket.Name).Str("route", x.Route)
	}
	if x.Auth.Outcome != "" {
		e = e.Dict("auth", x.Auth.log())
	}
	e = e.Int("status", x.Status).Int64("bytes", x.Bytes).
		Float64("duration_ms", Milliseconds(took)).Float64("ttfb_ms", Milliseconds(x.TTFB))
	if x.HasCache {
		e = e.Str("cache", Outcomes[x.CacheOutcome].Name)
	}
	e = x.Upstream.log(e)
	e = known(e, (*zerolog.Event).Str, "reason", x.Reason)
	e = known(e, (*zerolog.Event).AnErr, "cause", x.Cause)
	if len(x.TraceID) > 0 {
		e = e.Bytes("trace_id", x.TraceID).Bytes("parent_span_id", x.ParentSpan)
	}
	e.Msg("request")
}

// cheap tells whether x took next to nothing: the gateway refused it by itself, or it was a health
// check. Neither the cache nor an origin was asked.
func (x *Entry) cheap() bool { return !x.LetIn }

// logClient adds the client and its request line to e.
func (x *Entry) logClient(e *zerolog.Event) *zerolog.Event {
	e = e.Bytes("request_id", x.ID)
	if x.Client.IsValid() {
		var b [64]byte
		e = e.Bytes("client", x.Client.AppendTo(b[:0]))
	}
	return e.Str("method", MethodNames[x.Method]).Bytes("path", x.Path)
}

// log adds the fields of the upstream to e.
func (u *Upstream) log(e *zerolog.Event) *zerolog.Event {
	e = known(e, (*zerolog.Event).Int, "upstream_status", u.Status)
	e = known(e, (*zerolog.Event).Str, "replica", u.Replica)
	if u.Tries > 0 {
		e = e.Int("tries", u.Tries+1)
	}
	e = known(e, (*zerolog.Event).Int, "resumes", u.Resumes)
	if len(u.ID) > 0 {
		e = e.Bytes("s3_request_id", u.ID)
	}
	return e
}

// log returns the fields of a verdict; never the token.
func (a *Auth) log() *zerolog.Event {
	e := zerolog.Dict().Str("outcome", a.Outcome)
	e = known(e, (*zerolog.Event).Str, "reason", a.Reason)
	return known(e, (*zerolog.Event).Str, "sub", a.Subject)
}

// known adds the field key to e by add, unless its value is the zero value.
func known[T comparable](e *zerolog.Event, add func(*zerolog.Event, string, T) *zerolog.Event, key string, value T) *zerolog.Event {
	var zero T
	if value == zero {
		return e
	}
	return add(e, key, value)
}

// phases returns the durations of a request's phases.
func (x *Entry) phases(took time.Duration) *zerolog.Event {
	u := &x.Upstream
	first := max(x.TTFB-u.Queued-u.Dialed, 0)
	return zerolog.Dict().
		Float64("wait_ms", Milliseconds(u.Queued)).Float64("connect_ms", Milliseconds(u.Dialed)).
		Float64("first_byte_ms", Milliseconds(first)).Float64("body_ms", Milliseconds(max(took-x.TTFB, 0)))
}

// sampled returns whether a request is in the share of requests that are logged: by its id, so
// that gateways behind one another agree.
func sampled(id []byte, share float64) bool {
	h := fnv.New32a()
	h.Write(id)
	return float64(h.Sum32()) < share*(1<<32)
}

// decision returns the decision for the audit log; empty: the request is not in it. The
// status does not tell: the origin denies too, and a granted object may not exist.
func (x *Entry) decision() string {
	switch {
	case x.RejectedBy != LimitNone, x.Auth.Outcome == "denied":
		return "denied"
	case x.Auth.Outcome == "allowed":
		return "granted"
	case x.Bucket == nil && (x.Status == fasthttp.StatusUnauthorized || x.Status == fasthttp.StatusForbidden):
		return "denied" // an administrative call
	}
	return ""
}

// logAudit writes a request's audit line, if it has one.
func (o *Observer) logAudit(x *Entry) {
	decision := x.decision()
	if decision == "" || x.cheap() && !o.Logs.auditRefusals.pass() {
		return
	}
	e := x.logClient(o.Logs.auditor.Log().Str("decision", decision))
	if x.Bucket != nil {
		e = e.Str("bucket", x.Bucket.Name)
	}
	if x.Auth.Outcome == "allowed" || x.Auth.Outcome == "denied" {
		e = e.Dict("auth", x.Auth.log())
	}
	e.Int("status", x.Status).Str("reason", x.Reason).Send()
}

// Milliseconds returns d rounded to microseconds.
func Milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

// Apply puts the level, the sample and the slow threshold of c into effect.
func (o *Observer) Apply(c *Logging) {
	o.level.Store(int32(levelOf(c)))
	o.logging.Store(c)
}

// level is the least level that is logged. It is a zerolog.Sampler, as a logger's own level
// cannot change while it is in use.
type level struct{ atomic.Int32 }

// Sample implements zerolog.Sampler.
func (l *level) Sample(of zerolog.Level) bool { return int32(of) >= l.Load() }

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// timestamp is a hook that adds the time, in UTC, to each line.
type timestamp struct{}

// Run implements zerolog.Hook.
func (timestamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	var b [len(timeFormat)]byte
	e.Bytes(zerolog.TimestampFieldName, appendTime(b[:0], time.Now().UTC()))
}

// appendTime appends a time in UTC in timeFormat. Package time is quick with whole seconds alone.
func appendTime(b []byte, t time.Time) []byte {
	b = t.AppendFormat(b, time.RFC3339)
	dot := len(b) - len("Z")
	b = strconv.AppendInt(b[:dot], int64(1000+t.Nanosecond()/1e6), 10) // 1000: for the zeros in front
	b[dot] = '.'
	return append(b, 'Z')
}
