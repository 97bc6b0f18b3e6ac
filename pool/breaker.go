package pool

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// BreakerOptions say when a Breaker opens. A zero takes the default named there.
type BreakerOptions struct {
	// FailureRate is the percentage of at least 20 requests in 10 s that must fail;
	// default 50. Failures of one key count as one.
	FailureRate int
	// Consecutive is how many requests in a row must bring no answer; default 10. Those
	// that were sent count once for each key, of which there must be three.
	Consecutive int
	// Cooldown is how long it stays open at first, give or take a quarter; default
	// 1 s. It doubles up to 10 s each time that the requests after it fail.
	Cooldown time.Duration
	// Probed says that Probe is called from time to time: then no request is risked
	// before a probe has succeeded, or 10 s have passed.
	Probed bool
}

const (
	breakerSpan     = 10 * time.Second
	breakerRequests = 20               // fewer say nothing about a rate
	breakerKeys     = 3                // fewer keys that fail say nothing about the others
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
	ResultNone        Result = iota // it says nothing about the origin
	ResultSuccess                   // any answer but a failure, such as 404
	ResultUnreachable               // no connection, whatever was to be asked for
	ResultSilence                   // no answer to what was asked for
	ResultFailure                   // an answer that is a failure
	ResultOfKey                     // the same, and of this key alone: what is stored there makes it so
)

// ResultOf returns what an error of an exchange says about the origin.
func ResultOf(err error) Result {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok || !e.Reason.OfOrigin():
		return ResultNone
	case e.Reason == ReasonProtocol && (errors.Is(e.Err, errHeadBad) || e.Err == errHeadTooLarge): // by a header of the object
		return ResultOfKey
	case e.Reason == ReasonProtocol:
		return ResultFailure
	case e.Reason <= ReasonTLS, !e.Sent:
		return ResultUnreachable
	}
	return ResultSilence
}

// Verdict is whether a request may pass.
type Verdict uint8

// The verdicts of a Breaker.
const (
	Pass     Verdict = iota
	GivenUp          // the origin is left alone
	KeyFails         // the origin fails for this key, whatever becomes of others
)

// Ticket stands for a request that a Breaker let pass. The request hands it back with its
// result.
type Ticket struct {
	epoch uint64
	key   Key
	trial bool // of a key that fails by itself
	again bool // see Again
}

// Again returns the ticket of a request that is sent once more: it counts neither as a further
// request nor as a further failure of its key.
func (t Ticket) Again() Ticket {
	t.again = true
	return t
}

// Breaker keeps requests from an origin that fails, until it has recovered.
//
// A failure that may be about the key counts once for each key: what one object does is not
// held against all. Requests for a key that fails by itself do not pass for a few seconds,
// while others do. Keys are remembered in bounded memory.
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
	window   window   // all: requests; marked: failures, one for each key
	suspects suspects // by name: what has counted
	failing  suspects // by exact hash: what is not asked for
	run      uint64   // of requests without an answer between; never 0
	silent   int      // requests in this run that found no connection
	keys     int      // keys in this run without an answer
	proofs   int      // successes in a row while half open
	strikes  int      // keys that failed on the latest trial
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
	return &Breaker{opts: o, window: newWindow(breakerSpan), run: 1, cooldown: o.Cooldown}
}

// Allow tells whether a request for a key may pass; it must then call Done. If not, wait is
// how long until one may.
//
// Hot path: no allocation.
func (b *Breaker) Allow(k Key, now time.Time) (t Ticket, wait time.Duration, v Verdict) {
	if b == nil {
		return Ticket{}, 0, Pass
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case BreakerOpen:
		last := b.since.Add(maxCooldown)
		if now.Before(b.until) || b.opts.Probed && !b.proven && now.Before(last) {
			return Ticket{}, max(b.until.Sub(now), b.opts.Cooldown), GivenUp
		}
		b.enter(BreakerHalfOpen, now)
		b.trial = b.epoch
		b.strikes = 0
		b.until = now
	case BreakerHalfOpen:
		if now.Before(b.until) {
			return Ticket{}, b.opts.Cooldown, GivenUp
		}
	}
	t.key = k
	if s := b.failing.find(k.exact); s != nil && s.failsAlone(now) {
		if now.Before(s.until) {
			return Ticket{}, s.until.Sub(now), KeyFails
		}
		t.trial = true
		s.pause(now)
	}
	if b.state == BreakerHalfOpen {
		b.epoch++
		b.until = now.Add(breakerLease)
	}
	t.epoch = b.epoch
	return t, 0, Pass
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
	if b.state == BreakerHalfOpen {
		b.until = now // the next one may
	}
	switch r {
	case ResultNone, ResultUnreachable:
		if s := b.failing.find(t.key.exact); s != nil && t.trial {
			s.until = now // the next one for this key may
		}
		if r == ResultUnreachable {
			b.unreachable(now)
		}
	case ResultSuccess:
		if s := b.failing.find(t.key.exact); s != nil {
			s.good = true
		}
		b.succeed(t, now)
	case ResultSilence, ResultFailure, ResultOfKey:
		b.failKey(t, r, now)
	}
}

// Fail turns a success that was reported to Done into a failure that shows later: the body
// breaks off. If such bodies of several keys were on trial, the breaker opens even if others
// have closed it meanwhile, unless that is long ago.
func (b *Breaker) Fail(t Ticket, now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == BreakerOpen || t.epoch < b.trial {
		return // known already, or from before the origin's recovery
	}
	s := b.suspect(t, now, true)
	switch {
	case t.epoch == b.epoch && b.state == BreakerClosed:
		b.count(s, 0, now)
	case b.state == BreakerHalfOpen:
		b.proofs = max(0, b.proofs-1) // its head was one
		b.strike(s, now)
	case now.Sub(b.since) < breakerSpan:
		b.strike(s, now)
	}
}

// succeed notes a success; b.mu is held.
func (b *Breaker) succeed(t Ticket, now time.Time) {
	if b.state == BreakerClosed {
		b.endRun()
		if !t.again {
			b.window.add(now, 1, 0)
		}
		return
	}
	if b.proofs++; b.proofs == breakerProofs {
		b.enter(BreakerClosed, now)
		b.cooldown = b.opts.Cooldown
	}
}

// unreachable notes that a request found no connection; b.mu is held.
func (b *Breaker) unreachable(now time.Time) {
	if b.state == BreakerHalfOpen {
		b.reopen(now)
		return
	}
	b.silent++
	b.window.add(now, 1, 1)
	b.judge(now)
}

// failKey notes a failure that may be about the key; b.mu is held.
func (b *Breaker) failKey(t Ticket, r Result, now time.Time) {
	s := b.suspect(t, now, false)
	switch {
	case r == ResultOfKey:
	case b.state == BreakerHalfOpen:
		b.strike(s, now)
	case r == ResultFailure:
		b.endRun()
		b.count(s, 1, now)
	default:
		if s.run != b.run {
			s.run = b.run
			b.keys++
		}
		b.count(s, 1, now)
	}
}

// suspect notes that a request failed in a way that may be about its key, and returns what
// is known of that; b.mu is held.
func (b *Breaker) suspect(t Ticket, now time.Time, ofBody bool) *suspect {
	f := b.failing.add(t.key.exact)
	if !t.again {
		f.fail(now, ofBody)
	}
	f.good, f.last = false, now
	s := b.suspects.add(t.key.name)
	s.last = now
	return s
}

// strike notes that a key failed on trial. One says nothing: it may be the key; so the next
// request may try at once. b.mu is held.
func (b *Breaker) strike(s *suspect, now time.Time) {
	if s.trial == b.trial {
		return
	}
	s.trial = b.trial
	if b.strikes++; b.strikes == breakerKeys {
		b.reopen(now)
	}
}

// count counts a failure of a key while closed, and with it so many requests that are not
// counted yet, unless the key counts already; b.mu is held.
func (b *Breaker) count(s *suspect, requests uint32, now time.Time) {
	if now.Sub(s.counted) >= breakerSpan {
		s.counted = now
		b.window.add(now, requests, 1)
	}
	b.judge(now)
}

// judge opens the breaker if there were too many failures; b.mu is held.
func (b *Breaker) judge(now time.Time) {
	all, failures := b.window.sum(now)
	all = max(all, failures) // a long body may break off when its request is no longer counted
	gone := b.silent+b.keys >= b.opts.Consecutive && (b.silent > 0 || b.keys >= breakerKeys)
	if gone || all >= breakerRequests && failures >= breakerKeys && failures*100 >= all*b.opts.FailureRate {
		b.open(now)
	}
}

// endRun notes that an answer has come; b.mu is held.
func (b *Breaker) endRun() {
	b.run++
	b.silent, b.keys = 0, 0
}

// reopen opens it for longer than the last time; b.mu is held.
func (b *Breaker) reopen(now time.Time) {
	b.cooldown = min(2*b.cooldown, max(maxCooldown, b.opts.Cooldown))
	b.open(now)
}

// open lets nothing pass for the cooldown. What failed until now was the origin's fault, and
// no key's; b.mu is held.
func (b *Breaker) open(now time.Time) {
	b.enter(BreakerOpen, now)
	b.suspects.clear()
	b.failing.clear()
	b.opens++
	b.proven = false
	b.until = now.Add(b.cooldown*3/4 + rand.N(b.cooldown/2+1))
}

// enter changes the state; b.mu is held.
func (b *Breaker) enter(s BreakerState, now time.Time) {
	b.state, b.since = s, now
	b.epoch++
	b.window.clear()
	b.endRun()
	b.proofs = 0
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
