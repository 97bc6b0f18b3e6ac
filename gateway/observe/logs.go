package observe

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"yatagarasu/gateway/problem"
)

// logs are the outputs of the process's log, which has the access lines, and of the audit
// log. The zero value has neither.
type logs struct {
	sinks   map[string]*sink // those in use, by log: main, audit
	files   []*logFile
	auditor *zerolog.Logger // nil: no audit log

	refusals, auditRefusals flood // lines of refused requests in either
}

// closeTimeout is how long writing the last lines may take.
const closeTimeout = time.Second

// Logging is how the process logs, in the words of the block logging.
type Logging struct {
	// Level, Format and Output are as the configuration has them.
	Level, Format, Output string

	// Audit is the output of the audit log. Empty: there is none.
	Audit string

	// Slow is the duration from which a request's line is a warning. 0: none is.
	Slow time.Duration

	// Sample is the share of the other successful requests to log, from 0 to 1.
	Sample float64
}

// OpenLogs opens the logs of c, each with a buffer of so many bytes, and with so many lines of
// refused requests in a second; 0: all. If w is not nil, the main log goes there instead, without
// a buffer.
func (o *Observer) OpenLogs(c *Logging, buffer, refusals int, w io.Writer) error {
	o.Apply(c)
	o.Logs.sinks = make(map[string]*sink)
	var out zerolog.LevelWriter
	if w == nil {
		s, err := o.openSink("main", c.Output, buffer)
		if err != nil {
			return fmt.Errorf("logging.output: %w", err)
		}
		out = s
	} else {
		out = zerolog.LevelWriterAdapter{Writer: zerolog.SyncWriter(w)}
	}
	if c.Audit != "" {
		s, err := o.openSink("audit", c.Audit, buffer)
		if err != nil {
			return fmt.Errorf("logging.audit.output: %w", err)
		}
		auditor := zerolog.New(s).Hook(timestamp{})
		o.Logs.auditor = &auditor
		o.Logs.auditRefusals.start(refusals, func(n uint64) {
			auditor.Log().Str("decision", "left_out").Uint64("lines", n).Msg("lines of refused requests were left out: there were too many")
		})
	}
	o.Log = zerolog.New(formatted(c.Format, out)).Sample(&o.level).Hook(timestamp{})
	o.Logs.refusals.start(refusals, func(n uint64) {
		o.Log.Warn().Uint64("lines", n).Msg("lines of refused requests and health checks were left out: there were too many")
	})
	return nil
}

// openSink opens the output name for a log: main or audit.
func (o *Observer) openSink(kind, name string, buffer int) (*sink, error) {
	out, err := OpenLog(name)
	if err != nil {
		return nil, err
	}
	if f, ok := out.(*logFile); ok {
		o.Logs.files = append(o.Logs.files, f)
	}
	s := newSink(out, buffer, func(n uint64) {
		o.Log.Warn().Str("output", name).Uint64("lines", n).Msg("lines of the log were dropped: it was not written fast enough")
	})
	o.Logs.sinks[kind] = s
	return s, nil
}

// CheckLogs returns what is wrong with the outputs of c, without opening one. Nothing is
// logged.
func (o *Observer) CheckLogs(c *Logging) error {
	o.Apply(c)
	if err := checkLog(c.Output); err != nil {
		return fmt.Errorf("logging.output: %w", err)
	}
	if c.Audit != "" {
		if err := checkLog(c.Audit); err != nil {
			return fmt.Errorf("logging.audit.output: %w", err)
		}
	}
	return nil
}

// Close writes the last lines: the main log's at the end, as it reports what the other one
// dropped.
func (l *logs) Close() {
	l.refusals.stop()
	l.auditRefusals.stop()
	for _, kind := range []string{"audit", "main"} {
		if s := l.sinks[kind]; s != nil {
			s.close(closeTimeout)
		}
	}
}

// Dropped returns the number of dropped lines by log.
func (l *logs) Dropped() map[string]uint64 {
	n := make(map[string]uint64)
	for kind, s := range l.sinks {
		n[kind] = s.dropped.Load()
	}
	return n
}

// LeftOut returns the number of lines of refused requests that were left out, by log.
func (l *logs) LeftOut() map[string]uint64 {
	n := make(map[string]uint64)
	for kind, f := range map[string]*flood{"main": &l.refusals, "audit": &l.auditRefusals} {
		if f.timer != nil {
			n[kind] = f.leftOut.Load()
		}
	}
	return n
}

// ReopenLogs opens the files of the logs again, after they were renamed.
func (o *Observer) ReopenLogs() {
	for _, f := range o.Logs.files {
		if err := f.reopen(); err != nil {
			o.Log.Error().Err(err).Msg("a log is not opened again; the lines go on to the file that was open")
			continue
		}
		o.Log.Info().Str("path", f.path).Msg("the log is opened again")
	}
}

// ServerLogger logs what fasthttp says, without the content of requests. A client can make it say
// much, so its lines count as those of refused requests.
type ServerLogger struct{ Observer *Observer }

// Printf implements fasthttp.Logger. It replaces errors by their class: some quote the
// request's head, tokens included, in spite of SecureErrorLogMessage.
func (l ServerLogger) Printf(format string, args ...any) {
	if !l.Observer.LogsRefusal(zerolog.WarnLevel) {
		return
	}
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = connProblem(err)
		}
	}
	l.Observer.Log.Warn().Str("component", "http").Msg(strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// LibraryLog is an output for the standard library's log, where some libraries write. Nobody who
// runs a gateway can act on that, so it is logged at the level debug.
type LibraryLog struct{ Log *zerolog.Logger }

// Write implements io.Writer, for a line.
func (l LibraryLog) Write(line []byte) (int, error) {
	l.Log.Debug().Str("component", "library").Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}

// connProblem returns why a connection ended: the text of the system or of TLS, which know
// nothing of requests, else a fixed word.
func connProblem(err error) string {
	text := err.Error()
	if system, ok := errors.AsType[*net.OpError](err); ok {
		return system.Error()
	} else if strings.HasPrefix(text, "tls: ") {
		return text
	}
	p := problem.OfParseError(err)
	return cmp.Or(p.Reason, p.Code)
}

// levelOf returns the least level that is logged.
func levelOf(c *Logging) zerolog.Level {
	l, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		panic("BUG: log level was not validated: " + c.Level)
	}
	return l
}

// formatted returns a writer that writes lines to out in a format.
func formatted(format string, out zerolog.LevelWriter) zerolog.LevelWriter {
	if format == "text" {
		return textWriter{out}
	}
	return out
}

// textWriter writes lines as text for people. It passes on their level, which zerolog's
// ConsoleWriter does not: the sink keeps room for warnings.
type textWriter struct{ zerolog.LevelWriter }

// WriteLevel implements zerolog.LevelWriter.
func (w textWriter) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	var text bytes.Buffer
	c := zerolog.ConsoleWriter{Out: &text, NoColor: true, TimeFormat: timeFormat}
	if n, err := c.Write(line); err != nil {
		return n, err
	}
	_, err := w.LevelWriter.WriteLevel(level, text.Bytes())
	return len(line), err
}
