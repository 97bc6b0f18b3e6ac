package gateway

import (
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// send signs and sends a request for the exchange's object and reads the head of the
// response, of an error the document, too. Where that fails, it is tried again, at
// another replica if there is one, as often as s3.retry allows. An exchange before it
// is closed.
func (f *fetch) send(w forward, head bool) error {
	now := time.Now()
	r, t, wait := f.firstReplica(now)
	if r == nil {
		return &breakerError{wait}
	}
	for {
		err := f.ask(r, t, w, head, now)
		if r = f.replica; err == nil { // the one that answers, if two were asked
			f.noteAnswer()
			if head && unclear(&f.up.Header) {
				err = f.explain()
			}
		}
		help := f.remedy(err)
		if help == remedyNone {
			return err
		}
		next, ticket := f.nextReplica(r, help)
		if next == nil {
			return err
		}
		if err == nil {
			r.metrics.fault(f.refusal.reason)
		}
		r, t, now = next, ticket, time.Now()
	}
}

// firstReplica returns where to send a request, or, if every breaker is open, after
// how long one may be sent.
func (f *fetch) firstReplica(now time.Time) (*replica, pool.Ticket, time.Duration) {
	r, t, wait := f.bucket.pick(f.failed, now)
	if r == nil && f.failed != 0 {
		r, t, wait = f.bucket.pick(0, now)
	}
	if r != nil && f.told.tries == 0 { // nextReplica has counted the further ones, or taken them
		r.health.retries.Count(now)
	}
	return r, t, wait
}

// ask sends a request to r, and where its answer takes long, to another replica as
// well; the first good answer counts, and ends the other request.
func (f *fetch) ask(r *replica, t pool.Ticket, w forward, head bool, begin time.Time) error {
	if !f.bucket.s3.Hedge.Enabled || len(f.bucket.replicas) == 1 {
		return f.askOne(r, t, w, head, begin)
	}
	err := f.askTwo(r, t, w, head, begin)
	f.noteWaits()
	return err
}

// askOne sends a request to r alone.
func (f *fetch) askOne(r *replica, t pool.Ticket, w forward, head bool, begin time.Time) error {
	err := f.sendTo(r, t, w, head, begin)
	f.noteWaits()
	return err
}

// noteWaits adds, for the log, how long the request that counts has waited for its
// connection.
func (f *fetch) noteWaits() {
	f.told.queued += f.up.Queued
	f.told.dialed += f.up.Dialed
}

// sendTo sends a request to one replica, once, and tells its breaker how that went.
// begin is now.
func (f *fetch) sendTo(r *replica, t pool.Ticket, w forward, head bool, begin time.Time) error {
	f.up.Close()
	f.up.Queued, f.up.Dialed = 0, 0
	f.replica, f.ticket = r, t
	f.noteReplica()
	f.keyPath = r.origin.appendKeyPath(f.keyPath[:0], f.key)

	headers := f.headers[:0]
	if w.condition != "" {
		headers = append(headers, sign.Header{Name: w.condition, Value: w.value})
	}
	if w.ranged() {
		f.rangeValue = appendRange(f.rangeValue[:0], w.rng)
		headers = append(headers, sign.Header{Name: "range", Value: f.rangeValue})
	}
	name := fasthttp.MethodGet
	if head {
		name = fasthttp.MethodHead
	}
	f.refusal, f.doc = nil, s3ErrorDoc{}
	if f.signer = r.credentials.Signer(begin); f.signer == nil {
		r.health.breaker.Done(t, pool.OutcomeNone, begin)
		r.metrics.fault(problemCredential.reason)
		return errNoCredential
	}
	f.skew = r.health.correction()
	f.head = r.appendHead(f.head[:0], f.signer, name, f.keyPath, f.query, headers, f.trace, begin.Add(f.skew))
	err := r.upstream.Do(f.up, f.head, head)
	if err == nil {
		r.metrics.answer(f.up.Header.StatusCode())
		quoteTag(&f.up.Header)
		err = f.readRefusal(head)
	}
	end := time.Now()
	r.health.breaker.Done(t, outcomeOfTry(err, f.refusal), end)
	if err == nil {
		r.proof.noteAnswer(f.signer, f.up.Header.StatusCode(), f.refusal, f.doc.Code, end)
		if f.refusal == outcomeClock || end.UnixNano()-r.health.dated.Load() > int64(dateEvery) {
			r.health.observeDate(&f.up.Header, begin, end)
		}
	}
	if err != nil && !f.up.Interrupted() {
		r.metrics.fault(pool.Of(err).String())
	}
	return err
}

// readRefusal takes the error document of the response at hand, if it should have one,
// and says what it means. A 304, a 412 and a 416 are answers to conditions and ranges.
func (f *fetch) readRefusal(head bool) error {
	h := &f.up.Header
	switch code := h.StatusCode(); {
	case code < 300, code == fasthttp.StatusNotModified, code == fasthttp.StatusPreconditionFailed, code == fasthttp.StatusRequestedRangeNotSatisfiable:
		return nil
	case !head:
		raw, err := f.up.Document(documentLimit)
		if err != nil {
			return err
		}
		f.doc = parseS3Error(raw)
		f.doc.readRegion(h)
	}
	f.refusal = f.doc.outcome(h.StatusCode())
	if f.refusal == outcomeDeleted && f.doc.Code == "" && !isDeleteMarker(h) {
		f.refusal = outcomeNonsense // a 405 to a method that S3 allows
	}
	return nil
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
func (f *fetch) noteReplica() {
	if len(f.bucket.replicas) > 1 {
		f.told.replica = f.replica.name
	}
}

// noteAnswer notes for the log what answers.
func (f *fetch) noteAnswer() {
	f.noteReplica()
	h := &f.up.Header
	f.told.status = h.StatusCode()
	f.told.answered = time.Now()
	f.told.id = append(f.told.id[:0], h.Peek("X-Amz-Request-Id")...)
}

// requestPayer tells S3 that the holder of the credential pays, not the bucket's owner
// ("Using Requester Pays buckets" in the Amazon S3 User Guide).
var requestPayer = sign.Header{Name: "x-amz-request-payer", Value: []byte(config.PayerRequester)}

// appendHead appends a request head, signed unless the replica is asked anonymously.
// What is signed is byte for byte what is sent; nothing of the client's request is in it
// but the key and what the query allow-list, Range and one precondition let through, and
// the trace of a trusted proxy. headers are in the order of their names, and may be
// appended to. now is by the replica's clock.
func (r *replica) appendHead(dst []byte, signer *sign.Signer, method string, path, query []byte, headers []sign.Header, trace []byte, now time.Time) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	if len(query) > 0 {
		dst = append(dst, '?')
		dst = append(dst, query...)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.host...)
	dst = append(dst, "\r\nUser-Agent: yatagarasu\r\nAccept-Encoding: identity\r\n"...)
	if len(trace) > 0 {
		dst = append(append(append(dst, "traceparent: "...), trace...), "\r\n"...) // not signed, like the two above
	}
	if r.s3.RequestPayer != "" {
		headers = append(headers, requestPayer) // the last by name
	}
	for i := range headers {
		dst = append(dst, headers[i].Name...)
		dst = append(dst, ": "...)
		dst = append(dst, headers[i].Value...)
		dst = append(dst, "\r\n"...)
	}
	q := sign.Request{Method: method, Host: r.host, Path: path, Query: query, Headers: headers}
	dst = signer.AppendHeaders(dst, &q, now)
	return append(dst, "\r\n"...)
}
