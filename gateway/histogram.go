package gateway

import (
	"sync/atomic"
	"time"
)

// histogramBounds are the upper bounds of the buckets of durations: from what an
// answer from memory takes to a download's minute.
var histogramBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// histogram counts durations in buckets. Unlike that of the metrics library, it
// takes no lock, and tells its counts to the status page.
type histogram struct {
	buckets [len(histogramBounds) + 1]atomic.Uint64 // the last one: longer than all bounds
	sum     atomic.Int64                            // in nanoseconds
}

// observe counts a duration.
func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(histogramBounds) && d > histogramBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// histogramCounts are the counts of one or more histograms at a moment.
type histogramCounts struct {
	buckets [len(histogramBounds) + 1]uint64
	sum     time.Duration
}

// add adds the counts of h to c.
func (c *histogramCounts) add(h *histogram) {
	for i := range c.buckets {
		c.buckets[i] += h.buckets[i].Load()
	}
	c.sum += time.Duration(h.sum.Load())
}

// plus returns what c and o counted.
func (c histogramCounts) plus(o *histogramCounts) histogramCounts {
	for i := range c.buckets {
		c.buckets[i] += o.buckets[i]
	}
	c.sum += o.sum
	return c
}

// minus returns what was counted since before.
func (c histogramCounts) minus(before *histogramCounts) histogramCounts {
	for i := range c.buckets {
		c.buckets[i] -= before.buckets[i]
	}
	c.sum -= before.sum
	return c
}

// count returns the number of durations.
func (c *histogramCounts) count() (n uint64) {
	for _, b := range c.buckets {
		n += b
	}
	return n
}

// quantile returns the duration below which the part q of all is, by interpolation
// within a bucket, as Prometheus does; 0 where nothing was counted, and the highest
// bound for what is longer.
func (c *histogramCounts) quantile(q float64) time.Duration {
	rank := q * float64(c.count())
	if rank == 0 {
		return 0
	}
	seen := 0.0
	for i, bound := range histogramBounds {
		n := float64(c.buckets[i])
		if n > 0 && seen+n >= rank {
			low := time.Duration(0)
			if i > 0 {
				low = histogramBounds[i-1]
			}
			return low + time.Duration(float64(bound-low)*(rank-seen)/n)
		}
		seen += n
	}
	return histogramBounds[len(histogramBounds)-1]
}
