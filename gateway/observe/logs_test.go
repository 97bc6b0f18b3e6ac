package observe

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// levelRecorder keeps the levels and the lines that it is written.
type levelRecorder struct{ bytes.Buffer }

// WriteLevel implements zerolog.LevelWriter.
func (r *levelRecorder) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	fmt.Fprintf(r, "%s|%s", level, line)
	return len(line), nil
}

// TestFormatsKeepLevels has the sink know which lines are warnings, in each format.
func TestFormatsKeepLevels(t *testing.T) {
	for format, want := range map[string]string{
		"json": `info|{"level":"info","a":1,"message":"one"}` + "\n" + `warn|{"level":"warn","message":"two"}` + "\n",
		"text": "info|<nil> INF one a=1\nwarn|<nil> WRN two\n",
	} {
		var r levelRecorder
		log := zerolog.New(formatted(format, &r))
		log.Info().Int("a", 1).Msg("one")
		log.Warn().Msg("two")
		if r.String() != want {
			t.Errorf("%s: %q, want %q", format, r.String(), want)
		}
	}
}

func TestAppendTime(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, after := range []time.Duration{0, 999, time.Millisecond, 10 * time.Millisecond, 999999999, 86399 * time.Second, -200 * 365 * 24 * time.Hour} {
		at := begin.Add(after)
		if got, want := string(appendTime([]byte("at "), at)), "at "+at.Format(timeFormat); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
