package gateway

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/auth"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// exchange is the state of one request. It owns everything that the end of the
// request needs, because a body ends after fasthttp took the RequestCtx back.
//
// It is acquired at the start of the handler and finished exactly once: by the
// handler, or, when ending is set, by fasthttp closing it after the body.
type exchange struct {
	entry
	g *Gateway

	target target
	bucket *bucket
	key    []byte // decoded object key, within target

	access  auth.Request
	verdict auth.Verdict
	private bool // a token was asked for: shared caches must not keep the answer

	unread      bool // a body came with the request and was not read: the connection is closed
	conditional bool // the head has a precondition or a range
	pre         preconditions
	head        []byte         // request head for the origin
	keyPath     []byte         // encoded path for the origin
	headers     [3]sign.Header // a condition, the range, and who pays
	rangeV      []byte         // canonical Range for the origin
	date        []byte         // canonical If-Modified-Since for the origin
	scratch     []byte         // for small values

	cacheKey []byte
	ownKey   []byte // key of a background fetch, which has no target
	control  cache.Control
	wanted   bool          // the object is stored whatever the cache's policy thinks of it
	forwards forwarding    // where the answer is not from memory as it is
	flight   *cache.Flight // whose body is streamed
	segments [][]byte      // else the body, in memory
	pinned   *cache.Object // that either is of

	attempt
	failed    replicaSet  // replicas that have failed this request
	tag       []byte      // ETag of a body that broke off
	corrected bool        // a credential or the clock was, once
	conn      net.Conn    // the client's, for streaming
	within    *scope      // in flight, counted there and in the bucket's; nil: not
	ending    bool        // fasthttp closes the exchange, see handOver
	finished  bool        // finish was called
	dated     bool        // the response has a Date
	trace     traceparent // of a trusted proxy; empty: none
}

// attempt is the latest request of an exchange to a replica, and its answer. A hedge that
// wins puts its own in the place of the first.
type attempt struct {
	up      *pool.Exchange
	replica *replica
	ticket  pool.Ticket   // of the replica's breaker
	signer  *sign.Signer  // of the request
	skew    time.Duration // of the clock it was signed by, against this one
	refusal *s3Outcome    // what the answer means if it is an error, else nil
	doc     s3ErrorDoc    // the error's document
}

// acquireExchange returns an exchange of a request that began at start.
func (g *Gateway) acquireExchange(start time.Time) *exchange {
	x := g.exchanges.Get().(*exchange)
	x.g, x.start, x.finished = g, start, false
	return x
}

// reset clears what belongs to one request.
func (x *exchange) reset() {
	x.target.reset()
	x.entry.reset()
	x.bucket, x.key, x.conn = nil, nil, nil
	x.access.Reset()
	x.verdict, x.private = auth.Verdict{}, false
	x.pre, x.conditional, x.unread = preconditions{}, false, false
	x.ending, x.dated = false, false
	x.trace = x.trace[:0]
	x.headers = [3]sign.Header{}
	x.attempt = attempt{up: x.up}
	x.failed, x.corrected = 0, false
	x.forwards, x.flight, x.wanted = forwardedNot, nil, false
	clear(x.segments)
	x.segments = x.segments[:0]
	for _, b := range [...]*[]byte{&x.head, &x.keyPath, &x.rangeV, &x.date, &x.scratch, &x.cacheKey, &x.ownKey, &x.tag} {
		*b = emptied(*b)
	}
}

// emptied returns b without its bytes. It keeps its memory unless a request made it large.
func emptied(b []byte) []byte {
	const keep = 16 << 10
	if cap(b) > keep {
		return nil
	}
	return b[:0]
}

// since returns how long the request has been under way.
func (x *exchange) since() time.Duration { return time.Since(x.start) }

// took returns how long the request has taken: up to now, or, of an answer that went out
// whole with its head, up to that.
func (x *exchange) took() time.Duration {
	if x.ending {
		return x.since()
	}
	return x.firstByte
}

// finish ends the request: one count, one access line, everything released.
func (x *exchange) finish() {
	if x.finished {
		panic("BUG: an exchange is finished twice")
	}
	x.finished = true
	g := x.g
	x.up.Close()
	x.leave()
	g.observe(&x.entry, x.took())
	x.release()
}

// release gives x back without a trace in log and metrics.
func (x *exchange) release() {
	g := x.g
	x.up.Close()
	x.up.SetInterruptible(false)
	if x.pinned != nil {
		x.bucket.cached.cache.Unpin(x.pinned)
		x.pinned = nil
	}
	x.reset()
	g.exchanges.Put(x)
}

// exchangeKey is the user value under which fasthttp keeps, and after writing
// closes, the exchange of a body in memory.
type exchangeKey struct{}

// handOver has fasthttp close the exchange once the response, whose body is in memory, was
// written or given up.
func (x *exchange) handOver(ctx *fasthttp.RequestCtx) {
	x.ending = true
	ctx.SetUserValue(exchangeKey{}, x)
}

// handOverStream has fasthttp call WriteTo for a body of length bytes, and then close the
// exchange.
func (x *exchange) handOverStream(ctx *fasthttp.RequestCtx, length int) {
	x.ending = true
	ctx.Response.ImmediateHeaderFlush = true
	ctx.Response.SetBodyStream(x, length)
}

// takeBack undoes either, and drops the body: the handler finishes the exchange.
func (x *exchange) takeBack(ctx *fasthttp.RequestCtx) {
	x.ending = false // before fasthttp closes the body that it is to forget
	ctx.RemoveUserValue(exchangeKey{})
	ctx.Response.ResetBody()
	ctx.Response.ImmediateHeaderFlush = false
}

// Close is called by fasthttp.
func (x *exchange) Close() error {
	if x.ending {
		x.finish()
	}
	return nil
}

// Read exists because a body stream must be a reader; fasthttp uses WriteTo.
func (x *exchange) Read([]byte) (int, error) {
	panic("BUG: a streamed body is read instead of written")
}

// SupportsBodyWriteTo implements fasthttp.BodyWriterTo.
func (x *exchange) SupportsBodyWriteTo() bool { return true }

// WriteTo streams the body to the client's connection, past the writer, which
// fasthttp has flushed after the head.
func (x *exchange) WriteTo(io.Writer) (int64, error) {
	n, err := x.streamBody()
	x.bytes += n
	if err != nil {
		x.cause = err
		var e *pool.Error
		if errors.As(err, &e) {
			x.reason = e.Reason.String()
		}
		// fasthttp closes the connection: the client sees that bytes are missing.
	}
	return n, err
}

// errPanicked is a body that a mistake in the gateway cut short.
var errPanicked = errors.New("sending the body panicked")

// streamBody sends the body to the client's connection. A panic becomes an error here:
// fasthttp would end the connection for it and tell nobody.
func (x *exchange) streamBody() (n int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			x.g.observer.panicked(p, x.id)
			x.reason, err = problemPanic.reason, errPanicked
		}
	}()
	switch {
	case x.flight != nil:
		return pool.Send(x.conn, x.g.pace, func(sent int64) ([]byte, error) { return x.flight.Read(int(sent)) })
	case len(x.segments) > 0:
		next := 0
		return pool.Send(x.conn, x.g.pace, func(int64) ([]byte, error) {
			if next == len(x.segments) {
				return nil, nil
			}
			next++
			return x.segments[next-1], nil
		})
	}
	return x.relay()
}
