package fill

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
)

// StatusPass is the status of a marker, which stands for an object that is not stored because
// it is too large or says that it must not be. While the marker is fresh, requests for the
// object do not wait for each other.
const StatusPass = 0

// Task is one fetch for the cache, on behalf of a flight. Fill in the exported fields, then call
// Run. It owns its fetch while it has one; the caller releases it. Not safe for concurrent use.
type Task struct {
	Cache   *Cache
	Fetch   *origin.Fetch // nil once the rest of a body is read in the background
	Key     []byte        // cache key of the object; the caller owns it
	Origin  bool          // the client wants the origin asked, not what other gateways have stored
	asked   bool          // others were asked
	wanted  bool          // the object is stored whatever the cache's admission policy says
	at      cluster.Place // what was purged when the origin was asked
	Scratch []byte        // memory of heads, for the next task, too
}

// Result is what a flight brings its leader: an object, or an error, or neither if the
// response, which the task's fetch holds, cannot be shared.
type Result struct {
	Object  *cache.Object
	Flight  *cache.Flight // the flight, if the object's body still arrives; else nil
	Outcome observe.Outcome
	Err     error

	crowded bool // there is no memory for the body now, see takeObject
}

// Run fetches the object for f and ends f, unless the body still arrives: then a goroutine
// ends f. stale is the stored object to revalidate; it may be nil. Afterwards the fetch holds
// a connection to the origin only if the response cannot be shared.
func (t *Task) Run(f *cache.Flight, stale *cache.Object) (r Result) {
	ended := false
	defer func() {
		if !ended { // a panic: nobody may wait for ever
			f.Fail(&origin.Error{Problem: problem.Panic, Reason: "panic"})
		}
	}()
	r = t.try(f, stale)
	ended = true
	if t.Fetch != nil && (r.Object != nil || r.Err != nil) {
		t.Fetch.Answer.Close() // the client may take long, and does not need it
	}
	return r
}

func (t *Task) try(f *cache.Flight, stale *cache.Object) Result {
	if t.Cache.shelf != nil {
		if !t.Origin && !t.asked {
			t.asked = true
			if o := t.fromOthers(f, stale); o != nil {
				return Result{Object: o, Outcome: observe.Shared}
			}
		}
		t.at = t.Cache.shelf.Place()
	}
	sent, condition := t.Cache.Options.Now(), validation(stale)
	err := t.Fetch.Send(condition, false)
	if err == nil && t.Fetch.Answer.Header.StatusCode() == fasthttp.StatusNotModified {
		if t.validates(stale, condition) {
			return t.validated(f, stale, sent)
		}
		err = t.Fetch.Send(request.Plan{}, false) // of another object, or uncalled for
	}
	if err != nil {
		return t.failFlight(f, origin.NewError(err))
	}
	if t.Fetch.Answer.Header.StatusCode() == fasthttp.StatusOK {
		return t.takeObject(f, stale, sent)
	}
	return t.takeError(f, stale, sent)
}

// validates tells whether the 304 at hand is about the stored object (RFC 9111, 4.3.4). It may
// be about another: an older one that took its place has not been modified since, either.
func (t *Task) validates(stale *cache.Object, sent request.Plan) bool {
	etag, modified := t.Fetch.Validators()
	switch {
	case sent.Condition == "":
		return false
	case len(etag) > 0:
		return stale.ETag != "" && bytes.Equal(bytes.TrimPrefix(etag, weak), bytes.TrimPrefix([]byte(stale.ETag), weak))
	case stale.ETag == "" && modified > 0:
		return modified == stale.Modified
	}
	return true
}

var weak = []byte("W/")

// validated lands the stored object, which the 304 at hand revalidates.
func (t *Task) validated(f *cache.Flight, stale *cache.Object, sent time.Time) Result {
	c := t.Cache.Cache
	o, reason := t.updated(stale, sent)
	switch {
	case reason != cache.Storable: // it is good for this answer alone
		c.PutSince(t.passMarker(sent), f.Epoch())
	case !c.Replace(stale, o, f.Epoch()) && c.Peek(o.Key) == nil:
		t.store(o, f) // it was evicted meanwhile
	default:
		t.share(o, f)
	}
	f.Land(o)
	return Result{Object: o, Outcome: observe.Revalidated}
}

// validation returns the plan that revalidates o, which may be nil.
func validation(o *cache.Object) request.Plan {
	switch {
	case o == nil || o.Status != fasthttp.StatusOK:
		return request.Plan{}
	case o.ETag != "":
		return request.Plan{Condition: "if-none-match", Value: []byte(o.ETag)}
	case o.LastModified != "":
		return request.Plan{Condition: "if-modified-since", Value: []byte(o.LastModified)}
	}
	return request.Plan{}
}

// failFlight ends f with an error, or has one of the waiting requests lead it if another try
// may help.
func (t *Task) failFlight(f *cache.Flight, e *origin.Error) Result {
	switch e.Reason {
	case pool.ReasonReset.String(), pool.ReasonTruncated.String(), pool.ReasonProtocol.String(), s3error.Internal.Reason:
		f.FailOnce(e)
	default: // the origin is overloaded, or would take as long again
		f.Fail(e)
	}
	return Result{Err: e}
}

// takeObject lands the whole object that the response at hand has, or passes f.
func (t *Task) takeObject(f *cache.Flight, stale *cache.Object, sent time.Time) Result {
	c := t.Cache
	freshness, reason := t.assess(sent)
	if size := t.Fetch.Answer.Length(); reason != cache.Storable || size > c.MaxObjectSize {
		f.Pass()
		c.Cache.PutSince(t.passMarker(sent), f.Epoch())
		return Result{}
	}
	o := t.newObject(fasthttp.StatusOK, freshness)
	t.takeHead(o)
	if !t.Fetch.Answer.FitsBuffer() {
		if err := t.Fetch.Answer.Await(); err != nil { // until the first byte, nobody has seen a failure
			return t.again(f, stale, err)
		}
		if !c.reserve(t, o, t.Fetch.Answer.Length()) {
			f.Pass() // not for now
			return Result{crowded: true}
		}
		o.Body = make([]byte, t.Fetch.Answer.Length())
		f.Stream(o)
		rest := &Task{Cache: c, Fetch: t.Fetch, wanted: t.wanted, at: t.at}
		t.Fetch = nil
		rest.Fetch.Detach()
		rest.Fetch.Bucket.Shared.Background.Run(func() { rest.fill(f, o) }) // ends with the body, or by the origin's timeouts
		return Result{Object: o, Flight: f, Outcome: observe.Miss}
	}
	body, err := t.Fetch.Answer.Body()
	if err != nil {
		return t.again(f, stale, err)
	}
	o.Body = bytes.Clone(body)
	if !t.Fetch.Answer.Surplus() {
		t.store(o, f)
	}
	f.Land(o)
	return Result{Object: o, Outcome: observe.Miss}
}

// store stores the object of f, unless a purge has come since f began, and shares it.
func (t *Task) store(o *cache.Object, f *cache.Flight) {
	t.keep(o, f)
	t.share(o, f)
}

// keep stores the object of f in memory, unless a purge has come since f began.
func (t *Task) keep(o *cache.Object, f *cache.Flight) {
	if c := t.Cache.Cache; t.wanted {
		c.AdmitSince(o, f.Epoch())
	} else {
		c.PutSince(o, f.Epoch())
	}
}

// share stores an object for all gateways, unless a purge has come since its flight began.
func (t *Task) share(o *cache.Object, f *cache.Flight) {
	if c := t.Cache; c.shelf != nil && c.Cache.Epoch(o.Group, o.Key) == f.Epoch() {
		c.shelf.Put(o, t.at)
	}
}

// again fetches the object once more if that may help, or fails f with err.
func (t *Task) again(f *cache.Flight, stale *cache.Object, err error) Result {
	if t.Fetch.AwaitRetry(err) {
		return t.try(f, stale)
	}
	return t.failFlight(f, origin.NewError(err))
}

// fill reads the body of o, whose length is known, stores it when it is whole, and ends the
// fetch.
func (t *Task) fill(f *cache.Flight, o *cache.Object) {
	defer t.Fetch.Release()
	defer t.Cache.Cache.Arrived(o)
	defer f.Fail(&origin.Error{Problem: problem.Panic, Reason: "panic"}) // unless it has ended
	if err := t.Fetch.Fill(o.Body, f.Filled); err != nil {
		f.Fail(origin.NewError(err))
		return
	}
	if !t.Fetch.Answer.Surplus() {
		t.store(o, f)
	}
	f.Land(o)
}

// takeError ends f for a response without an object. That no object exists is an answer for all
// waiting requests; any other error is a failure of f.
func (t *Task) takeError(f *cache.Flight, stale *cache.Object, sent time.Time) Result {
	status := t.Fetch.Answer.Header.StatusCode()
	if status < 400 || status == fasthttp.StatusRequestedRangeNotSatisfiable || status == fasthttp.StatusPreconditionFailed {
		f.Pass() // a part of an object, or nonsense: not for sharing
		return Result{}
	}
	s := t.Fetch.NoteOriginError()
	c := t.Cache
	if s.Status == fasthttp.StatusNotFound && stale != nil && !t.Fetch.Answer.Surplus() {
		c.Cache.Delete(stale.Key) // it is gone
	}
	freshness, reason := t.assess(sent)
	if status != fasthttp.StatusNotFound || s != s3error.NoSuchKey || reason != cache.Storable {
		return t.failFlight(f, &origin.Error{Problem: &s.Problem, Reason: s.Reason})
	}
	o := t.newObject(status, freshness)
	// Absent keys with empty segments are not noted: they would take the places of those
	// that are there, of which few are stored.
	if !t.Fetch.Answer.Surplus() && !cache.IsAlias(t.Key) {
		c.Cache.PutSince(o, f.Epoch())
		t.share(o, f)
	}
	f.Land(o)
	return Result{Object: o, Outcome: observe.Miss}
}

// passMarker returns the marker of an object that is not stored, see StatusPass.
func (t *Task) passMarker(now time.Time) *cache.Object {
	o := t.newObject(StatusPass, cache.Freshness{Sent: now, Lifetime: passFor, NeverStale: true})
	o.Marker = true
	return o
}
