package observe

import (
	"sync/atomic"
	"time"
)

// HistogramBounds are the upper bounds of the buckets of durations: from what an
// answer from memory takes to a download's minute.
var HistogramBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Histogram counts durations in buckets. Unlike that of the metrics library, it
// takes no lock, and tells its counts to the status page.
type Histogram struct {
	buckets [len(HistogramBounds) + 1]atomic.Uint64 // the last one: longer than all bounds
	sum     atomic.Int64                            // in nanoseconds
}

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(HistogramBounds) && d > HistogramBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Counts are the counts of one or more histograms at a moment.
type Counts struct {
	Buckets [len(HistogramBounds) + 1]uint64
	Sum     time.Duration
}

// Add adds the counts of h to c.
func (c *Counts) Add(h *Histogram) {
	for i := range c.Buckets {
		c.Buckets[i] += h.buckets[i].Load()
	}
	c.Sum += time.Duration(h.sum.Load())
}

// plus returns what c and o counted.
func (c Counts) plus(o *Counts) Counts {
	for i := range c.Buckets {
		c.Buckets[i] += o.Buckets[i]
	}
	c.Sum += o.Sum
	return c
}

// minus returns what was counted since before.
func (c Counts) minus(before *Counts) Counts {
	for i := range c.Buckets {
		c.Buckets[i] -= before.Buckets[i]
	}
	c.Sum -= before.Sum
	return c
}

// count returns the number of durations.
func (c *Counts) count() (n uint64) {
	for _, b := range c.Buckets {
		n += b
	}
	return n
}

// quantile returns the duration below which the part q of all is, by interpolation
// within a bucket, as Prometheus does; 0 where nothing was counted, and the highest
// bound for what is longer.
func (c *Counts) quantile(q float64) time.Duration {
	rank := q * float64(c.count())
	if rank == 0 {
		return 0
	}
	seen := 0.0
	for i, bound := range HistogramBounds {
		n := float64(c.Buckets[i])
		if n > 0 && seen+n >= rank {
			low := time.Duration(0)
			if i > 0 {
				low = HistogramBounds[i-1]
			}
			return low + time.Duration(float64(bound-low)*(rank-seen)/n)
		}
		seen += n
	}
	return HistogramBounds[len(HistogramBounds)-1]
}
