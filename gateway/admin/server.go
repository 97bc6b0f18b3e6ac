// Package admin answers operators: administrative calls, metrics, health checks and the status
// page.
package admin

import (
	"net"
	"sync/atomic"
	"time"
	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/probe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/serve"

	"github.com/valyala/fasthttp"
)

// Server answers operators: health checks, which both listeners have, and the metrics
// listener's administrative calls, metrics and status page. Its fields but the atomic ones
// are set before the first request. Safe for concurrent use.
type Server struct {
	*serve.Server
	Options
	Ready    atomic.Pointer[probe.Readiness]
	Prewarms prewarmJobs
	Ring     observe.Ring

	Listener   atomic.Pointer[net.TCPListener] // of metrics; nil: none is open
	http       *fasthttp.Server                // that serves it
	Conns      listen.Conns                    // its connections
	loopback   atomic.Bool                     // it is reached from this machine alone
	LastReload atomic.Pointer[LastReload]      // nil: none was tried
}

// Options are what operators are told and may do beyond the server.
type Options struct {
	Version, ConfigPath string
	Clients             *listen.Conns            // connections of clients
	Flags               func() map[string]string // values of the flags, by name
	Reload              func() ReloadResult
	Superseded          func() bool // another process has taken over
}

// Reserved answers the paths that isReserved names, for the clients' listener.
func (a *Server) Reserved(ctx *fasthttp.RequestCtx, x *serve.Exchange) {
	switch {
	case serve.IsAdmin(x.Target.Path):
		a.serveAdmin(ctx, x, false)
	case a.serveProbe(ctx, x):
	default: // /metrics, on the metrics listener alone
		x.Fail(ctx, problem.NoRoute)
	}
}

// serveProbe answers the paths of health checks, which both listeners have.
func (a *Server) serveProbe(ctx *fasthttp.RequestCtx, x *serve.Exchange) bool {
	code, report := fasthttp.StatusOK, any(nil)
	switch string(x.Target.Path) {
	case "/health":
		report = map[string]any{
			"status":         "healthy",
			"uptime_seconds": int64(time.Since(a.Started).Seconds()),
			"version":        a.Version,
		}
	case "/ready":
		code, report = a.Ready.Load().Report(a.Draining.Load() && !a.Superseded())
	default:
		return false
	}
	if x.Method == observe.MethodOther {
		x.Fail(ctx, problem.Method)
	} else {
		x.ReplyJSON(ctx, code, report)
	}
	return true
}

// HeadReceived keeps fasthttp from reading, or inviting, a request body: the
// handler sees it in the raw head, answers as if there were none, or refuses it, and the
// connection is closed. The body of an administrative call is read from those who may
// make it.
func (a *Server) HeadReceived(h *fasthttp.RequestHeader, metrics bool) fasthttp.RequestConfig {
	n := h.ContentLength()
	body := n > 0 || n == -1
	if body && a.invites(h, metrics) {
		h.Set(serve.HeaderInvited, "yes")
		if n > maxBody {
			h.Del(fasthttp.HeaderExpect) // fasthttp refuses it without a look at it
		}
		return fasthttp.RequestConfig{MaxRequestBodySize: maxBody}
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
func (a *Server) invites(h *fasthttp.RequestHeader, metrics bool) bool {
	method := string(h.Method())
	if method == fasthttp.MethodGet || method == fasthttp.MethodHead {
		return false
	}
	var t request.Target
	if t.Parse(h.RequestURI()) != nil || !serve.IsAdmin(t.Path) || a.mayAdminister(h, &t, metrics) != nil {
		return false
	}
	call, _, _ := findRoute(method, string(t.Path))
	return call != nil
}

// SampleStatus takes a sample at each step, until stop is closed.
func (a *Server) SampleStatus(stop <-chan struct{}) {
	tick := time.NewTicker(observe.Step)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case now := <-tick.C:
			a.Ring.Sample(a.Metrics, now)
		case <-stop:
			return
		}
		if n%observe.MinuteSteps == 0 {
			a.Slow.Turn()
		}
	}
}
