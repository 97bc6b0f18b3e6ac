// Package serve answers a client's request, from its head to the last byte of its answer. Begin
// with Server.serve, which is that path from top to bottom; the Exchange is the request.
package serve

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
)

// Server answers the requests of clients by the generation in effect. All fields but the atomic
// ones are set before the first request, and Generation is stored. Safe for concurrent use.
type Server struct {
	*observe.Observer
	Origins *origin.Shared
	Started time.Time
	Now     func() time.Time // for the age of cached objects

	HTTPSPort     int           // of the main listener, where that speaks TLS
	StreamBuffer  int           // size of a stream buffer, in bytes
	Clients       *listen.Conns // connections of clients
	BehindProxies *listen.Conns // names the clients of connections behind proxies; nil: there are none

	// Reserved answers the paths that are the gateway's own, see route.IsReserved.
	Reserved func(ctx *fasthttp.RequestCtx, x *Exchange)

	Generation atomic.Pointer[Generation] // the one in effect
	exchanges  sync.Pool                  // of *Exchange
	InFlight   atomic.Int64               // requests under way
	Draining   atomic.Bool                // connections are closed after their next answer
}
