package serve

import (
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
)

// limitProblems are the answers to requests that a limit refuses.
var limitProblems = [observe.NumLimits]*problem.Problem{
	observe.LimitAddress:        problem.Address,
	observe.LimitGlobalRate:     problem.GlobalRate,
	observe.LimitBucketRate:     problem.BucketRate,
	observe.LimitAddressRate:    problem.AddressRate,
	observe.LimitGlobalInFlight: problem.GlobalInFlight,
	observe.LimitBucketInFlight: problem.BucketInFlight,
	observe.LimitSubjectRate:    problem.SubjectRate,
	observe.LimitTokenFailures:  problem.TokenFailures,
	observe.LimitAdminGuesses:   problem.AdminGuesses,
}

// refusedBy are the limits that refuse requests, as log and metrics have them.
var refusedBy = [...]observe.Limit{
	limit.Admitted:      observe.LimitNone,
	limit.ByAddress:     observe.LimitAddress,
	limit.ByRate:        observe.LimitGlobalRate,
	limit.ByOwnRate:     observe.LimitBucketRate,
	limit.ByAddressRate: observe.LimitAddressRate,
	limit.ByInFlight:    observe.LimitGlobalInFlight,
	limit.ByOwnInFlight: observe.LimitBucketInFlight,
}

// admit holds a request against the limits that need no more than the client's address: all,
// those of the gateway as a whole, and the bucket's, if it is for one. It returns the limit that
// refuses the request, and for how long; otherwise a request for a bucket counts as under way.
func (x *Exchange) admit(all *limit.Scope) (by observe.Limit, wait time.Duration) {
	var own *limit.Scope
	if x.bucket != nil {
		own = x.bucket.Limits
	}
	refusal, wait := all.Admit(own, x.Client, x.Start.Sub(x.s.Started))
	if refusal == limit.Admitted && own != nil {
		x.admittedTo = all
	}
	return refusedBy[refusal], wait
}

// admitSubject holds an authorised request against the rates of its token's subject. It
// returns the time for which they refuse it.
func (x *Exchange) admitSubject() (wait time.Duration) {
	id := x.verdict.SubjectID
	if id == 0 {
		return 0 // no token was asked for, or it has no subject
	}
	now := time.Since(x.s.Started) // authorising may have waited for keys
	return x.admittedTo.AdmitSubject(x.bucket.Limits, id, x.Client, now)
}

// returnShared gives a refused request back to the rates that clients share.
func (x *Exchange) returnShared(all *limit.Scope) { all.Return(x.bucket.Limits) }

// Refuse answers a request that the limit by refuses for the time wait.
//
// Hot path of a flood: zero allocations, guarded by TestRefuseAllocs.
func (x *Exchange) Refuse(ctx *fasthttp.RequestCtx, by observe.Limit, wait time.Duration) {
	x.RejectedBy = by
	x.s.Metrics.Of(&x.Entry).Rejections(by).Inc()
	x.Fail(ctx, limitProblems[by])
	if wait > time.Second {
		seconds := int64((wait + time.Second - 1) / time.Second)
		x.scratch = strconv.AppendInt(x.scratch[:0], seconds, 10)
		ctx.Response.Header.SetCanonical(headerRetryAfter, x.scratch)
	}
}
