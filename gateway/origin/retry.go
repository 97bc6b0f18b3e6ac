package origin

import (
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"time"
	"yatagarasu/cache"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"

	"github.com/valyala/fasthttp"
)

// The waits before a replica is asked again.
const (
	firstBackoff = 50 * time.Millisecond // at most; doubled for each further try
	maxBackoff   = time.Second
	maxRetryWait = 2 * time.Second // a longer Retry-After is for the client
)

// remedy is what may help against a failed try.
type remedy uint8

const (
	remedyNone  remedy = iota // it is the answer
	remedyOther               // another replica
	remedyAgain               // another replica, or the same again
	remedyNow                 // the same again, at once
)

// nextReplica returns where to try again after r failed, when the time has come; nil
// if nowhere.
func (f *Fetch) nextReplica(r *Replica, help remedy) (*Replica, pool.Ticket) {
	now := time.Now()
	if help == remedyNow {
		if t, _, ok := r.Health.Breaker.Allow(now); ok {
			f.told.Tries++
			return r, t
		}
	}
	f.failed.add(r)
	if f.told.Tries >= f.Bucket.S3.Retry.Tries {
		return nil, pool.Ticket{}
	}
	next, t, _ := f.Bucket.pick(f.failed, now)
	if next != nil {
		f.told.Tries++
		next.Health.retries.Count(now) // no more than its share of the clients' requests
		next.Metrics.Count(observe.Failovers)
		return next, t
	}
	wait := backoff(f.told.Tries)
	if after := f.retryAfter(); after > maxRetryWait {
		return nil, pool.Ticket{}
	} else if after > 0 {
		wait += after
	}
	if help != remedyAgain {
		return nil, pool.Ticket{}
	}
	if next, t, _ = f.Bucket.pick(0, now); next == nil {
		return nil, pool.Ticket{}
	}
	if !next.Health.retries.Take(now) {
		next.Health.Breaker.Done(t, pool.OutcomeNone, now)
		next.Metrics.Count(observe.RetriesDenied)
		return nil, pool.Ticket{}
	}
	f.told.Tries++
	next.Metrics.Count(observe.Retries)
	f.Answer.Close() // others may have the connection meanwhile
	time.Sleep(wait)
	return next, t
}

// backoff returns how long to wait before the next try, after n of them: a random
// part of a time that doubles, so that those who failed together do not come back
// together.
func backoff(n int) time.Duration {
	return rand.N(min(firstBackoff<<min(n, 10), maxBackoff)) + time.Millisecond
}

// retryAfter returns how long the refusal at hand asks to wait; 0: it does not say.
func (f *Fetch) retryAfter() time.Duration {
	if f.Refusal == nil {
		return 0
	}
	v := f.Answer.Header.Peek(fasthttp.HeaderRetryAfter)
	if n, ok := request.ParseDigits(v); ok {
		return time.Duration(min(n, math.MaxInt32)) * time.Second
	}
	if unix, ok := cache.ParseDate(v); ok {
		return time.Unix(unix, 0).Sub(f.replica.Health.clock(time.Now()))
	}
	return 0
}

// remedy returns what may help against err, or, without one, against the refusal at
// hand.
func (f *Fetch) remedy(err error) remedy {
	switch err {
	case nil:
	case errNoCredential, errUnexplained:
		return remedyOther
	case errMended:
		f.corrected = true
		return remedyNow
	default:
		return f.remedyOf(err)
	}
	switch o := f.Refusal; {
	case o == nil:
	case o.Passing():
		return remedyAgain
	case o == s3error.Clock && !f.corrected && (f.replica.Health.Correction()-f.skew).Abs() > LeastSkew: // the clock has just been compared
		f.corrected = true
		return remedyNow
	case (o == s3error.AccessKey || o == s3error.Token) && !f.corrected && f.renew():
		f.corrected = true
		return remedyNow
	case o.Fault == s3error.FaultSetup, o.Fault == s3error.FaultObject:
		return remedyOther
	case o == s3error.NoSuchKey && f.Bucket.S3.FailoverOn404:
		return remedyOther
	}
	return remedyNone
}

func (f *Fetch) remedyOf(err error) remedy {
	var open *breakerError
	if errors.As(err, &open) {
		return remedyOther
	}
	var e *pool.Error
	if !errors.As(err, &e) {
		return remedyNone
	}
	switch e.Reason {
	case pool.ReasonDNS:
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsTimeout && f.told.Tries > 0 {
			return remedyOther // once: it takes as long again
		}
		return remedyAgain
	case pool.ReasonConnect, pool.ReasonReset, pool.ReasonTruncated:
		return remedyAgain
	case pool.ReasonTimeout:
		// Once: each takes as long again. Who cannot be reached in time is not asked
		// again at all.
		if e.Phase < pool.PhaseSend || f.told.Tries > 0 {
			return remedyOther
		}
		return remedyAgain
	case pool.ReasonTLS, pool.ReasonProtocol, pool.ReasonQueue:
		return remedyOther
	}
	return remedyNone
}

// MayRepeat tells, when a body has failed of which the client has nothing yet,
// whether to send the request once more, and waits until then.
func (f *Fetch) MayRepeat(err error) bool {
	r := f.replica
	r.Metrics.CountError(pool.Of(err).String())
	help := f.remedyOf(err)
	if help == remedyNone {
		return false
	}
	r.Health.Breaker.Fail(f.ticket, time.Now())
	f.Refusal = nil
	next, t := f.nextReplica(r, help)
	if next == nil {
		return false
	}
	next.Health.Breaker.Done(t, pool.OutcomeNone, time.Now()) // send asks again
	return true
}
