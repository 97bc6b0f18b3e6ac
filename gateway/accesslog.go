package gateway

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"yatagarasu/gateway/config"
)

// newLogger returns the logger of the process.
func newLogger(o *Options, c *config.Logging) zerolog.Logger {
	var out io.Writer = os.Stdout
	if o.Output != nil {
		out = o.Output
	}
	format, level := c.Format, c.Level
	if o.LogFormat != "" {
		format = o.LogFormat
	}
	if o.LogLevel != "" {
		level = o.LogLevel
	}
	if format == "text" {
		out = zerolog.ConsoleWriter{Out: out, NoColor: true, TimeFormat: timeFormat}
	} else {
		out = zerolog.SyncWriter(out)
	}
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		panic("BUG: log level was not validated: " + level)
	}
	return zerolog.New(out).Level(l).Hook(timestamp{})
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
type serverLogger struct{ log *zerolog.Logger }

// Printf implements fasthttp.Logger.
func (l serverLogger) Printf(format string, args ...any) {
	l.log.Warn().Str("component", "http").Msg(strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// logAccess writes the one line of a request.
func (g *Gateway) logAccess(x *exchange, took time.Duration) {
	e := g.log.Info()
	if e == nil {
		return
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
	e = e.Int("status", x.status).Int64("bytes", x.bytes).
		Float64("duration_ms", milliseconds(took)).Float64("ttfb_ms", milliseconds(x.ttfb))
	if x.upstream != 0 {
		e = e.Int("upstream_status", x.upstream)
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
	e.Msg("request")
}

// milliseconds returns d rounded to microseconds.
func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
