package origin

import (
	"bytes"
	"time"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
	"yatagarasu/sign"

	"github.com/valyala/fasthttp"
)

// Send signs and sends a request for the exchange's object and reads the head of the
// response, of an error the document, too. Where that fails, it is tried again, at
// another replica if there is one, as often as s3.retry allows. An exchange before it
// is closed.
func (f *Fetch) Send(w request.Plan, head bool) error {
	now := time.Now()
	r, t, wait := f.firstReplica(now)
	if r == nil {
		return &breakerError{wait}
	}
	for {
		err := f.ask(r, t, w, head, now)
		if r = f.replica; err == nil { // the one that answers, if two were asked
			f.noteAnswer()
			if head && unclear(&f.Answer.Header) {
				err = f.explain()
			}
		}
		if err == nil && f.Refusal == nil {
			return nil
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
			r.Metrics.Fault(f.Refusal.Reason)
		}
		r, t, now = next, ticket, time.Now()
	}
}

// firstReplica returns where to send a request, or, if every breaker is open, after
// how long one may be sent.
func (f *Fetch) firstReplica(now time.Time) (*Replica, pool.Ticket, time.Duration) {
	r, t, wait := f.Bucket.pick(f.failed, now)
	if r == nil && f.failed != 0 {
		r, t, wait = f.Bucket.pick(0, now)
	}
	if r != nil && f.told.Tries == 0 { // nextReplica has counted the further ones, or taken them
		r.Health.retries.Count(now)
	}
	return r, t, wait
}

// ask sends a request to r, and where its answer takes long, to another replica as
// well; the first good answer counts, and ends the other request.
func (f *Fetch) ask(r *Replica, t pool.Ticket, w request.Plan, head bool, begin time.Time) error {
	if !f.Bucket.S3.Hedge.Enabled || len(f.Bucket.Replicas) == 1 {
		return f.askOne(r, t, w, head, begin)
	}
	err := f.askTwo(r, t, w, head, begin)
	f.noteWaits()
	return err
}

// askOne sends a request to r alone.
func (f *Fetch) askOne(r *Replica, t pool.Ticket, w request.Plan, head bool, begin time.Time) error {
	err := f.sendTo(r, t, w, head, begin)
	f.noteWaits()
	return err
}

// noteWaits adds, for the log, how long the request that counts has waited for its
// connection.
func (f *Fetch) noteWaits() {
	f.told.Queued += f.Answer.Queued
	f.told.Dialed += f.Answer.Dialed
}

// sendTo sends a request to one replica, once, and tells its breaker how that went.
// begin is now.
func (f *Fetch) sendTo(r *Replica, t pool.Ticket, w request.Plan, head bool, begin time.Time) error {
	f.Answer.Close()
	f.Answer.Queued, f.Answer.Dialed = 0, 0
	f.replica, f.ticket = r, t
	f.noteReplica()
	f.keyPath = sign.AppendPath(append(f.keyPath[:0], r.keyPrefix...), f.key)

	headers := f.headers[:0]
	if w.Condition != "" {
		headers = append(headers, sign.Header{Name: w.Condition, Value: w.Value})
	}
	if w.Range.Kind == request.RangeSingle {
		f.rangeValue = request.AppendRange(f.rangeValue[:0], w.Range)
		headers = append(headers, sign.Header{Name: "range", Value: f.rangeValue})
	}
	name := fasthttp.MethodGet
	if head {
		name = fasthttp.MethodHead
	}
	f.Refusal, f.doc = nil, s3error.Document{}
	if f.signer = r.Credentials.Signer(begin); f.signer == nil {
		r.Health.Breaker.Done(t, pool.OutcomeNone, begin)
		r.Metrics.Fault(problem.Credential.Reason)
		return errNoCredential
	}
	f.skew = r.Health.Correction()
	f.head = r.appendHead(f.head[:0], f.signer, name, f.keyPath, f.query, headers, f.trace, begin.Add(f.skew))
	err := r.Upstream.Do(f.Answer, f.head, head)
	if err == nil {
		r.Metrics.Answer(f.Answer.Header.StatusCode())
		quoteTag(&f.Answer.Header)
		err = f.readRefusal(head)
	}
	end := time.Now()
	r.Health.Breaker.Done(t, outcomeOfTry(err, f.Refusal), end)
	if err == nil {
		r.proof.noteAnswer(f.signer, f.Answer.Header.StatusCode(), f.Refusal, f.doc.Code, end)
		if f.Refusal == s3error.Clock || end.UnixNano()-r.Health.Dated.Load() > int64(dateEvery) {
			r.Health.observeDate(&f.Answer.Header, begin, end)
		}
	}
	if err != nil && !f.Answer.Interrupted() {
		r.Metrics.Fault(pool.Of(err).String())
	}
	return err
}

// readRefusal takes the error document of the response at hand, if it should have one,
// and says what it means. A 304, a 412 and a 416 are answers to conditions and ranges.
func (f *Fetch) readRefusal(head bool) error {
	h := &f.Answer.Header
	switch code := h.StatusCode(); {
	case code < 300, code == fasthttp.StatusNotModified, code == fasthttp.StatusPreconditionFailed, code == fasthttp.StatusRequestedRangeNotSatisfiable:
		return nil
	case !head:
		raw, err := f.Answer.Document(s3error.DocumentLimit)
		if err != nil {
			return err
		}
		f.doc = s3error.Parse(raw)
		f.doc.ReadRegion(h)
	}
	f.Refusal = f.doc.Kind(h.StatusCode())
	if f.Refusal == s3error.Deleted && f.doc.Code == "" && !isDeleteMarker(h) {
		f.Refusal = s3error.Nonsense // a 405 to a method that S3 allows
	}
	return nil
}

// outcomeOfTry returns what a try says about the origin.
func outcomeOfTry(err error, refusal *s3error.Kind) pool.Outcome {
	switch {
	case err != nil && pool.Of(err).OfOrigin():
		return pool.OutcomeSilence
	case err != nil, refusal == s3error.Foreign: // which says nothing of S3
		return pool.OutcomeNone
	case refusal != nil && refusal.Fault == s3error.FaultOrigin:
		return pool.OutcomeFailure
	}
	return pool.OutcomeSuccess
}

// noteReplica notes for the log who is asked, where that can be several.
func (f *Fetch) noteReplica() {
	if len(f.Bucket.Replicas) > 1 {
		f.told.Replica = f.replica.Name
	}
}

// noteAnswer notes for the log what answers.
func (f *Fetch) noteAnswer() {
	f.noteReplica()
	h := &f.Answer.Header
	f.told.Status = h.StatusCode()
	f.told.Answered = time.Now()
	f.told.ID = append(f.told.ID[:0], h.Peek("X-Amz-Request-Id")...)
}

// requestPayer tells S3 that the holder of the credential pays, not the bucket's owner
// ("Using Requester Pays buckets" in the Amazon S3 User Guide).
var requestPayer = sign.Header{Name: "x-amz-request-payer", Value: []byte(config.PayerRequester)}

// appendHead appends a request head, signed unless the replica is asked anonymously.
// What is signed is byte for byte what is sent; nothing of the client's request is in it
// but the key and what the query allow-list, Range and one precondition let through, and
// the trace of a trusted proxy. headers are in the order of their names, and may be
// appended to. now is by the replica's clock.
func (r *Replica) appendHead(dst []byte, signer *sign.Signer, method string, path, query []byte, headers []sign.Header, trace []byte, now time.Time) []byte {
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
	if r.S3.RequestPayer != "" {
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

// replicaSet is a set of replicas of one bucket, by their numbers.
type replicaSet uint32

func (s *replicaSet) add(r *Replica)     { *s |= 1 << r.number }
func (s replicaSet) has(r *Replica) bool { return s&(1<<r.number) != 0 }

// pick returns the replica that is preferred among those that are not in but and
// whose breaker lets a request pass, which then owes it an outcome. Those of equal
// priority take turns. If there is none, wait is after how long one may pass.
//
// Hot path: no allocation.
func (b *Bucket) pick(but replicaSet, now time.Time) (r *Replica, t pool.Ticket, wait time.Duration) {
	wait = -1
	turn := 0
	if len(b.Replicas) > 1 {
		if turn = int(b.turn.Load()); but == 0 {
			turn = int(b.turn.Add(1)) // by first picks alone: with two, each failover would undo it
		}
	}
	for first := 0; first < len(b.Replicas); {
		end := first + 1
		for end < len(b.Replicas) && b.Replicas[end].Priority == b.Replicas[first].Priority {
			end++
		}
		for i := range end - first {
			r = b.Replicas[first+(turn+i)%(end-first)]
			if but.has(r) {
				continue
			}
			t, after, ok := r.Health.Breaker.Allow(now)
			if ok {
				return r, t, 0
			}
			if wait < 0 || after < wait {
				wait = after
			}
		}
		first = end
	}
	return nil, pool.Ticket{}, wait
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
		if !request.TagBytes[c] {
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
