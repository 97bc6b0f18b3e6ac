package observe

import (
	"sync/atomic"

	"github.com/rs/zerolog"

	"yatagarasu/gateway/config"
)

// Logger is the log of the process. Its level may change while it is in use.
type Logger struct {
	current atomic.Pointer[zerolog.Logger]
}

func (l *Logger) Use(z zerolog.Logger) { l.current.Store(&z) }

// SetLevel makes the level that of c.
func (l *Logger) SetLevel(c *config.Logging) {
	z := l.current.Load().Level(levelOf(c))
	l.current.Store(&z)
}

// Debug, Info, Warn and Error begin a line; nil if the level is not logged.
func (l *Logger) Debug() *zerolog.Event { return l.current.Load().Debug() }
func (l *Logger) Info() *zerolog.Event  { return l.current.Load().Info() }
func (l *Logger) Warn() *zerolog.Event  { return l.current.Load().Warn() }
func (l *Logger) Error() *zerolog.Event { return l.current.Load().Error() }

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
