package gateway

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"yatagarasu/pool"
	"yatagarasu/sign"
)

// exchange is the state of one request. It owns everything that the end of the
// request needs, because a body ends after fasthttp took the RequestCtx back.
//
// It is acquired at the start of the handler and finished exactly once: by the
// handler, or, when ending is set, by fasthttp closing it after the body.
type exchange struct {
	g     *Gateway
	start time.Time

	target target
	bucket *bucket
	key    []byte // decoded object key, within target
	method method
	client netip.Addr
	id     []byte // X-Request-ID
	path   []byte // raw path for the log, without query

	pre     preconditions
	query   []byte // canonical query for the origin
	head    []byte // request head for the origin
	keyPath []byte // encoded path for the origin
	headers [3]sign.Header
	rangeV  []byte // canonical Range for the origin
	date    []byte // canonical If-Modified-Since for the origin
	scratch []byte // for small values

	up       pool.Exchange
	sentHead bool     // the last request to the origin was HEAD
	conn     net.Conn // the client's, for streaming
	counted  bool     // in flight
	ending   bool     // fasthttp closes the exchange
	status   int
	reason   string // typed reason of a failure, for the log
	bytes    int64
	ttfb     time.Duration // to the end of the origin's head, or of the handler
	upstream int           // last status of the origin; 0: none
	s3ID     []byte        // S3's own request id
	cause    error         // what broke, for the log
}

// method is the class of a request's method.
type method uint8

const (
	methodGet method = iota
	methodHead
	methodOther
	numMethods
)

var methodNames = [numMethods]string{"GET", "HEAD", "other"}

func (g *Gateway) acquireExchange() *exchange {
	x := g.exchanges.Get().(*exchange)
	x.g = g
	x.start = time.Now()
	return x
}

// reset clears what belongs to one request; buffers keep their memory unless a
// request made them large.
func (x *exchange) reset() {
	const keep = 16 << 10
	x.target.reset()
	x.bucket, x.key, x.conn, x.cause = nil, nil, nil, nil
	x.client = netip.Addr{}
	x.pre = preconditions{}
	x.counted, x.ending = false, false
	x.status, x.reason, x.bytes, x.ttfb, x.upstream = 0, "", 0, 0, 0
	x.headers = [3]sign.Header{}
	for _, b := range []*[]byte{&x.id, &x.path, &x.query, &x.head, &x.keyPath, &x.rangeV, &x.date, &x.scratch, &x.s3ID} {
		if cap(*b) > keep {
			*b = nil
		}
		*b = (*b)[:0]
	}
}

// finish ends the request: one count, one access line, everything released.
func (x *exchange) finish() {
	g := x.g
	x.up.Close()
	if x.counted {
		g.inFlight.Add(-1)
	}
	g.observe(x)
	x.reset()
	g.exchanges.Put(x)
}

// exchangeKey is the user value under which fasthttp keeps, and after writing
// closes, the exchange of a body in memory.
type exchangeKey struct{}

// Close is called by fasthttp once the response was written or given up.
func (x *exchange) Close() error {
	x.finish()
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
	n, err := x.up.Stream(x.conn, x.g.pace)
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
