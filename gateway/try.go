package gateway

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/pool"
	"yatagarasu/sign"
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

// send signs and sends a request for the exchange's object and reads the head of the
// response, of an error the document, too. Where that fails, it is tried again, at
// another replica if there is one, as often as s3.retry allows. An exchange before it
// is closed.
func (x *exchange) send(f forward, head bool) error {
	now := time.Now()
	r, t, wait := x.firstReplica(now)
	if r == nil {
		return &breakerError{wait}
	}
	for {
		err := x.ask(r, t, f, head, now)
		if r = x.replica; err == nil { // the one that answers, if two were asked
			x.noteAnswer()
			if head && unclear(&x.up.Header) {
				err = x.explain()
			}
		}
		help := x.remedy(err)
		if help == remedyNone {
			return err
		}
		next, ticket := x.nextReplica(r, help)
		if next == nil {
			return err
		}
		if err == nil {
			r.metrics.fault(x.refusal.reason)
		}
		r, t, now = next, ticket, time.Now()
	}
}

// firstReplica returns where to send a request, or, if every breaker is open, after
// how long one may be sent.
func (x *exchange) firstReplica(now time.Time) (*replica, pool.Ticket, time.Duration) {
	r, t, wait := x.bucket.pick(x.failed, now)
	if r == nil && x.failed != 0 {
		r, t, wait = x.bucket.pick(0, now)
	}
	if r != nil && x.upstream.tries == 0 { // nextReplica has counted the further ones, or taken them
		r.health.retries.Count(now)
	}
	return r, t, wait
}

// nextReplica returns where to try again after r failed, when the time has come; nil
// if nowhere.
func (x *exchange) nextReplica(r *replica, help remedy) (*replica, pool.Ticket) {
	now := time.Now()
	if help == remedyNow {
		if t, _, ok := r.health.breaker.Allow(now); ok {
			x.upstream.tries++
			return r, t
		}
	}
	x.failed.add(r)
	if x.upstream.tries >= x.bucket.s3.Retry.Tries {
		return nil, pool.Ticket{}
	}
	next, t, _ := x.bucket.pick(x.failed, now)
	if next != nil {
		x.upstream.tries++
		next.health.retries.Count(now) // no more than its share of the clients' requests
		next.metrics.extra(extraFailover)
		return next, t
	}
	wait := backoff(x.upstream.tries)
	if after := x.retryAfter(); after > maxRetryWait {
		return nil, pool.Ticket{}
	} else if after > 0 {
		wait += after
	}
	if help != remedyAgain {
		return nil, pool.Ticket{}
	}
	if next, t, _ = x.bucket.pick(0, now); next == nil {
		return nil, pool.Ticket{}
	}
	if !next.health.retries.Take(now) {
		next.health.breaker.Done(t, pool.OutcomeNone, now)
		next.metrics.extra(extraRetryDenied)
		return nil, pool.Ticket{}
	}
	x.upstream.tries++
	next.metrics.extra(extraRetry)
	x.up.Close() // others may have the connection meanwhile
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
func (x *exchange) retryAfter() time.Duration {
	if x.refusal == nil {
		return 0
	}
	v := x.up.Header.Peek(fasthttp.HeaderRetryAfter)
	if n, ok := parseDigits(v); ok {
		return time.Duration(min(n, math.MaxInt32)) * time.Second
	}
	if unix, ok := cache.ParseDate(v); ok {
		return time.Unix(unix, 0).Sub(x.replica.health.clock(time.Now()))
	}
	return 0
}

// remedy returns what may help against err, or, without one, against the refusal at
// hand.
func (x *exchange) remedy(err error) remedy {
	switch err {
	case nil:
	case errNoCredential, errUnexplained:
		return remedyOther
	case errMended:
		x.corrected = true
		return remedyNow
	default:
		return x.remedyOf(err)
	}
	switch o := x.refusal; {
	case o == nil:
	case o.passing():
		return remedyAgain
	case o == outcomeClock && !x.corrected && (x.replica.health.correction()-x.skew).Abs() > skewLeast: // the clock has just been compared
		x.corrected = true
		return remedyNow
	case (o == outcomeAccessKey || o == outcomeToken) && !x.corrected && x.renew():
		x.corrected = true
		return remedyNow
	case o.fault == faultSetup, o.fault == faultObject:
		return remedyOther
	case o == outcomeNoSuchKey && x.bucket.s3.FailoverOn404:
		return remedyOther
	}
	return remedyNone
}

func (x *exchange) remedyOf(err error) remedy {
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
		if errors.As(err, &dns) && dns.IsTimeout && x.upstream.tries > 0 {
			return remedyOther // once: it takes as long again
		}
		return remedyAgain
	case pool.ReasonConnect, pool.ReasonReset, pool.ReasonTruncated:
		return remedyAgain
	case pool.ReasonTimeout:
		// Once: each takes as long again. Who cannot be reached in time is not asked
		// again at all.
		if e.Phase < pool.PhaseSend || x.upstream.tries > 0 {
			return remedyOther
		}
		return remedyAgain
	case pool.ReasonTLS, pool.ReasonProtocol, pool.ReasonQueue:
		return remedyOther
	}
	return remedyNone
}

// mayRepeat tells, when a body has failed of which the client has nothing yet,
// whether to send the request once more, and waits until then.
func (x *exchange) mayRepeat(err error) bool {
	r := x.replica
	r.metrics.fault(pool.Of(err).String())
	help := x.remedyOf(err)
	if help == remedyNone {
		return false
	}
	r.health.breaker.Fail(x.ticket, time.Now())
	x.refusal = nil
	next, t := x.nextReplica(r, help)
	if next == nil {
		return false
	}
	next.health.breaker.Done(t, pool.OutcomeNone, time.Now()) // send asks again
	return true
}

// sendTo sends a request to one replica, once, and tells its breaker how that went.
// begin is now.
func (x *exchange) sendTo(r *replica, t pool.Ticket, f forward, head bool, begin time.Time) error {
	x.up.Close()
	x.up.Queued, x.up.Dialed = 0, 0
	x.replica, x.ticket = r, t
	x.noteReplica()
	x.keyPath = x.appendKeyPath(x.keyPath[:0])

	headers := x.headers[:0]
	if f.condition != "" {
		headers = append(headers, sign.Header{Name: f.condition, Value: f.value})
	}
	if f.ranged {
		headers = append(headers, sign.Header{Name: "range", Value: x.rangeV})
	}
	name := fasthttp.MethodGet
	if head {
		name = fasthttp.MethodHead
	}
	var trace traceparent
	if x.bucket.s3.ForwardTraceparent {
		trace = x.trace
	}
	x.refusal, x.doc = nil, s3ErrorDoc{}
	if x.signer = r.credentials.Signer(begin); x.signer == nil {
		r.health.breaker.Done(t, pool.OutcomeNone, begin)
		r.metrics.fault(problemCredential.reason)
		return errNoCredential
	}
	x.skew = r.health.correction()
	x.head = r.appendHead(x.head[:0], x.signer, name, x.keyPath, x.query, headers, trace, begin.Add(x.skew))
	err := r.upstream.Do(x.up, x.head, head)
	if err == nil {
		r.metrics.answer(x.up.Header.StatusCode())
		quoteTag(&x.up.Header)
		err = x.readRefusal(head)
	}
	end := time.Now()
	r.health.breaker.Done(t, outcomeOfTry(err, x.refusal), end)
	if err == nil {
		r.proof.noteAnswer(x.signer, x.up.Header.StatusCode(), x.refusal, x.doc.Code, end)
		if x.refusal == outcomeClock || end.UnixNano()-r.health.dated.Load() > int64(dateEvery) {
			r.health.observeDate(&x.up.Header, begin, end)
		}
	}
	if err != nil && !x.up.Interrupted() {
		r.metrics.fault(pool.Of(err).String())
	}
	return err
}

// readRefusal takes the error document of the response at hand, if it should have one,
// and says what it means. A 304, a 412 and a 416 are answers to conditions and ranges.
func (x *exchange) readRefusal(head bool) error {
	h := &x.up.Header
	switch code := h.StatusCode(); {
	case code < 300, code == fasthttp.StatusNotModified, code == fasthttp.StatusPreconditionFailed, code == fasthttp.StatusRequestedRangeNotSatisfiable:
		return nil
	case !head:
		raw, err := x.up.Document(documentLimit)
		if err != nil {
			return err
		}
		x.doc = parseS3Error(raw)
		x.doc.readRegion(h)
	}
	x.refusal = x.doc.outcome(h.StatusCode())
	if x.refusal == outcomeDeleted && x.doc.Code == "" && !isDeleteMarker(h) {
		x.refusal = outcomeNonsense // a 405 to a method that S3 allows
	}
	return nil
}

// quoteTag writes the ETag of an answer as an entity tag (RFC 9110 section 8.8.3), so that
// a miss and a hit, conditions and resumed downloads agree on it: some origins leave the
// quotes out. What cannot be one is dropped.
func quoteTag(h *fasthttp.ResponseHeader) {
	v := h.Peek(fasthttp.HeaderETag)
	if n := len(v); n == 0 || n >= 2 && v[n-1] == '"' && (v[0] == '"' || bytes.HasPrefix(v, []byte(`W/"`)) && n > len(`W/"`)) {
		return
	}
	opaque, weak := bytes.CutPrefix(v, []byte("W/"))
	opaque = bytes.Trim(opaque, `"`)
	for _, c := range opaque {
		if !tagBytes[c] {
			h.Del(fasthttp.HeaderETag)
			return
		}
	}
	var tag []byte
	if weak {
		tag = append(tag, "W/"...)
	}
	tag = append(append(append(tag, '"'), opaque...), '"')
	h.SetBytesV(fasthttp.HeaderETag, tag)
}

// outcomeOfTry returns what a try says about the origin.
func outcomeOfTry(err error, refusal *s3Outcome) pool.Outcome {
	switch {
	case err != nil && pool.Of(err).OfOrigin():
		return pool.OutcomeSilence
	case err != nil, refusal == outcomeForeign: // which says nothing of S3
		return pool.OutcomeNone
	case refusal != nil && refusal.fault == faultOrigin:
		return pool.OutcomeFailure
	}
	return pool.OutcomeSuccess
}

// noteReplica notes for the log who is asked, where that can be several.
func (x *exchange) noteReplica() {
	if len(x.bucket.replicas) > 1 {
		x.upstream.replica = x.replica.name
	}
}

// noteAnswer notes for the log what answers.
func (x *exchange) noteAnswer() {
	x.noteReplica()
	h := &x.up.Header
	x.upstream.status = h.StatusCode()
	x.firstByte = x.since()
	x.upstream.id = append(x.upstream.id[:0], h.Peek("X-Amz-Request-Id")...)
}

// breakerError says that every replica has been given up for a while.
type breakerError struct{ wait time.Duration }

// Error implements error.
func (e *breakerError) Error() string {
	return "the origin is given up for a while: too many requests failed"
}

// problem returns the answer to it.
func (e *breakerError) problem() *problem {
	p := *problemBreaker
	p.retryAfter = max(1, int(math.Ceil(e.wait.Seconds())))
	return &p
}
