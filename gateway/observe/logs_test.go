package observe

import (
	"bytes"
	"fmt"
	"testing"

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
