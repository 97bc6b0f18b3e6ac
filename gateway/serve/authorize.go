package serve

import (
	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
)

// authorize decides by the bucket's policy whether the client may read the key. If not, it has
// answered. It asks neither cache nor origin, so the answer does not tell whether the object
// exists.
//
// Hot path: zero allocations for a token seen before, guarded by TestProxyAllocs.
func (x *Exchange) authorize(ctx *fasthttp.RequestCtx) bool {
	x.verdict = x.bucket.Policy.Authorize(x.accessTo(ctx, x.key))
	x.noteVerdict()
	x.private = !x.verdict.Public
	if x.verdict.Reason != auth.Allowed {
		x.answerRefused(ctx)
		return false
	}
	return true
}

// accessTo returns what the bucket's policy decides on for a key.
func (x *Exchange) accessTo(ctx *fasthttp.RequestCtx, key []byte) *auth.Request {
	q := &x.access
	q.Header, q.Query, q.Key = &ctx.Request.Header, x.Target.Query, key
	q.Method, q.Client, q.Now = observe.MethodNames[x.Method], x.Client, x.Start
	return q
}

// noteVerdict counts the verdict, and notes who the client is, and what it may.
func (x *Exchange) noteVerdict() {
	v := &x.verdict
	number := int(v.Reason)
	x.Auth = observe.Auth{Outcome: "denied", Subject: v.Subject}
	switch {
	case v.Public:
		x.Auth.Outcome, number = "public", auth.NumReasons
	case v.Reason == auth.Allowed:
		x.Auth.Outcome = "allowed"
	}
	if v.Reason != auth.Allowed {
		x.Auth.Reason = v.Reason.String()
	}
	x.bucket.Metrics.Verdicts(number, &x.Auth).Inc()
}

// answerRefused answers a request that may not read.
func (x *Exchange) answerRefused(ctx *fasthttp.RequestCtx) {
	if x.verdict.Reason == auth.TooManyFailures {
		x.returnShared(x.admittedTo)
		x.Refuse(ctx, observe.LimitTokenFailures, x.verdict.Wait)
		return
	}
	p := ProblemOfVerdict(x.verdict.Reason)
	if p == problem.Verifying {
		x.returnShared(x.admittedTo)
	}
	x.Reason, x.Cause = x.Auth.Reason, x.verdict.Cause
	x.failAbout(ctx, p)
}

// verdictProblems are the answers to a request that may not read the key (RFC 6750, 3).
var verdictProblems = [...]*problem.Problem{
	auth.Challenge:         problem.NoToken,
	auth.InvalidToken:      problem.BadToken,
	auth.InsufficientScope: problem.Scope,
	auth.Unavailable:       problem.NoKeys,
	auth.Later:             problem.Verifying,
}

// ProblemOfVerdict returns the answer for r; nil if the client may read.
func ProblemOfVerdict(r auth.Reason) *problem.Problem {
	switch r {
	case auth.Expired:
		return problem.TokenExpired
	case auth.IssuerUnavailable:
		return problem.NoIssuer
	}
	return verdictProblems[r.Answer()]
}
