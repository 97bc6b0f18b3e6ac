package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/config"
)

// logs are where lines go: the log of the process, with the access lines, and that of
// who was let in.
type logs struct {
	main, audit *logSink // nil: not used
	files       []*logFile
	auditor     *zerolog.Logger // nil: nobody is
}

// closeTimeout is how long the last lines may take.
const closeTimeout = time.Second

// open opens the logs of c and returns the logger of the process.
func (l *logs) open(g *Gateway, o *Options, c *config.Logging) (zerolog.Logger, error) {
	if o.inspects {
		return zerolog.Nop(), checkLogs(c)
	}
	var out zerolog.LevelWriter
	if o.Output == nil {
		sink, err := l.sink(g, o, c.Output)
		if err != nil {
			return zerolog.Logger{}, fmt.Errorf("logging.output: %w", err)
		}
		l.main, out = sink, sink
	} else {
		out = zerolog.LevelWriterAdapter{Writer: zerolog.SyncWriter(o.Output)}
	}
	out = formatted(c.Format, out)
	if c.Audit.Enabled {
		sink, err := l.sink(g, o, c.Audit.Output)
		if err != nil {
			return zerolog.Logger{}, fmt.Errorf("logging.audit.output: %w", err)
		}
		auditor := zerolog.New(sink).Hook(timestamp{})
		l.audit, l.auditor = sink, &auditor
	}
	return zerolog.New(out).Level(levelOf(c)).Hook(timestamp{}), nil
}

// checkLogs tells what is wrong with the outputs of c, without opening one.
func checkLogs(c *config.Logging) error {
	if err := checkLog(c.Output); err != nil {
		return fmt.Errorf("logging.output: %w", err)
	}
	if !c.Audit.Enabled {
		return nil
	}
	if err := checkLog(c.Audit.Output); err != nil {
		return fmt.Errorf("logging.audit.output: %w", err)
	}
	return nil
}

func (l *logs) sink(g *Gateway, o *Options, name string) (*logSink, error) {
	out, err := openLog(name)
	if err != nil {
		return nil, err
	}
	if f, ok := out.(*logFile); ok {
		l.files = append(l.files, f)
	}
	return newLogSink(out, o.LogBuffer, func(n uint64) {
		g.log.Warn().Str("output", name).Uint64("lines", n).Msg("lines of the log were dropped: it was not written fast enough")
	}), nil
}

// close has the last lines written.
func (l *logs) close() {
	for _, s := range []*logSink{l.audit, l.main} {
		if s != nil {
			s.close(closeTimeout)
		}
	}
}

// dropped returns the lines that were dropped from each log in use.
func (l *logs) dropped() map[string]uint64 {
	n := make(map[string]uint64)
	if l.main != nil {
		n["main"] = l.main.dropped.Load()
	}
	if l.audit != nil {
		n["audit"] = l.audit.dropped.Load()
	}
	return n
}

// reopenLogs opens the files of the logs again, after they were renamed.
func (g *Gateway) reopenLogs() {
	for _, f := range g.logs.files {
		if err := f.reopen(); err != nil {
			g.log.Error().Err(err).Msg("a log is not opened again; the lines go on to the file that was open")
			continue
		}
		g.log.Info().Str("path", f.path).Msg("the log is opened again")
	}
}

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// timestamp adds the time to every event in UTC.
type timestamp struct{}

// Run implements zerolog.Hook.
func (timestamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	var b [len(timeFormat) + 8]byte
	e.Bytes(zerolog.TimestampFieldName, time.Now().UTC().AppendFormat(b[:0], timeFormat))
}

// serverLogger passes on what fasthttp logs: never about a request's content.
type serverLogger struct{ log *logger }

// Printf implements fasthttp.Logger. Of errors it says the class: the texts of some
// quote the request's head, tokens included, whatever SecureErrorLogMessage says.
func (l serverLogger) Printf(format string, args ...any) {
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = connProblem(err)
		}
	}
	l.log.Warn().Str("component", "http").Msg(strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// connProblem says what ended a connection: what the system or TLS says, which know
// nothing of requests, else a fixed word.
func connProblem(err error) string {
	var system *net.OpError
	switch text := err.Error(); {
	case errors.As(err, &system):
		return system.Error()
	case strings.HasPrefix(text, "tls: "):
		return text
	}
	p := parseProblem(err)
	return cmp.Or(p.reason, p.code)
}

// logAccess writes the one line of a request. Successful ones may be left out, slow
// ones are warnings and say where the time went.
func (g *Gateway) logAccess(x *exchange, took time.Duration) {
	c := &g.generation.Load().config.Logging
	if g.logs.auditor != nil {
		g.logAudit(x)
	}
	slow := c.Slow > 0 && took >= c.Slow
	// A failure after the head went out, or one that a stale object hides, has the status
	// of a success.
	failed := x.status >= 400 || x.reason != "" || x.cause != nil
	if !slow && !failed && c.Sample < 1 && !sampled(x.id, c.Sample) {
		return
	}
	e := g.log.Info()
	if slow {
		e = g.log.Warn()
	}
	if e == nil {
		return
	}
	if slow {
		e = e.Bool("slow", true).Dict("phases", x.logPhases(took))
	}
	e = e.Bytes("request_id", x.id)
	if x.client.IsValid() {
		x.scratch = x.client.AppendTo(x.scratch[:0])
		e = e.Bytes("client", x.scratch)
	}
	e = e.Str("method", methodNames[x.method]).Bytes("path", x.path)
	if len(x.query) > 0 {
		e = e.Bytes("query", x.query) // what the allow-list let through, nothing else
	}
	if x.bucket != nil {
		e = e.Str("bucket", x.bucket.name).Str("route", x.bucket.prefix)
	}
	if x.private || x.verdict.Public {
		e = e.Dict("auth", x.logAuth())
	}
	e = e.Int("status", x.status).Int64("bytes", x.bytes).
		Float64("duration_ms", milliseconds(took)).Float64("ttfb_ms", milliseconds(x.ttfb))
	if x.bucket != nil && x.bucket.cached != nil {
		e = e.Str("cache", outcomes[x.how].name)
	}
	if x.upstream != 0 {
		e = e.Int("upstream_status", x.upstream)
	}
	if x.replica != nil && len(x.bucket.replicas) > 1 {
		e = e.Str("replica", x.replica.name)
	}
	if x.tries > 0 {
		e = e.Int("tries", x.tries+1)
	}
	if x.resumes > 0 {
		e = e.Int("resumes", x.resumes)
	}
	if len(x.s3ID) > 0 {
		e = e.Bytes("s3_request_id", x.s3ID)
	}
	if x.reason != "" {
		e = e.Str("reason", x.reason)
	}
	if x.cause != nil {
		e = e.AnErr("cause", x.cause)
	}
	if len(x.trace) > 0 {
		e = e.Bytes("trace_id", x.trace.id()).Bytes("parent_span_id", x.trace.span())
	}
	e.Msg("request")
}

// logPhases returns how long each part of a request took.
func (x *exchange) logPhases(took time.Duration) *zerolog.Event {
	first := max(x.ttfb-x.queued-x.dialed, 0)
	return zerolog.Dict().
		Float64("wait_ms", milliseconds(x.queued)).Float64("connect_ms", milliseconds(x.dialed)).
		Float64("first_byte_ms", milliseconds(first)).Float64("body_ms", milliseconds(max(took-x.ttfb, 0)))
}

// sampled tells whether the part share of all requests has this one: by its id, so
// that gateways in a row agree.
func sampled(id []byte, share float64) bool {
	h := fnv.New32a()
	h.Write(id)
	return float64(h.Sum32()) < share*(1<<32)
}

// decision returns what the audit log calls a request; empty: it is not in there. The
// status does not tell: the origin refuses too, and who is let in may ask for nothing.
func (x *exchange) decision() string {
	switch {
	case x.refusedBy != limitNone, x.private && x.verdict.Reason != auth.Allowed:
		return "denied"
	case x.private:
		return "granted"
	case x.bucket == nil && (x.status == fasthttp.StatusUnauthorized || x.status == fasthttp.StatusForbidden):
		return "denied" // an administrative call
	}
	return ""
}

// logAudit writes who was let in to a private bucket, and who was refused.
func (g *Gateway) logAudit(x *exchange) {
	decision := x.decision()
	if decision == "" {
		return
	}
	e := g.logs.auditor.Log().Str("decision", decision).Bytes("request_id", x.id)
	if x.client.IsValid() {
		x.scratch = x.client.AppendTo(x.scratch[:0])
		e = e.Bytes("client", x.scratch)
	}
	e = e.Str("method", methodNames[x.method]).Bytes("path", x.path)
	if x.bucket != nil {
		e = e.Str("bucket", x.bucket.name)
	}
	if x.private {
		e = e.Dict("auth", x.logAuth())
	}
	e.Int("status", x.status).Str("reason", x.reason).Send()
}

// milliseconds returns d rounded to microseconds.
func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
