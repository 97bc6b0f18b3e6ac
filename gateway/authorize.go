package gateway

import (
	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
)

// authorize decides by the bucket's policy whether the client may read the key. If
// not, it has answered; neither cache nor origin is asked, so the answer does not
// tell whether the object exists.
//
// Hot path: zero allocations for a token seen before, guarded by TestProxyAllocs.
func (x *exchange) authorize(ctx *fasthttp.RequestCtx) bool {
	q := &x.access
	q.Header, q.Query, q.Key = &ctx.Request.Header, x.target.query, x.key
	q.Method, q.Now = methodNames[x.method], x.start
	x.verdict = x.bucket.policy.Authorize(q)
	x.private = !x.verdict.Public
	x.auth = entryOf(&x.verdict)
	number := int(x.verdict.Reason)
	if x.verdict.Public {
		number = auth.NumReasons
	}
	x.bucket.metrics.verdict(number, &x.auth).Inc()
	if p := problemOfVerdict(x.verdict.Reason); p != nil {
		x.fail(ctx, p)
		x.reason = x.verdict.Reason.String()
		return false
	}
	return true
}

// problemOfVerdict returns the answer for r (RFC 6750, 3); nil if the client may
// read.
func problemOfVerdict(r auth.Reason) *problem {
	switch r.Answer() {
	case auth.Grant:
		return nil
	case auth.Challenge:
		return problemNoToken
	case auth.InsufficientScope:
		return problemScope
	case auth.Unavailable:
		return problemNoKeys
	}
	if r == auth.Expired {
		return problemExpired
	}
	return problemBadToken
}

// entryOf returns what log and metrics are told of a verdict.
func entryOf(v *auth.Verdict) authEntry {
	a := authEntry{outcome: "denied", subject: v.Subject}
	switch {
	case v.Public:
		a.outcome = "public"
	case v.Reason == auth.Allowed:
		a.outcome = "allowed"
	}
	if v.Reason != auth.Allowed {
		a.reason = v.Reason.String()
	}
	return a
}
