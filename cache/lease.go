package cache

import (
	"sync/atomic"
	"time"
)

// Lease says for how long what is stored counts without news of purges that are made elsewhere.
// Who learns of them renews it; while that fails, objects stop being fresh. Get one by NewLease.
// Renew and Distrust are for one goroutine, the rest is safe for concurrent use.
type Lease struct {
	within time.Duration
	known  atomic.Pointer[known]
}

// known is what a lease goes by. It does not change once made.
type known struct {
	at      time.Time // every purge before is applied
	barrier time.Time // responses that were asked for before may have been purged unseen
}

// NewLease returns a lease that was never renewed. within is how long after the last news, or after
// the origin was asked, an object stays fresh; 0: as long as it says itself.
func NewLease(within time.Duration) *Lease {
	l := &Lease{within: within}
	l.known.Store(new(known))
	return l
}

// Renew says that every purge before a time is applied.
func (l *Lease) Renew(at time.Time) {
	l.known.Store(&known{at: at, barrier: l.known.Load().barrier})
}

// Distrust says that purges before a time were missed: what the origin was asked for before it is
// no longer fresh.
func (l *Lease) Distrust(before time.Time) {
	l.known.Store(&known{at: l.known.Load().at, barrier: before})
}

// Verified returns the moment before which every purge is applied; zero: there was no news yet.
func (l *Lease) Verified() time.Time { return l.known.Load().at }

// Unverified returns the time since the moment up to which every purge is applied, in nanoseconds;
// false: there was none yet.
func (l *Lease) Unverified(now time.Time) (time.Duration, bool) {
	at := l.known.Load().at
	return max(Elapsed(now, at), 0), !at.IsZero()
}

// limit returns f as it counts at now. Where the lease ends its freshness, nothing is served while
// it is validated: that would be one answer too many after a purge. What may be served on an error
// stays so.
//
// Hot path: zero allocations while the lease holds, guarded by TestLeaseAllocs.
func (l *Lease) limit(f *Freshness, now time.Time) *Freshness {
	k := l.known.Load()
	switch {
	case !f.Sent.After(k.barrier):
		return f.cut(f.Sent, now)
	case l.within == 0, Elapsed(now, k.at) < l.within, Elapsed(now, f.Sent) < l.within:
		return f
	case k.at.After(f.Sent):
		return f.cut(k.at.Add(l.within), now)
	}
	return f.cut(f.Sent.Add(l.within), now)
}

// cut returns f as if its lifetime ended at a time, and now at the latest, after which it is not served
// while it is validated. By the monotonic clock, that time may be still to come.
func (f *Freshness) cut(at, now time.Time) *Freshness {
	f = f.ended(at).ended(now)
	f.StaleWhileRevalidate = 0
	return f
}

// Elapsed returns the time from one moment to a later one, by the clock that says more: the
// monotonic one stands still while a virtual machine is suspended, the other can be set back.
func Elapsed(now, from time.Time) time.Duration {
	return max(now.Sub(from), time.Duration(now.UnixNano()-from.UnixNano()))
}
