package gateway

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, 50 * time.Microsecond, 51 * time.Microsecond, time.Second, time.Hour} {
		h.observe(d)
	}
	var c histogramCounts
	c.add(&h)
	if c.count() != 5 || c.buckets[0] != 2 || c.buckets[1] != 1 || c.buckets[len(histogramBounds)] != 1 || c.sum != time.Hour+time.Second+101*time.Microsecond {
		t.Errorf("%+v", c)
	}
	for q, want := range map[float64]time.Duration{0.2: 25 * time.Microsecond, 0.4: 50 * time.Microsecond, 0.8: time.Second, 1: time.Minute} {
		if got := c.quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	before := c
	h.observe(2 * time.Millisecond)
	c = histogramCounts{}
	c.add(&h)
	if d := c.minus(&before); d.count() != 1 || d.sum != 2*time.Millisecond {
		t.Errorf("%+v", d)
	}
	if got := (&histogramCounts{}).quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
