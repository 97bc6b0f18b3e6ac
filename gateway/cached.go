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
	now := x.s.now()
	if c.directives {
		x.readControl(&ctx.Request.Header)
	}
	state := x.stateOf(o, now)
	switch {
	case state == cache.Refused:
		x.fail(ctx, problemOnlyIfCached)
		return
	case o != nil && o.Status == statusPass:
		if state == cache.Fresh && c.directives && x.control.OnlyIfCached {
			x.fail(ctx, problemOnlyIfCached)
			return
		}
		if state == cache.Fresh {
			x.forward = forwardedMiss
			x.serveOrigin(ctx)
			return
		}
		o = nil
	case state == cache.Fresh:
		x.answerCached(ctx, o, nil, outcomeHit, now)
		return
	case state == cache.StaleRevalidate:
		c.refresh(x.key, x.query, x.id, x.cacheKey, func() {})
		x.answerCached(ctx, o, nil, outcomeStale, now)
		return
	}
	x.forward = forwardingOf(o, now)
	if c.directives && x.control.NoStore {
		x.serveOrigin(ctx) // nothing that is fetched for it may be stored, RFC 9111 section 5.2.1.5
		return
	}
	if o == nil && (x.method == methodHead || x.readConditions(ctx).wantsPart()) {
		// A part or a head alone is asked for as it is: the whole may be large.
		if c.fill && x.method == methodGet {
			c.fillInBackground(x.key, x.query, x.id, x.cacheKey)
		}
		x.how = outcomeMiss
		x.serveOrigin(ctx)
		return
	}
	f, leads, o := c.joinIf(x.cacheKey, func(o *cache.Object) bool { return x.mayFollow(o, now) })
	if leads {
		if state = x.stateOf(o, now); o != nil && state == cache.Fresh {
			// Another flight has stored it since the look-up.
			if o.Status == statusPass {
				f.Pass()
				x.serveOrigin(ctx)
				return
			}
			f.Land(o)
			x.answerCached(ctx, o, nil, outcomeHit, x.s.now())
			return
		}
		x.answerFlight(ctx, x.fetchForFlight(f, o), o)
		return
	}
	switch state, shared, err := f.Await(); state {
	case cache.Streaming:
		x.answerCached(ctx, shared, f, outcomeCoalesced, x.s.now())
	case cache.Landed:
		x.answerCached(ctx, shared, nil, outcomeCoalesced, x.s.now())
	case cache.Orphaned:
		x.answerFlight(ctx, x.fetchForFlight(f, o), o)
	case cache.Passed:
		x.serveOrigin(ctx)
	case cache.Failed:
		x.answerFailed(ctx, err, o)
	default:
		panic("BUG: a flight that is awaited has the state " + strconv.Itoa(int(state)))
	}
}

// stateOf says what the object is good for; o may be nil.
func (x *exchange) stateOf(o *cache.Object, now time.Time) cache.State {
	var f *cache.Freshness
	if o != nil {
		f = o.FreshnessAt(now)
	}
	state := cache.Expired
	if x.bucket.cached.directives {
		state = cache.Apply(&x.control, f, now)
	} else if f != nil {
		state = f.State(now)
	}
	return state
}

// mayFollow tells whether the request may take what the flight under way brings. Before
// anything is known of that, it is as much an answer to this request as to the one that
// leads, unless this one wants the origin asked. Afterwards, o is a stored response as
// any other (RFC 9111 section 4), though its body still arrives.
func (x *exchange) mayFollow(o *cache.Object, now time.Time) bool {
	if o != nil {
		return x.stateOf(o, now) == cache.Fresh
	}
	return !x.bucket.cached.directives || !x.control.NoCache && x.control.MaxAge != 0
}

// readControl takes what the request's Cache-Control and Pragma say.
func (x *exchange) readControl(h *fasthttp.RequestHeader) {
	x.control.Reset()
	lines := h.PeekAll(fasthttp.HeaderCacheControl)
	for _, line := range lines {
		cache.ParseControl(&x.control, line)
	}
	if len(lines) == 0 {
		for _, line := range h.PeekAll(fasthttp.HeaderPragma) {
			cache.ParsePragma(&x.control, line)
		}
	}
}

// fetchForFlight fetches the object for f, which the request leads. x has a fetch afterwards
// only if the response cannot be shared.
func (x *exchange) fetchForFlight(f *cache.Flight, stale *cache.Object) flightResult {
	x.beginFetch()
	t := task{cache: x.bucket.cached, fetch: x.fetch, key: x.cacheKey, scratch: x.scratch}
	x.fetch = nil
	defer func() { x.fetch, x.scratch = t.fetch, t.scratch }()
	return t.run(f, stale)
}

// answerFlight answers with what the request's own flight brought.
func (x *exchange) answerFlight(ctx *fasthttp.RequestCtx, l flightResult, stale *cache.Object) {
	switch {
	case l.err != nil:
		x.answerFailed(ctx, l.err, stale)
	case l.object != nil:
		x.answerCached(ctx, l.object, l.flight, l.how, x.s.now())
	case x.readConditions(ctx).wantsPart():
		x.serveOrigin(ctx) // the part alone, now that the whole is known to pass the cache by
	default:
		x.how = outcomeMiss
		x.readConditions(ctx)
		x.answer(ctx, forward{})
	}
}

// answerFailed answers for a flight that failed: with a stale object, if there is
// one that may be, else with the error.
func (x *exchange) answerFailed(ctx *fasthttp.RequestCtx, err error, stale *cache.Object) {
	var failure *fetchError
	if !errors.As(err, &failure) {
		failure = &fetchError{problem: problemBroken, cause: err}
	}
	if stale != nil && stale.Status != statusPass && failure.problem.status >= 500 && x.mayServeOnError(stale) {
		x.cause = failure.cause
		x.answerCached(ctx, stale, nil, outcomeStale, x.s.now())
		return
	}
	x.cause, x.reason = failure.cause, failure.reason
	x.how = outcomeMiss
	x.fail(ctx, failure.problem)
}

func (x *exchange) mayServeOnError(o *cache.Object) bool {
	state := x.stateOf(o, x.s.now())
	return state == cache.StaleError || state == cache.StaleRevalidate || state == cache.Fresh
}
