// Package admin answers operators: administrative calls, metrics, health checks and the status
// page. A call is a row of routes, a metric a row of Families.
package admin

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/listen"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/probe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/route"
	"yatagarasu/gateway/serve"
)

// Server answers operators, on the metrics listener and under the reserved paths of the
// clients' one. The zero value is not usable: Server, Options, Ready and Guesses are set
// before the first request. Safe for concurrent use. Open and Serve begin the metrics listener, Close ends
// it; Prewarms has jobs of its own to close.
type Server struct {
	*serve.Server
	Options
	Ready    atomic.Pointer[probe.Readiness]
	Guesses  Guesses
	Prewarms prewarmJobs
	History  observe.History

	Listener   atomic.Pointer[net.TCPListener] // metrics listener; nil: none is open
	http       *fasthttp.Server                // server of the metrics listener
	Conns      listen.Conns                    // connections of the metrics listener
	loopback   atomic.Bool                     // whether this machine alone can reach the metrics listener
	LastReload atomic.Pointer[LastReload]      // nil: none was tried
}

// Options are facts about the process, and what else operators may have it do. All but Cluster are
// required.
type Options struct {
	Version, ConfigPath string
	MaxConns            int                      // of operators
	Flags               func() map[string]string // values of the flags, by name
	Reload              func() ReloadResult      // reads the configuration again
	Superseded          func() bool              // tells whether another process has taken over
	Cluster             *cluster.Node            // shares purges; nil: there are no other gateways
}

// Reserved answers the paths of route.IsReserved on the clients' listener.
func (a *Server) Reserved(ctx *fasthttp.RequestCtx, x *serve.Exchange) {
	switch {
	case route.IsAdmin(x.Target.Path):
		a.serveAdmin(ctx, x, false)
	case a.serveProbe(ctx, x, false):
	default: // /metrics, on the metrics listener alone
		x.Fail(ctx, problem.NoRoute)
	}
}

// serveProbe answers health checks, and reports whether the path is one of theirs. metrics says
// that the metrics listener received the request.
func (a *Server) serveProbe(ctx *fasthttp.RequestCtx, x *serve.Exchange, metrics bool) bool {
	code, report := fasthttp.StatusOK, any(nil)
	switch string(x.Target.Path) {
	case "/health":
		report = map[string]any{
			"status":         "healthy",
			"uptime_seconds": int64(time.Since(a.Started).Seconds()),
			"version":        a.Version,
		}
	case "/ready":
		code, report = a.Ready.Load().Report(a.Draining.Load() && !a.Superseded(), metrics)
	default:
		return false
	}
	if x.Method == observe.MethodOther {
		x.Fail(ctx, problem.Method)
	} else {
		replyJSON(ctx, x, code, report) // not LetIn: nothing bounds who asks, and how often
	}
	return true
}

// HeadReceived has fasthttp read the body of an administrative call from those who may make
// it, and no other body: the handler sees in the raw head that there is one, refuses it or
// answers as if there were none, and the connection is closed. metrics says which listener
// received h.
func (a *Server) HeadReceived(h *fasthttp.RequestHeader, metrics bool) fasthttp.RequestConfig {
	n := h.ContentLength()
	body := n > 0 || n == -1
	if body && a.invites(h, metrics) {
		request.Invite(h)
		conns := a.Clients
		if metrics {
			conns = &a.Conns
		}
		conns.Serving(contextOf(h).Conn()) // its body belongs to the request, and makes no room for others
		if n > maxBody {
			h.Del(fasthttp.HeaderExpect) // no 100 Continue: fasthttp refuses the body by its length
		}
		return fasthttp.RequestConfig{MaxRequestBodySize: maxBody}
	}
	return LeaveBody(h)
}

// LeaveBody has fasthttp read no body behind h, as HeadReceived does for all but administrative
// calls.
func LeaveBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := h.ContentLength(); n > 0 || n == -1 {
		h.SetContentLength(0)
		h.SetConnectionClose()
	}
	if len(h.Peek(fasthttp.HeaderExpect)) > 0 {
		h.Del(fasthttp.HeaderExpect) // nothing follows
	}
	return fasthttp.RequestConfig{}
}

// invites tells whether h is the sound head of an administrative call that takes a body, from
// somebody who may make it.
func (a *Server) invites(h *fasthttp.RequestHeader, metrics bool) bool {
	var head request.Head
	if head.Check(h.RawHeaders(), h.IsHTTP11()) != request.BodyNotAllowed { // a worse flaw
		return false
	}
	var t request.Target
	if t.Parse(h.RequestURI()) != nil || !route.IsAdmin(t.Path) {
		return false
	}
	client, admitted := a.sender(h)
	if !metrics && !admitted {
		return false
	}
	if p := a.mayAdminister(h, &t, client, metrics); p != nil {
		if p == problem.AdminToken {
			request.NoteGuess(h) // the handler does not charge it again
		}
		return false
	}
	found, _, _ := findRoute(string(h.Method()), string(t.Path))
	return found != nil && found.method != fasthttp.MethodGet
}

// SampleStatus samples the counters for the status page at each step, until stop is closed.
func (a *Server) SampleStatus(stop <-chan struct{}) {
	tick := time.NewTicker(observe.SampleInterval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case now := <-tick.C:
			a.History.Sample(a.Metrics, now)
		case <-stop:
			return
		}
		if n%observe.SamplesPerMinute == 0 {
			a.Slow.NextMinute()
		}
	}
}
