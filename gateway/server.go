package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// server answers the requests of clients by the generation in effect. Its fields but the
// atomic ones are set before the first request. Safe for concurrent use.
type server struct {
	*observer
	origins *shared
	started time.Time
	now     func() time.Time // for the age of cached objects

	streamBuffer  int        // size of a stream buffer, in bytes
	behindProxies *connTable // names the clients of connections behind proxies; nil: there are none

	// reserved answers the paths that are the gateway's own.
	reserved func(ctx *fasthttp.RequestCtx, x *exchange)

	generation atomic.Pointer[generation]
	exchanges  sync.Pool // of *exchange
	inFlight   atomic.Int64
	draining   atomic.Bool
}
