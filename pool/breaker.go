package pool

import (
	"cmp"
	"math/rand/v2"
	"sync"
	"time"
)

// BreakerOptions say when a Breaker opens. A zero takes the default named there.
type BreakerOptions struct {
	// FailureRate is the percentage of at least 20 requests in 10 s that must fail;
	// default 50.
	FailureRate int
	// Consecutive is how many requests in a row must bring no answer; default 10.
	Consecutive int
	// Cooldown is how long it stays open at first, give or take a quarter; default
	// 1 s. It doubles up to 10 s each time that the request after it fails.
	Cooldown time.Duration
	// Probed says that Probe is called from time to time: then no request is risked
	// before a probe has succeeded, or 10 s have passed.
	Probed bool
}

const (
	breakerSpan     = 10 * time.Second
	breakerRequests = 20               // fewer say nothing about a rate
	breakerProofs   = 3                // successes in a row that close it
	breakerLease    = 30 * time.Second // after which a request on trial is not waited for
	maxCooldown     = 10 * time.Second
)

// BreakerState is what a Breaker does with requests.
type BreakerState uint8

// The states of a Breaker.
const (
	BreakerClosed   BreakerState = iota // all pass
	BreakerHalfOpen                     // one at a time passes, on trial
	BreakerOpen                         // none passes
)

var breakerNames = [...]string{"closed", "half_open", "open"}

// String returns the state's label in logs and metrics.
func (s BreakerState) String() string { return breakerNames[s] }

// Result is how a request ended, for a Breaker.
type Result uint8

// The results of a request.
const (
	ResultNone    Result = iota // it says nothing about the origin
	ResultSuccess               // any answer but a failure, such as 404
	ResultFailure               // an answer that is a failure
	ResultSilence               // no answer
)

// Ticket stands for a request that a Breaker let pass. The request hands it back with its
// result.
type Ticket struct{ epoch uint64 }

// Breaker keeps requests from an origin that fails, until it has recovered.
//
// A breaker cannot get stuck: a request on trial that never reports holds the next one up
// for a bounded time, and reports that come late, or are of a former state, are ignored.
//
// A Breaker is safe for concurrent use. Use NewBreaker; nil lets everything pass.
type Breaker struct {
	opts BreakerOptions

	mu       sync.Mutex // guards the following fields
	state    BreakerState
	epoch    uint64 // changes with the state, and with each request on trial
	trial    uint64 // first epoch of the latest time on trial
	opens    uint64
	window   window // all: requests; marked: failures
	silent   int    // requests without an answer in a row
	proofs   int    // successes in a row while half open
	cooldown time.Duration
	since    time.Time // of the state
	until    time.Time // open: not before; half open: the end of the lease
	proven   bool      // open: a probe has succeeded since
}

// NewBreaker returns a closed breaker.
func NewBreaker(o BreakerOptions) *Breaker {
	o.FailureRate = cmp.Or(o.FailureRate, 50)
	o.Consecutive = cmp.Or(o.Consecutive, 10)
	o.Cooldown = cmp.Or(o.Cooldown, time.Second)
	return &Breaker{opts: o, window: newWindow(breakerSpan), cooldown: o.Cooldown}
}

// Allow tells whether a request may pass; it must then call Done. If not, wait is how
// long until one may.
//
// Hot path: no allocation.
func (b *Breaker) Allow(now time.Time) (t Ticket, wait time.Duration, ok bool) {
	if b == nil {
		return Ticket{}, 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case BreakerClosed:
		return Ticket{b.epoch}, 0, true
	case BreakerOpen:
		last := b.since.Add(maxCooldown)
		if now.Before(b.until) || b.opts.Probed && !b.proven && now.Before(last) {
			return Ticket{}, max(b.until.Sub(now), b.opts.Cooldown), false
		}
		b.enter(BreakerHalfOpen, now)
		b.trial = b.epoch
	case BreakerHalfOpen:
		if now.Before(b.until) {
			return Ticket{}, b.opts.Cooldown, false
		}
	}
	b.epoch++
	b.until = now.Add(breakerLease)
	return Ticket{b.epoch}, 0, true
}

// Done reports the result of a request that was allowed.
func (b *Breaker) Done(t Ticket, r Result, now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.epoch != b.epoch {
		return
	}
	switch b.state {
	case BreakerClosed:
		b.count(r, now)
	case BreakerHalfOpen:
		b.until = now // the next one may
		switch r {
		case ResultSuccess:
			if b.proofs++; b.proofs == breakerProofs {
				b.enter(BreakerClosed, now)
				b.cooldown = b.opts.Cooldown
			}
		case ResultFailure, ResultSilence:
			b.reopen(now)
		}
	}
}

// Fail turns a success that was reported to Done into a failure that shows later: the body
// breaks off. If the request was on trial, the breaker opens even if others have closed it
// meanwhile, unless that is long ago.
func (b *Breaker) Fail(t Ticket, now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == BreakerOpen, t.epoch < b.trial:
		// Known already, or from before the origin's recovery.
	case t.epoch == b.epoch && b.state == BreakerClosed:
		b.fail(0, now)
	case b.state == BreakerHalfOpen, now.Sub(b.since) < breakerSpan:
		b.reopen(now)
	}
}

// count notes a result while closed; b.mu is held.
func (b *Breaker) count(r Result, now time.Time) {
	switch r {
	case ResultNone:
		return
	case ResultSuccess:
		b.silent = 0
		b.window.add(now, 1, 0)
		return
	case ResultFailure:
		b.silent = 0
	case ResultSilence:
		b.silent++
	}
	b.fail(1, now)
}

// fail counts a failure while closed, and with it so many requests that are not counted
// yet; b.mu is held.
func (b *Breaker) fail(requests uint32, now time.Time) {
	b.window.add(now, requests, 1)
	all, failures := b.window.sum(now)
	all = max(all, failures) // a long body may break off when its request is no longer counted
	if b.silent >= b.opts.Consecutive || all >= breakerRequests && failures*100 >= all*b.opts.FailureRate {
		b.open(now)
	}
}

// reopen opens it for longer than the last time; b.mu is held.
func (b *Breaker) reopen(now time.Time) {
	b.cooldown = min(2*b.cooldown, max(maxCooldown, b.opts.Cooldown))
	b.open(now)
}

// open lets nothing pass for the cooldown; b.mu is held.
func (b *Breaker) open(now time.Time) {
	b.enter(BreakerOpen, now)
	b.opens++
	b.proven = false
	b.until = now.Add(b.cooldown*3/4 + rand.N(b.cooldown/2+1))
}

// enter changes the state; b.mu is held.
func (b *Breaker) enter(s BreakerState, now time.Time) {
	b.state, b.since = s, now
	b.epoch++
	b.window.clear()
	b.silent, b.proofs = 0, 0
}

// Probe reports the result of a probe: a request that did not ask Allow, to find out
// whether the origin is there.
func (b *Breaker) Probe(ok bool) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == BreakerOpen {
		b.proven = ok
	}
}

// AwaitsProbe tells whether b lets nothing pass until a probe succeeds, or the time for
// one is over.
func (b *Breaker) AwaitsProbe() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == BreakerOpen && b.opts.Probed && !b.proven
}

// State returns the state and how often the breaker has opened.
func (b *Breaker) State() (state BreakerState, opens uint64) {
	if b == nil {
		return BreakerClosed, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.opens
}
