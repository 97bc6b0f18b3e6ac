package serve

import (
	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"

	"github.com/valyala/fasthttp"
)

// authorize decides by the bucket's policy whether the client may read the key. If
// not, it has answered; neither cache nor origin is asked, so the answer does not
// tell whether the object exists.
//
// Hot path: zero allocations for a token seen before, guarded by TestProxyAllocs.
func (x *Exchange) authorize(ctx *fasthttp.RequestCtx) bool {
	q := &x.access
	q.Header, q.Query, q.Key = &ctx.Request.Header, x.Target.Query, x.key
	q.Method, q.Now = observe.MethodNames[x.Method], x.Start
	x.verdict = x.bucket.Policy.Authorize(q)
	x.private = !x.verdict.Public
	x.Auth = entryOf(&x.verdict)
	number := int(x.verdict.Reason)
	if x.verdict.Public {
		number = auth.NumReasons
	}
	x.bucket.Metrics.Verdicts(number, &x.Auth).Inc()
	if p := ProblemOfVerdict(x.verdict.Reason); p != nil {
		x.Fail(ctx, p)
		x.Reason = x.verdict.Reason.String()
		return false
	}
	return true
}

// ProblemOfVerdict returns the answer for r (RFC 6750, 3); nil if the client may
// read.
func ProblemOfVerdict(r auth.Reason) *problem.Problem {
	switch r.Answer() {
	case auth.Grant:
		return nil
	case auth.Challenge:
		return problem.NoToken
	case auth.InsufficientScope:
		return problem.Scope
	case auth.Unavailable:
		return problem.NoKeys
	}
	if r == auth.Expired {
		return problem.Expired
	}
	return problem.BadToken
}

// entryOf returns what log and metrics are told of a verdict.
func entryOf(v *auth.Verdict) observe.Auth {
	a := observe.Auth{Outcome: "denied", Subject: v.Subject}
	switch {
	case v.Public:
		a.Outcome = "public"
	case v.Reason == auth.Allowed:
		a.Outcome = "allowed"
	}
	if v.Reason != auth.Allowed {
		a.Reason = v.Reason.String()
	}
	return a
}
