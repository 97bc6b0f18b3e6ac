package observe

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/problem"

	"github.com/rs/zerolog"
)

// logs are where lines go: the log of the process, with the access lines, and that of
// who was let in.
type logs struct {
	main, audit *sink // nil: not used
	files       []*logFile
	auditor     *zerolog.Logger // nil: nobody is
}

// closeTimeout is how long the last lines may take.
const closeTimeout = time.Second

// OpenLogs opens the logs of c. Each may have buffer bytes that wait to be written. The main
// one goes to w instead, without a buffer, if that is not nil.
func (o *Observer) OpenLogs(c *config.Logging, buffer int, w io.Writer) error {
	o.Logging.Store(c)
	l := &o.Logs
	var out zerolog.LevelWriter
	if w == nil {
		sink, err := l.sink(&o.Log, buffer, c.Output)
		if err != nil {
			return fmt.Errorf("logging.output: %w", err)
		}
		l.main, out = sink, sink
	} else {
		out = zerolog.LevelWriterAdapter{Writer: zerolog.SyncWriter(w)}
	}
	out = formatted(c.Format, out)
	if c.Audit.Enabled {
		sink, err := l.sink(&o.Log, buffer, c.Audit.Output)
		if err != nil {
			return fmt.Errorf("logging.audit.output: %w", err)
		}
		auditor := zerolog.New(sink).Hook(timestamp{})
		l.audit, l.auditor = sink, &auditor
	}
	o.Log.Use(zerolog.New(out).Level(levelOf(c)).Hook(timestamp{}))
	return nil
}

// CheckLogs tells what is wrong with the outputs of c, without opening one, and has nothing
// logged.
func (o *Observer) CheckLogs(c *config.Logging) error {
	o.Logging.Store(c)
	o.Log.Use(zerolog.Nop())
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

func (l *logs) sink(log *Logger, buffer int, name string) (*sink, error) {
	out, err := OpenLog(name)
	if err != nil {
		return nil, err
	}
	if f, ok := out.(*logFile); ok {
		l.files = append(l.files, f)
	}
	return newSink(out, buffer, func(n uint64) {
		log.Warn().Str("output", name).Uint64("lines", n).Msg("lines of the log were dropped: it was not written fast enough")
	}), nil
}

// Close has the last lines written.
func (l *logs) Close() {
	for _, s := range []*sink{l.audit, l.main} {
		if s != nil {
			s.close(closeTimeout)
		}
	}
}

// Dropped returns the lines that were dropped from each log in use.
func (l *logs) Dropped() map[string]uint64 {
	n := make(map[string]uint64)
	if l.main != nil {
		n["main"] = l.main.dropped.Load()
	}
	if l.audit != nil {
		n["audit"] = l.audit.dropped.Load()
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

// ServerLogger passes on what fasthttp logs: never about a request's content.
type ServerLogger struct{ Log *Logger }

// Printf implements fasthttp.Logger. Of errors it says the class: the texts of some
// quote the request's head, tokens included, whatever SecureErrorLogMessage says.
func (l ServerLogger) Printf(format string, args ...any) {
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = connProblem(err)
		}
	}
	l.Log.Warn().Str("component", "http").Msg(strings.TrimSpace(fmt.Sprintf(format, args...)))
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
	p := problem.OfParseError(err)
	return cmp.Or(p.Reason, p.Code)
}

// levelOf returns the least level that is logged.
func levelOf(c *config.Logging) zerolog.Level {
	l, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		panic("BUG: log level was not validated: " + c.Level)
	}
	return l
}

// formatted returns what turns lines into those of a format, for out.
func formatted(format string, out zerolog.LevelWriter) zerolog.LevelWriter {
	if format == "text" {
		return textWriter{out}
	}
	return out
}

// textWriter writes lines as text for people. Each keeps its level, which zerolog's
// ConsoleWriter does not pass on: the sink has room that is for warnings alone.
type textWriter struct{ out zerolog.LevelWriter }

// Write implements io.Writer for lines of no level.
func (w textWriter) Write(line []byte) (int, error) { return w.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel implements zerolog.LevelWriter.
func (w textWriter) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	c := zerolog.ConsoleWriter{Out: levelled{w.out, level}, NoColor: true, TimeFormat: timeFormat}
	return c.Write(line)
}

// levelled is a writer of lines of one level.
type levelled struct {
	out   zerolog.LevelWriter
	level zerolog.Level
}

// Write implements io.Writer.
func (l levelled) Write(line []byte) (int, error) { return l.out.WriteLevel(l.level, line) }
