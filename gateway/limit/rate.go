// Package limit decides how often something may happen, and to whom: token
// buckets, one for all clients or one for each, and lists of addresses.
//
// Time is how long ago a start of the caller's choice was. It should not go
// back, but need not be in order between goroutines.
package limit

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Limit is how often something may happen. The zero value is no limit.
type Limit struct {
	// PerSecond is the rate in the long run, from 0.001 to MaxPerSecond, to three
	// decimals.
	PerSecond float64
	// Burst is how often at once after a pause, at least 1.
	Burst int
}

// MaxPerSecond bounds Limit.PerSecond, so that no count overflows in the 292
// years that a time.Duration can hold.
const MaxPerSecond = 1_000_000

// token is one token: they are counted in thousandths.
const token = 1000

// bucket is the arithmetic of a token bucket. Its state is one number, the tokens
// spent since the start, with those that came while the bucket was full.
//
// What has come since the start is computed anew each time, so that roundings do
// not add up to a drift. (golang.org/x/time/rate, which adds up, takes 80 bytes and
// a lock for each bucket, and an allocation to say how long to wait.)
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

// come returns the tokens that have come since the start.
func (b *bucket) come(now time.Duration) int64 {
	hi, lo := bits.Mul64(uint64(max(now, 0)), b.rate)
	n, _ := bits.Div64(hi, lo, uint64(time.Second))
	return int64(n)
}

// full returns what is spent of a bucket that is full.
func (b *bucket) full(now time.Duration) int64 { return b.come(now) - b.burst }

// take spends a token: it returns what is spent then. Where there is none, it
// returns how long it takes until there is.
func (b *bucket) take(spent int64, now time.Duration) (after int64, wait time.Duration) {
	come := b.come(now)
	spent = max(spent, come-b.burst)
	missing := spent + token - come
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
	spent atomic.Int64
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

// Take takes a token. Where there is none, it returns how long it takes until
// there is one; 0 means taken.
//
// Hot path: zero allocations, guarded by TestAllocs.
func (r *Rate) Take(now time.Duration) (wait time.Duration) {
	if r == nil {
		return 0
	}
	for {
		spent := r.spent.Load()
		after, wait := r.take(spent, now)
		if wait > 0 || r.spent.CompareAndSwap(spent, after) {
			return wait
		}
	}
}

// Return gives back a token that was taken for what did not happen after all.
func (r *Rate) Return() {
	if r != nil {
		r.spent.Add(-token)
	}
}
