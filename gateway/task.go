package gateway

import (
	"bytes"
	"time"
	"yatagarasu/cache"
	"yatagarasu/pool"

	"github.com/valyala/fasthttp"
)

// statusPass is the status of an object that stands for one that is not stored: it
// is too large, or says that it must not be. Requests for it do not wait for each
// other while it is fresh.
const statusPass = 0

// task is one fetch for the cache, on behalf of a flight. It owns its fetch while it has
// one. Not safe for concurrent use.
type task struct {
	cache   *bucketCache
	fetch   *fetch // nil once the rest of a body is read in the background
	key     []byte // of the object in the cache, which the caller owns
	wanted  bool   // the object is stored whatever the cache's policy thinks of it
	scratch []byte
}

// flightResult is what a flight brought its leader: an object, or an error, or neither where
// the response, which the task's fetch holds, cannot be shared.
type flightResult struct {
	object *cache.Object
	flight *cache.Flight // of an object whose body is still arriving
	how    cacheOutcome
	err    error

	crowded bool // there is no memory for the body now, see budget.reserve
}

// run fetches the object for f, and ends f, but for a body that goes on arriving. stale is
// what is stored and has to be validated; it may be nil. The fetch holds a connection to the
// origin afterwards only for a response that cannot be shared.
func (t *task) run(f *cache.Flight, stale *cache.Object) (r flightResult) {
	ended := false
	defer func() {
		if !ended { // a panic: nobody may wait for ever
			f.Fail(&fetchError{problem: problemPanic, reason: "panic"})
		}
	}()
	r = t.try(f, stale)
	ended = true
	if t.fetch != nil && (r.object != nil || r.err != nil) {
		t.fetch.up.Close() // the answer may take its client long, and does not come from there
	}
	return r
}

func (t *task) try(f *cache.Flight, stale *cache.Object) flightResult {
	sent, condition := t.cache.now(), validation(stale)
	err := t.fetch.send(condition, false)
	if err == nil && t.fetch.up.Header.StatusCode() == fasthttp.StatusNotModified {
		if t.validates(stale, condition) {
			return t.validated(f, stale, sent)
		}
		err = t.fetch.send(forward{}, false) // of another object, or uncalled for
	}
	if err != nil {
		return t.failFlight(f, newFetchError(err))
	}
	if t.fetch.up.Header.StatusCode() == fasthttp.StatusOK {
		return t.takeObject(f, stale, sent)
	}
	return t.takeError(f, stale, sent)
}

// validates tells whether the 304 at hand is about the stored object (RFC 9111,
// 4.3.4): one that was replaced by an older one has not been modified since, either.
func (t *task) validates(stale *cache.Object, sent forward) bool {
	etag, modified := t.fetch.validators()
	switch {
	case sent.condition == "":
		return false
	case len(etag) > 0:
		return stale.ETag != "" && weaklyEqual(etag, []byte(stale.ETag))
	case stale.ETag == "" && modified > 0:
		return modified == stale.Modified
	}
	return true
}

func weaklyEqual(a, b []byte) bool {
	return bytes.Equal(bytes.TrimPrefix(a, []byte("W/")), bytes.TrimPrefix(b, []byte("W/")))
}

// validated takes the news that the stored object is current.
func (t *task) validated(f *cache.Flight, stale *cache.Object, sent time.Time) flightResult {
	c := t.cache.cache
	o, reason := t.updated(stale, sent)
	switch {
	case reason != cache.Storable:
		c.PutSince(t.passMarker(sent), f.Epoch()) // it is good for this answer alone
	case !c.Replace(stale, o, f.Epoch()) && c.Peek(o.Key) == nil:
		t.store(o, f) // it was evicted meanwhile
	}
	f.Land(o)
	return flightResult{object: o, how: outcomeRevalidated}
}

// validation is what a request for a stored object is made conditional by.
func validation(o *cache.Object) forward {
	switch {
	case o == nil || o.Status != fasthttp.StatusOK:
		return forward{}
	case o.ETag != "":
		return forward{condition: "if-none-match", value: []byte(o.ETag)}
	case o.LastModified != "":
		return forward{condition: "if-modified-since", value: []byte(o.LastModified)}
	}
	return forward{}
}

// failFlight ends f with an error, or has one of those who wait try again where that
// may help.
func (t *task) failFlight(f *cache.Flight, e *fetchError) flightResult {
	switch e.reason {
	case pool.ReasonReset.String(), pool.ReasonTruncated.String(), pool.ReasonProtocol.String(), outcomeInternal.reason:
		f.FailOnce(e)
	default: // too much is asked already, or it would take as long again
		f.Fail(e)
	}
	return flightResult{err: e}
}

// takeObject takes a whole object.
func (t *task) takeObject(f *cache.Flight, stale *cache.Object, sent time.Time) flightResult {
	c := t.cache
	freshness, reason := t.assess(sent)
	if size := t.fetch.up.Length(); reason != cache.Storable || size > c.maxObject {
		f.Pass()
		c.cache.PutSince(t.passMarker(sent), f.Epoch())
		return flightResult{}
	}
	o := t.newObject(freshness)
	if !t.fetch.up.FitsBuffer() {
		if err := t.fetch.up.Await(); err != nil { // until there are bytes, a failure is nobody's yet
			return t.again(f, stale, err)
		}
		if !c.reserve(o, t.fetch.up.Length()) {
			f.Pass() // not for now
			return flightResult{crowded: true}
		}
		o.Body = make([]byte, t.fetch.up.Length())
		f.Stream(o)
		rest := &task{cache: c, fetch: t.fetch, wanted: t.wanted}
		t.fetch = nil
		rest.fetch.detach()
		rest.fetch.bucket.shared.background.run(func() { rest.fill(f, o) }) // ends with the body, or by the origin's timeouts
		return flightResult{object: o, flight: f, how: outcomeMiss}
	}
	body, err := t.fetch.up.Body()
	if err != nil {
		return t.again(f, stale, err)
	}
	o.Body = bytes.Clone(body)
	if !t.fetch.up.Surplus() {
		t.store(o, f)
	}
	f.Land(o)
	return flightResult{object: o, how: outcomeMiss}
}

// store stores what f brings, unless a purge has come since it began.
func (t *task) store(o *cache.Object, f *cache.Flight) {
	if c := t.cache.cache; t.wanted {
		c.AdmitSince(o, f.Epoch())
	} else {
		c.PutSince(o, f.Epoch())
	}
}

// again fetches the object once more if that may help against err.
func (t *task) again(f *cache.Flight, stale *cache.Object, err error) flightResult {
	if t.fetch.mayRepeat(err) {
		return t.try(f, stale)
	}
	return t.failFlight(f, newFetchError(err))
}

// fill reads the body of o, whose length is known, stores it when it is whole, and ends the
// fetch.
func (t *task) fill(f *cache.Flight, o *cache.Object) {
	defer t.fetch.release()
	defer t.cache.cache.Unpin(o)
	defer f.Fail(&fetchError{problem: problemPanic, reason: "panic"}) // unless it has ended
	if err := t.fetch.fill(o.Body, f.Filled); err != nil {
		f.Fail(newFetchError(err))
		return
	}
	if !t.fetch.up.Surplus() {
		t.store(o, f)
	}
	f.Land(o)
}

// takeError takes what is no object. That there is none is an answer for all who
// wait; anything else is a failure.
func (t *task) takeError(f *cache.Flight, stale *cache.Object, sent time.Time) flightResult {
	status := t.fetch.up.Header.StatusCode()
	if status < 400 || status == fasthttp.StatusRequestedRangeNotSatisfiable || status == fasthttp.StatusPreconditionFailed {
		f.Pass() // a part of an object, or nonsense: not for sharing
		return flightResult{}
	}
	s := t.fetch.noteRefusal()
	c := t.cache
	if s.status == fasthttp.StatusNotFound && stale != nil && !t.fetch.up.Surplus() {
		c.cache.Delete(stale.Key) // it is gone
	}
	freshness, reason := t.assess(sent)
	if status != fasthttp.StatusNotFound || s != outcomeNoSuchKey || reason != cache.Storable {
		return t.failFlight(f, &fetchError{problem: s.problem(), reason: s.reason})
	}
	o := &cache.Object{Key: bytes.Clone(t.key), Group: c.bucket.name, Status: status, Freshness: freshness}
	if !t.fetch.up.Surplus() {
		c.cache.PutSince(o, f.Epoch())
	}
	f.Land(o)
	return flightResult{object: o, how: outcomeMiss}
}

// passMarker returns the object that keeps the next requests from waiting for each
// other.
func (t *task) passMarker(now time.Time) *cache.Object {
	return &cache.Object{
		Key: bytes.Clone(t.key), Group: t.cache.bucket.name, Status: statusPass, Marker: true,
		Freshness: cache.Freshness{Sent: now, Lifetime: passFor, NeverStale: true},
	}
}
