package serve

import (
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
)

// serveCached answers from the bucket's cache, and on a miss by a flight.
func (x *Exchange) serveCached(ctx *fasthttp.RequestCtx) {
	c := x.bucket.Cached
	x.conn = ctx.Conn()
	x.cacheKey = c.AppendKey(x.cacheKey[:0], x.key, x.Query)
	o := c.Cache.Get(x.cacheKey)
	now := x.s.Now()
	if c.ClientDirectives {
		request.ReadControl(&x.control, &ctx.Request.Header)
	}
	state := c.StateOf(o, &x.control, now)
	passed := o != nil && o.Status == fill.StatusPass
	switch {
	case state == cache.Refused, passed && state == cache.Fresh && c.ClientDirectives && x.control.OnlyIfCached:
		x.Fail(ctx, problem.OnlyIfCached)
		return
	case passed && state == cache.Fresh:
		x.part.Forward = fill.ForwardedMiss
		x.serveOrigin(ctx)
		return
	case passed:
		o = nil
	case state == cache.Fresh:
		x.answerCached(ctx, o, nil, observe.Hit, now)
		return
	case state == cache.StaleRevalidate:
		c.Refresh(x.key, x.Query, x.ID, x.cacheKey, func() {})
		x.answerCached(ctx, o, nil, observe.Stale, now)
		return
	}
	x.part.Forward = c.ForwardOf(o, now)
	if c.ClientDirectives && x.control.NoStore {
		x.serveOrigin(ctx) // nothing that is fetched for it may be stored, RFC 9111 section 5.2.1.5
		return
	}
	if o == nil && (x.Method == observe.MethodHead || x.conditional && x.readConditions(ctx).WantsPart()) {
		// A part or a head alone is asked for as it is: the whole may be large.
		if c.FillOnRange && x.Method == observe.MethodGet {
			c.FillInBackground(x.key, x.Query, x.ID, x.cacheKey)
		}
		x.CacheOutcome = observe.Miss
		x.serveOrigin(ctx)
		return
	}
	f, leads, o := c.Join(x.cacheKey, func(o *cache.Object) bool { return x.mayFollow(o, now) })
	if leads {
		if state = c.StateOf(o, &x.control, now); o != nil && state == cache.Fresh {
			// Another flight stored it after the look-up.
			if o.Status == fill.StatusPass {
				f.Pass()
				x.serveOrigin(ctx)
				return
			}
			f.Land(o)
			x.answerCached(ctx, o, nil, observe.Hit, x.s.Now())
			return
		}
		x.answerFlight(ctx, x.fetchForFlight(f, o), o)
		return
	}
	flight, shared, err := f.Await()
	now = x.s.Now()
	if shared != nil && !c.Cache.Verified(shared, now) {
		x.serveOrigin(ctx) // a purge may have come unseen while it was fetched
		return
	}
	switch flight {
	case cache.Streaming:
		x.answerCached(ctx, shared, f, observe.Coalesced, now)
	case cache.Landed:
		x.answerCached(ctx, shared, nil, observe.Coalesced, now)
	case cache.Orphaned:
		x.answerFlight(ctx, x.fetchForFlight(f, o), o)
	case cache.Passed:
		x.serveOrigin(ctx)
	case cache.Failed:
		x.answerFailed(ctx, err, o)
	default:
		panic("BUG: a flight that is awaited has the state " + strconv.Itoa(int(flight)))
	}
}

// mayFollow tells whether the request may join the flight under way, which brings o. While o
// is nil, the flight has no response yet, which will be as much an answer to this request as
// to the leader's, unless this one wants the origin asked. Later, o is a stored response like
// any other (RFC 9111 section 4), though its body still arrives.
func (x *Exchange) mayFollow(o *cache.Object, now time.Time) bool {
	if o != nil {
		return x.bucket.Cached.StateOf(o, &x.control, now) == cache.Fresh
	}
	if x.bucket.Cached.Shares() && x.wantsOrigin() {
		return false // what it brings may be of any age
	}
	return !x.bucket.Cached.ClientDirectives || !x.control.NoCache && x.control.MaxAge != 0
}

// wantsOrigin tells whether the request says how old an answer may be: what other gateways have
// stored is none to it.
func (x *Exchange) wantsOrigin() bool {
	c := &x.control
	return x.bucket.Cached.ClientDirectives && (c.NoCache || c.MaxAge >= 0 || c.MinFresh >= 0)
}

// fetchForFlight fetches the object for f, which the request leads. x keeps its fetch only if
// the response cannot be shared.
func (x *Exchange) fetchForFlight(f *cache.Flight, stale *cache.Object) fill.Result {
	t := fill.Task{Cache: x.bucket.Cached, Key: x.cacheKey, Scratch: x.scratch, Origin: x.wantsOrigin()}
	x.beginFetch()
	t.Fetch = x.fetch
	x.fetch = nil
	defer func() { x.fetch, x.scratch = t.Fetch, t.Scratch }()
	return t.Run(f, stale)
}

// answerFlight answers with the result of the flight that the request led.
func (x *Exchange) answerFlight(ctx *fasthttp.RequestCtx, r fill.Result, stale *cache.Object) {
	switch {
	case r.Err != nil:
		x.answerFailed(ctx, r.Err, stale)
	case r.Object != nil:
		x.answerCached(ctx, r.Object, r.Flight, r.Outcome, x.s.Now())
	case x.conditional && x.readConditions(ctx).WantsPart():
		x.serveOrigin(ctx) // the part alone, now that the whole is known to pass the cache by
	default:
		x.CacheOutcome = observe.Miss
		x.readConditions(ctx)
		x.answer(ctx, request.Plan{})
	}
}

// answerFailed answers for a flight that failed: with the stale object, if there is one that
// may be served on an error, else with the problem.
func (x *Exchange) answerFailed(ctx *fasthttp.RequestCtx, err error, stale *cache.Object) {
	failure, ok := errors.AsType[*origin.Error](err)
	if !ok {
		failure = &origin.Error{Problem: problem.Broken, Cause: err}
	}
	if stale != nil && stale.Status != fill.StatusPass && failure.Problem.Status >= 500 {
		switch x.bucket.Cached.StateOf(stale, &x.control, x.s.Now()) {
		case cache.StaleError, cache.StaleRevalidate, cache.Fresh:
			x.Cause = failure.Cause
			x.answerCached(ctx, stale, nil, observe.Stale, x.s.Now())
			return
		}
	}
	x.Cause, x.Reason = failure.Cause, failure.Reason
	x.CacheOutcome = observe.Miss
	x.failAbout(ctx, failure.Problem)
}
