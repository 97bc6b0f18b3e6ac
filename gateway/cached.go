package gateway

import (
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
)

// serveCached answers from the cache of the bucket, and fetches what is not there.
func (x *exchange) serveCached(ctx *fasthttp.RequestCtx) {
	c := x.bucket.cached
	x.conn = ctx.Conn()
	x.cacheKey = c.appendKey(x.cacheKey[:0], x.key, x.query)
	o := c.cache.Get(x.cacheKey)
	now := x.g.now()
	state := x.stateOf(ctx, o, now)
	switch {
	case state == cache.Refused:
		x.fail(ctx, problemOnlyIfCached)
		return
	case o != nil && o.Status == statusPass:
		if state == cache.Fresh && c.heed && x.control.OnlyIfCached {
			x.fail(ctx, problemOnlyIfCached)
			return
		}
		if state == cache.Fresh {
			x.forwards = forwardedMiss
			x.fetch(ctx)
			return
		}
		o = nil
	case state == cache.Fresh:
		x.answerCached(ctx, o, nil, outcomeHit, now)
		return
	case state == cache.StaleRevalidate:
		x.refreshInBackground(func() {})
		x.answerCached(ctx, o, nil, outcomeStale, now)
		return
	}
	x.forwards = forwardingOf(o, now)
	if c.heed && x.control.NoStore {
		x.fetch(ctx) // nothing that is fetched for it may be stored, RFC 9111 section 5.2.1.5
		return
	}
	if o == nil && (x.method == methodHead || x.wantsPart(ctx)) {
		// A part or a head alone is asked for as it is: the whole may be large.
		if c.fill && x.method == methodGet {
			x.fillInBackground()
		}
		x.how = outcomeMiss
		x.fetch(ctx)
		return
	}
	f, leads, o := c.joinIf(x.bucket.name, x.cacheKey, func(o *cache.Object) bool { return x.mayFollow(ctx, o, now) })
	if leads {
		if state = x.stateOf(ctx, o, now); o != nil && state == cache.Fresh {
			// Another flight has stored it since the look-up.
			if o.Status == statusPass {
				f.Pass()
				x.fetch(ctx)
				return
			}
			f.Land(o)
			x.answerCached(ctx, o, nil, outcomeHit, x.g.now())
			return
		}
		x.answerLed(ctx, x.lead(f, o), o)
		return
	}
	switch state, shared, err := f.Await(); state {
	case cache.Streaming:
		x.answerCached(ctx, shared, f, outcomeCoalesced, x.g.now())
	case cache.Landed:
		x.answerCached(ctx, shared, nil, outcomeCoalesced, x.g.now())
	case cache.Orphaned:
		x.answerLed(ctx, x.lead(f, o), o)
	case cache.Passed:
		x.fetch(ctx)
	case cache.Failed:
		x.answerFailed(ctx, err, o)
	default:
		panic("BUG: a flight that is awaited has the state " + strconv.Itoa(int(state)))
	}
}

// stateOf says what the object is good for; o may be nil.
func (x *exchange) stateOf(ctx *fasthttp.RequestCtx, o *cache.Object, now time.Time) cache.State {
	var f *cache.Freshness
	if o != nil {
		f = o.FreshnessAt(now)
	}
	state := cache.Expired
	if x.bucket.cached.heed {
		state = cache.Apply(x.wishes(ctx), f, now)
	} else if f != nil {
		state = f.State(now)
	}
	return state
}

// mayFollow tells whether the request may take what the flight under way brings. Before
// anything is known of that, it is as much an answer to this request as to the one that
// leads, unless this one wants the origin asked. Afterwards, o is a stored response as
// any other (RFC 9111 section 4), though its body still arrives.
func (x *exchange) mayFollow(ctx *fasthttp.RequestCtx, o *cache.Object, now time.Time) bool {
	if o != nil {
		return x.stateOf(ctx, o, now) == cache.Fresh
	}
	return !x.bucket.cached.heed || !x.control.NoCache && x.control.MaxAge != 0
}

// wishes returns what the request's Cache-Control and Pragma say.
func (x *exchange) wishes(ctx *fasthttp.RequestCtx) *cache.Control {
	x.control.Reset()
	h := &ctx.Request.Header
	lines := h.PeekAll(fasthttp.HeaderCacheControl)
	for _, line := range lines {
		cache.ParseControl(&x.control, line)
	}
	if len(lines) == 0 {
		for _, line := range h.PeekAll(fasthttp.HeaderPragma) {
			cache.ParsePragma(&x.control, line)
		}
	}
	return &x.control
}

// wantsPart tells whether the request is for one part, which the origin can be asked
// for alone. Any other Range takes the whole object, which is fetched once for all.
func (x *exchange) wantsPart(ctx *fasthttp.RequestCtx) bool {
	rng := x.readConditions(&ctx.Request.Header)
	return rng.kind == rangeUnsatisfiable || x.plan(rng).ranged
}

// answerLed answers with what the request's own flight brought.
func (x *exchange) answerLed(ctx *fasthttp.RequestCtx, l led, stale *cache.Object) {
	switch {
	case l.err != nil:
		x.answerFailed(ctx, l.err, stale)
	case l.object != nil:
		x.answerCached(ctx, l.object, l.flight, l.how, x.g.now())
	case x.wantsPart(ctx):
		x.fetch(ctx) // the part alone, now that the whole is known to pass the cache by
	default:
		x.how = outcomeMiss
		x.readConditions(&ctx.Request.Header)
		x.answer(ctx, forward{}, byteRange{})
	}
}

// answerFailed answers for a flight that failed: with a stale object, if there is
// one that may be, else with the error.
func (x *exchange) answerFailed(ctx *fasthttp.RequestCtx, err error, stale *cache.Object) {
	var failure *fetchError
	if !errors.As(err, &failure) {
		failure = &fetchError{problem: problemBroken, cause: err}
	}
	if stale != nil && stale.Status != statusPass && failure.problem.status >= 500 && x.mayServeOnError(ctx, stale) {
		x.cause = failure.cause
		x.answerCached(ctx, stale, nil, outcomeStale, x.g.now())
		return
	}
	x.cause, x.reason = failure.cause, failure.reason
	x.how = outcomeMiss
	x.fail(ctx, failure.problem)
}

func (x *exchange) mayServeOnError(ctx *fasthttp.RequestCtx, o *cache.Object) bool {
	state := x.stateOf(ctx, o, x.g.now())
	return state == cache.StaleError || state == cache.StaleRevalidate || state == cache.Fresh
}

// fetchError is a failed fetch, as those who waited for it are told.
type fetchError struct {
	problem *problem
	reason  string
	cause   error // what broke; may be nil
}

// newFetchError returns the failure of an exchange with the origin.
func newFetchError(err error) *fetchError {
	return &fetchError{problem: problemOf(err), reason: reasonOf(err), cause: err}
}

// Error implements error.
func (e *fetchError) Error() string { return "cannot fetch the object: " + e.problem.code }

// Unwrap returns what broke.
func (e *fetchError) Unwrap() error { return e.cause }
