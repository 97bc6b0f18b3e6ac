package observe

import (
	"hash/fnv"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// logAccess writes the one line of a request. Successful ones may be left out, slow
// ones are warnings and say where the time went.
func (o *Observer) logAccess(x *Entry, took time.Duration) {
	c := o.Logging.Load()
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
	e := o.Log.Info()
	if slow {
		e = o.Log.Warn()
	}
	if e == nil {
		return
	}
	if slow {
		e = e.Bool("slow", true).Dict("phases", x.phases(took))
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
		Float64("duration_ms", Milliseconds(took)).Float64("ttfb_ms", Milliseconds(x.FirstByte))
	if x.Cached {
		e = e.Str("cache", Outcomes[x.Cache].Name)
	}
	e = x.Upstream.log(e)
	if x.Reason != "" {
		e = e.Str("reason", x.Reason)
	}
	if x.Cause != nil {
		e = e.AnErr("cause", x.Cause)
	}
	if len(x.TraceID) > 0 {
		e = e.Bytes("trace_id", x.TraceID).Bytes("parent_span_id", x.ParentSpan)
	}
	e.Msg("request")
}

// logClient adds to e who asked for what.
func (x *Entry) logClient(e *zerolog.Event) *zerolog.Event {
	e = e.Bytes("request_id", x.ID)
	if x.Client.IsValid() {
		var b [64]byte
		e = e.Bytes("client", x.Client.AppendTo(b[:0]))
	}
	return e.Str("method", MethodNames[x.Method]).Bytes("path", x.Path)
}

// log adds to e what the request had to do with its origin.
func (u *Upstream) log(e *zerolog.Event) *zerolog.Event {
	if u.Status != 0 {
		e = e.Int("upstream_status", u.Status)
	}
	if u.Replica != "" {
		e = e.Str("replica", u.Replica)
	}
	if u.Tries > 0 {
		e = e.Int("tries", u.Tries+1)
	}
	if u.Resumes > 0 {
		e = e.Int("resumes", u.Resumes)
	}
	if len(u.ID) > 0 {
		e = e.Bytes("s3_request_id", u.ID)
	}
	return e
}

// log returns what log lines say of a verdict; never the token.
func (a *Auth) log() *zerolog.Event {
	e := zerolog.Dict().Str("outcome", a.Outcome)
	if a.Reason != "" {
		e = e.Str("reason", a.Reason)
	}
	if a.Subject != "" {
		e = e.Str("sub", a.Subject)
	}
	return e
}

// phases returns how long each part of a request took.
func (x *Entry) phases(took time.Duration) *zerolog.Event {
	u := &x.Upstream
	first := max(x.FirstByte-u.Queued-u.Dialed, 0)
	return zerolog.Dict().
		Float64("wait_ms", Milliseconds(u.Queued)).Float64("connect_ms", Milliseconds(u.Dialed)).
		Float64("first_byte_ms", Milliseconds(first)).Float64("body_ms", Milliseconds(max(took-x.FirstByte, 0)))
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
func (x *Entry) decision() string {
	switch {
	case x.LimitedBy != LimitNone, x.Auth.Outcome == "denied":
		return "denied"
	case x.Auth.Outcome == "allowed":
		return "granted"
	case x.Bucket == nil && (x.Status == fasthttp.StatusUnauthorized || x.Status == fasthttp.StatusForbidden):
		return "denied" // an administrative call
	}
	return ""
}

// logAudit writes who was let in to a private bucket, and who was refused.
func (o *Observer) logAudit(x *Entry) {
	decision := x.decision()
	if decision == "" {
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
