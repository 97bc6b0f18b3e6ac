package gateway

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// admin answers operators: health checks, which both listeners have, and the metrics
// listener's administrative calls, metrics and status page. Its fields but the atomic ones
// are set before the first request. Safe for concurrent use.
type admin struct {
	*server
	adminOptions
	ready    atomic.Pointer[readiness]
	prewarms prewarmJobs
	ring     statusRing

	listener   atomic.Pointer[net.TCPListener] // of metrics; nil: none is open
	http       *fasthttp.Server                // that serves it
	conns      connTable                       // its connections
	loopback   atomic.Bool                     // it is reached from this machine alone
	lastReload atomic.Pointer[lastReload]      // nil: none was tried
}

// adminOptions are what operators are told and may do beyond the server.
type adminOptions struct {
	version, configPath string
	clients             *connTable               // connections of clients
	flags               func() map[string]string // values of the flags, by name
	reload              func() reloadResult
	superseded          func() bool // another process has taken over
}

// reserved answers the paths that isReserved names, for the clients' listener.
func (a *admin) reserved(ctx *fasthttp.RequestCtx, x *exchange) {
	switch {
	case isAdmin(x.target.path):
		a.serveAdmin(ctx, x, false)
	case a.serveProbe(ctx, x):
	default: // /metrics, on the metrics listener alone
		x.fail(ctx, problemNoRoute)
	}
}

// serveProbe answers the paths of health checks, which both listeners have.
func (a *admin) serveProbe(ctx *fasthttp.RequestCtx, x *exchange) bool {
	code, report := fasthttp.StatusOK, any(nil)
	switch string(x.target.path) {
	case "/health":
		report = map[string]any{
			"status":         "healthy",
			"uptime_seconds": int64(time.Since(a.started).Seconds()),
			"version":        a.version,
		}
	case "/ready":
		code, report = a.ready.Load().report(a.draining.Load() && !a.superseded())
	default:
		return false
	}
	if x.method == methodOther {
		x.fail(ctx, problemMethod)
	} else {
		x.replyJSON(ctx, code, report)
	}
	return true
}

// headReceived keeps fasthttp from reading, or inviting, a request body: the
// handler sees it in the raw head, answers as if there were none, or refuses it, and the
// connection is closed. The body of an administrative call is read from those who may
// make it.
func (a *admin) headReceived(h *fasthttp.RequestHeader, metrics bool) fasthttp.RequestConfig {
	n := h.ContentLength()
	body := n > 0 || n == -1
	if body && a.invites(h, metrics) {
		h.Set(headerInvited, "yes")
		if n > maxAdminBody {
			h.Del(fasthttp.HeaderExpect) // fasthttp refuses it without a look at it
		}
		return fasthttp.RequestConfig{MaxRequestBodySize: maxAdminBody}
	}
	if body {
		h.SetContentLength(0)
		h.SetConnectionClose()
	}
	if len(h.Peek(fasthttp.HeaderExpect)) > 0 {
		h.Del(fasthttp.HeaderExpect) // nothing is expected to follow
	}
	return fasthttp.RequestConfig{}
}

// invites tells whether the body that h announces is read: that of an administrative
// call that may have one, of somebody who may make it.
func (a *admin) invites(h *fasthttp.RequestHeader, metrics bool) bool {
	method := string(h.Method())
	if method == fasthttp.MethodGet || method == fasthttp.MethodHead {
		return false
	}
	var t target
	if t.parse(h.RequestURI()) != targetOK || !isAdmin(t.path) || a.mayAdminister(h, &t, metrics) != nil {
		return false
	}
	call, _, _ := findAdminCall(method, string(t.path))
	return call != nil
}

// sampleStatus takes a sample at each step, until stop is closed.
func (a *admin) sampleStatus(stop <-chan struct{}) {
	tick := time.NewTicker(statusStep)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case now := <-tick.C:
			a.ring.sample(a.metrics, now)
		case <-stop:
			return
		}
		if n%statusMinute == 0 {
			a.slow.turn()
		}
	}
}
