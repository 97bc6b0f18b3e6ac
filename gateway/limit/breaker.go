package limit

import (
	"sync/atomic"
	"time"
)

// Breaker leaves a server alone for a second after it has failed five times in a row, and then lets one
// try through in each second until one succeeds. The zero value is closed. Safe for concurrent use.
type Breaker struct {
	failures atomic.Int32
	until    atomic.Int64 // Unix nanoseconds; one try is let through then
}

// BreakAfter is the number of failures in a row that open a Breaker, and BreakFor how long it is open
// until the next try.
const (
	BreakAfter = 5
	BreakFor   = time.Second
)

// Allows tells whether the server may be asked. Who was allowed to must Report.
func (b *Breaker) Allows(now time.Time) bool {
	until := b.until.Load()
	return until == 0 || now.UnixNano() >= until && b.until.CompareAndSwap(until, now.Add(BreakFor).UnixNano())
}

// Report notes how it went.
func (b *Breaker) Report(ok bool, now time.Time) {
	if ok {
		b.failures.Store(0)
		b.until.Store(0)
	} else if b.failures.Add(1) >= BreakAfter {
		b.until.Store(now.Add(BreakFor).UnixNano())
	}
}

// Open tells whether the server is left alone.
func (b *Breaker) Open() bool { return b.until.Load() != 0 }
