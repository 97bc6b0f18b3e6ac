package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/rs/zerolog"

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

// openLogs opens the logs of c. Each may have buffer bytes that wait to be written. The main
// one goes to w instead, without a buffer, if that is not nil.
func (o *observer) openLogs(c *config.Logging, buffer int, w io.Writer) error {
	o.logging.Store(c)
	l := &o.logs
	var out zerolog.LevelWriter
	if w == nil {
		sink, err := l.sink(&o.log, buffer, c.Output)
		if err != nil {
			return fmt.Errorf("logging.output: %w", err)
		}
		l.main, out = sink, sink
	} else {
		out = zerolog.LevelWriterAdapter{Writer: zerolog.SyncWriter(w)}
	}
	out = formatted(c.Format, out)
	if c.Audit.Enabled {
		sink, err := l.sink(&o.log, buffer, c.Audit.Output)
		if err != nil {
			return fmt.Errorf("logging.audit.output: %w", err)
		}
		auditor := zerolog.New(sink).Hook(timestamp{})
		l.audit, l.auditor = sink, &auditor
	}
	o.log.init(zerolog.New(out).Level(levelOf(c)).Hook(timestamp{}))
	return nil
}

// checkLogs tells what is wrong with the outputs of c, without opening one, and has nothing
// logged.
func (o *observer) checkLogs(c *config.Logging) error {
	o.logging.Store(c)
	o.log.init(zerolog.Nop())
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

func (l *logs) sink(log *logger, buffer int, name string) (*logSink, error) {
	out, err := openLog(name)
	if err != nil {
		return nil, err
	}
	if f, ok := out.(*logFile); ok {
		l.files = append(l.files, f)
	}
	return newLogSink(out, buffer, func(n uint64) {
		log.Warn().Str("output", name).Uint64("lines", n).Msg("lines of the log were dropped: it was not written fast enough")
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
func (o *observer) reopenLogs() {
	for _, f := range o.logs.files {
		if err := f.reopen(); err != nil {
			o.log.Error().Err(err).Msg("a log is not opened again; the lines go on to the file that was open")
			continue
		}
		o.log.Info().Str("path", f.path).Msg("the log is opened again")
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
