package origin

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// Health is what is known of a replica from the requests to it. Like the upstream it
// outlives a generation. Use newHealth. Safe for concurrent use.
type Health struct {
	Breaker      *pool.Breaker     // nil: it is never given up
	retries      *pool.RetryBudget // for repeated requests
	resumes      *pool.RetryBudget // for the rest of bodies; a share of what retries counts
	hedges       *pool.RetryBudget // for second requests beside slow ones
	latency      pool.Latencies    // to the first byte; kept only for hedging by it
	Skew         atomic.Int64      // of its clock against this one, in nanoseconds
	SkewMeasured atomic.Int64      // when that was measured, in Unix nanoseconds
}

// The spans over which the budgets for requests beside the clients' own hold, and how
// many there are in each at least.
const (
	retrySpan  = time.Second
	retryLeast = 10
	// One body may break off ten times a second, and leave as much to others.
	resumeLeast = 20
	hedgeSpan   = 10 * time.Second
	hedgeBurst  = 10 // slow requests come in swarms
)

// newHealth returns the health of a replica of which nothing is known yet; probed says that
// its origin is probed.
func newHealth(s *upstream.S3, probed bool) *Health {
	h := &Health{
		retries: pool.NewRetryBudget(int(s.Retry.Budget), 0, retryLeast, retrySpan),
		hedges:  pool.NewRetryBudget(int(s.Hedge.Max), hedgeBurst, 0, hedgeSpan),
	}
	h.resumes = h.retries.Beside(resumeLeast)
	if b := s.Breaker; b.Enabled {
		h.Breaker = pool.NewBreaker(pool.BreakerOptions{
			FailureRate: int(b.FailureRate), Consecutive: b.Consecutive, Cooldown: b.Cooldown, Probed: probed,
		})
	}
	return h
}

// maxSkew bounds what is believed of an origin's clock.
const maxSkew = 24 * time.Hour

// LeastSkew is the difference of clocks below which it is not corrected: the header Date
// has whole seconds, and takes its time.
const LeastSkew = 5 * time.Second

// observeDate notes the difference between an origin's clock and this one, by the
// header Date of an answer to a request of a time between begin and end. An answer with
// an Age is from a cache, and its Date of when it was stored.
func (h *Health) observeDate(head *fasthttp.ResponseHeader, begin, end time.Time) {
	unix, ok := cache.ParseDate(head.Peek(fasthttp.HeaderDate))
	if !ok || len(head.Peek(fasthttp.HeaderAge)) > 0 {
		return
	}
	middle := begin.Add(end.Sub(begin) / 2)
	skew := time.Unix(unix, 0).Add(time.Second / 2).Sub(middle)
	if skew.Abs() > maxSkew {
		return
	}
	h.Skew.Store(int64(skew))
	h.SkewMeasured.Store(end.UnixNano())
}

// ClockCorrection returns what is added to this clock's time before it is signed: nothing,
// unless the origin's clock differs much.
func (h *Health) ClockCorrection() time.Duration {
	skew := time.Duration(h.Skew.Load())
	if skew.Abs() <= LeastSkew {
		return 0
	}
	return skew
}

// clock returns the time to sign with.
func (h *Health) clock(now time.Time) time.Time { return now.Add(h.ClockCorrection()) }

// dateEvery is how often an origin's clock is looked at.
const dateEvery = 10 * time.Second

// proofFor is how long an origin that has taken a credential counts as taking it.
const proofFor = 10 * time.Second

// proof is the knowledge that an origin takes a credential. The zero value is none. Safe
// for concurrent use.
type proof struct {
	signer atomic.Pointer[sign.Signer]
	at     atomic.Int64 // Unix nanoseconds
}

// note takes down that s was taken at now.
//
// Hot path: mostly two loads.
func (p *proof) note(s *sign.Signer, now time.Time) {
	t := now.UnixNano()
	if p.signer.Load() == s && t-p.at.Load() < int64(proofFor/10) {
		return
	}
	p.at.Store(t)
	p.signer.Store(s)
}

// holds tells whether s was taken shortly before now.
func (p *proof) holds(s *sign.Signer, now time.Time) bool {
	return p.signer.Load() == s && now.UnixNano()-p.at.Load() < int64(proofFor)
}

// noteAnswer takes down what an answer to a request signed with s says about s. An error
// without a code says nothing: HEAD has none, and not only S3 may have answered. kind is nil
// where it is none.
func (p *proof) noteAnswer(s *sign.Signer, status int, kind *s3error.Kind, code string, now time.Time) {
	switch {
	case kind == nil && (status < 300 || status == fasthttp.StatusNotModified), code != "" && slices.Contains(afterSignature, kind):
		p.note(s, now)
	case kind != nil && code != "" && kind.Fault == s3error.FaultSetup:
		p.signer.CompareAndSwap(s, nil)
	}
}

// afterSignature are the errors that an origin has once it has taken the signature; others may
// be said before it is looked at.
var afterSignature = []*s3error.Kind{s3error.Denied, s3error.NoSuchKey, s3error.NoSuchVersion, s3error.Deleted, s3error.Archived, s3error.KMS, s3error.KMSDown}
