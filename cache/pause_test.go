//go:build !race

package cache

import (
	"runtime"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkCollection collects garbage over a million objects, each with memory
// of its own, while nothing else happens, and while some objects are found and
// others displaced. It reports for how long all goroutines stand still: that is
// the time it takes to stop them, whatever the number of objects, which grows
// to the kernel's time slices of milliseconds when something else has the cores.
func BenchmarkCollection(b *testing.B) {
	c := New(Options{MaxBytes: million * benchObject(0, make([]byte, 256)).Size()})
	put := func(i uint64) {
		o := benchObject(i, make([]byte, 256))
		o.Header = slices.Clone(benchHeader)
		c.Put(o)
	}
	for i := range uint64(million * 5 / 4) {
		put(i)
	}
	if c.Len() < million*9/10 {
		b.Fatalf("%d entries", c.Len())
	}
	collect := func(b *testing.B) {
		runtime.GC()
		before := pauses()
		for b.Loop() {
			runtime.GC()
		}
		after := pauses()
		b.ReportMetric(float64(percentile(50, before, after)), "p50-pause-ns")
		b.ReportMetric(float64(percentile(99, before, after)), "p99-pause-ns")
	}
	b.Run("1M/idle", collect)
	b.Run("1M/busy", func(b *testing.B) {
		var stop atomic.Bool
		used := make(chan int)
		go func() { // ends with stop
			hits := 0
			for i := uint64(million); !stop.Load(); i++ {
				if c.Get(appendBenchKey(nil, i)) != nil {
					hits++
				}
				put(i + million/4)
			}
			used <- hits
		}()
		collect(b)
		stop.Store(true)
		if <-used == 0 {
			b.Error("no hits")
		}
	})
}

// pauses returns how long the garbage collector has stopped all goroutines.
func pauses() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}

// percentile returns a percentile of what came between two readings, rounded up.
func percentile(percent uint64, earlier, later *metrics.Float64Histogram) time.Duration {
	total := uint64(0)
	for i, n := range later.Counts {
		total += n - earlier.Counts[i]
	}
	sum := uint64(0)
	for i, n := range later.Counts {
		if sum += n - earlier.Counts[i]; total > 0 && sum*100 >= total*percent {
			return time.Duration(later.Buckets[i+1] * float64(time.Second))
		}
	}
	panic("BUG: no pauses")
}
