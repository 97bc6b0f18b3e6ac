// Package limit bounds rates by token buckets, one for all clients or one for each, and admits
// clients by lists of addresses. A Scope has both, and bounds the requests under way.
//
// Times are durations since a start of the caller's choice. They should not go back,
// but need not be in order between goroutines.
package limit

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Limit is the rate and the burst of a token bucket. The zero value is no limit.
type Limit struct {
	// PerSecond is the rate in the long run, from 0.001 to MaxPerSecond, to three
	// decimals.
	PerSecond float64
	// Burst is the number of tokens at once after a pause, at least 1.
	Burst int
}

// MaxPerSecond bounds Limit.PerSecond, so that no count overflows in the 292
// years that a time.Duration can hold.
const MaxPerSecond = 1_000_000

// token is one token, in thousandths, the unit of all counts.
const token = 1000

// bucket is the arithmetic of a token bucket. It never changes. The state is one number
// of the caller's: the tokens spent since the start, with the tokens lost while the
// bucket was full.
//
// The tokens earned since the start are computed anew each time, so that roundings do
// not add up to a drift. (golang.org/x/time/rate, which adds them up, takes 80 bytes
// and a lock for each bucket, and an allocation to return a wait.)
type bucket struct {
	rate  uint64 // thousandths of a token in a second
	burst int64  // thousandths of a token
}

func newBucket(l Limit) bucket {
	if !(l.PerSecond >= 0.001 && l.PerSecond <= MaxPerSecond) || l.Burst < 1 {
		panic("BUG: limit was not validated")
	}
	return bucket{rate: uint64(l.PerSecond*token + 0.5), burst: int64(l.Burst) * token}
}

// earned returns the tokens since the start.
func (b *bucket) earned(now time.Duration) int64 {
	hi, lo := bits.Mul64(uint64(max(now, 0)), b.rate)
	n, _ := bits.Div64(hi, lo, uint64(time.Second))
	return int64(n)
}

// full returns the tokens spent of a full bucket.
func (b *bucket) full(now time.Duration) int64 { return b.earned(now) - b.burst }

// take spends a token and returns the tokens spent after. Where there is no token, it
// returns the wait for one.
func (b *bucket) take(spent int64, now time.Duration) (after int64, wait time.Duration) {
	earned := b.earned(now)
	spent = max(spent, earned-b.burst)
	missing := spent + token - earned
	if missing <= 0 {
		return spent + token, 0
	}
	seconds, rest := uint64(missing)/b.rate, uint64(missing)%b.rate
	return spent, time.Duration(seconds)*time.Second + time.Duration((rest*uint64(time.Second)+b.rate-1)/b.rate)
}

// Rate is a token bucket for all clients together, full at the start. Create it
// with NewRate; a nil Rate has no limit. It is safe for concurrent use and takes
// no lock.
type Rate struct {
	bucket
	spent  atomic.Int64
	shared bool         // used is kept
	used   atomic.Int64 // tokens taken since Collect
}

// NewRate returns a bucket for l, nil for no limit.
func NewRate(l Limit) *Rate {
	if l == (Limit{}) {
		return nil
	}
	r := &Rate{bucket: newBucket(l)}
	r.spent.Store(r.full(0))
	return r
}

// Take takes a token. Where there is none, it returns the wait for one; 0 means taken.
//
// Hot path: zero allocations, guarded by TestAllocs.
func (r *Rate) Take(now time.Duration) (wait time.Duration) {
	if r == nil {
		return 0
	}
	for {
		spent := r.spent.Load()
		after, wait := r.take(spent, now)
		if wait > 0 {
			return wait
		}
		if r.spent.CompareAndSwap(spent, after) {
			if r.shared {
				r.used.Add(1)
			}
			return 0
		}
	}
}

// Return gives back a token that was not used.
func (r *Rate) Return() {
	if r == nil {
		return
	}
	r.spent.Add(-token)
	if r.shared {
		r.used.Add(-1)
	}
}
