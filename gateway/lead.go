package gateway

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/pool"
)

// statusPass is the status of an object that stands for one that is not stored: it
// is too large, or says that it must not be. Requests for it do not wait for each
// other while it is fresh.
const statusPass = 0

// led is what a flight brought its leader: an object, or an error, or neither where
// the response, which the exchange holds, cannot be shared.
type led struct {
	object *cache.Object
	flight *cache.Flight // of an object whose body is still arriving
	how    cacheOutcome
	err    error

	crowded bool // there is no memory for the body now, see budget.reserve
}

// lead fetches the exchange's object for f, and ends f, but for a body that goes on
// arriving. stale is what is stored and has to be validated; it may be nil. The exchange
// holds a connection to the origin afterwards only for a response that cannot be shared.
func (x *exchange) lead(f *cache.Flight, stale *cache.Object) (l led) {
	ended := false
	defer func() {
		if !ended { // a panic: nobody may wait for ever
			f.Fail(&fetchError{problem: problemPanic, reason: "panic"})
		}
	}()
	l = x.leadTo(f, stale)
	ended = true
	if l.object != nil || l.err != nil {
		x.up.Close() // the answer may take its client long, and does not come from there
	}
	return l
}

func (x *exchange) leadTo(f *cache.Flight, stale *cache.Object) led {
	sent, condition := x.g.now(), validation(stale)
	err := x.send(condition, false)
	if err == nil && x.up.Header.StatusCode() == fasthttp.StatusNotModified {
		if x.validates(stale, condition) {
			return x.leadValidated(f, stale, sent)
		}
		err = x.send(forward{}, false) // of another object, or uncalled for
	}
	if err != nil {
		return x.failFlight(f, newFetchError(err))
	}
	if x.up.Header.StatusCode() == fasthttp.StatusOK {
		return x.leadObject(f, stale, sent)
	}
	return x.leadError(f, stale, sent)
}

// validates tells whether the 304 at hand is about the stored object (RFC 9111,
// 4.3.4): one that was replaced by an older one has not been modified since, either.
func (x *exchange) validates(stale *cache.Object, sent forward) bool {
	etag, modified := x.validators()
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

// leadValidated takes the news that the stored object is current.
func (x *exchange) leadValidated(f *cache.Flight, stale *cache.Object, sent time.Time) led {
	c := x.bucket.cached.cache
	o, reason := x.updated(stale, sent)
	switch {
	case reason != cache.Storable:
		c.PutSince(x.passMarker(sent), f.Epoch()) // it is good for this answer alone
	case !c.Replace(stale, o, f.Epoch()) && c.Peek(o.Key) == nil:
		x.store(o, f) // it was evicted meanwhile
	}
	f.Land(o)
	return led{object: o, how: outcomeRevalidated}
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
func (x *exchange) failFlight(f *cache.Flight, e *fetchError) led {
	switch e.reason {
	case pool.ReasonReset.String(), pool.ReasonTruncated.String(), pool.ReasonProtocol.String(), outcomeInternal.reason:
		f.FailOnce(e)
	default: // too much is asked already, or it would take as long again
		f.Fail(e)
	}
	return led{err: e}
}

// leadObject takes a whole object.
func (x *exchange) leadObject(f *cache.Flight, stale *cache.Object, sent time.Time) led {
	c := x.bucket.cached
	o, reason := x.newObject(sent)
	if size := x.up.Length(); reason != cache.Storable || size > c.maxObject {
		f.Pass()
		c.cache.PutSince(x.passMarker(sent), f.Epoch())
		return led{}
	}
	if !x.up.FitsBuffer() {
		if err := x.up.Await(); err != nil { // until there are bytes, a failure is nobody's yet
			return x.leadAgain(f, stale, err)
		}
		if !c.reserve(o, x.up.Length()) {
			f.Pass() // not for now
			return led{crowded: true}
		}
		o.Body = make([]byte, x.up.Length())
		f.Stream(o)
		g := x.g
		y := g.backgroundExchange(x.bucket, x.key, x.query, x.cacheKey)
		unused := y.up
		y.attempt, y.wanted = x.attempt, x.wanted
		x.up = unused
		g.background.Go(func() { // ends with the body, or by the origin's timeouts
			defer y.release()
			defer g.recoverBackground()
			y.fill(f, o)
		})
		return led{object: o, flight: f, how: outcomeMiss}
	}
	body, err := x.up.Body()
	if err != nil {
		return x.leadAgain(f, stale, err)
	}
	o.Body = bytes.Clone(body)
	if !x.up.Surplus() {
		x.store(o, f)
	}
	f.Land(o)
	return led{object: o, how: outcomeMiss}
}

// store stores what f brings, unless a purge has come since it began.
func (x *exchange) store(o *cache.Object, f *cache.Flight) {
	if c := x.bucket.cached.cache; x.wanted {
		c.AdmitSince(o, f.Epoch())
	} else {
		c.PutSince(o, f.Epoch())
	}
}

// leadAgain fetches the object once more if that may help against err.
func (x *exchange) leadAgain(f *cache.Flight, stale *cache.Object, err error) led {
	if x.mayRepeat(err) {
		return x.leadTo(f, stale)
	}
	return x.failFlight(f, newFetchError(err))
}

// fill reads the body of o, whose length is known, and stores it when it is whole.
func (x *exchange) fill(f *cache.Flight, o *cache.Object) {
	c := x.bucket.cached.cache
	defer c.Unpin(o)
	defer x.up.Close()
	defer f.Fail(&fetchError{problem: problemPanic, reason: "panic"}) // unless it has ended
	_, err := x.continued(func(from int64) (n int64, err error) {
		err = x.up.Fill(x.g.pace, o.Body[from:], func(have int) {
			n = int64(have)
			f.Filled(int(from) + have)
		})
		return n, err
	})
	if err != nil {
		f.Fail(newFetchError(err))
		return
	}
	if !x.up.Surplus() {
		x.store(o, f)
	}
	f.Land(o)
}

// leadError takes what is no object. That there is none is an answer for all who
// wait; anything else is a failure.
func (x *exchange) leadError(f *cache.Flight, stale *cache.Object, sent time.Time) led {
	status := x.up.Header.StatusCode()
	if status < 400 || status == fasthttp.StatusRequestedRangeNotSatisfiable || status == fasthttp.StatusPreconditionFailed {
		f.Pass() // a part of an object, or nonsense: not for sharing
		return led{}
	}
	s := x.noteRefusal()
	c := x.bucket.cached
	if s.status == fasthttp.StatusNotFound && stale != nil && !x.up.Surplus() {
		c.cache.Delete(stale.Key) // it is gone
	}
	o, reason := x.newObject(sent)
	if status != fasthttp.StatusNotFound || s != outcomeNoSuchKey || reason != cache.Storable {
		return x.failFlight(f, &fetchError{problem: s.problem(), reason: s.reason})
	}
	o.Header, o.Tags, o.ETag, o.LastModified, o.Modified = nil, nil, "", "", 0
	if !x.up.Surplus() {
		c.cache.PutSince(o, f.Epoch())
	}
	f.Land(o)
	return led{object: o, how: outcomeMiss}
}

// passMarker returns the object that keeps the next requests from waiting for each
// other.
func (x *exchange) passMarker(now time.Time) *cache.Object {
	return &cache.Object{
		Key: bytes.Clone(x.cacheKey), Group: x.bucket.name, Status: statusPass, Marker: true,
		Freshness: cache.Freshness{Sent: now, Lifetime: passFor, NeverStale: true},
	}
}

// backgroundExchange returns an exchange that fetches an object without a request.
// Nothing of the arguments is kept.
func (g *Gateway) backgroundExchange(b *bucket, key, query, cacheKey []byte) *exchange {
	y := g.acquireExchange(time.Now())
	y.bucket, y.method = b, methodGet
	y.ownKey = append(y.ownKey[:0], key...)
	y.key = y.ownKey
	y.query = append(y.query[:0], query...)
	y.cacheKey = append(y.cacheKey[:0], cacheKey...)
	return y
}

// maxFills is how many whole objects a bucket fetches at once because parts of them are
// asked for. No client waits for these: without a bound, one that asks for a byte of each
// object would have them take all connections to the origin, and all that it can send.
const maxFills = 4

// fillInBackground fetches the whole object of which a part is asked for, unless that is
// under way, or too many others are.
func (x *exchange) fillInBackground() {
	fills := &x.bucket.cached.fills
	if fills.Add(1) > maxFills || !x.refreshInBackground(func() { fills.Add(-1) }) {
		fills.Add(-1)
	}
}

// refreshInBackground fetches or validates the exchange's object, and then calls done.
// It does neither, and returns false, if that is under way. The goroutine ends with the
// fetch.
func (x *exchange) refreshInBackground(done func()) bool {
	f, leads, stale := x.bucket.cached.join(x.bucket.name, x.cacheKey)
	if !leads {
		return false
	}
	y := x.g.backgroundExchange(x.bucket, x.key, x.query, x.cacheKey)
	y.id = append(y.id[:0], x.id...)
	g := x.g // x is another request's by then
	g.background.Go(func() {
		defer done()
		defer y.release()
		defer g.recoverBackground()
		if l := y.lead(f, stale); l.flight != nil {
			l.flight.Read(len(l.object.Body)) // until it has ended
		}
	})
	return true
}

// recoverBackground keeps a panic of a background fetch from ending the process.
func (g *Gateway) recoverBackground() {
	if p := recover(); p != nil {
		g.observer.panicked(p, nil)
	}
}
