package serve

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/coding"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/listing"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/pool"
)

// Exchange is the client's side of one request. It holds all that the end of the request
// needs: a body ends after fasthttp has taken the RequestCtx back.
//
// Get one by Server.Acquire. It is finished exactly once: by the handler, or, if
// closedByServer is set, by fasthttp, which closes it after the body. Not safe for
// concurrent use.
type Exchange struct {
	observe.Entry
	s *Server

	Target request.Target
	bucket *Bucket
	key    []byte // decoded object key, within Target

	access  auth.Request
	verdict auth.Verdict
	private bool // a token was asked for: shared caches must not keep the answer

	audience *cache.Audience // of the stored object whose head the answer has as it is; nil: of none

	Unread     bool // a body that came with the request and is not read: the connection is closed
	conditions request.Conditions
	control    cache.Control // Cache-Control of the request, where that counts
	admittedTo *limit.Scope  // the gateway's limits that count the request as under way; nil: none does

	cacheKey []byte        // empty: the answer does not involve a cache
	part     fill.Part     // of the cache in the answer
	fetch    *origin.Fetch // request to the origin whose answer is passed on; nil: none

	delivery
	client
	substitution
	lifecycle
	scratch []byte              // memory of small values and of the response's head
	trace   request.Traceparent // trace context of a trusted proxy; empty: none
}

// delivery is a body from memory on its way to the client.
type delivery struct {
	pinned   *cache.Object // stored object whose bytes are being sent; nil: none
	sending  pool.Sending  // of the bytes of pinned or listed
	flight   *cache.Flight // flight whose body is streamed; nil: none
	segments [][]byte      // the body in memory that is streamed instead
	conn     net.Conn      // the client's connection, for streaming
	coding   coding.Coding // of the body from memory
	varies   bool          // the answer depends on what codings the client accepts
	listed   *listing.Body // page of a listing whose bytes are being sent; nil: none
}

// client is what answers depend on beside the client's address.
type client struct {
	page   []byte         // Origin of the page that asks, within the request, where the bucket has CORS; empty: none says
	scheme request.Scheme // by which the client came to the trusted proxies
	secure bool           // the answer goes out over TLS
}

// lifecycle is how far an exchange and its response are.
type lifecycle struct {
	conditional    bool // the head has a precondition or a range
	conditionsRead bool
	closedByServer bool // fasthttp closes the exchange, see handOver
	finished       bool // finish was called
	complete       bool // the response has its Date and X-Request-ID
	noStore        bool // the answer is for now alone: nobody may keep it
}

// Acquire returns the exchange of a request that began at start. It ends by Release, or by
// the end of its request.
func (s *Server) Acquire(start time.Time) *Exchange {
	x, _ := s.exchanges.Get().(*Exchange)
	if x == nil {
		x = new(Exchange)
	}
	x.s, x.Start, x.finished = s, start, false
	return x
}

// maxScratch is the most memory, in bytes, that scratch keeps for the next request.
const maxScratch = 16 << 10

// reset clears what belongs to one request.
func (x *Exchange) reset() {
	x.sending.End()
	x.Entry.Reset()
	x.Target.Reset()
	x.access.Reset()
	if x.conditionsRead {
		x.conditions.Reset()
	}
	x.bucket, x.key, x.conn, x.audience = nil, nil, nil, nil
	x.verdict, x.private, x.Unread = auth.Verdict{}, false, false
	x.lifecycle, x.client = lifecycle{finished: x.finished}, client{}
	own := x.own[:0]
	x.substitution = substitution{}
	x.own = own
	x.part, x.flight = fill.Part{}, nil
	x.coding, x.varies = coding.Identity, false
	clear(x.segments)
	x.segments = x.segments[:0]
	x.trace = x.trace[:0]
	x.scratch, x.cacheKey = x.scratch[:0], x.cacheKey[:0]
	if cap(x.scratch) > maxScratch {
		x.scratch = nil
	}
}

// finish ends the request: one count, one access line, everything released.
func (x *Exchange) finish() {
	if x.finished {
		panic("BUG: an exchange is finished twice")
	}
	x.finished = true
	if x.fetch != nil {
		x.fetch.Release() // before the observer is told: what it did is noted by then
		x.fetch = nil
	}
	if x.admittedTo != nil {
		x.admittedTo.Leave(x.bucket.Limits)
		x.admittedTo = nil
	}
	took := x.TTFB // of an answer that went out whole with its head
	if x.closedByServer {
		took = time.Since(x.Start)
	}
	x.s.Record(&x.Entry, took)
	x.Release()
}

// Release gives x back. Neither log nor metrics learn of it.
func (x *Exchange) Release() {
	if x.fetch != nil {
		x.fetch.Release()
		x.fetch = nil
	}
	if x.pinned != nil {
		x.bucket.Cached.Cache.Unpin(x.pinned)
		x.pinned = nil
	}
	if x.listed != nil {
		x.listed.End(limit.AddressKey(x.Client))
		x.listed = nil
	}
	x.reset()
	x.s.exchanges.Put(x)
}

// exchangeKey is the user value under which fasthttp keeps, and after writing
// closes, the exchange of a body in memory.
type exchangeKey struct{}

// elapsed returns the time that an answer took which goes out whole with its head. A hit has read
// the clock already: to read it again takes a fortieth of its time.
func (x *Exchange) elapsed() time.Duration {
	if x.part.At.IsZero() {
		return time.Since(x.Start)
	}
	return x.part.At.Sub(x.Start)
}

// handOver has fasthttp close the exchange once the response, with a body in memory, is
// written or given up. firstByte is the time that the answer took to begin.
func (x *Exchange) handOver(ctx *fasthttp.RequestCtx, firstByte time.Duration) {
	x.closedByServer, x.TTFB = true, firstByte
	ctx.SetUserValue(exchangeKey{}, x)
}

// handOverStream has fasthttp call WriteTo for a body of length bytes, and then Close.
func (x *Exchange) handOverStream(ctx *fasthttp.RequestCtx, firstByte time.Duration, length int) {
	x.closedByServer, x.TTFB = true, firstByte
	ctx.Response.ImmediateHeaderFlush = true
	ctx.Response.SetBodyStream(x, length)
}

// takeBack undoes handOver and handOverStream, and drops the body: the handler finishes the
// exchange.
func (x *Exchange) takeBack(ctx *fasthttp.RequestCtx) {
	x.closedByServer = false // before fasthttp closes the body that it is to forget
	ctx.RemoveUserValue(exchangeKey{})
	ctx.Response.ResetBody()
	ctx.Response.ImmediateHeaderFlush = false
}

// Close finishes the exchange after a body. fasthttp calls it.
func (x *Exchange) Close() error {
	if x.closedByServer {
		if x.Cause == nil { // else WriteTo has failed
			x.noteEnd(x.cut())
		}
		x.finish()
	}
	return nil
}

// cut returns the error of an answer that was ended before its body began.
func (x *Exchange) cut() error {
	switch {
	case x.pinned != nil, x.listed != nil:
		return x.sending.Cut()
	case x.fetch != nil:
		return x.fetch.Answer.Cut()
	}
	return nil
}

// noteEnd notes how a body ended; nil: well.
func (x *Exchange) noteEnd(err error) {
	if err != nil {
		x.Cause = err
		if e, ok := errors.AsType[*pool.Error](err); ok {
			x.Reason = e.Reason.String()
		}
	}
}

// Read makes x a reader, as a body stream must be. fasthttp calls WriteTo instead.
func (x *Exchange) Read([]byte) (int, error) {
	panic("BUG: a streamed body is read instead of written")
}

// SupportsBodyWriteTo implements fasthttp.BodyWriterTo.
func (x *Exchange) SupportsBodyWriteTo() bool { return true }

// WriteTo streams the body to the client's connection, past fasthttp's writer, which is
// flushed after the head.
func (x *Exchange) WriteTo(io.Writer) (int64, error) {
	n, err := x.streamBody()
	x.Bytes += n
	x.noteEnd(err)
	return n, err // on an error fasthttp closes the connection: the client sees that bytes are missing
}

// errPanicked is the end of a body that a bug of the gateway cut short.
var errPanicked = errors.New("sending the body panicked")

// streamBody sends the body to the client's connection. A panic becomes an error: fasthttp
// would close the connection and tell nobody.
func (x *Exchange) streamBody() (n int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			x.s.RecordPanic(p, x.ID)
			x.Reason, err = problem.Panic.Reason, errPanicked
		}
	}()
	switch {
	case x.flight != nil:
		return x.sending.Send(x.conn, func(sent int64) ([]byte, error) { return x.flight.Read(int(sent)) })
	case len(x.segments) > 0:
		next := 0
		return x.sending.Send(x.conn, func(int64) ([]byte, error) {
			if next == len(x.segments) {
				return nil, nil
			}
			next++
			return x.segments[next-1], nil
		})
	}
	return x.fetch.Relay(x.conn)
}

// readConditions returns the request's preconditions and its range. It reads them out of the
// head once.
func (x *Exchange) readConditions(ctx *fasthttp.RequestCtx) *request.Conditions {
	if x.conditional && !x.conditionsRead {
		x.conditions.Read(&ctx.Request.Header, x.Method == observe.MethodGet, origin.IsPart(x.Query))
		x.conditionsRead = true
	}
	return &x.conditions
}

// beginFetch gives the exchange a fetch, unless it has one.
func (x *Exchange) beginFetch() {
	if x.fetch == nil {
		x.fetch = x.bucket.Origin.NewFetch(&x.Upstream, x.key, x.Query, x.ID, x.trace)
		x.fetch.Client = limit.AddressKey(x.Client)
	}
}
