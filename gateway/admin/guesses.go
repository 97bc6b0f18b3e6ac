package admin

import (
	"net/netip"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/limit"
)

// Guesses bounds how often an address may present a wrong admin.token: ten times, and then once a
// second. Beyond that no token from there is looked at, not even the right one, or the answer
// would tell it. Each listener has a table of its own, so that guesses by way of the main one,
// such as those of a whole proxy, lock no operator out of the metrics listener. Right tokens take
// nothing. Use NewGuesses. Safe for concurrent use.
type Guesses struct{ main, metrics *limit.Table }

// NewGuesses returns tables that remember so many addresses each.
func NewGuesses(addresses int) Guesses {
	l := limit.Limit{PerSecond: 1, Burst: 10}
	return Guesses{main: limit.NewTable(l, addresses), metrics: limit.NewTable(l, addresses)}
}

// of returns the table of a listener.
func (g *Guesses) of(metrics bool) *limit.Table {
	if metrics {
		return g.metrics
	}
	return g.main
}

// sender returns the address that a request comes from, and whether the lists of the
// configuration admit it, from its head: fasthttp asks whether to read a body before it calls the
// handler, and shows the head alone.
func (a *Server) sender(h *fasthttp.RequestHeader) (client netip.Addr, admitted bool) {
	gen := a.Generation.Load()
	x := a.Acquire(time.Now())
	defer x.Release()
	x.Identify(contextOf(h), gen)
	return x.Client, gen.Limits.Allow(x.Client)
}

// contextOf returns the context whose request has the head h. fasthttp.Server passes no other
// heads to HeaderReceived than the fields of its contexts, which TestGuesses notices if it changes.
func contextOf(h *fasthttp.RequestHeader) *fasthttp.RequestCtx {
	const offset = unsafe.Offsetof(fasthttp.RequestCtx{}.Request) + unsafe.Offsetof(fasthttp.Request{}.Header)
	return (*fasthttp.RequestCtx)(unsafe.Add(unsafe.Pointer(h), -int(offset)))
}
