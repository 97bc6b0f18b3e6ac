package serve

import (
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config/frontend"
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

// scope is the limits of the gateway as a whole, or of one bucket. Safe for concurrent use.
type scope struct {
	addresses   *limit.Addresses
	rates       frontend.Rates // the configuration of the next three
	rate        *limit.Rate
	perAddress  *limit.Table
	perSubject  *limit.Table
	maxInFlight int64         // 0: no limit
	InFlight    *atomic.Int64 // outlives the generation, as its requests may
}

// newScope returns a scope. Rates that old, which may be nil, has too keep their state. With share,
// other gateways take of the same rates.
func newScope(old *scope, rates frontend.Rates, maxInFlight, clients int, allow, deny []netip.Prefix, share bool) *scope {
	s := &scope{rates: rates, maxInFlight: int64(maxInFlight), addresses: limit.NewAddresses(allow, deny)}
	if old == nil {
		old = &scope{InFlight: new(atomic.Int64)}
	}
	s.InFlight = old.InFlight
	if s.rate = old.rate; rates.All != old.rates.All {
		s.rate = limit.NewRate(limit.Limit(rates.All))
	}
	if s.perAddress = old.perAddress; rates.PerAddress != old.rates.PerAddress {
		s.perAddress = limit.NewTable(limit.Limit(rates.PerAddress), clients)
	}
	if s.perSubject = old.perSubject; rates.PerSubject != old.rates.PerSubject {
		s.perSubject = limit.NewTable(limit.Limit(rates.PerSubject), clients)
	}
	if share {
		if s.rate != nil && s.rate != old.rate {
			s.rate.Share()
		}
		if s.perAddress != nil && s.perAddress != old.perAddress {
			s.perAddress.Share()
		}
		if s.perSubject != nil && s.perSubject != old.perSubject {
			s.perSubject.Share()
		}
	}
	return s
}

// appendShared appends the rates of the scope of a name to those that gateways share.
func (s *scope) appendShared(dst []cluster.Limit, name string) []cluster.Limit {
	if s.rate != nil {
		dst = append(dst, cluster.Limit{Name: name + " all", Shared: s.rate})
	}
	if s.perAddress != nil {
		dst = append(dst, cluster.Limit{Name: name + " address", Shared: s.perAddress})
	}
	if s.perSubject != nil {
		dst = append(dst, cluster.Limit{Name: name + " subject", Shared: s.perSubject})
	}
	return dst
}

// SharedLimits returns the rates in effect.
func (gen *Generation) SharedLimits() []cluster.Limit {
	limits := gen.limits.appendShared(nil, "server")
	for _, b := range gen.Buckets {
		limits = b.Limits.appendShared(limits, "bucket "+b.Name)
	}
	return limits
}

// admit holds a request against the limits that need no more than the client's address: all,
// those of the gateway as a whole, and the bucket's, if it is for one. It returns the limit that
// refuses the request, and for how long; otherwise a request for a bucket counts as under way.
//
// A refused request is given back to the rates that clients share, so that a client beyond
// its own limit takes nothing from others. A request that the bucket's rate per address
// refuses is given back to the gateway's.
func (x *Exchange) admit(all *scope) (by observe.Limit, wait time.Duration) {
	own := &noLimits
	if x.bucket != nil {
		own = x.bucket.Limits
	}
	now := x.Start.Sub(x.s.Started)
	if !all.addresses.Allow(x.Client) || !own.addresses.Allow(x.Client) {
		return observe.LimitAddress, 0
	}
	if wait := all.rate.Take(now); wait > 0 {
		return observe.LimitGlobalRate, wait
	}
	if wait := own.rate.Take(now); wait > 0 {
		all.rate.Return()
		return observe.LimitBucketRate, wait
	}
	client := limit.AddressKey(x.Client)
	if wait = all.perAddress.Take(client, now); wait > 0 {
		by = observe.LimitAddressRate
	} else if wait = own.perAddress.Take(client, now); wait > 0 {
		all.perAddress.Return(client)
		by = observe.LimitAddressRate
	} else if x.bucket == nil {
		return observe.LimitNone, 0 // the answer is at hand
	} else if !all.enter() {
		by = observe.LimitGlobalInFlight
	} else if !own.enter() {
		all.leave()
		by = observe.LimitBucketInFlight
	} else {
		x.admittedTo = all
		return observe.LimitNone, 0
	}
	all.rate.Return()
	own.rate.Return()
	return by, wait
}

// noLimits are the limits of a bucket for requests that are for none. They never change.
var noLimits scope

// admitSubject holds an authorised request against the rates of its token's subject. It
// returns the time for which they refuse it.
func (x *Exchange) admitSubject() (wait time.Duration) {
	id := x.verdict.SubjectID
	if id == 0 {
		return 0 // no token was asked for, or it has no subject
	}
	now := time.Since(x.s.Started) // authorising may have waited for keys
	all := x.admittedTo
	if wait = all.perSubject.Take(id, now); wait > 0 {
		x.returnShared(all)
	} else if wait = x.bucket.Limits.perSubject.Take(id, now); wait > 0 {
		all.perSubject.Return(id)
		all.perAddress.Return(limit.AddressKey(x.Client))
		x.returnShared(all)
	}
	return wait
}

// returnShared gives a refused request back to the rates that clients share.
func (x *Exchange) returnShared(all *scope) {
	all.rate.Return()
	x.bucket.Limits.rate.Return()
}

// leave counts the request as no longer under way.
func (x *Exchange) leave() {
	if x.admittedTo != nil {
		x.admittedTo.leave()
		x.bucket.Limits.leave()
		x.admittedTo = nil
	}
}

// enter counts a request as under way, unless too many are.
func (s *scope) enter() bool {
	if n := s.InFlight.Add(1); s.maxInFlight > 0 && n > s.maxInFlight {
		s.InFlight.Add(-1)
		return false
	}
	return true
}

func (s *scope) leave() { s.InFlight.Add(-1) }

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
