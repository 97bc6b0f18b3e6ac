// Package serve answers clients: one request, from its head to its last byte. Server.Handle is
// that path from top to bottom.
package serve

import (
	"sync"
	"sync/atomic"
	"time"
	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"

	"github.com/valyala/fasthttp"
)

// Server answers the requests of clients by the generation in effect. Its fields but the
// atomic ones are set before the first request. Safe for concurrent use.
type Server struct {
	*observe.Observer
	Origins *origin.Shared
	Started time.Time
	Now     func() time.Time // for the age of cached objects

	StreamBuffer  int           // size of a stream buffer, in bytes
	BehindProxies *listen.Conns // names the clients of connections behind proxies; nil: there are none

	// reserved answers the paths that are the gateway's own.
	Reserved func(ctx *fasthttp.RequestCtx, x *Exchange)

	Generation atomic.Pointer[Generation]
	exchanges  sync.Pool // of *exchange
	InFlight   atomic.Int64
	Draining   atomic.Bool
}
