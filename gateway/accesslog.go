package gateway

import (
	"hash/fnv"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// logAccess writes the one line of a request. Successful ones may be left out, slow
// ones are warnings and say where the time went.
func (o *observer) logAccess(x *entry, took time.Duration) {
	c := o.logging.Load()
	if o.logs.auditor != nil {
		o.logAudit(x)
	}
	slow := c.Slow > 0 && took >= c.Slow
	// A failure after the head went out, or one that a stale object hides, has the status
	// of a success.
	failed := x.status >= 400 || x.reason != "" || x.cause != nil
	if !slow && !failed && c.Sample < 1 && !sampled(x.id, c.Sample) {
		return
	}
	e := o.log.Info()
	if slow {
		e = o.log.Warn()
	}
	if e == nil {
		return
	}
	if slow {
		e = e.Bool("slow", true).Dict("phases", x.phases(took))
	}
	e = x.logClient(e)
	if len(x.query) > 0 {
		e = e.Bytes("query", x.query)
	}
	if x.metrics != nil {
		e = e.Str("bucket", x.metrics.bucket).Str("route", x.route)
	}
	if x.auth.outcome != "" {
		e = e.Dict("auth", x.auth.log())
	}
	e = e.Int("status", x.status).Int64("bytes", x.bytes).
		Float64("duration_ms", milliseconds(took)).Float64("ttfb_ms", milliseconds(x.firstByte))
	if x.cached {
		e = e.Str("cache", outcomes[x.how].name)
	}
	e = x.upstream.log(e)
	if x.reason != "" {
		e = e.Str("reason", x.reason)
	}
	if x.cause != nil {
		e = e.AnErr("cause", x.cause)
	}
	if len(x.traceID) > 0 {
		e = e.Bytes("trace_id", x.traceID).Bytes("parent_span_id", x.parentSpan)
	}
	e.Msg("request")
}

// logClient adds to e who asked for what.
func (x *entry) logClient(e *zerolog.Event) *zerolog.Event {
	e = e.Bytes("request_id", x.id)
	if x.client.IsValid() {
		var b [64]byte
		e = e.Bytes("client", x.client.AppendTo(b[:0]))
	}
	return e.Str("method", methodNames[x.method]).Bytes("path", x.path)
}

// log adds to e what the request had to do with its origin.
func (u *upstreamEntry) log(e *zerolog.Event) *zerolog.Event {
	if u.status != 0 {
		e = e.Int("upstream_status", u.status)
	}
	if u.replica != "" {
		e = e.Str("replica", u.replica)
	}
	if u.tries > 0 {
		e = e.Int("tries", u.tries+1)
	}
	if u.resumes > 0 {
		e = e.Int("resumes", u.resumes)
	}
	if len(u.id) > 0 {
		e = e.Bytes("s3_request_id", u.id)
	}
	return e
}

// log returns what log lines say of a verdict; never the token.
func (a *authEntry) log() *zerolog.Event {
	e := zerolog.Dict().Str("outcome", a.outcome)
	if a.reason != "" {
		e = e.Str("reason", a.reason)
	}
	if a.subject != "" {
		e = e.Str("sub", a.subject)
	}
	return e
}

// phases returns how long each part of a request took.
func (x *entry) phases(took time.Duration) *zerolog.Event {
	u := &x.upstream
	first := max(x.firstByte-u.queued-u.dialed, 0)
	return zerolog.Dict().
		Float64("wait_ms", milliseconds(u.queued)).Float64("connect_ms", milliseconds(u.dialed)).
		Float64("first_byte_ms", milliseconds(first)).Float64("body_ms", milliseconds(max(took-x.firstByte, 0)))
}

// sampled tells whether the request is in the given share of all requests: by its id, so
// that gateways in a row agree.
func sampled(id []byte, share float64) bool {
	h := fnv.New32a()
	h.Write(id)
	return float64(h.Sum32()) < share*(1<<32)
}

// decision returns what the audit log calls a request; empty: it is not in there. The
// status does not tell: the origin refuses too, and who is let in may ask for nothing.
func (x *entry) decision() string {
	switch {
	case x.limitedBy != limitNone, x.auth.outcome == "denied":
		return "denied"
	case x.auth.outcome == "allowed":
		return "granted"
	case x.metrics == nil && (x.status == fasthttp.StatusUnauthorized || x.status == fasthttp.StatusForbidden):
		return "denied" // an administrative call
	}
	return ""
}

// logAudit writes who was let in to a private bucket, and who was refused.
func (o *observer) logAudit(x *entry) {
	decision := x.decision()
	if decision == "" {
		return
	}
	e := x.logClient(o.logs.auditor.Log().Str("decision", decision))
	if x.metrics != nil {
		e = e.Str("bucket", x.metrics.bucket)
	}
	if x.auth.outcome == "allowed" || x.auth.outcome == "denied" {
		e = e.Dict("auth", x.auth.log())
	}
	e.Int("status", x.status).Str("reason", x.reason).Send()
}

// milliseconds returns d rounded to microseconds.
func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
