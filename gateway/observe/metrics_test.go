package observe

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, 50 * time.Microsecond, 51 * time.Microsecond, time.Second, time.Hour} {
		h.Observe(d)
	}
	c := h.Counts()
	if c.Count() != 5 || c.Buckets[0] != 2 || c.Buckets[1] != 1 || c.Buckets[len(HistogramBounds)] != 1 || c.Sum != time.Hour+time.Second+101*time.Microsecond {
		t.Errorf("%+v", c)
	}
	for q, want := range map[float64]time.Duration{0.2: 25 * time.Microsecond, 0.4: 50 * time.Microsecond, 0.8: time.Second, 1: time.Minute} {
		if got := c.quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	before := c
	h.Observe(2 * time.Millisecond)
	c = h.Counts()
	if c.add(&before, -1); c.Count() != 1 || c.Sum != 2*time.Millisecond {
		t.Errorf("%+v", c)
	}
	if got := (&Counts{}).quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// TestPanicsAreCountedFirst has somebody look at the metric who sees the line in the log.
func TestPanicsAreCountedFirst(t *testing.T) {
	o := &Observer{Metrics: NewMetrics()}
	var seen []uint64
	o.Log = zerolog.New(io.Discard).Hook(zerolog.HookFunc(func(*zerolog.Event, zerolog.Level, string) {
		seen = append(seen, o.Metrics.Panics.Get())
	}))
	o.RecordPanic("a bug", nil)
	o.RecordPanic("a bug", []byte("id"))
	if !slices.Equal(seen, []uint64{1, 2}) {
		t.Errorf("counted at each line: %v", seen)
	}
}
